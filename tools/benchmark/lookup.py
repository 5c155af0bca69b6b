"""How fast leaked texts are recognised: `tools/bench lookup [--quick]`.

First, megabytes of text a second of processor time on one core, to the comparable form and its 128-bit digest: for a list of
strings and for a column of an Arrow table, beside the way limen-code/1 was first worked out (one text after the other's words
cut and joined again, one digest at a time), in turns in one run, on the same texts. The digests are compared. Then the hashes of
runs of three words. Then rows: as many digests of leaked rows, half of them ours, are looked up among registered ones in a
memory-mapped table, beside asking for them in the order they come in; and a sample of JSONL is observed from its bytes on.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "unit" / "marks"))
from orchid import Lab, jsonl, records, said  # noqa: E402  the tests' world is found from here

from limen.marks import nearby, normalise  # noqa: E402
from limen.marks.column import digests_of  # noqa: E402
from limen.marks.index import Index  # noqa: E402
from limen.marks.tables import ABSENT, Table  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 7
ENTRY = {"full": (8_000_000, 1_000_000, 20_000_000, 100_000), "quick": (2_000_000, 100_000, 2_000_000, 20_000)}
CAPITAL, ACCENTED, TAGGED, STOPPED = 0.1, 0.15, 0.05, 0.12  # shares of words
PEOPLE_WRITE = {"e": "\u00e9", "u": "\u00fc", "i": "\u00ef"}
CYRILLIC = {ord(latin): 0x430 + number for number, latin in enumerate("abcdefghijklmnopqrstuvwxyz")}


# The first way, kept to be measured against.
BETWEEN = "\x1e"
_TABLE = bytes(
    c if chr(c).isdigit() or chr(c).islower() or c == ord(BETWEEN) else c + 32 if chr(c).isupper() else 32 for c in range(128)
)
_TABLE += bytes(range(128, 256))


def _forms_as_first(texts: list[str]) -> list[bytes]:
    joined = BETWEEN.join(texts)
    for _ in range(2):
        if "&" in joined:
            joined = html.unescape(joined)
    if joined.isascii():
        joined = joined.lower()
    else:
        joined = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", joined).casefold())
    if "<" in joined:
        joined = re.sub(r"</?[a-z!][^<>\n\x1e]{0,300}>", " ", joined)
    if "](" in joined:
        joined = re.sub(r"\]\([^()\s\x1e]{0,2000}\)", " ", joined)
    words = joined.encode("utf-8", "replace").translate(_TABLE)
    if not joined.isascii():
        words = re.sub(r"[^\w\x00-\x7f]+", " ", words.decode()).encode()
    return [b" ".join(part.split()) for part in words.split(BETWEEN.encode())]


def digests_as_first(texts: list[str]) -> bytes:
    """The digests of texts none of which holds a control character, a million characters at a time."""
    forms: list[bytes] = []
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= 1 << 20:
            forms += _forms_as_first(some)
            some, size = [], 0
    if some:
        forms += _forms_as_first(some)
    return b"".join(hashlib.blake2b(form, digest_size=16, person=b"limen text v1").digest() for form in forms)


def texts_of(kind: str, size: int) -> list[str]:
    """Generated texts of one kind, about `size` bytes of them."""
    rng = random.Random(kind)
    words = 12 if "short" in kind else 90
    out: list[str] = []
    while size > 0:
        text = " ".join(_written(rng, kind, word) for word in said(rng, words).split())
        out.append(text)
        size -= len(text.encode())
    return out


def _written(rng: random.Random, kind: str, word: str) -> str:
    if rng.random() < CAPITAL:
        word = word.capitalize()
    if kind == "Latin" and rng.random() < ACCENTED:
        word = "".join(PEOPLE_WRITE.get(letter, letter) for letter in word)
    if kind == "Cyrillic":
        word = word.translate(CYRILLIC)
    if kind == "combining marks":
        word = unicodedata.normalize("NFD", "".join(PEOPLE_WRITE.get(letter, letter) for letter in word))
    if kind == "markup" and rng.random() < TAGGED:
        word = f"<b>{word}</b> &amp;"
    return word + (rng.choice(",.;:") if rng.random() < STOPPED else "")


def least(*ways: Callable[[], object]) -> list[float]:
    """Seconds of processor time that each way takes: the least of some turns, the ways in turns."""
    best = [float("inf")] * len(ways)
    for _ in range(TURNS):
        for number, way in enumerate(ways):
            start = time.process_time()
            way()
            best[number] = min(best[number], time.process_time() - start)
    return best


def forms(size: int) -> None:
    print("| texts | bytes each | first way, MB/s | list, MB/s | Arrow column, MB/s | ratio | form alone | runs of words |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("ASCII", "ASCII, short", "Latin", "Cyrillic", "markup", "combining marks"):
        texts = texts_of(kind, size)
        column = pa.array(texts)
        held = normalise.normalise_all(texts)
        if normalise.digests(held) != digests_as_first(texts):
            raise SystemExit(f"digests of {kind} differ from the first way's")
        total = sum(len(text.encode()) for text in texts)
        first, listed, arrow, form, run = least(
            lambda t=texts: digests_as_first(t),
            lambda t=texts: normalise.digests(normalise.normalise_all(t)),
            lambda c=column: digests_of(c),
            lambda t=texts: normalise.normalise_all(t),
            lambda h=held: nearby.runs(h),
        )
        speed = [total / 1e6 / s for s in (first, listed, arrow, form, run)]
        line = [kind, f"{total / len(texts):,.0f}", *(f"{s:.0f}" for s in speed[:3]), f"{speed[1] / speed[0]:.1f}"]
        print("| " + " | ".join([*line, f"{speed[3]:.0f}", f"{speed[4]:.0f}"]) + " |")


def make_table(where: Path, count: int) -> None:
    """Digests in order, as a prepared version has them: in a process of its own, so that its memory isn't counted."""
    rng = np.random.default_rng(count)
    table = Table.build(rng.integers(0, 2**64, (count, 2), dtype=np.uint64), np.arange(count, dtype=np.int64))
    for name in ("high", "low", "value"):
        np.save(where / f"{name}.npy", getattr(table, name))


def mapped(where: Path) -> Table:
    return Table(*(np.load(where / f"{name}.npy", mmap_mode="r") for name in ("high", "low", "value")))


def in_order_of_arrival(table: Table, digests: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(table.high, digests[:, 0]), len(table.high) - 1)
    hit = (table.high[at] == digests[:, 0]) & (table.low[at] == digests[:, 1])
    return np.where(hit, table.value[at], ABSENT)


def rows(where: Path, leaked: int, registered: int) -> None:
    subprocess.run([sys.executable, __file__, "--make", str(where), "--count", str(registered)], check=True)
    table = mapped(where)
    rng = np.random.default_rng(7)
    ours = np.sort(rng.choice(registered, leaked // 2, replace=False))
    digests = np.concatenate(
        [np.stack([table.high[ours], table.low[ours]], axis=1), rng.integers(0, 2**64, (leaked // 2, 2), dtype=np.uint64)]
    )
    order = rng.permutation(leaked)
    digests, expected = digests[order], np.concatenate([table.value[ours], np.full(leaked // 2, ABSENT)])[order]
    before = _private_mb()
    for name, ask in (
        ("as they come", in_order_of_arrival),
        ("limen", lambda t, d: t.find(d)),
        ("as they come", in_order_of_arrival),
        ("limen", lambda t, d: t.find(d)),
    ):
        fresh = mapped(where)
        start, cpu = time.perf_counter(), time.process_time()
        found = ask(fresh, digests)
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        if not (found == expected).all():
            raise SystemExit("a row was not found, or found as another")
        line = f"{leaked:,} rows among {registered:,}, {name}: {took:.2f} s ({cpu:.2f} s of processor time)"
        print(f"{line}, {leaked / took:,.0f} rows/s")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"own memory: {_private_mb() - before:.0f} MB more at the end; {most} MB at most, with what is mapped of the table")


def _private_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024


def samples(where: Path, count: int) -> None:
    """A sample from its bytes on: JSON, forms, digests of the record and of each field, and what they are."""
    said_rows = records(count)
    prepared = Lab(where).prepare(jsonl(said_rows))
    index = Index([prepared])
    sample = jsonl(said_rows)
    seconds = least(lambda: index.observe(sample))[0]
    print(f"observe {count:,} rows of JSONL, {len(sample) / 1e6:.1f} MB: {seconds:.2f} s, {count / seconds:,.0f} rows/s", end="")
    cut = jsonl([{"text": "As I said: " + row["answer"][: len(row["answer"]) * 4 // 5]} for row in said_rows])
    seconds = least(lambda: index.observe(cut))[0]
    print(f"; each cut, so that only runs of words find it: {seconds:.2f} s, {count / seconds:,.0f} rows/s")


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--make", type=Path)
    ask.add_argument("--count", type=int, default=0)
    given = ask.parse_args()
    if given.make:
        make_table(given.make, given.count)
        return
    size, leaked, registered, sample = ENTRY["quick" if given.quick else "full"]
    with tempfile.TemporaryDirectory() as held:
        where = Path(held)
        rows(where, leaked, registered)
        forms(size)
        samples(where, sample)
    print(
        json.dumps(
            {
                "unicode": unicodedata.unidata_version,
                "python": sys.version.split()[0],
                "numpy": np.__version__,
                "pyarrow": pa.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
