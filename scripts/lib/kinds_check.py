#!/usr/bin/env python3
"""Gives doses of every kind and judges their times and amounts. See scripts/kinds-check, which runs it in a network namespace
of its own: that plays the host, and nothing of it outlives this program."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, NamedTuple

from cgroup import Cgroup
from network import Network, run

MIB = 1 << 20
LATE_S = 0.050
OFF = 0.05
WEB_PORT = 8080


class Dose(NamedTuple):
    """What is asked ({name} is the target's cgroup, {web} a URL), the target's limit, and whether the hardware can give it."""

    words: str
    limit: Callable[[Cgroup], None] = lambda group: None
    has_network: bool = False
    is_possible: bool = True


DOSES = (
    Dose("cpu --target {name} --intensity 50%", lambda group: group.limit_cpu(0.5)),
    Dose("cpu --node --intensity 0.5"),
    Dose("llc --target {name} --intensity 25%"),
    Dose("llc --beside {name} --intensity 25%"),
    Dose("membw --target {name} --intensity 500MB/s"),
    Dose("membw --beside {name} --intensity 2GB/s"),
    Dose("membw --node --intensity 50%"),
    Dose("membw --node --intensity 90000GB/s", is_possible=False),
    Dose("memory --target {name} --intensity 25%", lambda group: group.limit_memory(512 * MIB)),
    Dose("memory --node --intensity 512MiB"),
    Dose("disk --target {name} --intensity 20MB/s"),
    Dose("disk --target {name} --intensity 20MB/s --read-share 100%"),
    Dose("disk --target {name} --intensity 200iops --read-share 70%"),
    Dose("disk --node --intensity 90000GB/s", is_possible=False),
    Dose("net-bandwidth --target {name} --intensity 20Mbit/s", has_network=True),
    Dose("net-bandwidth --target {name} --intensity 20Mbit/s --traffic", has_network=True),
    Dose("net-delay --target {name} --intensity 20ms", has_network=True),
    Dose("net-loss --target {name} --intensity 5%", has_network=True),
    Dose("pause --target {name}"),
    Dose("load {web} --rate 200"),
)
JUDGED_BY_DOSE = ("membw", "disk")


class Target:
    """A process that sleeps, in a cgroup and, where it is asked for, in a network of its own."""

    def __init__(self, built, dose, group):
        command = ["sleep", "3600"]
        self.network = Network(built / "examples/victim") if dose.has_network else None
        if self.network:
            command = self.network.around(command)
        self.process = subprocess.Popen(command, preexec_fn=group.enter)

    def __enter__(self):
        try:
            if self.network:
                self.network.connect(self.process.pid)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        if self.network:
            self.network.remove()


class Web(BaseHTTPRequestHandler):
    """Answers every question with nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def give(built, dose, group, seconds, state):
    """The report, and how long it took by this program's clock: from the line that says that it runs to the one that says that
    it has ended and all is cleaned up."""
    words = dose.words.format(name=group.name, web=f"http://127.0.0.1:{WEB_PORT}/").split()
    command = [built / "ballast-injector", *words, "--duration", f"{seconds}s", "--json"]
    if words[0] != "load":
        command += ["--state-dir", state]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = ((time.monotonic(), json.loads(line)) for line in process.stdout)
    told = {line["event"]: (at, line) for at, line in lines}
    if process.wait() != 0:
        sys.exit(f"{dose.words}: exit code {process.returncode}")
    ended_at, report = told["ended"]
    return report, ended_at - told["started"][0]


def measured(built, dose, seconds, times, state):
    """A row of the table."""
    with Cgroup(f"ballast-kinds-check-{os.getpid()}") as group:
        dose.limit(group)
        with Target(built, dose, group):
            given = [give(built, dose, group, seconds, state) for _ in range(times)]
    reports = [report for report, _ in given]
    late = [report["duration_seconds"] - seconds for report in reports]
    seen_late = [lasted - seconds for _, lasted in given]
    shares = [report["achieved"] / report["requested"] for report in reports]
    on_time = max(map(abs, late)) <= LATE_S
    is_judged = dose.is_possible and dose.words.split()[0] in JUDGED_BY_DOSE
    return {"dose": dose.words, "late_s": late, "seen_late_s": seen_late, "shares": shares, "is_possible": dose.is_possible,
            "achieved": [report["achieved"] for report in reports], "unit": reports[0].get("unit"),
            "within": on_time and not (is_judged and max(abs(share - 1) for share in shares) > OFF)}


def most(values):
    return max(values, key=abs)


def show(row):
    words = row["dose"].replace(" {name}", "").replace(" {web}", "")
    least, largest = min(row["shares"]), max(row["shares"])
    amount = f"{100 * least:7.2f} to {100 * largest:7.2f} %" if row["is_possible"] else \
        f"ceiling {min(row['achieved']):.4g} to {max(row['achieved']):.4g}"
    print(f"{words:55} {1e3 * most(row['late_s']):+7.2f} ms ({1e3 * most(row['seen_late_s']):+7.2f})  {amount}"
          f"{'' if row['within'] else '  MISSED'}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("built", type=pathlib.Path)
    arguments.add_argument("kinds", nargs="*")
    arguments.add_argument("--seconds", type=int, default=5)
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_intermixed_args()
    run("ip", "link", "set", "lo", "up")
    web = ThreadingHTTPServer(("127.0.0.1", WEB_PORT), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    rows = []
    print(f"{'dose':55} the most that it was late (with the clean-up), and achieved of what was asked")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as state:
        for dose in DOSES:
            if not asked.kinds or dose.words.split()[0] in asked.kinds:
                rows.append(measured(asked.built, dose, asked.seconds, asked.times, state))
                show(rows[-1])
    if asked.json:
        print(json.dumps(rows))
    sys.exit(not all(row["within"] for row in rows))


if __name__ == "__main__":
    main()
