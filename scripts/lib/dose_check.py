#!/usr/bin/env python3
"""Gives doses of CPU time in turns, ours and stress-ng's, and judges them. See scripts/dose-check."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from cgroup import Cgroup

PERCENTS = (10, 20, 50, 80, 95)
QUOTA_CORES = 0.5
POINTS_OFF = 2.0
SHARE_OF_THEIRS = 1 / 3


def given(seconds, quota, command, inside):
    """Cores that were used in a new group while `command` ran; `inside` says whether it is started there."""
    with Cgroup(f"ballast-dose-check-{os.getpid()}") as group:
        if quota:
            group.limit_cpu(quota)
        before = group.used_seconds()
        subprocess.run(command(group.name), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       preexec_fn=group.enter if inside else None)
        return (group.used_seconds() - before) / seconds


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
