"""From a leaked sample to symbols: whose records it holds, which slots they show, and what can't be said of them.

Each record-like piece (`sample`, `pieces`) is normalised and looked up whole, then with its fields in order and field by
field (128-bit digests); what is missed is looked up by runs of words
(`nearby`). The index spans all prepared versions: a text that is
one slot's side in one version and something else in another is *unclear* and never used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.core.errors import TamperDetected
from limen.marks import nearby, normalise
from limen.marks.guide import stretches_in
from limen.marks.records import fields_of_all, keys_of
from limen.marks.registry import COMMON
from limen.marks.sample import sample_of
from limen.marks.tables import ABSENT, AMBIGUOUS, Table, as_digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.copy import Prepared
    from limen.marks.pieces import Pieces
    from limen.marks.sample import Progress, Sample
    from limen.marks.unpack import Unread

    _Marks = dict[int, NDArray[np.bool_]]  # by version: which of its records

OBSERVED: Final = np.dtype(
    [("key", "<i4"), ("number", "<i8"), ("tier", "u1"), ("level", "u1"), ("kind", "u1"), ("index", "<u4"), ("seen", "u1")]
)
_PIECE: Final = 1 << 19
_OVERLAP: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Observed:
    """What a sample shows. `slots`: one row a slot, `seen` = 1 for side 0, 2 for side 1, 3 for both; `key` indexes `keys`.

    `matched`: by prepared version, the numbers of the records recognised (canaries and common ones too). `distinct`: those
    of them that no other record reads like (a slot's side, or a canary) and that were found whole; if none was, those found
    by runs of words, which a similar record can share. `canaries`: by prepared version, their numbers; `each`: how many of
    them a recipient has there.
    `unclear`: texts that mean different things in different versions. `unread`: what of the sample was not looked at, and why;
    `kinds`: how many texts, archives and so on were; `bytes_read`: their bytes, unpacked.
    """

    keys: tuple[str, ...]
    slots: NDArray[np.void]
    matched: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    distinct: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    canaries: dict[str, list[int]] = field(default_factory=dict)
    each: dict[str, int] = field(default_factory=dict)
    pieces: int = 0
    unclear: int = 0
    unread: tuple[Unread, ...] = ()
    kinds: dict[str, int] = field(default_factory=dict)
    bytes_read: int = 0

    def dealt(self, path: str, recipients: Iterable[Recipient]) -> list[tuple[int, list[Recipient]]]:
        """The canaries found of one prepared version, by number, each with those of its recipients that it was dealt to."""
        owners: dict[int | None, list[Recipient]] = {}
        for recipient in recipients:
            owners.setdefault(recipient.canary, []).append(recipient)
        each = self.each.get(path, 1)
        return [(number, owners.get(number // each, [])) for number in self.canaries[path]]


@dataclass(frozen=True)
class _Look:
    """One prepared version's look-up tables, memory-mapped."""

    prepared: Prepared
    table: Table
    known: nearby.Known
    stretch_record: NDArray[np.int64]
    refs: NDArray[np.int64]
    whole: NDArray[np.uint64] | None = None  # each record's digest, where a slot's side has several records
    stretches: NDArray[np.void] | None = None  # words by which a guideline's wordings are known (`guide`), by hash

    @classmethod
    def at(cls, prepared: Prepared) -> _Look:
        """Map the tables beside a prepared version."""

        def mapped(name: str) -> NDArray[Any] | None:
            path = prepared.path / f"{name}.npy"
            return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

        def held(name: str) -> NDArray[Any]:
            found = mapped(name)
            if found is None:
                raise TamperDetected(f"{prepared.path / name}.npy is not there; prepare the version again")
            return found

        own, words = held("own_runs"), mapped("run_words")
        # Versions prepared before runs had three words say neither of how many nor in how long a record: seven, in a field.
        size, record = mapped("stretch_words"), mapped("stretch_record")
        known = nearby.Known(
            nearby.OLD_RUN if words is None else int(words[0]),
            held("runs"),
            held("run_stretch"),
            own,
            np.full(len(own), nearby.LONG) if size is None else size,
        )
        return cls(
            prepared,
            Table(held("key_high"), held("key_low"), held("key_record")),
            known,
            np.arange(len(own)) if record is None else record,
            held("refs"),
            mapped("whole"),
            mapped("stretches"),
        )

    def names_of(self, records: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The digests by which records of slots are known, whole."""
        if self.whole is not None:
            return np.asarray(self.whole[records])
        refs = self.refs[records]
        return np.asarray(self.prepared.slots["sides"][refs >> 1, refs & 1])

    def meaning(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number for what each record is, equal over versions of one lineage exactly when they mean the same."""
        refs = np.asarray(self.refs[records])
        out = refs.copy()
        marked = refs >= 0
        out[marked] = 2 * self.prepared.slots["number"][refs[marked] >> 1] + (refs[marked] & 1)
        return out


class Index:
    """Look-up over prepared versions. Tables are memory-mapped: a thousand versions cost no memory until asked."""

    def __init__(self, versions: Sequence[Prepared]) -> None:
        self._versions = list(versions)
        self.keys = tuple(sorted({str(v.manifest["key"]) for v in versions}))

    @cached_property
    def _looks(self) -> list[_Look]:
        return [_Look.at(version) for version in self._versions]

    def observe(self, sample: bytes) -> Observed:
        """What a sample that is in memory shows."""
        return self.observe_sample(sample_of(sample))

    def observe_sample(self, sample: Sample, *, progress: Progress | None = None) -> Observed:
        """What a sample shows, read a stretch at a time. Conflict if a part changes while it is read.

        `progress` is called after each stretch with the bytes done and the bytes in all.
        """
        found = _Found(self._looks)
        reading = sample.read(progress)
        for pieces in reading.batches():
            self._observe(pieces, found)
        self._look_up(self._of_nearby(found), found, found.by_runs)
        return Observed(
            keys=self.keys,
            slots=found.slots(self.keys),
            matched=found.matched(),
            distinct=found.distinct(),
            canaries=found.canaries(),
            each={str(v.path): v.canaries_each for v in self._versions if str(v.path) in found.canaries()},
            pieces=found.pieces,
            unclear=len(found.unclear),
            unread=reading.unread,
            kinds=reading.kinds,
            bytes_read=reading.bytes_read,
        )

    def _observe(self, pieces: Pieces, found: _Found) -> None:
        """Look one stretch's pieces up: whole, then by what stands for them, then by runs of words."""
        found.pieces += len(pieces.records) + len(pieces.lines)
        fields = fields_of_all([*pieces.records, *([text] for text in (*pieces.lines, *pieces.paragraphs)), *pieces.rows])
        # Empty ones come first, and leave nothing but spaces there.
        wholes = [b" ".join(sorted(record)).lstrip() for record in fields]
        asked = np.fromiter(map(len, wholes), dtype=np.int64, count=len(wholes)) >= normalise.MIN_TEXT
        known = np.zeros(len(fields), dtype=np.bool_)
        known[asked] = self._look_up(as_digests(normalise.digests(compress(wholes, asked.tolist()))), found, found.whole)
        rest = [n for n in np.flatnonzero(asked & ~known).tolist() if len(fields[n]) > 1]
        _, stands = keys_of([fields[n] for n in rest])
        owner = np.repeat(np.array(rest, dtype=np.int64), [len(some) for some in stands])
        digests = as_digests(normalise.digests(text for some in stands for text in some))
        known[owner[self._look_up(digests, found, found.whole)]] = True
        self._look_up(self._by_stretches(fields[: len(pieces.records) + len(pieces.lines)]), found, found.whole)
        apart, running = _missed(pieces, fields, known)
        if apart:
            self._note_nearby(apart, found, running=False)
        if running:
            self._note_nearby(running, found, running=True)

    def _look_up(self, digests: NDArray[np.uint64], found: _Found, noted: _Marks) -> NDArray[np.bool_]:
        """Which digests any version knows; what they mean is noted, one lineage at a time.

        A record that two lineages know counts under both keys: the decoders weigh which of them was leaked.
        """
        known = np.zeros(len(digests), dtype=np.bool_)
        if not len(digests):
            return known
        for key in self.keys:
            meaning = np.full(len(digests), ABSENT, dtype=np.int64)
            places: list[tuple[int, NDArray[np.int64]]] = []
            for number, look in enumerate(self._looks):
                if look.prepared.manifest["key"] != key:
                    continue
                record = look.table.find(digests)
                places.append((number, record))
                here = np.flatnonzero(record >= 0)
                new = look.meaning(record[here])
                old = meaning[here]
                meaning[here] = np.where((old == ABSENT) | (old == new), new, AMBIGUOUS)
            clear = meaning != AMBIGUOUS
            found.unclear.update(map(tuple, digests[~clear].tolist()))
            for number, record in places:
                found.note(noted, number, record[(record >= 0) & clear])
            known |= meaning != ABSENT
        return known

    def _by_stretches(self, texts: Sequence[Sequence[bytes]]) -> NDArray[np.uint64]:
        """Digests of the wordings of guidelines of which a stretch stands anywhere in these texts, over their ends too."""
        looks = [(look, look.stretches) for look in self._looks if look.stretches is not None]
        forms = [form for record in texts for form in record] if looks else []
        digests = [np.zeros((0, 2), dtype=np.uint64)]
        for (look, _), records in zip(looks, stretches_in(forms, [some for _, some in looks]), strict=True):
            digests.append(look.names_of(records[look.refs[records] >= 0]))
        return np.concatenate(digests)

    def _note_nearby(self, texts: list[bytes], found: _Found, *, running: bool) -> None:
        """Note which records are near texts that are not known whole. Versions of a lineage compete for each place."""
        held: dict[int, nearby.Runs] = {}
        for key in self.keys:
            mine = [n for n, look in enumerate(self._looks) if look.prepared.manifest["key"] == key and len(look.known.hashes)]
            for words in sorted({self._looks[n].known.words for n in mine}):
                numbers = [n for n in mine if self._looks[n].known.words == words]
                if words not in held:
                    held[words] = nearby.runs(texts, words=words)
                looks = [self._looks[n] for n in numbers]
                some = [nearby.likely(held[words], look.known, running=running) for look in looks]
                meanings = [look.meaning(look.stretch_record[of.stretch]) for look, of in zip(looks, some, strict=True)]
                settled = nearby.settled(some, meanings, held[words], running=running)
                for number, look, stretches in zip(numbers, looks, settled, strict=True):
                    found.note(found.near, number, look.stretch_record[stretches])

    def _of_nearby(self, found: _Found) -> NDArray[np.uint64]:
        """Digests of the slot records that texts were near to; canaries are noted."""
        digests = [np.zeros((0, 2), dtype=np.uint64)]
        for number, near in found.near.items():
            look = self._looks[number]
            records = np.flatnonzero(near)
            refs = look.refs[records]
            digests.append(look.names_of(records[refs >= 0]))
            found.note(found.by_runs, number, records[refs < COMMON])
        return np.concatenate(digests)


@dataclass(slots=True)
class _Found:
    """What was found so far: for each version met, which of its records. It doesn't grow with the sample."""

    looks: list[_Look]
    whole: _Marks = field(default_factory=dict)
    by_runs: _Marks = field(default_factory=dict)
    near: _Marks = field(default_factory=dict)  # before it is asked what they mean
    unclear: set[tuple[int, ...]] = field(default_factory=set)  # digests
    pieces: int = 0

    def note(self, noted: _Marks, number: int, records: NDArray[np.int64]) -> None:
        """Add records of one version."""
        if len(records):
            if number not in noted:
                noted[number] = np.zeros(len(self.looks[number].refs), dtype=np.bool_)
            noted[number][records] = True

    def matched(self) -> dict[str, NDArray[np.int64]]:
        """All records recognised, by version."""
        return {str(self.looks[number].prepared.path): records for number, records in self._all()}

    def distinct(self) -> dict[str, NDArray[np.int64]]:
        """Of those found whole, or if there are none of those found by runs, the ones that no other record reads like."""
        for noted in (self.whole, self.by_runs):
            out = {}
            for number in sorted(noted):
                records = np.flatnonzero(noted[number])
                records = records[self.looks[number].refs[records] != COMMON]
                if len(records):
                    out[str(self.looks[number].prepared.path)] = records
            if out:
                return out
        return {}

    def canaries(self) -> dict[str, list[int]]:
        """Canaries recognised, by version."""
        out = {}
        for number, records in self._all():
            refs = np.asarray(self.looks[number].refs[records])
            baits = refs[refs < COMMON]
            if len(baits):
                out[str(self.looks[number].prepared.path)] = np.sort(-2 - baits).tolist()
        return out

    def slots(self, keys: Sequence[str]) -> NDArray[np.void]:
        """The slots seen, in order of key and number, each once."""
        seen = [np.zeros(0, dtype=OBSERVED)]
        for number, records in self._all():
            prepared, refs = self.looks[number].prepared, np.asarray(self.looks[number].refs[records])
            refs = refs[refs >= 0]
            rows = np.zeros(len(refs), dtype=OBSERVED)
            rows["key"] = keys.index(str(prepared.manifest["key"]))
            for column in ("number", "tier", "level", "kind", "index"):
                rows[column] = prepared.slots[column][refs >> 1]
            rows["seen"] = 1 << (refs & 1)
            seen.append(rows)
        rows = np.concatenate(seen)
        rows = rows[np.lexsort((rows["number"], rows["key"]))]
        new = np.ones(len(rows), dtype=np.bool_)
        new[1:] = (rows["key"][1:] != rows["key"][:-1]) | (rows["number"][1:] != rows["number"][:-1])
        out = rows[new]
        if len(out):
            out["seen"] = np.bitwise_or.reduceat(rows["seen"], np.flatnonzero(new))
        return out

    def _all(self) -> list[tuple[int, NDArray[np.int64]]]:
        numbers = sorted({*self.whole, *self.by_runs})
        nothing = np.zeros(1, dtype=np.bool_)
        return [(n, np.flatnonzero(self.whole.get(n, nothing) | self.by_runs.get(n, nothing))) for n in numbers]


def _missed(pieces: Pieces, fields: Sequence[Sequence[bytes]], known: NDArray[np.bool_]) -> tuple[list[bytes], list[bytes]]:
    """What was not found whole: each record by itself, and lines in one, because records run over lines.

    Rows and paragraphs are lines once more.
    """
    first, past = len(pieces.records), len(pieces.records) + len(pieces.lines)
    # What stands inside of a paragraph that is known says nothing by itself: a class holds its methods.
    there = known[past : past + len(pieces.paragraphs)].tolist()
    told = {line for text in compress(pieces.paragraphs, there) for line in text.split("\n")}
    apart = [b" ".join(fields[n]) for n in range(first) if not known[n]]
    lines = [fields[first + n][0] for n, line in enumerate(pieces.lines) if not known[first + n] and line not in told]
    return [part for text in apart for part in _overlapping(text)], _overlapping(b" ".join(lines)) if lines else []


def _overlapping(text: bytes) -> list[bytes]:
    """A long text in pieces, so that no run of words near a cut is lost."""
    if len(text) <= _PIECE:
        return [text]
    return [text[max(0, at - _OVERLAP) : at + _PIECE] for at in range(0, len(text), _PIECE)]
