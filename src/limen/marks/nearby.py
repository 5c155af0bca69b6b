"""Records that come back cut, joined or rewritten: recognised by their runs of three words.

Of a registered record the runs that no other record has are kept (shingles, sampled by least hash: Broder 1997), at most `KEPT`.
A sample's text that isn't known whole is looked up by all of its runs. Where runs of one record lie close to each other they
*cover* words; a record is recognised if enough is covered, and clearly more than all other records cover around there. What two
records could both explain is dropped. Versions prepared before runs of three words have runs of seven, and are asked for these.

In a script that writes no spaces a character is a word (UTF-8 of three bytes from U+3000 on). Pure functions of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RUN: Final = 3  # words
KEPT: Final = 64  # runs of a record, at most
OLD_RUN: Final = 7
_AT_ONCE: Final = 1 << 16
LONGEST: Final = (1 << 20) - 1  # bytes of a text whose runs are hashed; a longer one is known by these
_SPAN: Final = 1 << 20  # more than the words of any text: places in different texts are never near each other
_NEAR: Final = 100  # words: a record's runs that are further apart are two finds
_AROUND: Final = 48  # words before and after a find in which other records count against it
_CLEARLY: Final = 1.5  # times what all others cover there
_GLANCED: Final = 1 << 27  # of a larger table no glance is made: it would take a gigabyte while it is
_WIDE: Final = 0xE3  # the least first byte of a character that is a word by itself


@dataclass(frozen=True, slots=True)
class Rule:
    """When a find counts: so many words covered, by so many runs, of so large a share of the record's own."""

    cover: int
    runs: int
    share: float


# In a piece by itself (a record, a line, a paragraph) others are looked for all around; in running text, where one record
# follows the other, only where the find is, and more must be covered.
APART: Final = {RUN: Rule(6, 2, 0.08), OLD_RUN: Rule(8, 2, 0.5)}
RUNNING: Final = {RUN: Rule(15, 5, 0.25), OLD_RUN: Rule(8, 2, 0.5)}


@dataclass(frozen=True, slots=True)
class Runs:
    """Hashes of runs of words, each with its place: the text's number and the word in it, as one number."""

    words: int
    hashes: NDArray[np.uint64]
    places: NDArray[np.int64]

    @property
    def owners(self) -> NDArray[np.int64]:
        """The number of the text that each is of."""
        return self.places // _SPAN


@dataclass(slots=True)
class Known:
    """Runs of registered stretches (since runs of three: records), sorted by hash; `own`: how many each stretch has.

    Once it has been asked for as many as it holds, it keeps a byte or two for each by which most strangers are told at a glance.
    """

    words: int
    hashes: NDArray[np.uint64]
    stretch: NDArray[np.int64]
    own: NDArray[np.int64]
    _asked: int = 0
    _glance: NDArray[np.uint8] | None = None

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of these hashes are known, and where."""
        self._asked += len(hashes)
        likely = self._likely(hashes)
        # In order, so that each page of the table is read once.
        likely = likely[np.argsort(hashes[likely])]
        at = np.minimum(np.searchsorted(self.hashes, hashes[likely]), len(self.hashes) - 1)
        hit = self.hashes[at] == hashes[likely]
        return likely[hit], at[hit]

    def _likely(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self._glance is None:
            if self._asked < len(self.hashes) or len(self.hashes) > _GLANCED:
                return np.arange(len(hashes))
            bits = max(3, int(len(self.hashes) * 8 - 1).bit_length())
            glance = np.zeros(1 << bits, dtype=np.bool_)
            glance[self.hashes >> np.uint64(64 - bits)] = True
            self._glance = np.packbits(glance)
        bits = len(self._glance).bit_length() + 2
        top = hashes >> np.uint64(64 - bits)
        masks = np.uint8(128) >> (top & np.uint64(7)).astype(np.uint8)
        return np.flatnonzero(self._glance[top >> np.uint64(3)] & masks)


@dataclass(frozen=True, slots=True)
class Finds:
    """Where stretches were recognised: in [start, end) of the sample's places, with so many words covered."""

    stretch: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    cover: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stretch)

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Finds:
        """Some of them."""
        return Finds(self.stretch[chosen], self.start[chosen], self.end[chosen], self.cover[chosen])


def runs(forms: Sequence[bytes], *, words: int = RUN) -> Runs:
    """All runs of so many words of each text. A run never spans two texts."""
    hashes: list[NDArray[np.uint64]] = []
    places: list[NDArray[np.int64]] = []
    some: list[bytes] = []
    size = first = 0
    for number, form in enumerate([*forms, None]):
        if form is None or (some and size + len(form) >= _AT_ONCE):
            got, at = _runs(some, words)
            hashes.append(got)
            places.append(at + first * _SPAN)
            some, size, first = [], 0, number
        if form is not None:
            some.append(form[:LONGEST])
            size += len(some[-1]) + 1
    return Runs(words, np.concatenate(hashes), np.concatenate(places))


def sampled(found: Runs, records: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """At most KEPT distinct runs of each record, the same ones whatever surrounds them; and which record each is of.

    `records`: by text, the record it is a field of.
    """
    owner = records[found.owners]
    order = np.lexsort((found.hashes, owner))
    hashes, owner = found.hashes[order], owner[order]
    new = np.ones(len(hashes), dtype=np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])
    hashes, owner = hashes[new], owner[new]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    return hashes[rank < KEPT], owner[rank < KEPT]


def recognise(found: Runs, known: Known, *, running: bool = False) -> Finds:
    """Which stretches a sample's texts hold. `running`: texts in which one record may follow the other."""
    hit, at = known.find(found.hashes)
    finds, hits = _close_together(found.places[hit], found.hashes[hit], np.asarray(known.stretch[at]), known.words)
    others = _others(finds, hits, 0)
    own = known.own[finds.stretch]
    good = _meets(RUNNING[known.words], finds, hits.distinct, own) & (finds.cover >= _CLEARLY * others)
    if not running:
        apart = _meets(APART[known.words], finds, hits.distinct, own)
        good |= apart & (finds.cover >= _CLEARLY * _others(finds, hits, _AROUND))
    return finds.only(good)


def clearest(finds: Sequence[Finds], meanings: Sequence[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
    """Of several versions' finds in the same texts, which stand: where two mean different things, the clearly better one."""
    which = np.repeat(np.arange(len(finds)), [len(some) for some in finds])
    start, cover = np.concatenate([some.start for some in finds]), np.concatenate([some.cover for some in finds])
    meaning = np.concatenate(list(meanings))
    text = start // _SPAN
    order = np.lexsort((-cover, text))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = text[order][1:] != text[order][:-1]
    best = order[np.flatnonzero(first)[np.cumsum(first) - 1]] if len(order) else order
    end = np.concatenate([some.end for some in finds])
    clash = (meaning[order] != meaning[best]) & (start[order] < end[best]) & (start[best] < end[order])
    stands = np.ones(len(order), dtype=np.bool_)
    stands[order[clash]] = False
    stands[best[clash & (cover[order] * _CLEARLY > cover[best])]] = False
    return [stands[which == number] for number in range(len(finds))]


@dataclass(frozen=True, slots=True)
class _Hits:
    """Hits in order of place, with what each adds to its find's cover; and how many different runs each find has."""

    places: NDArray[np.int64]
    adds: NDArray[np.int64]
    distinct: NDArray[np.int64]


def _close_together(
    places: NDArray[np.int64], hashes: NDArray[np.uint64], stretch: NDArray[np.int64], words: int
) -> tuple[Finds, _Hits]:
    """Hits of the same stretch that are near each other, as finds."""
    order = np.lexsort((places, stretch))
    places, hashes, stretch = places[order], hashes[order], stretch[order]
    gap = np.diff(places, prepend=-_SPAN)
    new = (gap > _NEAR) | (np.diff(stretch, prepend=-1) != 0)
    adds = np.where(new, words, np.minimum(gap, words))
    begin = np.flatnonzero(new)
    number = np.cumsum(new) - 1
    # One run over and over covers no more than once.
    by_run = np.lexsort((hashes, number))
    fresh = np.ones(len(hashes), dtype=np.bool_)
    fresh[1:] = (hashes[by_run][1:] != hashes[by_run][:-1]) | (number[by_run][1:] != number[by_run][:-1])
    distinct = np.bincount(number[by_run][fresh], minlength=len(begin))
    cover = np.add.reduceat(adds, begin) if len(begin) else np.zeros(0, dtype=np.int64)
    last = np.append(begin[1:], len(places)) - 1 if len(begin) else begin
    finds = Finds(stretch[begin], places[begin], places[last] + words, np.minimum(cover, words * distinct))
    in_order = np.argsort(places, kind="stable")
    return finds, _Hits(places[in_order], adds[in_order], distinct)


def _others(finds: Finds, hits: _Hits, around: int) -> NDArray[np.int64]:
    """What other records cover where each find is, and so many words around it."""
    before = np.concatenate([[0], np.cumsum(hits.adds)])
    low = np.searchsorted(hits.places, finds.start - around)
    high = np.searchsorted(hits.places, finds.end + around)
    cover: NDArray[np.int64] = np.maximum(before[high] - before[low] - finds.cover, 0)
    return cover


def _meets(rule: Rule, finds: Finds, distinct: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = (finds.cover >= rule.cover) & (distinct >= rule.runs) & (distinct >= rule.share * own)
    return good


def _runs(forms: list[bytes], words: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Polynomial hashes modulo 2^64 by prefix sums, finished by splitmix64: a few passes of numpy over the bytes."""
    joined = b" ".join(forms)
    text = np.frombuffer(joined, dtype=np.uint8)
    nothing = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    if not len(text):
        return nothing
    power, inverse = _powers(1 << max(0, len(text) - 1).bit_length())
    prefix = np.zeros(len(text) + 1, dtype=np.uint64)
    np.cumsum((text.astype(np.uint64) + np.uint64(1)) * power[: len(text)], out=prefix[1:])
    starts, ends = _words(text, wide=words == RUN and not joined.isascii())
    if len(starts) < words:
        return nothing
    before = np.searchsorted(starts, np.cumsum(np.fromiter(map(len, forms), dtype=np.int64, count=len(forms)) + 1))
    of = np.diff(before, prepend=0)
    owner = np.repeat(np.arange(len(forms)), of)
    place = owner * _SPAN + np.arange(len(owner)) - np.repeat(before - of, of)
    last = len(owner) - words + 1
    whole = owner[:last] == owner[words - 1 :]
    begin, end = starts[:last][whole], ends[words - 1 :][whole]
    mixed = (prefix[end] - prefix[begin]) * inverse[begin]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31)), place[:last][whole]


def _words(text: NDArray[np.uint8], *, wide: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words begin and end. `wide`: characters of three bytes from U+3000 on are words by themselves."""
    said = np.zeros(len(text) + 2, dtype=np.bool_)
    np.not_equal(text, ord(" "), out=said[1:-1])
    cut = said[1:] != said[:-1]
    if not wide:
        edges = np.flatnonzero(cut)
        return edges[::2], edges[1::2]
    lead = np.zeros(len(text) + 4, dtype=np.bool_)
    lead[3:-1] = (text >= _WIDE) & (text < 0xF0)  # noqa: PLR2004  RFC 3629: what begins four bytes
    begins: NDArray[np.bool_] = lead[3:] | lead[:-3]  # such a character, or what follows one
    starts = np.flatnonzero((cut | begins)[:-1] & said[1:-1])
    ends = np.flatnonzero((cut | begins)[1:] & said[1:-1]) + 1
    return starts, ends


@cache
def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """r^i and r^-i modulo 2^64, for i below `size`."""
    base = 0xD6E8_FEB8_6659_FD93
    ones = np.ones(max(size, 1), dtype=np.uint64)
    power, inverse = ones.copy(), ones.copy()
    power[1:] = base
    inverse[1:] = pow(base, -1, 1 << 64)
    return np.multiply.accumulate(power), np.multiply.accumulate(inverse)
