"""`tools/simulate marks`: the marks' power and validity tables, with seeds."""

from __future__ import annotations

import argparse
import sys
import time

import lengths
import power
import validity


def main() -> int:
    """Print what was asked for; exit code 1 if a bound is broken or a control doesn't fail."""
    parser = argparse.ArgumentParser(prog="tools/simulate marks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "power", "lengths", "validity", "levels"), default="all")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--sizes", action="store_true", help="also search for the smallest size of each; minutes")
    parser.add_argument("--cases", type=int, default=200, help="of 1e-6; the soak plays 10,000")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    began, good = time.monotonic(), True
    trials, cases = (20, 10) if given.quick else (given.trials, given.cases)
    if given.what in {"all", "power"}:
        power.tables(trials=trials, seed=given.seed, sizes=given.sizes)
    if given.what in {"all", "lengths"}:
        lengths.table()
    if given.what == "levels":
        power.by_table(trials=trials, seed=given.seed)
    if given.what in {"all", "validity"}:
        good = validity.report(cases=cases, people=given.people, seed=given.seed, quick=given.quick)
    print(f"\n{time.monotonic() - began:,.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
