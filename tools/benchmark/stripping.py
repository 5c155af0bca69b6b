"""How fast canaries are found in returned work, and that none is left: `tools/bench stripping [MB]`.

A pool of 20,000 records with 1,000 gold items of fifty people comes back as JSONL, CSV, text, wrapped text and Parquet: once, to
see by a plain search of the output which items are left, and then again and again, up to so many megabytes (100 unless said).
Megabytes and rows a second are of processor time, for one pass of the two that a release makes. The last column is the most
memory that the process ever had.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from goldwork import as_csv, as_parquet, as_text, as_wrapped, gold, labelled, left_in, lines, pool, version  # noqa: E402
from limen.marks.baits import Baits  # noqa: E402
from limen.response.release import stripped  # noqa: E402

FORMS = {"JSONL": lines, "CSV": as_csv, "text": as_text, "wrapped text": as_wrapped, "Parquet": as_parquet}
RECORDS, PEOPLE, EACH = 20_000, 50, 20


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 100) * 1_000_000
    rows, items = pool(RECORDS), gold(PEOPLE, EACH)
    work = labelled(rows + items)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        baits = Baits([version(root, rows, items, each=EACH)])
        print(f"{len(baits.all)} canaries, {len(baits.faint)} of them faint")
        print("form          items in  left  MB    rows       MB/s  rows/s   GB")
        for name, form in FORMS.items():
            once = form(work)
            (root / "in").write_bytes(once)
            stripped(root / "in", root / "out", baits)
            counts = f"{len(left_in(once, items)):<9} {len(left_in((root / 'out').read_bytes(), items)):<5}"
            times = max(1, size // len(once))
            (root / "in").write_bytes(form(work * times) if name == "Parquet" else once * times)
            began = time.process_time()
            tally = stripped(root / "in", root / "out", baits)
            took = time.process_time() - began
            megabytes, most = (root / "in").stat().st_size / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"{name:<13} {counts} {megabytes:<5.0f} {tally.rows:<10,} {megabytes / took:<5.1f}", end=" ")
            print(f"{tally.rows / took:<8,.0f} {most:.2f}", flush=True)


if __name__ == "__main__":
    main()
