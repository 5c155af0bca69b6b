"""Canaries found again in returned work: whole, under another label, or as a piece of somebody's row.

A row shows a canary if one of its values is a text that only that canary has; if one is the canary's id; or if it holds half
of such a text, wherever and in whatever pieces, letters and digits counted alone. All are compared in their normalised form,
so another label, order, case, spacing, escape or container hides nothing. A row that is known by its id or by a piece only,
and holds a registered record's own text, is that record. A paraphrase that keeps neither id nor half of the letters in a row
is not found, nor is a text that was encoded or translated. Reads memory-mapped tables; no clock, no randomness.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.gold import LEAST_NAME, name_of
from limen.marks.normalise import MIN_TEXT, digests, normalise_all
from limen.marks.records import leaves, parse_json
from limen.marks.tables import ABSENT, Table, as_digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from limen.marks.copy import Prepared

Row = list[tuple[str, str]]  # (name of the field, text); the name is empty where there is none

WINDOW: Final = 16  # letters and digits (bytes of them) that are compared at once
_LEAST: Final = 9  # windows in a row that a piece must show: 24 letters
_FILTER: Final = 22  # bits of the filter before the look-up of windows
_NUMBER: Final = 10  # digits of a number that is an id wherever it stands; a shorter one is one where a name says so
_SAYS_ID: Final = re.compile(r"(?i:(?:\A|[^a-z])(?:id|uid|uuid|key|no|nr|idx|index|item|record|row|example))\Z|[a-z]I[Dd]\Z")
_NEAR: Final = 4096  # letters and digits between two pieces of one canary in a text, at most


@dataclass(frozen=True, slots=True)
class Bait:
    """One canary, in all the versions that hold it: `places` are (prepared version, canary number)."""

    places: tuple[tuple[str, int], ...]
    fields: tuple[bytes, ...]
    name: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """Which canaries a row shows, and by what: `text`, `id` or `part`."""

    baits: tuple[int, ...]
    by: str


class Baits:
    """All canaries of some prepared versions. `faint` are those that can't be told from other records."""

    def __init__(self, versions: Sequence[Prepared]) -> None:
        self._tables = {str(v.path): (_table(v), v.records) for v in versions}
        self.all = _baits(versions)
        own = self._own()
        self._texts: dict[bytes, tuple[int, ...]] = _by_key((text, n) for n, some in enumerate(own) for text in some)
        self._names = _by_key((bait.name, n) for n, bait in enumerate(self.all) if _tells(bait.name))
        self._fields = {text for bait in self.all for text in bait.fields}
        self._windows = _Windows.of(own)
        self.faint = tuple(n for n, bait in enumerate(self.all) if not own[n] and not _tells(bait.name))

    def seen(self, rows: Sequence[Row], *, together: bool = False) -> list[Seen | None]:
        """What each row shows, or None. With `together` a canary may run over several rows: lines of a text."""
        out: list[Seen | None] = [None] * len(rows)
        if not self.all or not rows:
            return out
        owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        names = [name for row in rows for name, _ in row]
        forms = normalise_all([text for row in rows for _, text in row])
        by_name: dict[int, set[int]] = defaultdict(set)
        for at, form in enumerate(forms):
            if form in self._texts:
                number = int(owner[at])
                before = out[number]
                out[number] = Seen((*(before.baits if before else ()), *self._texts[form]), "text")
            if form in self._names and (not form.isdigit() or len(form) >= _NUMBER or _SAYS_ID.search(names[at])):
                by_name[int(owner[at])].update(self._names[form])
        pieces = self._windows.found(forms, owner, len(rows), together=together)
        doubtful = {n for n in (*by_name, *pieces) if out[n] is None}
        if doubtful:
            known = self._records(forms, owner, doubtful)
            if known:
                rest = [b"" if at in known else form for at, form in enumerate(forms)]
                pieces = self._windows.found(rest, owner, len(rows), together=together)
                by_name = {n: some for n, some in by_name.items() if n not in {int(owner[at]) for at in known}}
        for number in doubtful:
            if number in by_name:
                out[number] = Seen(tuple(sorted(by_name[number])), "id")
            elif number in pieces:
                out[number] = Seen(tuple(sorted(pieces[number])), "part")
        return out

    def _own(self) -> list[list[bytes]]:
        """Of each canary the texts that in some version it alone has: they tell that it is this one.

        What other versions and data sets have is not asked: the text may be there because the canary went astray.
        """
        texts = {text: n for n, text in enumerate(sorted({text for bait in self.all for text in bait.fields}))}
        asked = as_digests(digests(texts))
        holds = {path: (table.find(asked), records) for path, (table, records) in self._tables.items()}

        def is_own(bait: Bait, text: bytes) -> bool:
            found = ((holds[path][0][texts[text]], holds[path][1] + number) for path, number in bait.places)
            return len(text) >= MIN_TEXT and any(value == record for value, record in found)

        return [[text for text in bait.fields if is_own(bait, text)] for bait in self.all]

    def _records(self, forms: list[bytes], owner: NDArray[np.int64], rows: set[int]) -> set[int]:
        """Which of the texts of these rows are a registered record's and no canary's."""
        theirs = np.flatnonzero(np.isin(owner, list(rows))).tolist()
        some = [at for at in theirs if len(forms[at]) >= MIN_TEXT and forms[at] not in self._fields]
        asked = as_digests(digests(forms[at] for at in some))
        known = np.zeros(len(some), dtype=np.bool_)
        for table, records in self._tables.values():
            value = table.find(asked)
            known |= (value != ABSENT) & (value < records)
        return {at for at, is_known in zip(some, known.tolist(), strict=True) if is_known}


@dataclass(frozen=True, slots=True)
class _Windows:
    """Hashes of all windows of the canaries' own texts that one canary alone has: which text each is of, and whose that is."""

    hashes: NDArray[np.uint64]
    stretch: NDArray[np.int64]
    bait: NDArray[np.int64]  # by stretch
    needed: NDArray[np.int64]  # by stretch: how many of its windows are half of it
    filter: NDArray[np.bool_]

    @classmethod
    def of(cls, own: list[list[bytes]]) -> _Windows:
        """Index each canary's own texts."""
        bait = [n for n, some in enumerate(own) for _ in some]
        raw = [text.replace(b" ", b"") for some in own for text in some]
        hashed = [np.unique(_hashes(text)) for text in raw]
        hashes = np.concatenate([*hashed, np.zeros(0, dtype=np.uint64)])
        stretch = np.repeat(np.arange(len(raw)), [len(some) for some in hashed])
        of = np.array(bait, dtype=np.int64)
        order = np.lexsort((stretch, hashes))
        hashes, stretch = hashes[order], stretch[order]
        unique, first, group = np.unique(hashes, return_index=True, return_inverse=True)
        shared = np.zeros(len(unique), dtype=np.bool_)
        shared[group[of[stretch] != of[stretch[first[group]]]]] = True  # a template tells nothing
        hashes, stretch = unique[~shared], stretch[first[~shared]]
        count = np.bincount(stretch, minlength=len(raw))
        needed = np.minimum(count, np.maximum((count + 1) // 2, _LEAST))
        sieve = np.zeros(1 << _FILTER, dtype=np.bool_)
        sieve[hashes >> np.uint64(64 - _FILTER)] = True
        return cls(hashes, stretch, of, needed, sieve)

    def found(self, forms: list[bytes], owner: NDArray[np.int64], rows: int, *, together: bool) -> dict[int, set[int]]:
        """Rows -> the canaries of which they hold half of a text, alone or together with the rows around them."""
        if not len(self.hashes):
            return {}
        compact = [form.replace(b" ", b"") for form in forms]
        sizes = np.bincount(owner, weights=[len(text) for text in compact], minlength=rows).astype(np.int64)
        apart = not together
        # Texts of a row stand end to end; between rows one byte that no text has, unless they are read together.
        ends = np.cumsum(sizes + apart)
        joined = bytearray()
        before = 0
        for text, number in zip(compact, owner.tolist(), strict=True):
            if apart:
                joined += b"\0" * (number - before)
                before = number
            joined += text
        hashes = _hashes(bytes(joined))
        at = np.flatnonzero(self.filter[hashes >> np.uint64(64 - _FILTER)])
        place = np.minimum(np.searchsorted(self.hashes, hashes[at]), len(self.hashes) - 1)
        hit = self.hashes[place] == hashes[at]
        at, place = at[hit], place[hit]
        if not len(at):
            return {}
        row = np.searchsorted(ends, at, side="right")
        whole = _clusters(at, self.stretch[place]) if together else row
        seen = np.unique(np.stack([whole, place]), axis=1)
        pair, times = np.unique(np.stack([seen[0], self.stretch[seen[1]]]), axis=1, return_counts=True)
        enough = times >= self.needed[pair[1]]
        good = {(int(group), int(stretch)) for group, stretch in pair[:, enough].T}
        last = np.searchsorted(ends, at + WINDOW - 1, side="right")
        out: dict[int, set[int]] = defaultdict(set)
        for group, first, end, stretch in zip(
            whole.tolist(), row.tolist(), last.tolist(), self.stretch[place].tolist(), strict=True
        ):
            if (group, stretch) in good:
                for number in range(first, end + 1):
                    out[number].add(int(self.bait[stretch]))
        return out


def _clusters(at: NDArray[np.int64], stretch: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each hit: the same for those of one text that are near each other."""
    order = np.lexsort((at, stretch))
    new = np.ones(len(at), dtype=np.bool_)
    new[1:] = (stretch[order][1:] != stretch[order][:-1]) | (np.diff(at[order]) > _NEAR)
    out = np.empty(len(at), dtype=np.int64)
    out[order] = np.cumsum(new)
    return out


def _lines(prepared: Prepared) -> list[bytes]:
    """What stands in the canaries' regions for those who have them, without the spaces and ends of lines around it."""
    out = [b""] * int(prepared.manifest["canaries"])
    marked = np.flatnonzero(prepared.segment_region >= 0)
    of = prepared.segment_region[marked]  # regions are laid one after the other
    packed = str(prepared.manifest["media"]).endswith(".gz")
    for region in np.flatnonzero(prepared.regions["canary"] >= 0).tolist():
        first, last = np.searchsorted(of, [region, region + 1]).tolist()
        if first < last:
            raw = bytes(prepared.other[int(prepared.others[marked[first]]) : int(prepared.others[marked[last - 1] + 1])])
            out[int(prepared.regions["canary"][region])] = (gzip.decompress(raw) if packed else raw).strip()
    return out


def _baits(versions: Sequence[Prepared]) -> tuple[Bait, ...]:
    """The canaries, each once: equal ones of several versions are one."""
    places: dict[tuple[bytes, tuple[bytes, ...]], list[tuple[str, int]]] = {}
    for version in versions:
        for number, line in enumerate(_lines(version)):
            fields = tuple(dict.fromkeys(normalise_all(leaves(parse_json(line)[1]))))
            name = normalise_all([name_of(line) or ""])[0]
            places.setdefault((name, fields), []).append((str(version.path), number))
    return tuple(Bait(tuple(where), fields, name) for (name, fields), where in places.items())


def _table(prepared: Prepared) -> Table:
    return Table(
        *(np.load(prepared.path / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in ("key_high", "key_low", "key_record"))
    )


def _by_key(pairs: Iterable[tuple[bytes, int]]) -> dict[bytes, tuple[int, ...]]:
    out: dict[bytes, list[int]] = {}
    for key, number in pairs:
        out.setdefault(key, []).append(number)
    return {key: tuple(dict.fromkeys(some)) for key, some in out.items()}


def _tells(name: bytes) -> bool:
    return len(name.replace(b" ", b"")) >= LEAST_NAME


def _hashes(text: bytes) -> NDArray[np.uint64]:
    """A hash of the WINDOW bytes at each place: two words of eight, mixed (splitmix64's last steps)."""
    count = len(text) - WINDOW + 1
    if count < 1:
        return np.zeros(0, dtype=np.uint64)
    word = np.frombuffer(text, dtype=np.uint8).astype(np.uint64)
    for step in (1, 2, 4):
        word = word[:-step] | word[step:] << np.uint64(8 * step)
    mixed = word[:count] * np.uint64(0x9E37_79B9_7F4A_7C15) ^ word[8 : 8 + count] * np.uint64(0xD6E8_FEB8_6659_FD93)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
