#!/usr/bin/env python3
"""Measures what a victim of each kind of injection suffers, and judges it. See scripts/victims."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from cgroup import Cgroup

FOLDER = "/var/tmp"
BEFORE_S, DURING_S, REST_S, AFTER_S = 5, 5, 1, 4
WORSE = 2.0
MIB = 1 << 20


def disk_of(folder):
    """MAJOR:MINOR of the whole disk that holds a folder."""
    number = os.stat(folder).st_dev
    device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    whole = device.parent if (device / "partition").exists() else device
    return (whole / "dev").read_text().strip()


# The work of the victim, its limits, and the injection; {name} is its cgroup.
KINDS = {
    "cpu": ("compute", lambda group: group.limit_cpu(0.5), ["--target", "{name}", "--intensity", "95%"]),
    "llc": ("chase", None, ["--beside", "{name}", "--intensity", "100%"]),
    "membw": ("stream", None, ["--beside", "{name}", "--intensity", "100%"]),
    "memory": ("cached", lambda group: group.limit_memory(96 * MIB), ["--target", "{name}", "--intensity", "60%"]),
    "disk": ("sync", lambda group: group.limit_writes(disk_of(FOLDER), 2_000_000),
             ["--target", "{name}", "--intensity", "95%"]),
    "pause": ("compute", None, ["--target", "{name}"]),
}


def suffer(built, kind, state):
    """All (due, took) of the victim in seconds, and when the injection began and ended."""
    work, limit, injection = KINDS[kind]
    with Cgroup(f"ballast-victim-{os.getpid()}-{kind}") as group:
        if limit:
            limit(group)
        with tempfile.TemporaryFile("w+") as told:
            victim = subprocess.Popen([built / "examples/victim", work, FOLDER], stdin=subprocess.PIPE, stdout=told,
                                      preexec_fn=group.enter)
            try:
                time.sleep(BEFORE_S + 2)  # The file of the cached work is made first.
                words = [word.format(name=group.name) for word in injection]
                process = subprocess.Popen([built / "ballast-injector", kind, *words, "--duration", f"{DURING_S}s", "--json",
                                            "--state-dir", state], stdout=subprocess.PIPE, text=True)
                process.stdout.readline()
                began = time.monotonic()
                report = json.loads(process.stdout.readline() or "{}")
                ended = time.monotonic()
                if process.wait() != 0:
                    sys.exit(f"the {kind} injection failed")
                time.sleep(REST_S + AFTER_S)
            finally:
                victim.stdin.close()
                victim.wait()
            told.seek(0)
            tasks = [tuple(int(number) / 1e9 for number in line.split()) for line in told if line.endswith("\n")]
    return tasks, began, ended, report


def p99(times):
    times = sorted(times)
    return times[int(len(times) * 0.99)] if times else float("nan")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("built", type=pathlib.Path)
    arguments.add_argument("kinds", nargs="*")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    rows, missed = [], False
    with tempfile.TemporaryDirectory() as state:
        for kind in asked.kinds or KINDS:
            tasks, began, ended, report = suffer(asked.built, kind, state)
            of = lambda first, last: p99([took for due, took in tasks if first <= due < last])
            before, during = of(began - BEFORE_S, began), of(began, ended)
            after = of(ended + REST_S, ended + REST_S + AFTER_S)
            share = report["achieved"] / report["requested"]
            within = during >= WORSE * before and after < WORSE * before
            missed |= not within
            rows.append({"kind": kind, "p99_before_s": before, "p99_during_s": during, "p99_after_s": after,
                         "share_of_dose": share})
            print(f"{kind:7} p99 before {1e3 * before:9.3f} ms, during {1e3 * during:9.3f} ms ({during / before:7.1f} times), "
                  f"after {1e3 * after:9.3f} ms; {100 * share:.1f} % of the dose: {'within the bounds' if within else 'MISSED'}",
                  flush=True)
    if asked.json:
        print(json.dumps(rows))
    sys.exit(missed)


if __name__ == "__main__":
    main()
