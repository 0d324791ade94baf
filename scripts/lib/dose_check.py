#!/usr/bin/env python3
"""Gives doses of CPU time in turns, ours and stress-ng's, and judges them. See scripts/dose-check."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PERCENTS = (10, 20, 50, 80, 95)
QUOTA_CORES = 0.5
PERIOD_US = 100_000
POINTS_OFF = 2.0
SHARE_OF_THEIRS = 1 / 3


class Cgroup:
    """A group of its own for one dose: version 2 where it has the CPU controller, else version 1."""

    def __init__(self, name):
        self.name = name
        roots = {}
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            left, right = line.split(" - ")
            kind, _, options = right.split(" ", 2)
            point = pathlib.Path(left.split(" ")[4])
            if kind == "cgroup2" and "cpu" in (point / "cgroup.controllers").read_text().split():
                roots["v2"] = point
            elif kind == "cgroup":
                roots.update({option: point for option in options.split(",") if option in ("cpu", "cpuacct")})
        self.is_v1 = "cpu" in roots
        found = {roots[key] for key in (("cpu", "cpuacct") if self.is_v1 else ("v2",))}
        self.folders = [root / name for root in found]
        for folder in self.folders:
            folder.mkdir()
        self.cpu = (roots["cpu"] if self.is_v1 else roots["v2"]) / name
        self.counter = (roots["cpuacct"] if self.is_v1 else roots["v2"]) / name

    def limit(self, cores):
        quota = int(cores * PERIOD_US)
        if self.is_v1:
            (self.cpu / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.cpu / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    def enter(self):
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def used_seconds(self):
        if self.is_v1:
            return int((self.counter / "cpuacct.usage").read_text()) / 1e9
        lines = dict(line.split() for line in (self.counter / "cpu.stat").read_text().splitlines())
        return int(lines["usage_usec"]) / 1e6

    def remove(self):
        for folder in self.folders:
            folder.rmdir()


def given(seconds, quota, command, inside):
    """Cores that were used in a new group while `command` ran; `inside` says whether it is started there."""
    group = Cgroup(f"ballast-dose-check-{os.getpid()}")
    try:
        if quota:
            group.limit(quota)
        before = group.used_seconds()
        subprocess.run(command(group.name), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       preexec_fn=group.enter if inside else None)
        return (group.used_seconds() - before) / seconds
    finally:
        group.remove()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--seconds", type=int, default=30)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as state:
        for quota in (None, QUOTA_CORES):
            for percent in PERCENTS:
                whole = quota or 1.0
                cores = percent / 100 * whole
                intensity = f"{percent}%" if quota else str(cores)
                ours = given(asked.seconds, quota, lambda name: [
                    asked.program, "cpu", "--target", name, "--intensity", intensity, "--duration",
                    f"{asked.seconds}s", "--state-dir", state], inside=False)
                theirs = given(asked.seconds, quota, lambda _: [
                    "stress-ng", "--cpu", "1", "--cpu-load", str(round(100 * cores)), "--timeout",
                    f"{asked.seconds}s"], inside=True)
                # In points of what was asked to be a per cent of: of a core, or of the quota.
                rows.append({"quota_cores": quota, "percent": percent,
                             "ours": 100 * ours / whole, "stress_ng": 100 * theirs / whole})
                row = rows[-1]
                print(f"{percent:3} % of {'half a core' if quota else 'a core':11}  ballast-injector "
                      f"{row['ours']:7.3f} %  stress-ng {row['stress_ng']:7.3f} %", flush=True)
    off = {who: [abs(row[who] - row["percent"]) for row in rows] for who in ("ours", "stress_ng")}
    mean = {who: statistics.mean(errors) for who, errors in off.items()}
    within = max(off["ours"]) <= POINTS_OFF
    better = mean["ours"] <= SHARE_OF_THEIRS * mean["stress_ng"]
    print(f"mean error: ballast-injector {mean['ours']:.3f} points (most {max(off['ours']):.3f}), "
          f"stress-ng {mean['stress_ng']:.3f} (most {max(off['stress_ng']):.3f}): "
          f"{'within the bounds' if within and better else 'MISSED'}")
    if asked.json:
        print(json.dumps({"seconds": asked.seconds, "rows": rows, "mean_error_points": mean}))
    sys.exit(not (within and better))


if __name__ == "__main__":
    main()
