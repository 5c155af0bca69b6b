"""Which blobs share a run of governed content. Every candidate is compared with the governed text before it is named.

Many blobs are looked up at once: their normal forms stand end to end, and what a run across two of them seems to share is
thrown away when the texts are compared. A run is told apart from boilerplate (licence texts and what else the caller calls
known) and from runs that say nothing (one word over and over): those are counted and named as what they are.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from limen.scan import winnow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from limen.scan.governed import Index

AT_ONCE: Final = 1 << 19  # normalised characters of blobs that are looked up together
MOST_RUNS: Final = 200  # runs told of one blob and one shard; from then on there are "at least" so many
LEAST_DISTINCT: Final = 20  # different runs of four characters, below which a shared run says nothing
_REACH: Final = winnow.WINDOW - 1
_PAIRS: Final = 1 << 15
_FILTER_BITS: Final = (16, 28)

Kind = Literal["reference", "boilerplate", "trivial"]


@dataclass(frozen=True, slots=True)
class Run:
    """Characters [start, end) of a blob's normal form that stand in an index's text too, from `place` on."""

    index: int
    start: int
    end: int
    place: int


@dataclass(frozen=True, slots=True)
class Shared:
    """A run as it is reported: lines of the blob, the line of the shard's source, normalised characters in common."""

    digest: str
    kind: Kind
    line: int
    last_line: int
    source_line: int
    length: int


@dataclass(slots=True)
class Matcher:
    """Looks blobs up in the indexes. `add` them; what they share comes from `add` and, at the end, from `finish`."""

    indexes: Sequence[Index]
    known: Index | None = None
    _blobs: list[tuple[str, bytes, int]] = field(default_factory=list)  # id, bytes, length of the normal form
    _forms: list[bytes] = field(default_factory=list)
    _size: int = 0
    _filter: _Filter = field(init=False)

    def __post_init__(self) -> None:
        self._filter = _Filter([index.prints for index in self.indexes])

    def add(self, oid: str, raw: bytes) -> list[tuple[str, list[Shared]]]:
        """Take one blob; returns what was found in those that were looked up now."""
        form = winnow.normal(raw) if len(raw) >= winnow.RUN else b""
        if len(form) < winnow.RUN:
            return []
        self._blobs.append((oid, raw, len(form)))
        self._forms.append(form)
        self._size += len(form)
        return self.finish() if self._size >= AT_ONCE else []

    def finish(self) -> list[tuple[str, list[Shared]]]:
        """Look up what was added since the last time."""
        whole = np.frombuffer(b"".join(self._forms), dtype=np.uint8)
        blobs, self._blobs, self._forms, self._size = self._blobs, [], [], 0
        prints, places = winnow.picked(whole)
        maybe = self._filter.may_hold(prints)
        if not maybe.any():
            return []
        bounds = np.concatenate([[0], np.cumsum([length for _, _, length in blobs])])
        runs: dict[int, list[Run]] = {}
        for number, index in enumerate(self.indexes):
            for blob, run in runs_in(whole, bounds.tolist(), (prints[maybe], places[maybe]), index, number=number):
                runs.setdefault(blob, []).append(run)
        return [(blobs[blob][0], self._told(blobs[blob][1], found)) for blob, found in sorted(runs.items())]

    def _told(self, raw: bytes, runs: list[Run]) -> list[Shared]:
        """Runs of one blob as they are reported."""
        form = winnow.normal(raw)
        begins = np.concatenate([[0], np.cumsum([len(line) for line in winnow.lines(raw)])])
        known = self._known_in(form)
        out = []
        for run in runs:
            index = self.indexes[run.index]
            out.append(
                Shared(
                    digest=index.digest,
                    kind=_kind(form, run, known),
                    line=int(np.searchsorted(begins, run.start, side="right")),
                    last_line=int(np.searchsorted(begins, run.end - 1, side="right")),
                    source_line=index.line(run.place),
                    length=run.end - run.start,
                )
            )
        return out

    def _known_in(self, form: bytes) -> NDArray[np.bool_] | None:
        """Which characters of a blob stand in boilerplate."""
        if self.known is None:
            return None
        whole = np.frombuffer(form, dtype=np.uint8)
        mask = np.zeros(len(form), dtype=np.bool_)
        for _, run in runs_in(whole, [0, len(form)], winnow.picked(whole), self.known, most=len(form)):
            mask[run.start : run.end] = True
        return mask


def runs_in(
    whole: NDArray[np.uint8],
    bounds: list[int],
    found: tuple[NDArray[np.uint32], NDArray[np.int64]],
    index: Index,
    *,
    number: int = 0,
    most: int = MOST_RUNS,
) -> Iterator[tuple[int, Run]]:
    """Every run of RUN characters or more that a blob (its place in `bounds`) shares with an index, each once, widest."""
    prints, places = found
    low = np.searchsorted(index.prints, prints, side="left")
    high = np.searchsorted(index.prints, prints, side="right")
    hits = np.flatnonzero(high > low)
    told: dict[tuple[int, int], int] = {}  # (blob, how far the places are apart) -> where the last run ended
    count: dict[int, int] = {}
    for some in _portions(high[hits] - low[hits]):
        chosen = hits[some]
        repeat = (high - low)[chosen]
        mine = np.repeat(places[chosen], repeat)
        offsets = np.arange(int(repeat.sum())) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        theirs = np.asarray(index.places[np.repeat(low[chosen], repeat) + offsets])
        for at, place in _shared(whole, np.asarray(index.text), mine, theirs):
            blob = bisect_right(bounds, at) - 1
            if told.get((blob, at - place), -1) >= at or count.get(blob, 0) >= most:
                continue
            start, end = _widened(whole, index.text, at, place, within=(bounds[blob], bounds[blob + 1]))
            told[blob, at - place] = end
            if end - start >= winnow.RUN:
                count[blob] = count.get(blob, 0) + 1
                yield blob, Run(number, start - bounds[blob], end - bounds[blob], place - (at - start))


@dataclass(slots=True, init=False)
class _Filter:
    """Says fast of most fingerprints that no index has them."""

    table: NDArray[np.bool_]
    shift: np.uint32

    def __init__(self, prints: Sequence[NDArray[np.uint32]]) -> None:
        held = sum(map(len, prints))
        least, most = _FILTER_BITS
        bits = min(max((32 * held).bit_length(), least), most)
        self.shift = np.uint32(32 - bits)
        self.table = np.zeros(1 << bits, dtype=np.bool_)
        for some in prints:
            self.table[np.asarray(some) >> self.shift] = True

    def may_hold(self, prints: NDArray[np.uint32]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.table[prints >> self.shift]
        return found


def _portions(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Slices of which none makes many more than _PAIRS pairs."""
    begin = total = 0
    for at, size in enumerate(sizes.tolist()):
        total += size
        if total >= _PAIRS:
            yield slice(begin, at + 1)
            begin, total = at + 1, 0
    if begin < len(sizes):
        yield slice(begin, len(sizes))


def _shared(
    whole: NDArray[np.uint8], text: NDArray[np.uint8], mine: NDArray[np.int64], theirs: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """The pairs of places around which RUN characters or more are equal, in order of place; a table of comparisons each."""
    around = np.arange(-_REACH, winnow.RUN)
    for begin in range(0, len(mine), _PAIRS):
        a, b = mine[begin : begin + _PAIRS], theirs[begin : begin + _PAIRS]
        same = np.flatnonzero((whole[a] == text[b]) & (whole[a + winnow.K - 1] == text[b + winnow.K - 1]))
        a, b = a[same], b[same]
        at_a, at_b = a[:, None] + around, b[:, None] + around
        inside = (at_a >= 0) & (at_a < len(whole)) & (at_b >= 0) & (at_b < len(text))
        equal = inside & (whole[np.clip(at_a, 0, len(whole) - 1)] == text[np.clip(at_b, 0, len(text) - 1)])
        left = np.argmin(np.concatenate([equal[:, _REACH - 1 :: -1], np.zeros((len(a), 1), np.bool_)], axis=1), axis=1)
        right = np.argmin(np.concatenate([equal[:, _REACH:], np.zeros((len(a), 1), np.bool_)], axis=1), axis=1)
        for hit in np.flatnonzero((right >= winnow.K) & (left + right >= winnow.RUN)).tolist():
            yield int(a[hit]), int(b[hit])


def _widened(
    whole: NDArray[np.uint8], text: NDArray[np.uint8], at: int, place: int, *, within: tuple[int, int]
) -> tuple[int, int]:
    """The widest [start, end) around `at` that is equal on both sides and lies in one blob."""
    back = min(at - within[0], place)
    ahead = min(within[1] - at, len(text) - place)
    left = _equal(whole[at - back : at][::-1], text[place - back : place][::-1])
    return at - left, at + _equal(whole[at : at + ahead], text[place : place + ahead])


def _equal(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """How many characters at the beginning are equal."""
    step, done = 256, 0
    while done < len(a):
        differ = np.flatnonzero(a[done : done + step] != b[done : done + step])
        if len(differ):
            return done + int(differ[0])
        done += step
        step *= 2
    return len(a)


def _kind(form: bytes, run: Run, known: NDArray[np.bool_] | None) -> Kind:
    """Whether a run says that governed content is here, or only that both hold what everybody has."""
    if known is not None and _longest_false(known[run.start : run.end]) < winnow.RUN:
        return "boilerplate"
    some = form[run.start : min(run.end, run.start + 4096)]
    return "trivial" if len({some[n : n + 4] for n in range(len(some) - 3)}) < LEAST_DISTINCT else "reference"


def _longest_false(mask: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.concatenate([[True], mask, [True]]))
    return int(np.diff(edges).max()) - 1
