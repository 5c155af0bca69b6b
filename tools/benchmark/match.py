"""`tools/bench match [--quick]`: what 300,000 advisories cost to hold against what 100 vendors run, 2,000 components each.

Generated, with the real record among them (../shared/vectors/osv, if it is there): 230,000 malicious packages that nobody runs
and 70,000 vulnerabilities of packages that some do, as feeds hold them; bills of material of five ecosystems, in one version
each and then in 50. Both are folded into their derived files as a gateway does. Measured, each in a process of its own, which
opens those files and nothing else:

    full re-match       every record that stands against every component: wall time, and the process's largest memory
    a new advisory      one record -> which vendors run what it names: 500 times, the median and the 99th percentile
    the same with history   both again with 50 versions of each bill of material, 2 % changed each time; and the ratio

Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limen.assurance.advisories.fold import AdvisoriesFold
from limen.assurance.bom.boms import Boms
from limen.assurance.match.hits import Matching
from limen.core.events import encode
from limen.derived import Derived

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "osv"
START = 1_774_000_000_000_000
DAY_US = 86_400_000_000
SALT = bytes(16)
TYPES = {"pypi": "PyPI", "npm": "npm", "golang": "Go", "cargo": "crates.io", "maven": "Maven"}
WEIGHTS = (30, 45, 8, 7, 10)


class Log:
    """Entries as a ledger would give them."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []

    def add(self, kind: str, at_us: int, **fields: Any) -> int:
        """One more entry; its index."""
        self.raws.append(encode(kind, at_us, SALT, {**fields, "by": "bench"}))
        return len(self.raws) - 1

    def entries(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries with their indices."""
        yield from enumerate(self.raws[start:end], start)


class Shelf:
    """Blobs by digest."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(exist_ok=True)

    def put(self, raw: bytes) -> str:
        """Keep bytes; their digest."""
        digest = hashlib.sha256(raw).hexdigest()
        self.path(digest).write_bytes(raw)
        return digest

    def path(self, digest: str) -> Path:
        """Where they are."""
        return self.place / digest

    def read(self, digest: str) -> bytes:
        """The bytes."""
        return self.path(digest).read_bytes()


def a_name(kind: str, number: int) -> str:
    """An invented package."""
    if kind == "golang":
        return f"example.org/m{number % 97}/pkg-{number}"
    return f"org.example.g{number % 97}:part-{number}" if kind == "maven" else f"pkg-{number}"


def a_purl(kind: str, number: int, version: str) -> str:
    """Its package URL."""
    name = a_name(kind, number).replace(":", "/")
    return f"pkg:{kind}/{name}@{'v' if kind == 'golang' else ''}{version}"


class Universe:
    """20,000 packages, few of them popular."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        kinds = [*TYPES]
        self.packages = [(self.draw.choices(kinds, WEIGHTS)[0], n) for n in range(20_000)]

    def package(self) -> tuple[str, int]:
        """One of them, the popular ones more often."""
        return self.packages[min(int(self.draw.paretovariate(0.55)), len(self.packages)) - 1]

    def version(self) -> str:
        """One of some thirty versions."""
        return f"{self.draw.choice((1, 1, 1, 2))}.{self.draw.randrange(4)}.{self.draw.randrange(4)}"

    def components(self, count: int) -> dict[tuple[str, int], str]:
        """What one vendor runs."""
        found: dict[tuple[str, int], str] = {}
        while len(found) < count:
            found.setdefault(self.package(), self.version())
        return found

    def record(self, number: int, *, malicious: bool) -> dict[str, Any]:
        """One advisory."""
        if malicious:
            kind, n = self.draw.choice(("npm", "npm", "pypi")), 10_000_000 + number
        else:  # three in ten are about something that somebody runs
            kind, n = self.draw.choice(self.packages)
            n += 0 if self.draw.randrange(10) in {0, 1, 2} else 20_000_000
        at = f"2026-0{1 + number % 3}-{1 + number % 28:02}T{number % 24:02}:00:00Z"
        named: dict[str, Any] = {"package": {"ecosystem": TYPES[kind], "name": a_name(kind, n)}}
        if malicious:
            named["ranges"] = [{"type": "SEMVER", "events": [{"introduced": "0"}]}]
        else:
            minor = self.draw.randrange(4)
            first = self.draw.choice(("0", "1.0.0", f"1.{minor}.0"))
            events = [{"introduced": first}, {"fixed": f"1.{minor}.{self.draw.randrange(1, 4)}"}]
            named["ranges"] = [{"type": "SEMVER" if kind in {"npm", "golang", "cargo"} else "ECOSYSTEM", "events": events}]
        return {
            "schema_version": "1.7.4",
            "id": f"{'MAL' if malicious else 'GHSA'}-2026-{number + 10_000}",
            "published": at,
            "modified": at,
            "summary": "invented",
            "affected": [named],
        }


def bom(vendor: str, number: int, components: dict[tuple[str, int], str]) -> bytes:
    """One bill of material."""
    parts = [
        {"type": "library", "name": a_name(*package), "version": version, "purl": a_purl(*package, version), "bom-ref": f"c{n}"}
        for n, (package, version) in enumerate(components.items())
    ]
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": number + 1,
            "metadata": {"component": {"type": "platform", "name": vendor, "bom-ref": "root"}},
            "components": parts,
            "compositions": [{"aggregate": "complete", "assemblies": ["root"]}],
        }
    ).encode()


def lay_down(place: Path, *, vendors: int, components: int, advisories: int, versions: int) -> None:
    """Make both derived files from entries and blobs, as a gateway does."""
    log, shelf, universe = Log(), Shelf(place / "blobs"), Universe(1)
    run = {f"vendor-{n:03}": universe.components(components) for n in range(vendors)}
    for number in range(versions):
        at = START + number * DAY_US
        for vendor, having in run.items():
            for package in universe.draw.sample(sorted(having), components // 50) if number else ():
                having[package] = universe.version()
            if vendor == "vendor-000" and number == versions - 1:
                having["pypi", -1] = "litellm"
            raw = bom(vendor, number, having).replace(b"pkg:pypi/pkg--1@litellm", b"pkg:pypi/litellm@1.82.8")
            fields = {"vendor": vendor, "digest": shelf.put(raw), "length": len(raw), "quarantined": "", "timestamp_us": at}
            log.add("bom.add", at, **fields, components=components, complete=True)
    lines = [json.dumps(universe.record(n, malicious=n * 23 // 30 != (n + 1) * 23 // 30)) for n in range(advisories)]
    if VECTORS.exists():
        lines += [json.dumps(json.loads(each.read_bytes())) for each in sorted(VECTORS.glob("*.json"))]
    feed = "\n".join(lines).encode()
    at = START + versions * DAY_US
    log.add("advisory.feed", at, source="bench", signed=False, key=None, digest=shelf.put(feed), length=len(feed))
    del lines, feed
    for name, path in opened(place, log, shelf):
        began = time.monotonic()
        with path.reading() as connection:
            [count] = connection.execute(
                "SELECT count(*) FROM component" if name == "boms" else "SELECT count(*) FROM revision"
            ).fetchone()
        print(
            f"  {name}: {count} {'components' if name == 'boms' else 'revisions'}, folded in {time.monotonic() - began:.1f} s",
            flush=True,
        )
    (place / "log.json").write_text(json.dumps([raw.decode() for raw in log.raws]))


def opened(place: Path, log: Log, shelf: Shelf) -> list[tuple[str, Any]]:
    """Both derived files."""
    return [
        ("boms", Boms(place, log, shelf.read, origin="bench")),
        ("advisories", Derived(place, log, AdvisoriesFold(shelf.path), origin="bench")),
    ]


def largest() -> float:
    """The most memory that this process ever had, in MiB; not what its parent had, as `getrusage` would say."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(place: Path) -> dict[str, Any]:
    """What is asked of them, in a process that does nothing else."""
    log = Log()
    log.raws = [each.encode() for each in json.loads((place / "log.json").read_text())]
    (_, boms), (_, advisories) = opened(place, log, Shelf(place / "blobs"))
    matching = Matching(boms, advisories)
    matching.of([1])
    before = largest()
    began, used = time.monotonic(), time.process_time()
    met = matching.all()
    whole, used = time.monotonic() - began, time.process_time() - used
    peak = largest()
    with advisories.reading() as connection:
        [last] = connection.execute("SELECT max(id) FROM revision").fetchone()
    draw = random.Random(2)
    took, on, vendors = [], [], 0
    for revision in [draw.randrange(1, last + 1) for _ in range(500)]:
        began, used_before = time.monotonic(), time.process_time()
        vendors += len({each.vendor for each in matching.of([revision])})
        took.append(time.monotonic() - began)
        on.append(time.process_time() - used_before)
    took.sort()
    on.sort()
    return {
        "whole_s": whole,
        "cpu_s": used,
        "before_mib": before,
        "peak_mib": peak,
        "met": len(met),
        "vendors": len({each.vendor for each in met}),
        "litellm": sorted({each.met.vendor for each in matching.told([m for m in met if m.said]) if each.id == "MAL-2026-2144"}),
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
        "p99_cpu_ms": on[len(on) * 99 // 100] * 1000,
        "new_vendors": vendors,
    }


def asked(place: Path) -> dict[str, Any]:
    """The better of two measurements, each in its own process."""
    done = [
        json.loads(subprocess.run([sys.executable, __file__, "--measure", str(place)], check=True, capture_output=True).stdout)
        for _ in range(2)
    ]
    return min(done, key=lambda each: float(each["whole_s"]))


def main() -> None:
    """Lay down, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    size = (
        {"vendors": 10, "components": 500, "advisories": 20_000}
        if options.quick
        else {"vendors": 100, "components": 2_000, "advisories": 300_000}
    )
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        for versions in (1, 50):
            place = (options.keep or Path(temporary)) / str(versions)
            if not (place / "log.json").exists():
                place.mkdir(parents=True, exist_ok=True)
                print(
                    f"{size['vendors']} vendors x {size['components']} components, {versions} versions each;"
                    f" {size['advisories']} advisories",
                    flush=True,
                )
                lay_down(place, **size, versions=versions)
            figures.append(asked(place))
            print(json.dumps(figures[-1]), flush=True)
    one, many = figures
    print("| | one version each | 50 versions each | ratio |\n|---|---:|---:|---:|")
    for name, what in (
        ("whole_s", "full re-match, s"),
        ("cpu_s", "of it on the processor, s"),
        ("peak_mib", "largest memory, MiB"),
        ("p50_ms", "a new advisory, median ms"),
        ("p99_ms", "99th percentile, ms"),
        ("p99_cpu_ms", "of it on the processor, ms"),
    ):
        print(f"| {what} | {one[name]:.2f} | {many[name]:.2f} | {many[name] / one[name]:.2f} |")
    print(f"vendors that ran the real record's versions: {', '.join(one['litellm']) or 'none'}")


if __name__ == "__main__":
    main()
