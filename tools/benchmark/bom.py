"""`tools/bench bom [--quick]`: takes in bills of material, beside cyclonedx-python-lib, and makes a long history again.

    judged      a BOM of 1,115 components, from its bytes to values: parsed, held against the official schemas, read, every
                package URL understood. In turn with it cyclonedx-python-lib holds the same bytes against the same schemas and
                makes its objects of them; its validator needs `jsonschema`, which moto's environment has (`tools/setup
                conformance`)
    kept        likewise, and what was read is folded into a vendor's new history
    objects     what the library takes for its objects alone, judging nothing and keeping nothing
    history     two vendors x 2,000 components x 50 versions of their BOMs, of which each changes one component in fifty: how long
                the tables take to make again from the log and the bytes, and how many rows they have
    late        a BOM that comes after all of these and speaks of the middle of the time

The BOM is of the kind that generators write: hashes, licences, references, properties, evidence, and what depends on what;
and once more a bare one, which is less work for the library. Each round is a process of its own. Times are the least of the
rounds, and of processor time, since other work on the machine only adds to them; ratios are those of the least. Nothing here
asserts a time. Everything lies in a temporary directory and goes away.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "tests"))
sys.path += map(str, (HERE.parent.parent / ".make" / "clients" / "moto").glob("lib/python*/site-packages"))
import boms  # noqa: E402  the tests' BOMs are found from here
from limen.assurance.bom.judge import judge  # noqa: E402
from limen.assurance.bom.values import DAY_US  # noqa: E402
from limen.core.events import encode  # noqa: E402

COMPONENTS = 1_115
VERSIONS = 50
EACH = 2_000
CHANGED = 50  # one component in so many differs from a version to the next


@dataclass
class Taken:
    """Seconds of processor time in one round; the library's judging is None where its validator is not here."""

    judged: float
    kept: float
    objects: float
    validated: float | None


def taken(raw: bytes, folder: Path, *, components: int) -> Taken:
    """One round. The history's file is there already, as it always is."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415  only this bench needs it

    log = boms.Log()
    folder.mkdir()
    asked = log.boms(folder)
    asked.vendors()
    digest = hashlib.sha256(raw).hexdigest()
    log.blobs[digest] = raw
    gc.collect()
    began = time.process_time()
    found = judge(raw)
    judged = time.process_time() - began
    asked.expect(digest, found.document)
    fields = {**found.fields(), "vendor": "v", "digest": digest, "length": len(raw), "by": "uid:0"}
    log.raws.append(encode("bom.add", 1, bytes(16), fields))
    (bom,) = asked.revisions("v")
    kept = time.process_time() - began
    if bom.components != components or bom.quarantined:
        raise SystemExit(f"{bom.components} components were taken in, not {components}: {bom.quarantined}")
    asked.close()
    gc.collect()
    began = time.process_time()
    theirs = Bom.from_json(json.loads(raw))
    objects = time.process_time() - began
    if len(theirs.components) != components:
        raise SystemExit("cyclonedx-python-lib read another number of components")
    return Taken(judged, kept, objects, validated(raw))


def validated(raw: bytes) -> float | None:
    """Seconds that the library takes to hold bytes against the schema; None if it can't here."""
    from cyclonedx.exception import MissingOptionalDependencyException  # noqa: PLC0415  only this bench needs it
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415  likewise
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415  likewise

    gc.collect()
    began = time.process_time()
    try:
        fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode())
    except MissingOptionalDependencyException:
        return None
    if fault is not None:
        raise SystemExit(f"cyclonedx-python-lib refuses the BOM: {fault}")
    return time.process_time() - began


def one(rounds: int, folder: Path, make: Callable[[str, str, str], dict[str, Any]], what: str) -> None:
    """Print the least of one BOM, taken in turn with the library, and the ratios."""
    folder.mkdir()
    found, size = [], 0
    for number in range(rounds):
        path = folder / f"{number}.json"
        size = path.write_bytes(json.dumps(boms.large(COMPONENTS, make=make)).encode())
        done = subprocess.run([sys.executable, __file__, "--round", path], stdout=subprocess.PIPE, check=True)
        found.append(Taken(**json.loads(done.stdout)))
    judged, kept, objects = (min(getattr(each, name) for each in found) for name in ("judged", "kept", "objects"))
    both = [each.objects + each.validated for each in found if each.validated is not None]
    print(f"| {COMPONENTS:,} components, {what} ({size / 1e6:.1f} MB): judged and read | {judged * 1000:.1f} ms |")
    print(f"| … and kept in the vendor's history | {kept * 1000:.1f} ms |")
    times = f"{min(both) / judged:.0f} times as long" if both else "not measured: `jsonschema` is not here"
    print(f"| … cyclonedx-python-lib, judged and read | {times} |")
    print(f"| … cyclonedx-python-lib, read and not judged | {objects / judged:.0f} times as long |")


def a_round(path: Path) -> None:
    """One round in a process of its own, whose memory nobody has used before; prints its times as JSON."""
    raw = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        taken(json.dumps(boms.bom([])).encode(), Path(folder) / "first", components=0)  # schemas are compiled once a process
        print(json.dumps(asdict(taken(raw, Path(folder) / "second", components=COMPONENTS))))


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
    began = time.process_time()
    asked.vendors()
    took = time.process_time() - began
    with asked.reading() as connection:
        rows = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("component", "presence")]  # noqa: S608
    what = f"{vendors} vendors x {EACH:,} components x {VERSIONS} versions"
    print(f"| {what}: made again | {took:.1f} s, {took / vendors / VERSIONS * 1000:.1f} ms a BOM |")
    print(f"| … components, presences, size | {rows[0]:,}, {rows[1]:,}, {asked.path.stat().st_size / 1e6:.0f} MB |")
    late = boms.bom([boms.component(f"late-{i}") for i in range(EACH)], "1970-01-20T12:00:00Z", version=99)
    raw = json.dumps(late).encode()
    log.blobs[(digest := hashlib.sha256(raw).hexdigest())] = raw
    judged = {**judge(raw).fields(), "vendor": "v0", "digest": digest, "length": len(raw), "by": "uid:0"}
    log.raws.append(encode("bom.add", 90 * DAY_US, len(log.raws).to_bytes(16), judged))
    began = time.process_time()
    asked.vendors()
    print(f"| a BOM that comes late, of the middle of the time | {(time.process_time() - began) * 1000:.0f} ms |")
    asked.close()


def main() -> None:
    """Run it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true", help="fewer rounds, and one vendor instead of two")
    words.add_argument("--round", type=Path, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.round:
        a_round(asked.round)
        return
    quick = asked.quick
    with tempfile.TemporaryDirectory() as folder:
        print("| what | figure |\n|---|---|")
        rounds = 2 if quick else 7
        one(rounds, Path(folder) / "whole", boms.rich, "as Syft and cdxgen write them")
        one(rounds, Path(folder) / "bare", boms.component, "name, version and package URL alone")
        history(1 if quick else 2, Path(folder) / "history")


if __name__ == "__main__":
    main()
