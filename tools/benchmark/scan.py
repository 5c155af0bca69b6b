"""Measures `limen scan` on a history of at least 50,000 blobs, made of the texts of this Python and its packages.

    references     governed content alone: bytes of blobs by seconds of processor time, git's included
    whole          keys as well, by Kingfisher in its box
    again          the whole scan once more with 1 % new blobs, by the first one's time

Into the history go 200 pieces of governed content, re-wrapped, re-cased and behind comment signs, and 100 tokens. Everything
is held against what was planted: the figures are printed only if all of it was found and no other blob was named. Nothing
here asserts a time. The history lies in a temporary directory and goes away.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import string
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from limen.scan import governed, winnow
from limen.scan.history import History
from limen.scan.keyring import Keyring
from limen.scan.run import Looked, Scan
from limen.scan.secrets import Kingfisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.scan.manifest import Manifest

LETTERS = string.ascii_letters + string.digits
SIGNS = ("# ", "// ", " * ", "-- ", "> ", "; ")
CASES = (str.upper, str.lower, str.title, str.swapcase)
PIECES, TOKENS = 200, 100
LEAST, MOST = 100, 200_000  # bytes of one text
LONGER = 0.97  # how likely a piece gets one character shorter: many have hardly more than what is guaranteed to be found


@dataclass
class Planted:
    """A history, and what stands in it that shall be found."""

    path: Path
    content: bytes
    pieces: set[bytes] = field(default_factory=set)  # the blobs that hold one
    tokens: set[str] = field(default_factory=set)
    blobs: int = 0


def texts() -> list[bytes]:
    """Different texts of this Python's library and packages."""
    found: dict[bytes, None] = {}
    for place in dict.fromkeys(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "include")):
        for path in sorted(Path(place).rglob("*")):
            if path.suffix in {".py", ".pyi", ".txt", ".md", ".rst", ".h", ".c", ".json", ".toml"} and path.is_file():
                raw = path.read_bytes()
                if LEAST < len(raw) < MOST:
                    found[raw] = None
    return list(found)


def records(draw: random.Random, count: int) -> bytes:
    """Governed content: JSONL in invented words."""
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(8000)]
    lines = (
        {"instruction": " ".join(draw.choices(words, k=12)), "answer": " ".join(draw.choices(words, k=60))} for _ in range(count)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def piece(draw: random.Random, lines: list[bytes]) -> bytes:
    """A piece of one answer, of RUN normalised characters or more."""
    text = json.loads(draw.choice(lines))["answer"]
    end = len(text)
    start = draw.randrange(len(text) // 2)
    while len(winnow.normal_text(text[start:end])) > winnow.RUN + 20 and draw.random() < LONGER:
        end -= 1
    sign, case = draw.choice(SIGNS), draw.choice(CASES)
    return "".join(f"{sign}{line}\n" for line in textwrap.wrap(case(text[start:end]), draw.choice((24, 40, 60, 79)))).encode()


def edited(draw: random.Random, raw: bytes, number: int) -> bytes:
    """The next version of a text: a few lines gone, moved or said twice, and one that is new."""
    lines = raw.splitlines(keepends=True)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        lines[at : at + 1] = draw.choice(([], [lines[at]] * 2, [lines[draw.randrange(len(lines))]]))
        lines = lines or [b"\n"]
    lines.insert(draw.randrange(len(lines) + 1), b"revision %d\n" % number)
    return b"".join(lines)


def history(path: Path, *, blobs: int, seed: int) -> Planted:
    """A repository of at least that many blobs: every text in several versions, by thousands of commits."""
    draw = random.Random(seed)
    planted = Planted(path, records(draw, 20_000))
    answers = planted.content.splitlines()
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
    current = texts()
    first = len(current)
    extra = {draw.randrange(blobs): "piece" for _ in range(PIECES)}
    while len(extra) < PIECES + TOKENS:
        extra.setdefault(draw.randrange(blobs), "token")

    def versions() -> Iterator[tuple[int, bytes]]:
        for number in range(blobs):
            which = number % first
            if number >= first:
                current[which] = edited(draw, current[which], number)
            raw = current[which]
            if kind := extra.get(number):
                lines = raw.splitlines(keepends=True)
                told = piece(draw, answers) if kind == "piece" else token(draw, planted)
                at = draw.randrange(len(lines) + 1)
                raw = b"".join([*lines[:at], b"\n", told, *lines[at:]])
                if kind == "piece":
                    planted.pieces.add(raw)
            yield which, raw

    put(path, versions())
    planted.blobs = blobs
    return planted


def token(draw: random.Random, planted: Planted) -> bytes:
    """A made-up token of GitHub's form."""
    made = "ghp_" + "".join(draw.choices(LETTERS, k=36))
    planted.tokens.add(made)
    return f"token = '{made}'\n".encode()


def put(path: Path, versions: Iterator[tuple[int, bytes]], *, each: int = 10, onto: bool = False) -> None:
    """Commit versions of texts, some to a commit."""
    with subprocess.Popen(["git", f"--git-dir={path}", "fast-import", "--quiet"], stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None  # noqa: S101  by PIPE
        for number, (which, raw) in enumerate(versions):
            if number % each == 0:
                who = b"A <a@x.example> %d +0000" % (1_700_000_000 + number)
                importing.stdin.write(b"commit refs/heads/main\nauthor %b\ncommitter %b\ndata 0\n" % (who, who))
                if onto and number == 0:
                    importing.stdin.write(b"from refs/heads/main^0\n")
            importing.stdin.write(b"M 100644 inline d%d/t%d\ndata %d\n%b\n" % (which % 97, which, len(raw), raw))
    if importing.returncode:
        raise SystemExit("git fast-import failed")


@dataclass
class Timed:
    """One scan with what it cost, in seconds; `processor` counts our own process and what it began."""

    found: Manifest
    wall: float
    processor: float


def timed(scan: Scan) -> Timed:
    """Run one scan."""
    before, began = cost(), time.perf_counter()
    found = scan.run()
    return Timed(found, time.perf_counter() - began, cost() - before)


def cost() -> float:
    """Processor time of this process and of those that it began and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def held(planted: Planted, found: Manifest, keyring: Keyring) -> str:
    """Stop unless exactly what was planted was found; what to say of it otherwise."""
    wanted = {hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest() for raw in planted.pieces}
    named = {one.blob for one in found.references if one.kind == "reference"}
    if named != wanted:
        raise SystemExit(
            f"references: {len(wanted - named)} of {len(wanted)} not found, {len(named - wanted)} blobs named wrongly"
        )
    if found.kingfisher:
        keys = {keyring.seal(one.encode()).key for one in planted.tokens}
        missing = keys - {key.key for key in found.keys}
        if missing:
            raise SystemExit(f"keys: {len(missing)} of {len(keys)} not found")
    others = found.blobs - len(wanted)
    return f"all {len(wanted)} pieces found, none of {others} other blobs named; all {len(planted.tokens)} tokens found"


def main() -> None:
    """Make the history, scan it three ways, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--blobs", type=int, default=50_500)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    root = Path(tempfile.mkdtemp(prefix="limen-bench-scan-"))
    try:
        measure(root, given.blobs, given.seed)
    finally:
        shutil.rmtree(root)


def measure(root: Path, blobs: int, seed: int) -> None:
    """All of it in one directory."""
    planted = history(root / "r.git", blobs=blobs, seed=seed)
    (root / "shard").write_bytes(planted.content)
    shard = governed.Shard("ab" * 32, "jsonl", (root / "shard").read_bytes, (("governed", 1, "shard"),))
    keyring = Keyring.of(b"k" * 32)
    began = time.perf_counter()
    looked = Looked((shard,), (governed.of(shard, root / "index"),), None, "0" * 64)
    indexed = time.perf_counter() - began
    repository = History.open(root / "r.git")
    alone = timed(Scan(repository, "r", looked, None, root / "alone"))
    told = held(planted, alone.found, keyring)
    with Kingfisher.ready(keyring, rules=root / "rules") as kingfisher:
        whole = timed(Scan(repository, "r", looked, kingfisher, root / "whole"))
        told = held(planted, whole.found, keyring)
    draw = random.Random(seed + 1)
    some = [(which, edited(draw, raw, blobs + which)) for which, raw in enumerate(texts()[: blobs // 100])]
    put(root / "r.git", iter(some), onto=True)
    with Kingfisher.ready(keyring, rules=root / "rules") as kingfisher:
        again = timed(Scan(repository, "r", looked, kingfisher, root / "whole"))
    again_alone = timed(Scan(repository, "r", looked, None, root / "alone"))
    held(planted, again.found, keyring)
    size = alone.found.bytes / 1e6
    print(f"tools/bench scan, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(
        f"history: {alone.found.blobs} blobs, {size:.0f} MB, {alone.found.commits} commits; Kingfisher {whole.found.kingfisher}"
    )
    print(f"governed: {len(planted.content) / 1e6:.1f} MB, indexed in {indexed:.2f} s")
    print(told)
    print()
    print("| scan | blobs read | s | MB/s | MB/s a core |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, one in (("references alone", alone), ("whole: keys as well", whole)):
        print(f"| {name} | {one.found.read} | {one.wall:.1f} | {size / one.wall:.0f} | {size / one.processor:.0f} |")
    for name, one, first in (("references, 1 % new", again_alone, alone), ("whole, 1 % new", again, whole)):
        wall, processor = 100 * one.wall / first.wall, 100 * one.processor / first.processor
        told = f"{wall:.1f} % of the first; of its processor time {processor:.1f} %"
        print(f"| {name} | {one.found.read} | {one.wall:.2f} | {told} | |")


if __name__ == "__main__":
    main()
