"""Measures how a feed of 300,000 generated OSV records is taken in: seconds, processor time, memory, bytes at rest.

    lines    one record a line, the real shape of LiteLLM's among them
    zip      the same records as a zip, whose members are read one by one: no revision is new
    again    the lines once more from another source
    one      a feed of one new record afterwards
    sort     version texts to sort keys

Each is a feed of its own in one log; the first runs in a fresh process, whose greatest memory is told. Held against what was
generated: all records, and the three answers about LiteLLM. Nothing here asserts a time. All of it lies in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "tests"))
import feeds  # noqa: E402  the tests' log is found from here
from limen.formats.purl import package  # noqa: E402
from limen.formats.versions import key  # noqa: E402

ECOSYSTEMS = ("npm",) * 5 + ("PyPI",) * 3 + ("Maven", "Go", "crates.io", "Debian:12")
PACKAGES = 60_000
MIB = 1 << 20


def records(count: int) -> list[bytes]:
    """Records as OSV has them, half of them with an alias, a third malicious; LiteLLM's in the middle."""
    rng = random.Random(2144)
    made = [_record(rng, number) for number in range(count - 1)]
    made.insert(count // 2, json.dumps(feeds.record("MAL-2026-2144", feeds.affected("litellm", "1.82.7", "1.82.8"))).encode())
    return made


def _record(rng: random.Random, number: int) -> bytes:
    ecosystem = rng.choice(ECOSYSTEMS)
    name = f"package-{rng.randrange(PACKAGES)}"
    name = f"org.example:{name}" if ecosystem == "Maven" else name
    kinds = rng.choice(("listed", "listed", "listed ranged", "ranged", "ranged"))
    more: dict[str, object] = {}
    if "listed" in kinds:
        more["versions"] = [f"1.{rng.randrange(40)}.{rng.randrange(20)}" for _ in range(rng.randint(1, 5))]
    if "ranged" in kinds:
        events = [{"introduced": "0"}, {"fixed": f"1.{rng.randrange(40)}.{rng.randrange(20)}"}]
        more["ranges"] = [{"type": "SEMVER" if ecosystem in {"npm", "Go", "crates.io"} else "ECOSYSTEM", "events": events}]
    return json.dumps(
        feeds.record(
            f"{rng.choice(('MAL', 'GHSA', 'GHSA'))}-2026-{10_000 + number}",
            feeds.affected(name, ecosystem=ecosystem, **more),
            modified=1_772_323_200_000_000 + rng.randrange(28) * feeds.DAY,
            aliases=[f"CVE-2026-{10_000 + number}"][: rng.randrange(2)],
            summary=f"Something is wrong with {name}",
            details="x" * 400,
            references=[{"type": "WEB", "url": f"https://example.com/{number}"}],
        )
    ).encode()


def enter(data: Path, *, path: Path, source: str) -> dict[str, float]:
    """Enter a feed into the log that lies in a directory, and fold it; what it cost."""
    log = _log(data)
    with path.open("rb") as stream:
        digest, length = log.blobs.put(iter(lambda: stream.read(MIB), b""))
    at = 1_774_000_000_000_000 + len(log.raws)
    index = log.enter("advisory.feed", at, digest=digest, length=length, source=source, signed=False, key=None)
    (data / "log").write_bytes(b"\n".join(log.raws))
    asked = log.advisories()
    began, spent = time.monotonic(), time.process_time()
    asked.catch_up()
    took = {"s": time.monotonic() - began, "cpu_s": time.process_time() - spent}
    took["most_mib"] = _most_kib() / 1024
    feed = asked.feed(index)
    took |= {"records": feed.records, "fresh": feed.fresh, "quarantined": feed.quarantined, "bytes": length}
    litellm = asked.by_package(package("PyPI", "LiteLLM"))
    answers = [[each.affected.holds(v) for each in litellm] for v in ("1.82.6", "1.82.7", "<unknown>")]
    if answers != [[False], [True], [None]]:
        sys.exit(f"bench: LiteLLM is answered {answers}")
    asked.close()
    return took


def _most_kib() -> int:
    """The most memory that this process ever had; `getrusage` would count what its parent had when it began, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _log(data: Path) -> feeds.Log:
    log = feeds.Log(data)
    if (data / "log").exists():
        log.raws = (data / "log").read_bytes().split(b"\n")
    return log


def _sorted(count: int) -> float:
    """Keys a second, of texts that were not seen before."""
    rng = random.Random(7)
    texts = [f"{rng.randrange(9)}.{rng.randrange(99)}.{n}" for n in range(count)]
    began = time.process_time()
    for text in texts:
        key("PyPI", text)
    return count / (time.process_time() - began)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("records", nargs="?", type=int, default=300_000)
    asked.add_argument("--enter", nargs=3, metavar=("DATA", "FEED", "SOURCE"), help=argparse.SUPPRESS)
    args = asked.parse_args()
    if args.enter:
        data, feed, source = args.enter
        print(json.dumps(enter(Path(data), path=Path(feed), source=source)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _all(Path(folder), args.records)


def _all(folder: Path, count: int) -> None:
    made = records(count)
    lines, packed, one = folder / "feed.ndjson", folder / "feed.zip", folder / "one.json"
    lines.write_bytes(b"\n".join(made))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, raw in enumerate(made):
            archive.writestr(f"{number}.json", raw)
    one.write_bytes(json.dumps(feeds.record("MAL-2026-1", feeds.affected("package-1", "1.0"))).encode())
    del made
    data = folder / "data"
    data.mkdir()
    print(f"`tools/bench advisories {count}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average {os.getloadavg()[0]:.1f}.\n")
    print("| feed | MB | records | new | s | processor s | most MiB |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, path, source in (("lines", lines, "a"), ("zip", packed, "b"), ("again", lines, "c"), ("one", one, "a")):
        command = [sys.executable, __file__, "--enter", str(data), str(path), source]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if took["records"] != (1 if name == "one" else count) or took["quarantined"]:
            sys.exit(f"bench: {name} held {took}")
        print(
            f"| {name} | {took['bytes'] / 1e6:.1f} | {took['records']:,} | {took['fresh']:,} | {took['s']:.4g}"
            f" | {took['cpu_s']:.4g} | {took['most_mib']:.0f} |"
        )
    print(f"\nThe tables have {(data / 'derived/advisories.db').stat().st_size / MIB:.0f} MiB.")
    print(f"PyPI versions to sort keys: {_sorted(100_000):,.0f} a second and core.")


if __name__ == "__main__":
    main()
