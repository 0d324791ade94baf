#!/usr/bin/env python3
"""Measures what a victim of each kind of injection suffers, and judges it. See scripts/victims, which runs it in a network
namespace of its own: that plays the host, and nothing of it outlives this program."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Callable, NamedTuple

from cgroup import Cgroup
from network import ANSWERED_AT, MISSING, Network

FOLDER = "/var/tmp"
WARM_S, BEFORE_S, DURING_S, REST_S = 2, 9, 5, 1
# As long as before: a median of more seconds is a steadier one.
AFTER_S = BEFORE_S
WORSE = 2.0
CALM, PATIENCE_S = 4.0, 120
MIB = 1 << 20


def disk_of(folder):
    """MAJOR:MINOR of the whole disk that holds a folder."""
    number = os.stat(folder).st_dev
    device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    whole = device.parent if (device / "partition").exists() else device
    return (whole / "dev").read_text().strip()


def chased_bytes():
    """A set that a processor's own caches cannot hold, and the one that it shares with others can, whatever part of that
    strangers on the same processor take."""
    units = {"K": 1 << 10, "M": 1 << 20}
    sizes = {}
    for cache in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, size = (cache / "level").read_text(), (cache / "size").read_text().strip()
        sizes[int(level)] = int(size[:-1]) * units[size[-1]]
    if len(sizes) < 2:
        print("llc: this machine hides its caches", file=sys.stderr)
        sys.exit(MISSING)
    *_, own, shared = (sizes[level] for level in sorted(sizes))
    return min(7 * own // 2, shared // 3)


class Scene(NamedTuple):
    """The work of the victim, the injection ({name} is the victim's cgroup), and the victim's limits."""

    work: Callable[[], list]
    injection: str
    limit: Callable[[Cgroup], None] = lambda group: None
    has_network: bool = False


KINDS = {
    "cpu": Scene(lambda: ["compute"], "--target {name} --intensity 95%", lambda group: group.limit_cpu(0.5)),
    "llc": Scene(lambda: ["chase", str(chased_bytes())], "--beside {name} --intensity 100%"),
    "membw": Scene(lambda: ["stream"], "--beside {name} --intensity 100%"),
    # The cached file is in use, so that the injector takes it for what nobody can take; the kernel can, and kills nobody.
    "memory": Scene(lambda: ["cached", FOLDER], "--target {name} --intensity 80% --allow-oom",
                    lambda group: group.limit_memory(48 * MIB)),
    # More than the limit lets through, so that some of its requests always wait, and the victim's behind them.
    "disk": Scene(lambda: ["sync", FOLDER], "--target {name} --intensity 200%",
                  lambda group: group.limit_writes(disk_of(FOLDER), 20_000_000)),
    # Responses of 256 KiB, twenty times a second, are 42 Mbit/s. What fits into one packet of the kernel's own, 64 KiB, passes
    # at once, and those after it wait: a shorter response would not.
    "net-bandwidth": Scene(lambda: ["ask", ANSWERED_AT, str(256 << 10)], "--target {name} --intensity 60Mbit/s",
                           has_network=True),
    "net-delay": Scene(lambda: ["ask", ANSWERED_AT, "128"], "--target {name} --intensity 20ms", has_network=True),
    # What is lost is sent again a fifth of a second later.
    "net-loss": Scene(lambda: ["ask", ANSWERED_AT, "128"], "--target {name} --intensity 5%", has_network=True),
    "pause": Scene(lambda: ["compute"], "--target {name}"),
}


class Victim:
    """At work from when it is entered as a context to when that is left."""

    def __init__(self, built, scene, group):
        program = built / "examples/victim"
        command = [program, *scene.work()]
        self.told = tempfile.NamedTemporaryFile()
        self.network = Network(program) if scene.has_network else None
        if self.network:
            command = self.network.around(command)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.told, preexec_fn=group.enter)

    def __enter__(self):
        try:
            if self.network:
                self.network.connect(self.process.pid)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.network:
            self.network.remove()

    def tasks(self):
        """(when it was due, how long it took) of each so far, in seconds."""
        if self.process.poll() not in (None, 0):
            sys.exit(f"the victim failed: {self.process.returncode}")
        # Opened again: a file that is inherited has one offset, of who writes and who reads.
        with open(self.told.name, encoding="ascii") as told:
            return [tuple(int(number) / 1e9 for number in line.split()) for line in told]


def quantile(times, share):
    times = sorted(times)
    return times[int(len(times) * share)] if times else float("nan")


def p99_of_a_second(tasks, first, last):
    """The 99th percentile of the tasks due in each second from one time to another; the median of the seconds: strangers on the
    same machine, who share its caches and its disk, spoil single ones."""
    seconds = [[took for due, took in tasks if first + second <= due < first + second + 1]
               for second in range(round(last - first))]
    return quantile([quantile(second, 0.99) for second in seconds if second], 0.5)


def wait_for_calm(victim):
    """Works alone for as long as the injection is compared with, and until strangers on the same machine leave it alone: a set
    that they evict already cannot be evicted. Calm is when its slow tasks are not far from its fastest tenth. After a while
    it has to do as it is. How many seconds that took."""
    began = time.monotonic()
    time.sleep(WARM_S + BEFORE_S)
    while time.monotonic() - began < PATIENCE_S:
        tasks = victim.tasks()
        now = tasks[-1][0]
        if p99_of_a_second(tasks, now - BEFORE_S, now) <= CALM * quantile([took for _, took in tasks], 0.1):
            break
        time.sleep(1)
    return time.monotonic() - began


def suffer(built, kind, state):
    """The tasks of the victim, how long it waited for calm, when the injection began and ended, and its report."""
    scene = KINDS[kind]
    with Cgroup(f"ballast-victim-{os.getpid()}-{kind}") as group:
        scene.limit(group)
        with Victim(built, scene, group) as victim:
            waited = wait_for_calm(victim)
            words = scene.injection.format(name=group.name).split()
            process = subprocess.Popen([built / "ballast-injector", kind, *words, "--duration", f"{DURING_S}s", "--json",
                                        "--state-dir", state], stdout=subprocess.PIPE, text=True)
            process.stdout.readline()
            began = time.monotonic()
            report = json.loads(process.stdout.readline() or "{}")
            ended = time.monotonic()
            if process.wait() != 0:
                sys.exit(f"the {kind} injection failed")
            time.sleep(REST_S + AFTER_S)
    return victim.tasks(), waited, began, ended, report


def judge(kind, tasks, waited, began, ended, report):
    """A row of the table."""
    spans = {"before": (began - BEFORE_S, began), "during": (began, ended),
             "after": (ended + REST_S, ended + REST_S + AFTER_S)}
    times = {name: [took for due, took in tasks if first <= due < last] for name, (first, last) in spans.items()}
    p99 = {name: p99_of_a_second(tasks, *span) for name, span in spans.items()}
    within = p99["during"] >= WORSE * p99["before"] and p99["after"] < WORSE * p99["before"]
    return {"kind": kind, "share_of_dose": report["achieved"] / report["requested"], "within": within,
            "alone_s": waited,
            **{f"p99_{name}_s": value for name, value in p99.items()},
            **{f"p99_of_all_{name}_s": quantile(of, 0.99) for name, of in times.items()},
            **{f"median_{name}_s": quantile(of, 0.5) for name, of in times.items()}}


def show(row):
    before, during, after = (1e3 * row[f"p99_{name}_s"] for name in ("before", "during", "after"))
    print(f"{row['kind']:13} p99 before {before:8.3f} ms, during {during:8.3f} ms ({during / before:6.1f} times), after "
          f"{after:8.3f} ms; {100 * row['share_of_dose']:5.1f} % of the dose, after {row['alone_s']:.0f} s alone: "
          f"{'within the bounds' if row['within'] else 'MISSED'}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("built", type=pathlib.Path)
    arguments.add_argument("kinds", nargs="*")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_intermixed_args()
    rows = []
    with tempfile.TemporaryDirectory() as state:
        for kind in asked.kinds or KINDS:
            rows.append(judge(kind, *suffer(asked.built, kind, state)))
            show(rows[-1])
    if asked.json:
        print(json.dumps(rows))
    sys.exit(not all(row["within"] for row in rows))


if __name__ == "__main__":
    main()
