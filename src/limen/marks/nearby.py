"""Records that come back cut, joined or rewritten: recognised by their runs of three words.

Of a registered record some runs are kept, those first that fewest records have (shingles, sampled by least hash: Broder 1997);
what more than `SHARED` records have says nothing. A sample's text that isn't known whole is looked up by all of its runs. A
record is *likely* where `LEAST` or more of its runs stand within its own length. A place is then put down to the record that
explains most of it, and to none if another explains nearly as much: a wrong symbol costs a trace more than one that is
missing. All of this is evidence about the sample; the bound on innocent copies holds whatever a sample shows.

Three words, because 27 % of runs of three are left when 35 % of words are deleted at random, and 5 % of runs of seven; with
two, a text of fifty words has too few that are its own. Versions prepared before runs of three words have runs of seven, and
are asked for these.

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
DRAWN: Final = 64  # runs of a record of which those kept are chosen
KEPT: Final = 40
SHARED: Final = 4  # records that may share a run
LEAST: Final = 3  # of a record's runs, close together: two may meet by chance
MOST: Final = 5  # of which so many are enough in any text by itself, and one less in running text: a longer text has more chances
_EACH: Final = 12  # words of a text by itself for each run that must be there
COVER: Final = 6  # words that these cover: less is a turn of phrase
RIVAL: Final = 0.8  # of the best score for a place: then it can't be said whose it is
LONG: Final = 512  # words; of a longer record any such stretch may be found
OLD_RUN: Final = 7
_OLD_LEAST, _OLD_SHARE = 2, 0.5
_AT_ONCE: Final = 1 << 16
LONGEST: Final = (1 << 20) - 1  # bytes of a text whose runs are hashed; a longer one is known by these
_ROOM: Final = 2 * LONG  # places between two texts: none of one is within reach of the other's
_POWER: Final = 1.5  # of a record's share of runs, in its score: of two that explain a place, the one found more wholly
_GLANCED: Final = 1 << 27  # of a larger table no glance is made: it would take a gigabyte while it is
_WIDE: Final = 0xE3  # the least first byte of a character that is a word by itself
_MIX: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


@dataclass(frozen=True, slots=True)
class Runs:
    """Hashes of runs of words, each with its place: words are counted from the first text on, with room between two.

    `begin`, `end`: by text, the place of its first word and the one behind its last.
    """

    words: int
    hashes: NDArray[np.uint64]
    places: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    @property
    def owners(self) -> NDArray[np.int64]:
        """The number of the text that each is of."""
        return self.text_at(self.places)

    def text_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the text that has each place."""
        return np.searchsorted(self.begin, places, side="right") - 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """Runs of some records, in the records' order, and how many words each record has."""

    hashes: NDArray[np.uint64]
    record: NDArray[np.int64]
    size: NDArray[np.int64]


@dataclass(slots=True)
class Known:
    """Runs of registered stretches (since runs of three: records), sorted by hash, each as often as stretches share it.

    By stretch: `own`, how many of its runs are kept, and `size`, its words. Once it has been asked for as many as it holds, it
    keeps a byte or two for each by which most strangers are told at a glance.
    """

    words: int
    hashes: NDArray[np.uint64]
    stretch: NDArray[np.int64]
    own: NDArray[np.int64]
    size: NDArray[np.int64]
    _asked: int = 0
    _glance: NDArray[np.uint8] | None = None

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of these hashes are known, and where; one that several stretches share, once for each."""
        self._asked += len(hashes)
        maybe = self._maybe(hashes)
        # In order, so that each page of the table is read once.
        maybe = maybe[np.argsort(hashes[maybe])]
        first = np.searchsorted(self.hashes, hashes[maybe])
        hit = self.hashes[np.minimum(first, len(self.hashes) - 1)] == hashes[maybe]
        first, maybe = first[hit], maybe[hit]
        times = np.searchsorted(self.hashes, hashes[maybe], side="right") - first
        at = np.repeat(first - np.cumsum(times) + times, times) + np.arange(times.sum())
        return np.repeat(maybe, times), at

    def _maybe(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
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
class Likely:
    """Stretches that a sample may hold: each with its score, its reach in words, and the places of its runs that are close."""

    stretch: NDArray[np.int64]
    score: NDArray[np.float64]
    reach: NDArray[np.int64]
    places: list[NDArray[np.int64]]


def runs(forms: Sequence[bytes], *, words: int = RUN) -> Runs:
    """All runs of so many words of each text. A run never spans two texts."""
    hashes: list[NDArray[np.uint64]] = []
    places: list[NDArray[np.int64]] = []
    sizes: list[NDArray[np.int64]] = []
    some: list[bytes] = []
    size = at = 0
    for form in [*forms, None]:
        if form is None or (some and size + len(form) >= _AT_ONCE):
            got, place, of = _runs(some, words)
            hashes.append(got)
            places.append(place + at)
            sizes.append(of)
            at += int(of.sum()) + len(of) * _ROOM
            some, size = [], 0
        if form is not None:
            some.append(form[:LONGEST])
            size += len(some[-1]) + 1
    each = np.concatenate(sizes)
    end = np.cumsum(each + _ROOM) - _ROOM
    return Runs(words, np.concatenate(hashes), np.concatenate(places), end - each, end)


def drawn(fields: Sequence[Sequence[bytes]]) -> Drawn:
    """At most DRAWN distinct runs of each record, the same ones whatever surrounds them. None spans two of its fields."""
    of = np.repeat(np.arange(len(fields)), [len(record) for record in fields])
    found = runs([field for record in fields for field in record])
    record = of[found.owners]
    order = np.lexsort((found.hashes, record))
    hashes, record = found.hashes[order], record[order]
    new = np.ones(len(hashes), dtype=np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (record[1:] != record[:-1])
    hashes, record = hashes[new], record[new]
    some = _rank(record) < DRAWN
    size = np.bincount(of, weights=found.end - found.begin, minlength=len(fields)).astype(np.int64)
    return Drawn(hashes[some], record[some], size)


def kept(parts: Sequence[Drawn]) -> Known:
    """Of all that was drawn of a version's records, what is worth keeping: KEPT a record, those first that fewest share."""
    before = np.cumsum([0, *(len(part.size) for part in parts)])
    hashes = np.concatenate([part.hashes for part in parts])
    record = np.concatenate([part.record + first for part, first in zip(parts, before, strict=False)])
    size = np.concatenate([part.size for part in parts])
    order = np.argsort(hashes, kind="stable")
    hashes, record = hashes[order], record[order]
    times = np.diff(np.append(_starts(hashes), len(hashes)))
    sharers = np.repeat(times, times)
    few = sharers <= SHARED
    hashes, record, sharers = hashes[few], record[few], sharers[few]
    # By record, then by how few share it, then by a number that is the same wherever the run stands.
    rank = record.astype(np.uint64) << np.uint64(32) | (sharers - 1).astype(np.uint64) << np.uint64(30)
    order = np.argsort(rank | (hashes * _MIX) >> np.uint64(34))
    some = np.sort(order[_rank(record[order]) < KEPT])
    return Known(RUN, hashes[some], record[some], np.bincount(record[some], minlength=len(size)), size)


def likely(found: Runs, known: Known, *, running: bool = False) -> Likely:
    """Which stretches a sample's texts may hold, each where most of its runs are. `running`: as in `settled`."""
    hit, entry = known.find(found.hashes)
    place = found.places[hit]
    reach = np.minimum(known.size + known.size // 4 + 8, LONG)
    # A run counts once there, however often it is said.
    order = np.lexsort((place, entry))
    entry, place = entry[order], place[order]
    stretch = np.asarray(known.stretch[entry], dtype=np.int64)
    new = np.ones(len(entry), dtype=np.bool_)
    new[1:] = (entry[1:] != entry[:-1]) | (place[1:] - place[:-1] > reach[stretch[1:]])
    order = np.flatnonzero(new)[np.lexsort((place[new], stretch[new]))]
    stretch, place = stretch[order], place[order]
    # How many of a stretch's runs end here and began within its reach; of each stretch, where that is most.
    wide = int(found.end[-1]) + _ROOM if len(found.end) else _ROOM
    since = np.searchsorted(stretch * wide + place, stretch * wide + np.maximum(place - reach[stretch], 0))
    hits = np.arange(1, len(stretch) + 1) - since
    # Words that those runs cover, overlaps once.
    step = np.minimum(np.diff(place, prepend=0), known.words)
    covered = np.cumsum(step)
    cover = covered - covered[since] + known.words
    order = np.lexsort((-cover, -hits, stretch))
    best = order[_starts(stretch[order])]
    if known.words != RUN:
        least = np.maximum(_OLD_LEAST, np.ceil(_OLD_SHARE * known.own[stretch[best]]))
    elif running:
        least = np.full(len(best), MOST - 1)
    else:
        text = found.text_at(place[best])
        least = np.clip((found.end - found.begin)[text] / _EACH, LEAST, MOST)
    best = best[(hits[best] >= least) & (cover[best] >= COVER)]
    whose = stretch[best]
    size = np.minimum(known.size[whose], LONG)
    share = hits[best] * known.size[whose] / np.maximum(known.own[whose] * size, 1)
    places = [place[a:b] for a, b in zip(since[best].tolist(), (best + 1).tolist(), strict=True)]
    return Likely(whose, share**_POWER * size, reach[whose], places)


def settled(
    found: Sequence[Likely], meanings: Sequence[NDArray[np.int64]], texts: Runs, *, running: bool = False
) -> list[NDArray[np.int64]]:
    """Put each place of the texts down to one stretch; by version, those that are really there.

    `found`: what each of several versions takes for likely; `meanings`: a number for what each of them says, equal when two
    say the same. `running`: texts in which one record may follow the other; else each text is one, as far as its form tells.
    """
    candidates = [(version, at) for version, some in enumerate(found) for at in range(len(some.stretch))]
    scores = np.concatenate([np.zeros(0), *(some.score for some in found)])
    holder = np.full(int(texts.end[-1]) if len(texts.end) else 0, -1, dtype=np.int32)
    leaders: list[tuple[float, int]] = []  # score and meaning
    members: list[list[tuple[int, int]]] = []
    doubtful: set[int] = set()
    for number in np.argsort(-scores, kind="stable").tolist():
        version, at = candidates[number]
        some, score, says = found[version], float(scores[number]), int(meanings[version][at])
        places = some.places[at]
        held = holder[places]
        if np.count_nonzero(held < 0) >= min(LEAST, len(places)):
            first, last = int(places[0]), int(places[-1])
            if not running:
                # Nothing else is looked for around it, as far as it may reach.
                text = int(texts.text_at(places[:1])[0])
                first = max(first - int(some.reach[at]), int(texts.begin[text]))
                last = min(last + int(some.reach[at]), int(texts.end[text]) - 1)
            claimed = holder[first : last + 1]
            claimed[claimed < 0] = len(leaders)
            leaders.append((score, says))
            members.append([(version, at)])
            continue
        leader = int(np.bincount(held[held >= 0]).argmax())
        if leaders[leader][1] == says:
            members[leader].append((version, at))
        elif score >= RIVAL * leaders[leader][0]:
            doubtful.add(leader)
    out: list[list[int]] = [[] for _ in found]
    for leader, them in enumerate(members):
        for version, at in them if leader not in doubtful else []:
            out[version].append(int(found[version].stretch[at]))
    return [np.unique(np.array(some, dtype=np.int64)) for some in out]


def _starts(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where each stretch of equal values begins."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.zeros(0, dtype=np.int64)


def _rank(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each element's place among its equals, which stand together."""
    starts = _starts(values)
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))


def _runs(forms: list[bytes], words: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Polynomial hashes modulo 2^64 by prefix sums, finished by splitmix64: a few passes of numpy over the bytes.

    With each run's place, and how many words each text has.
    """
    joined = b" ".join(forms)
    text = np.frombuffer(joined, dtype=np.uint8)
    power, inverse = _powers(1 << max(0, len(text) - 1).bit_length())
    prefix = np.zeros(len(text) + 1, dtype=np.uint64)
    np.cumsum((text.astype(np.uint64) + np.uint64(1)) * power[: len(text)], out=prefix[1:])
    starts, ends = _words(text, wide=words == RUN and not joined.isascii())
    past = np.searchsorted(starts, np.cumsum(np.fromiter(map(len, forms), dtype=np.int64, count=len(forms)) + 1))
    of = np.diff(past, prepend=0)
    owner = np.repeat(np.arange(len(forms)), of)
    place = owner * _ROOM + np.arange(len(owner))
    whole = np.flatnonzero(owner[: max(0, len(owner) - words + 1)] == owner[words - 1 :])
    begin, end = starts[whole], ends[whole + words - 1]
    mixed = (prefix[end] - prefix[begin]) * inverse[begin]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31)), place[whole], of


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
