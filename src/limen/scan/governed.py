"""An index of governed content: what `match` compares blobs with. Made once for each shard's digest, then mapped from disk.

What is looked for: of JSONL each string value that is long enough (as it reads, and as JSON may have escaped it), and the
lines of records that hold none; of CSV the rows; of everything else the text as it stands. A value by itself that has fewer
than `winnow.RUN` normalised characters can't be recognised by itself: that is a bound of the method.

On disk: `text.npy` (the normal forms, a zero byte between any two that do not follow each other), `prints.npy` (the
fingerprints, sorted), `places.npy` (where in the text each one's run begins), `starts.npy` and `lines.npy` (which line of
the source begins at which place).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from limen.scan import winnow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT: Final = 1  # goes up with whatever changes what is found
_PARTS: Final = ("text", "prints", "places", "starts", "lines")
_DEPTH: Final = 64
_GAP: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Shard:
    """One registered shard: what names its bytes for good, what they are, how they are had, and every name they go by."""

    digest: str
    media: str  # jsonl, csv, or anything else for text
    load: Callable[[], bytes]
    names: tuple[tuple[str, int, str], ...] = ()  # (asset, version, shard)


@dataclass(frozen=True, slots=True)
class Index:
    """The fingerprints of one text. Arrays may be memory-mapped."""

    digest: str
    text: NDArray[np.uint8]
    prints: NDArray[np.uint32]
    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    lines: NDArray[np.int64]

    def line(self, place: int) -> int:
        """The line of the source, from 1, that a place in the text came from."""
        return int(self.lines[max(int(np.searchsorted(self.starts, place, side="right")) - 1, 0)])


def build(digest: str, pieces: Iterator[tuple[int, bytes, bool]]) -> Index:
    """An index of (line of the source, normal form, whether it follows the one before it without a gap)."""
    text = bytearray()
    starts: list[int] = []
    numbers: list[int] = []
    for line, form, follows in pieces:
        if not form:
            continue
        if text and not follows:
            text += _GAP
        starts.append(len(text))
        numbers.append(line)
        text += form
    array = np.frombuffer(bytes(text), dtype=np.uint8)
    prints, places = winnow.picked(array)
    whole = _without_gap(array, places)
    prints, places = _distinct(array, prints[whole], places[whole])
    return Index(digest, array, prints, places, np.array(starts, np.int64), np.array(numbers, np.int64))


def pieces(raw: bytes, media: str) -> Iterator[tuple[int, bytes, bool]]:
    """What `build` reads, of a shard's bytes."""
    if media == "jsonl":
        yield from _json_pieces(raw)
        return
    for number, form in enumerate(winnow.lines(raw), 1):
        if not (media == "csv" and number == 1):  # names of columns are no content
            yield number, form, True


def of(shard: Shard, cache: Path) -> Index:
    """The index of a shard, from the cache or made now. Whatever `load` raises if its bytes can't be had."""
    place = cache / f"{FORMAT}-{shard.digest}-{shard.media if shard.media in ('jsonl', 'csv') else 'text'}"
    if not place.exists():
        _keep(build(shard.digest, pieces(shard.load(), shard.media)), place)
    return Index(shard.digest, *(np.load(place / f"{part}.npy", mmap_mode="r", allow_pickle=False) for part in _PARTS))


def of_texts(texts: Sequence[bytes]) -> Index:
    """One index of several plain texts, in memory."""

    def parts() -> Iterator[tuple[int, bytes, bool]]:
        for raw in texts:
            for number, form in enumerate(winnow.lines(raw), 1):
                yield number, form, number > 1

    return build(hashlib.sha256(b"\0".join(sorted(texts))).hexdigest(), parts())


def digest_of(digests: Sequence[str]) -> str:
    """What names a set of indexes: equal sets find the same in the same blob."""
    told = json.dumps([FORMAT, winnow.K, winnow.WINDOW, sorted(digests)])
    return hashlib.sha256(told.encode()).hexdigest()


def _keep(index: Index, place: Path) -> None:
    """Write an index whole or not at all."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for part in _PARTS:
            np.save(temporary / f"{part}.npy", getattr(index, part), allow_pickle=False)
        with contextlib.suppress(OSError):  # another scan was faster: its index is the same
            temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _json_pieces(raw: bytes) -> Iterator[tuple[int, bytes, bool]]:
    follows = False
    for number, line in enumerate(raw.split(b"\n"), 1):
        found = [form for value in _strings(line) for form in _forms(value, line)]
        yield from ((number, form, False) for form in found)
        if not found:
            yield number, winnow.normal(line), follows
        follows = not found


def _strings(line: bytes) -> list[str]:
    """The string values of one record, in order. None of a line that is no JSON: it is looked for as it stands."""
    try:
        value = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return []
    out: list[str] = []
    _gather(value, out, _DEPTH)
    return out


def _gather(value: Any, out: list[str], depth: int) -> None:
    if isinstance(value, str):
        out.append(value)
    elif depth and isinstance(value, dict):
        for item in value.values():
            _gather(item, out, depth - 1)
    elif depth and isinstance(value, list):
        for item in value:
            _gather(item, out, depth - 1)


def _forms(value: str, line: bytes) -> list[bytes]:
    """The ways a value may stand in a blob: as it reads, and escaped as in JSON, whose `n` of a newline is a letter."""
    read = winnow.normal_text(value)
    forms = [read]
    if b"\\" in line or not value.isascii():
        forms += [winnow.normal_text(json.dumps(value, ensure_ascii=ascii_only)[1:-1]) for ascii_only in (True, False)]
    return [form for form in dict.fromkeys(forms) if len(form) >= winnow.RUN]


def _without_gap(text: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which runs lie in one piece of the text."""
    gaps = np.flatnonzero(text == 0)
    whole: NDArray[np.bool_] = np.searchsorted(gaps, places) == np.searchsorted(gaps, places + winnow.K)
    return whole


def _distinct(
    text: NDArray[np.uint8], prints: NDArray[np.uint32], places: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Sorted by fingerprint; of places that read the same as far as a shared run of RUN can reach, the first one.

    Such a run holds the K characters at the place, so it lies within WINDOW - 1 characters on either side of them.
    """
    order = np.lexsort((places, prints))
    prints, places = prints[order], places[order]
    again = np.zeros(len(prints), dtype=np.bool_)
    again[1:] = prints[1:] == prints[:-1]
    some = np.flatnonzero(again | np.concatenate([again[1:], [False]]))
    if not len(some):
        return prints, places
    keep = np.ones(len(prints), dtype=np.bool_)
    seen: set[tuple[int, bytes]] = set()
    for number in some.tolist():
        at = int(places[number])
        around = text[max(at - winnow.WINDOW + 1, 0) : at + winnow.RUN].tobytes()
        lead = min(at, winnow.WINDOW - 1)
        # What lies beyond a gap can't be part of a run.
        left = around[:lead].rpartition(_GAP)[2]
        right = around[lead:].partition(_GAP)[0]
        key = (len(left), hashlib.blake2b(left + right, digest_size=16).digest())
        if key in seen:
            keep[number] = False
        seen.add(key)
    return prints[keep], places[keep]
