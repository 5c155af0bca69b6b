"""From a leaked sample to symbols: whose records it holds, which slots they show, and what can't be said of them.

A sample is read as JSON, JSONL, CSV or text, gzipped or not; what isn't clearly one of the first is read as text too.
Each record-like piece is normalised and looked up whole, with its fields sorted, and field by field (128-bit digests);
what is missed is looked up by runs of words. The index spans all prepared versions: a text that is one slot's side in
one version and something else in another is *unclear* and never used.
"""

from __future__ import annotations

import contextlib
import csv
import io
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.core.errors import Invalid
from limen.marks import normalise
from limen.marks.records import fields_of_all, keys_of, leaves, parse_json
from limen.marks.registry import COMMON
from limen.marks.tables import ABSENT, AMBIGUOUS, Table, as_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limen.marks.copy import Prepared

MAX_SAMPLE: Final = 1 << 30
LEAST_RUNS: Final = 2  # of a field's own runs; one could be a common phrase
LEAST_SHARE: Final = 0.5
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
    `unclear`: texts that mean different things in different versions.
    """

    keys: tuple[str, ...]
    slots: NDArray[np.void]
    matched: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    distinct: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    canaries: dict[str, list[int]] = field(default_factory=dict)
    each: dict[str, int] = field(default_factory=dict)
    pieces: int = 0
    unclear: int = 0


@dataclass(frozen=True)
class _Look:
    """One prepared version's look-up tables, memory-mapped."""

    prepared: Prepared
    table: Table
    runs: NDArray[np.uint64]
    run_stretch: NDArray[np.int64]
    own_runs: NDArray[np.int64]
    stretch_record: NDArray[np.int64]
    refs: NDArray[np.int64]
    whole: NDArray[np.uint64] | None = None  # each record's digest, where a slot's side has several records

    @classmethod
    def at(cls, prepared: Prepared) -> _Look:
        """Map the tables beside a prepared version."""
        names = ["key_high", "key_low", "key_record", "runs", "run_stretch", "own_runs", "stretch_record", "refs"]
        names += ["whole"] if prepared.group_at is not None else []
        columns = [np.load(prepared.path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
        return cls(prepared, Table(*columns[:3]), *columns[3:])

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

    def observe(self, sample: bytes, *, limit: int = MAX_SAMPLE) -> Observed:
        """What a sample shows. Invalid if it is damaged gzip, or longer than `limit` when unpacked."""
        pieces = pieces_of(text_of(sample, limit=limit))
        fields = fields_of_all([*pieces.records, *([text] for text in (*pieces.lines, *pieces.paragraphs))])
        _, stands = keys_of(fields)
        owner = np.repeat(np.arange(len(stands)), [len(some) for some in stands])
        digests = as_digests(normalise.digests(text for some in stands for text in some))
        found = _Found(self.keys)
        known = np.zeros(len(fields), dtype=np.bool_)
        known[owner[self._look_up(digests, found)]] = True
        found.telling = not found.distinct
        self._look_up(self._by_runs(_missed(pieces, fields, known), found), found)
        return Observed(
            keys=self.keys,
            slots=found.rows(),
            matched={path: np.unique(np.concatenate(some)) for path, some in found.records.items()},
            distinct={path: np.unique(np.concatenate(some)) for path, some in found.distinct.items()},
            canaries={path: sorted(some) for path, some in found.canaries.items()},
            each={str(v.path): v.canaries_each for v in self._versions if str(v.path) in found.canaries},
            pieces=len(pieces.records) + len(pieces.lines),
            unclear=found.unclear,
        )

    def _look_up(self, digests: NDArray[np.uint64], found: _Found) -> NDArray[np.bool_]:
        """Which digests any version knows; what they mean is noted in `found`, one lineage at a time.

        A record that two lineages know counts under both keys: the decoders weigh which of them was leaked.
        """
        known = np.zeros(len(digests), dtype=np.bool_)
        for key in self.keys:
            meaning = np.full(len(digests), ABSENT, dtype=np.int64)
            places: list[tuple[_Look, NDArray[np.int64]]] = []
            for look in self._looks:
                if look.prepared.manifest["key"] != key:
                    continue
                record = look.table.find(digests)
                places.append((look, record))
                here = np.flatnonzero(record >= 0)
                new = look.meaning(record[here])
                old = meaning[here]
                meaning[here] = np.where((old == ABSENT) | (old == new), new, AMBIGUOUS)
            found.unclear += len(np.unique(digests[meaning == AMBIGUOUS], axis=0))
            for look, record in places:
                found.note(look, np.unique(record[(record >= 0) & (meaning != AMBIGUOUS)]))
            known |= meaning != ABSENT
        return known

    def _by_runs(self, missed: list[bytes], found: _Found) -> NDArray[np.uint64]:
        """Digests of the slot records of which one field's own runs of words are in the missed texts."""
        if not missed:
            return np.zeros((0, 2), dtype=np.uint64)
        held = np.unique(normalise.runs([piece for text in missed for piece in _overlapping(text)])[0])
        digests: list[NDArray[np.uint64]] = []
        for look in self._looks:
            if not len(look.runs):
                continue
            at = np.minimum(np.searchsorted(look.runs, held), len(look.runs) - 1)
            hits = np.bincount(look.run_stretch[at[look.runs[at] == held]], minlength=len(look.own_runs))
            stretches = (hits >= LEAST_RUNS) & (hits >= LEAST_SHARE * look.own_runs)
            records = np.unique(look.stretch_record[stretches])
            refs = look.refs[records]
            digests.append(look.names_of(records[refs >= 0]))
            found.note(look, records[refs < COMMON])
        return np.concatenate(digests) if digests else np.zeros((0, 2), dtype=np.uint64)


@dataclass(slots=True)
class _Found:
    keys: tuple[str, ...]
    seen: list[NDArray[np.void]] = field(default_factory=list)  # OBSERVED rows, one a record
    records: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    distinct: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    telling: bool = True  # whether what is noted now counts as distinct
    canaries: dict[str, set[int]] = field(default_factory=dict)
    unclear: int = 0

    def note(self, look: _Look, records: NDArray[np.int64]) -> None:
        """Add records of one version to what was found."""
        if not len(records):
            return
        name = str(look.prepared.path)
        self.records.setdefault(name, []).append(records)
        refs = np.asarray(look.refs[records])
        if self.telling and (refs != COMMON).any():
            self.distinct.setdefault(name, []).append(records[refs != COMMON])
        baits = refs[refs < COMMON]
        if len(baits):
            self.canaries.setdefault(name, set()).update((-2 - baits).tolist())
        refs = refs[refs >= 0]
        rows = np.zeros(len(refs), dtype=OBSERVED)
        rows["key"] = self.keys.index(str(look.prepared.manifest["key"]))
        for column in ("number", "tier", "level", "kind", "index"):
            rows[column] = look.prepared.slots[column][refs >> 1]
        rows["seen"] = 1 << (refs & 1)
        self.seen.append(rows)

    def rows(self) -> NDArray[np.void]:
        """The slots seen, in order of key and number, each once."""
        if not self.seen:
            return np.zeros(0, dtype=OBSERVED)
        rows = np.concatenate(self.seen)
        rows = rows[np.lexsort((rows["number"], rows["key"]))]
        new = np.ones(len(rows), dtype=np.bool_)
        new[1:] = (rows["key"][1:] != rows["key"][:-1]) | (rows["number"][1:] != rows["number"][:-1])
        out = rows[new]
        if len(out):
            out["seen"] = np.bitwise_or.reduceat(rows["seen"], np.flatnonzero(new))
        return out


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a sample falls into: records as lists of their fields, and lines and paragraphs of plain text."""

    records: list[list[str]]
    lines: list[str]
    paragraphs: list[str]


def text_of(sample: bytes, *, limit: int) -> str:
    """A sample's text: unpacked if it is gzip (RFC 1952), and decoded; bytes that are no Unicode are replaced."""
    if sample[:2] == b"\x1f\x8b":
        sample = _unpacked(sample, limit)
    if len(sample) > limit:
        raise Invalid("sample", f"has more than {limit} bytes; trace it in parts")
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return sample.decode("utf-16", errors="replace")
    return sample.decode("utf-8-sig", errors="replace")


def _unpacked(sample: bytes, limit: int) -> bytes:
    """All members of a gzip stream, one behind the other."""
    parts: list[bytes] = []
    rest, left = memoryview(sample), limit
    while bytes(rest[:2]) == b"\x1f\x8b":
        inflate = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflate.decompress(rest, left + 1))
        except zlib.error as e:
            raise Invalid("sample", "is damaged gzip; unpack what can be saved and trace that") from e
        left -= len(parts[-1])
        if left < 0:
            raise Invalid("sample", f"unpacks to more than {limit} bytes; trace it in parts")
        rest = rest[len(rest) - len(inflate.unused_data) :] if inflate.eof else rest[:0]
    return b"".join(parts)


def pieces_of(text: str) -> Pieces:
    """A sample as JSON or JSONL if it is, as text otherwise, and as CSV too if it looks like it."""
    good, whole = parse_json(text)
    if good and isinstance(whole, dict | list):
        return Pieces([leaves(item) for item in (whole if isinstance(whole, list) else [whole])], [], [])
    records: list[list[str]] = []
    rest: list[str] = []
    for line in text.splitlines():
        good, value = parse_json(line) if line.lstrip()[:1] in ("{", "[") else (False, None)
        if good:
            records.append(leaves(value))
        else:
            rest.append(line)
    lines = [line for line in rest if line.strip()]
    if records:
        return Pieces(records, lines, [])
    paragraphs = [p for p in "\n".join("" if line.isspace() else line for line in rest).split("\n\n") if p.strip()]
    return Pieces(_rows(text), lines, paragraphs)


def _missed(pieces: Pieces, fields: list[list[bytes]], known: NDArray[np.bool_]) -> list[bytes]:
    """What was not found whole: each record by itself, and the lines in one, because records run over lines."""
    first = len(pieces.records)
    lines = [fields[n][0] for n in range(first, first + len(pieces.lines)) if not known[n]]
    # The rows of a text are its lines once more.
    records = [b" ".join(fields[n]) for n in range(first) if not known[n]] if not pieces.paragraphs else []
    return [*records, b" ".join(lines)] if lines else records


def _rows(text: str) -> list[list[str]]:
    """The rows of a text that looks like CSV: most have two fields or more."""
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=first.count)
    rows: list[list[str]] = []
    # The rows before an error are as good as any; the text is read as text too.
    with contextlib.suppress(csv.Error):
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    return rows if sum(len(row) > 1 for row in rows) * 2 > len(rows) else []


def _overlapping(text: bytes) -> list[bytes]:
    """A long text in pieces, so that no run of words near a cut is lost."""
    return [text[max(0, at - _OVERLAP) : at + _PIECE] for at in range(0, len(text), _PIECE)]
