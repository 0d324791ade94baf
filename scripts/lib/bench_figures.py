#!/usr/bin/env python3
"""Turns divan's tables (stdin) into one line per figure: `name value unit`, from the median column. What a bench measured
itself it prints as `figure: name value unit`; that follows.

Knows divan's format, the units that Ballast's figures are told in, and what some of them may be at most; not how benches
are run. `--check` also says on stderr which figures are over their bound, and then exits with 1. `--self-test` checks the
reading against a table that divan printed.
"""

import re
import sys
import unittest
from decimal import Decimal

# A unit that ends in /s is a rate: items per second, or iterations per second where the bench counts no items.
UNITS = {
    "learner_update_native": "updates/s",
    "learner_update_tch": "updates/s",
    "policy_inference": "us",
    "simulator_spans": "spans/s",
    "critical_path_traces": "traces/s",
    "assembled_and_charged_traces": "traces/s",
    "env_server_plan_latency": "ms",
    "env_server_plan_of_100_containers": "ms",
    "env_server_observation_of_100_containers": "ms",
    # Last as long as they are told to, and print what they measure themselves.
    "env_server_use_at_1_hz": None,
    "env_server_use_renewing_all_at_1_hz": None,
}
# What a figure may be at most, in its unit: what a controller may wait for, and what a node may cost its owner.
BOUNDS = {
    "env_server_plan_of_100_containers_p99": Decimal("10"),
    "env_server_observation_of_100_containers_p99": Decimal("5"),
    "env_server_cpu_at_1_hz": Decimal("1"),
    "env_server_memory_peak": Decimal("30"),
}
SECONDS = {"ps": 1e-12, "ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}

# Three characters of tree for each level, then the branch, the name, and the first column after two spaces or more.
BRANCH = re.compile(r"^(?P<levels>(?:│  |   )*)[├╰]─ (?P<name>.*?)(?:\s{2,}.*)?$")
ITEMS_PER_SECOND = re.compile(r"^(?P<number>[\d.]+) (?P<prefix>[KMGTP]?)item/s$")
TIME = re.compile(r"^(?P<number>[\d.]+) (?P<unit>[pnµum]?s|m|h)$")


def parse(lines):
    """Yields (name, seconds, items per second or None) for every bench that ran, in the order of the table."""
    path, figures = [], []
    for line in lines:
        columns = line.rstrip("\n").rsplit("│", 5)
        if len(columns) < 6:
            continue
        branch, median = BRANCH.match(columns[0].rstrip()), columns[2].strip()
        if branch:
            depth = len(branch["levels"]) // 3
            path = path[:depth] + [branch["name"]]
            if time := TIME.match(median):
                seconds = float(time["number"]) * SECONDS[time["unit"]]
                name = path[-1] if path[-1] in UNITS else "/".join(path)
                figures.append([name, seconds, None])
        elif figures and (items := ITEMS_PER_SECOND.match(median)):
            figures[-1][2] = float(items["number"]) * PREFIXES[items["prefix"]]
    return [tuple(figure) for figure in figures]


def own_figures(lines):
    """The figures that benches print themselves."""
    prefix = "figure: "
    return [line.rstrip("\n").removeprefix(prefix) for line in lines if line.startswith(prefix)]


def figure_line(name, seconds, items_per_second):
    """One figure in its own unit, with the four digits that divan gives."""
    unit = UNITS.get(name, "items/s" if items_per_second is not None else "us")
    if unit.endswith("/s"):
        value = items_per_second if items_per_second is not None else 1.0 / seconds
    else:
        value = seconds / SECONDS[unit]
    return f"{name} {Decimal(f'{value:.4g}'):f} {unit}"


def excesses(figures):
    """A sentence for each figure that is over its bound."""
    for line in figures:
        name, value, unit = line.split(" ", 2)
        if name in BOUNDS and Decimal(value) > BOUNDS[name]:
            yield f"{name} is {value} {unit}, more than {BOUNDS[name]}"


class SelfTest(unittest.TestCase):
    """The table was printed by divan 0.1.21; the last row of `learner` had its names changed."""

    TABLE = """\
Timer precision: 34 ns
learner                   fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ learner_update_native  160.4 µs      │ 915.1 µs      │ 162.7 µs      │ 175.3 µs      │ 100     │ 100
│                         311.5 Kitem/s │ 54.63 Kitem/s │ 307.2 Kitem/s │ 285.1 Kitem/s │         │
├─ policy_inference       1.573 µs      │ 4.581 µs      │ 1.595 µs      │ 1.628 µs      │ 100     │ 400
╰─ learner_update_tch     4.886 ms      │ 13.04 ms      │ 5.107 ms      │ 5.36 ms       │ 100     │ 100

nested                 fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ plan                              │               │               │               │         │
│  ├─ 10               6.504 ns      │ 11.52 ns      │ 10.01 ns      │ 9.829 ns      │ 100     │ 51200
│  ╰─ 100              106.7 ns      │ 395.1 ns      │ 125 ns        │ 127.6 ns      │ 100     │ 3200
╰─ inner                             │               │               │               │         │
   ├─ ig               (ignored)     │               │               │               │         │
   ╰─ simulator_spans  160.4 µs      │ 8.188 ms      │ 167.7 µs      │ 250.1 µs      │ 100     │ 100
                       311.5 Mitem/s │ 6.105 Mitem/s │ 298.1 Mitem/s │ 199.8 Mitem/s │         │
"""

    def test_every_bench_of_a_real_table_becomes_one_line(self):
        lines = [figure_line(*figure) for figure in parse(self.TABLE.splitlines())]
        self.assertEqual(
            lines,
            [
                "learner_update_native 307200 updates/s",
                "policy_inference 1.595 us",
                "learner_update_tch 195.8 updates/s",
                "plan/10 0.01001 us",
                "plan/100 0.125 us",
                "simulator_spans 298100000 spans/s",
            ],
        )

    def test_a_latency_is_told_in_its_own_unit_even_when_items_are_counted(self):
        self.assertEqual(figure_line("env_server_plan_latency", 0.000612, 5.0), "env_server_plan_latency 0.612 ms")

    def test_a_bench_may_print_its_own_figure(self):
        self.assertEqual(own_figures(["figure: a_p99 4.949 ms\n", "a figure: b"]), ["a_p99 4.949 ms"])

    def test_a_figure_over_its_bound_is_told(self):
        fine = ["env_server_plan_of_100_containers_p99 10.000 ms", "policy_inference 99 us"]
        self.assertEqual(list(excesses(fine)), [])
        over = ["env_server_memory_peak 30.1 MiB"]
        self.assertEqual(list(excesses(over)), ["env_server_memory_peak is 30.1 MiB, more than 30"])

    def test_other_output_is_no_figure(self):
        self.assertEqual(parse(["test a ... ok", "│", "a │ b", ""]), [])


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1])
    printed = sys.stdin.readlines()
    told = [figure_line(*found) for found in parse(printed) if UNITS.get(found[0], "") is not None]
    told += own_figures(printed)
    print(*told, sep="\n")
    if sys.argv[1:] == ["--check"]:
        over = list(excesses(told))
        print(*over, sep="\n", end="\n" if over else "", file=sys.stderr)
        sys.exit(bool(over))
