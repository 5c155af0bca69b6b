"""`tools/bench exposure [N]`: the observed part of one vendor's exposure over 30 days of N observations (20,000,000).

The observations are laid down as an import lays them down (a part a day, sorted), without the logs they would come from:
70 % are the lab's own pipeline, three vendors of 333 people share a role each, a rule for every person. Reported: wall and
processor seconds of the whole report, mapping read, and of a plain count over the same vendor's rows beside it, interleaved.
Takes about 600 MB of disk and two minutes for 20 million.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from limen.observe import manifest as manifests
from limen.observe.depot import Depot, connect
from limen.observe.manifest import Covered, Manifest, Part
from limen.observe.rows import DAY_US, US
from limen.observe.who import Who
from limen.response import observed

START = 1_775_001_600 * US  # 2026-04-01T00:00:00Z
DAYS = 30
VENDORS = ("quillwork", "tessel", "brightline")
PEOPLE = 1_000
ROUNDS = 5
ROWS = """
COPY (
  SELECT 'trail' AS source, 'cloudtrail' AS kind, lpad(to_hex(h), 16, '0')::BLOB AS id,
    {start} + (i * {day_us} // {count}) AS at_us,
    'aws:role/111122223333/' || CASE WHEN g % 10 < 7 THEN 'training-pipeline' ELSE vendor || '-annotator' END AS principal,
    CASE WHEN g % 10 < 7 THEN 'job-' || (p % 40)::VARCHAR ELSE vendor[1] || lpad(p::VARCHAR, 4, '0') END AS session,
    'ASIA' || p::VARCHAR AS credential, CASE WHEN h % 10 < 9 THEN 'read' ELSE 'head' END AS action,
    's3://orchid-' || vendor || '/sft/v' || (p % 5)::VARCHAR || '/shard-' || lpad((h % 4000)::VARCHAR, 5, '0') AS resource,
    (h % 4000000)::BIGINT AS bytes, 'ok' AS outcome, '203.0.113.0/24' AS network, '' AS detail
  FROM (
    SELECT i, hash(i + {seed}) AS h, hash(i * 7 + {seed}) AS g, (hash(i * 13 + {seed}) % {people})::BIGINT AS p,
      ['quillwork', 'tessel', 'brightline'][1 + (p % 3)::INTEGER] AS vendor
    FROM range({count}) AS numbers(i)
  ) ORDER BY principal, resource, at_us, id
) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)
"""


def lay_down(root: Path, count: int) -> Depot:
    """The observations."""
    database = connect(
        settings={"memory_limit": "1GB", "preserve_insertion_order": "false", "temp_directory": str(root / "spill")}
    )
    parts = []
    for number in range(DAYS):
        name = f"day=2026-04-{number + 1:02}"
        path = root / "entry=1" / name / "part.parquet"
        path.parent.mkdir(parents=True)
        some = {"count": count // DAYS, "seed": number * 1_000_003, "people": PEOPLE, "day_us": DAY_US}
        database.execute(ROWS.format(start=START + number * DAY_US, path=path, **some))
        parts.append(Part(f"{name}/part.parquet", name[4:], count // DAYS, ""))
    database.close()
    covered = tuple(Covered(f"s3://orchid-{vendor}", "told", ((START, START + DAYS * DAY_US),)) for vendor in VENDORS)
    total = count // DAYS * DAYS
    told = {"events": total, "kept": total, "new": total, "first_us": START, "last_us": START + DAYS * DAY_US}
    made = Manifest(
        source="trail", kind="cloudtrail", skew_s=0, gap_s=3600, inputs=(), parts=tuple(parts), covered=covered, fields=(), **told
    )
    (root / "entry=1" / manifests.NAME).write_bytes(made.encode())
    return Depot.open(root)


def mapping() -> bytes:
    """A rule for every person, one for the lab."""
    rules = ['[[who]]\nprincipal = "aws:role/*/training-pipeline"\nlab = true\n']
    for number in range(PEOPLE):
        vendor = VENDORS[number % 3]
        session = f"{vendor[0]}{number:04}"
        principal = f"aws:role/111122223333/{vendor}-annotator"
        rules.append(f'[[who]]\nprincipal = "{principal}"\nsession = "{session}"\nperson = "{vendor}/{session}"\n')
    places = [f'[[place]]\nresource = "s3://orchid-{vendor}/*"\nasset = "{vendor}-sft"\n' for vendor in VENDORS]
    return "".join(rules + places).encode()


def timed(ask: object) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    ask()  # type: ignore[operator]
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Lay down, ask, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    with tempfile.TemporaryDirectory(prefix="limen-exposure-") as folder:
        depot, raw = lay_down(Path(folder), count), mapping()
        look = observed.Look("vendor/quillwork", START, START + DAYS * DAY_US, START + 40 * DAY_US, lambda _: "orchid")
        plain = "SELECT count(*), sum(bytes) FROM observation WHERE principal = 'aws:role/111122223333/quillwork-annotator'"
        report = observed.report(depot, Who.read(raw), look)
        reports, plains = [], []
        for _ in range(ROUNDS):
            reports.append(timed(lambda: observed.report(depot, Who.read(raw), look)))
            plains.append(timed(lambda: depot.ask(plain)))
    wall, cpu = (statistics.median(column) for column in zip(*reports, strict=True))
    base, _ = (statistics.median(column) for column in zip(*plains, strict=True))
    theirs, peak = sum(row["observations"] for row in report["rows"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{report['observations']:,} observations, {theirs:,} of the vendor's, in {len(report['rows'])} rows")
    print(
        f"report: median {wall:.2f} s wall, {cpu:.2f} s processor, over {ROUNDS} rounds; a plain count of its rows {base:.2f} s"
    )
    print(f"memory at most {peak} MiB; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


main()
