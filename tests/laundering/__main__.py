"""`tools/robustness`: how many leaked records name two copies, whatever was done to them."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from laundering.doors import Downloads, table
from laundering.texts import library, speeches
from laundering.transforms import LAUNDERED

BAR = 1.15
SETS = {"speeches": speeches, "library": library}


def main() -> int:
    """Print the table; exit code 1 if one takes too many, or an innocent copy was named."""
    parser = argparse.ArgumentParser(prog="tools/robustness", description=__doc__)
    parser.add_argument("--set", choices=sorted(SETS), action="append", help="which data set; both if not given")
    parser.add_argument("--only", choices=sorted(LAUNDERED), action="append", help="which laundering; all if not given")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    good = True
    for name in given.set or sorted(SETS):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            downloads = Downloads.of(Path(place), SETS[name]())
            try:
                rows = table(downloads, seeds=list(range(1, given.seeds + 1)), names=given.only or list(LAUNDERED))
            finally:
                downloads.stop()
        print(f"\n{name}: {[len(held) for held in downloads.held]} records downloaded; records that name both copies, by seed")
        for row in rows:
            over = row.ratio > BAR
            good &= not over
            print(f"  {row.name:30} {row.ratio:6.2f}  {' '.join(f'{n:5}' for n in row.needed)}{'  OVER' if over else ''}")
        innocent = ", ".join(sorted(downloads.innocent)) or "none"
        good &= not downloads.innocent
        print(f"  {downloads.traced} traces, innocent copies named: {innocent}; {time.monotonic() - began:,.0f} s", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
