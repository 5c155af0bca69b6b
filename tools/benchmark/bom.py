"""`tools/bench bom [--quick]`: takes in bills of material, beside cyclonedx-python-lib, and makes a long history again.

    one         a BOM of 1,115 components: from bytes to judged by the schemas, read, and folded into a new history. Beside it, in
                turn, cyclonedx-python-lib makes its objects of the same parsed JSON, and does nothing else
    history     vendors × 2,000 components × 50 versions of their BOMs, of which each changes one component in fifty: how long
                the tables take to make again from the log and the bytes, and how many rows they have
    late        a BOM that comes after all of these and speaks of the middle of the time

Nothing here asserts a time. Everything lies in a temporary directory and goes away.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "tests"))
import boms  # noqa: E402  the tests' BOMs are found from here

from limen.assurance.bom.judge import judge  # noqa: E402
from limen.assurance.bom.values import DAY_US  # noqa: E402
from limen.core.events import encode  # noqa: E402

COMPONENTS = 1_115
VERSIONS = 50
EACH = 2_000
CHANGED = 50  # one component in so many differs from a version to the next


def ours(raw: bytes, folder: Path, number: int) -> float:
    """Seconds from a BOM's bytes to its rows in a new history. The history's file is there already, as it always is."""
    log = boms.Log()
    data = folder / str(number)
    data.mkdir()
    asked = log.boms(data)
    asked.vendors()
    gc.collect()
    began = time.perf_counter()
    log.file("v", raw, at=number + 1)
    count = asked.revisions("v")[0].components
    took = time.perf_counter() - began
    asked.close()
    if count != COMPONENTS:
        raise SystemExit(f"{count} components were taken in, not {COMPONENTS}")
    return took


def theirs(raw: bytes) -> float:
    """Seconds that cyclonedx-python-lib takes for its objects of the same BOM."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415  only this bench needs it

    gc.collect()
    parsed = json.loads(raw)
    began = time.perf_counter()
    found = Bom.from_json(parsed)
    took = time.perf_counter() - began
    if len(found.components) != COMPONENTS:
        raise SystemExit("cyclonedx-python-lib read another number of components")
    return took


def one(rounds: int, folder: Path) -> None:
    """Print the medians of one BOM, taken in turn, and of the ratios within their rounds."""
    raw = json.dumps(boms.large(COMPONENTS)).encode()
    ours(raw, folder, 10_000)  # schemas are compiled once a process, package URLs that were met are remembered
    began, took, ratios = time.perf_counter(), [], []
    for number in range(rounds):
        raw = json.dumps(boms.large(COMPONENTS, seed=f"s{number}")).encode()  # so that no package URL was met
        mine = ours(raw, folder, number)
        took.append(mine)
        ratios.append(theirs(raw) / mine)
    print(f"| a BOM of {COMPONENTS:,} components ({len(raw) / 1e6:.1f} MB) | {statistics.median(took) * 1000:.1f} ms |")
    print(f"| cyclonedx-python-lib by limen, median of {rounds} | {statistics.median(ratios):.0f} × |")
    print(f"| (ran {time.perf_counter() - began:.0f} s) | |")


def version(vendor: str, number: int) -> bytes:
    """One version of a vendor's BOM."""
    components = [
        boms.rich(f"package-{i}", f"1.{i % 97}.{number if i % CHANGED == number % CHANGED else 0}", boms.KINDS[i % 5])
        for i in range(EACH)
    ]
    timestamp = datetime.fromtimestamp((1 + number) * 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(boms.bom([*components, boms.component(f"own-{vendor}")], timestamp, version=number + 1)).encode()


def history(vendors: int, folder: Path) -> None:
    """Print what a long history costs: made again, and corrected late."""
    log = boms.Log()
    for number in range(VERSIONS):
        for i in range(vendors):
            log.file(f"v{i}", version(f"v{i}", number), at=(1 + number) * DAY_US)
    folder.mkdir()
    asked = log.boms(folder)
    began = time.perf_counter()
    asked.vendors()
    took = time.perf_counter() - began
    with asked.reading() as connection:
        rows = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("component", "presence")]  # noqa: S608
    what = f"{vendors} vendors × {EACH:,} components × {VERSIONS} versions"
    print(f"| {what}: made again | {took:.1f} s, {took / vendors / VERSIONS * 1000:.1f} ms a BOM |")
    print(f"| … components, presences, size | {rows[0]:,}, {rows[1]:,}, {asked.path.stat().st_size / 1e6:.0f} MB |")
    late = boms.bom([boms.component(f"late-{i}") for i in range(EACH)], "1970-01-20T12:00:00Z", version=99)
    raw = json.dumps(late).encode()
    log.blobs[(digest := judge_digest(raw))] = raw
    judged = {**judge(raw).fields(), "vendor": "v0", "digest": digest, "length": len(raw), "by": "uid:0"}
    log.raws.append(encode("bom.add", 90 * DAY_US, len(log.raws).to_bytes(16), judged))
    began = time.perf_counter()
    asked.vendors()
    print(f"| a BOM that comes late, of the middle of the time | {(time.perf_counter() - began) * 1000:.0f} ms |")
    asked.close()


def judge_digest(raw: bytes) -> str:
    """The name of bytes in the blob store."""
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(raw).hexdigest()


def main() -> None:
    """Run it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true", help="fewer rounds, and two vendors instead of a hundred")
    quick = words.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        print("| what | figure |\n|---|---|")
        one(3 if quick else 15, Path(folder))
        history(2 if quick else 100, Path(folder) / "history")


if __name__ == "__main__":
    main()
