"""`limen ledger fsck`: everything that holds a log, held against what its key signed; every kind of damage has an index.

Reads only, a running gateway's directory too. 1. The signed statements: the published checkpoint, the database's head.
2. One pass over rows, tiles and bundles (`survey`). 3. Which leaves the statements prove, and where each copy departs from
them (`truth`). 4. What else must hold: one history, commit times that never run backwards, a low water that no open intent
lies below, side records that belong to a commitment, upper tiles, and the derived columns of the head.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import note, tiles
from limen.formats.merkle import HASH_BYTES, Frontier, leaf_hash, root_of
from limen.ledger.publication.places import Directory
from limen.ledger.repair.scan import Scan
from limen.ledger.repair.survey import BUNDLES, ROWS, TILES, Files, Survey, block_root
from limen.ledger.repair.truth import Copy, Peaks, Verdict, composed, first_disagreement, judge
from limen.ledger.scribe import NONCE_BYTES, side_ref
from limen.ledger.sealed import split_bundle
from limen.verify.published import CHECKPOINT, VKEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from limen.formats.note import NoteKey, Verifier
    from limen.ledger.repair.truth import Hints, Leaf

DATABASE: Final = "ledger.db"
PUBLISHED: Final = "log"
SEALED_BYTES: Final = NONCE_BYTES + 16  # an empty text under AES-GCM


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of damage in one part. `index`: the first bad entry, None if it is not one entry. `derived`: made again."""

    part: str
    why: str
    index: int | None
    derived: bool


class Examination:
    """What was found, and what mending needs to know. Made by `examine`; usable while that is open."""

    def __init__(
        self,
        directory: Path,
        scan: Scan,
        verifier: Verifier,
        *,
        trusted: Sequence[NoteKey] = (),
        elsewhere: Sequence[tuple[str, Checkpoint]] = (),
    ) -> None:
        self.directory, self.scan, self.verifier = directory, scan, verifier
        self.findings: list[Finding] = []
        self.bad_files: list[str] = []  # published tiles and bundles that are not as proven
        self.forked = False
        self.reached = 0  # how far the log is known to have come, by anything
        # First what is out, then the snapshot: a running log only grows.
        self.out = self._published_checkpoint(trusted)
        self.head = scan.head(verifier)
        self.files = Files(directory / PUBLISHED)
        signed = [found.size for found in (self.out, self.head and self.head.signed) if found]
        self.rows_end = self._rows_end()
        self.size = max(signed, default=self.rows_end)
        self.survey = Survey(
            scan, self.files, size=self.size, published=self.out.size if self.out else 0, low_water=self._low_water()
        )
        self.copies = self.survey.run(_odd_side)
        self.verdict = Verdict({name: [] for name in self.copies})
        self._judge()
        self._beside_the_entries()
        self._published_files()
        self._elsewhere(elsewhere)
        self.findings.sort(key=lambda found: (found.index is None, found.index or 0))

    @property
    def signed(self) -> Checkpoint | None:
        """The newest checkpoint under the log's key."""
        found = [checkpoint for checkpoint in (self.out, self.head.signed if self.head else None) if checkpoint]
        return max(found, key=lambda checkpoint: checkpoint.size, default=None)

    @property
    def first_bad(self) -> int | None:
        """The first bad index of all."""
        return min((found.index for found in self.findings if found.index is not None), default=None)

    @property
    def only_derived(self) -> bool:
        """Whether all that is hurt can be made again from sound entries."""
        return all(found.derived for found in self.findings)

    def restorable(self) -> dict[int, bytes] | None:
        """Entries from published bundles for every bad row, each of which hashes to its proven leaf; None if one is missing."""
        if self.verdict.unknown:
            return None
        found: dict[int, bytes] = {}
        for index in self.verdict.bad[ROWS]:
            raw = self.survey.entry(index, BUNDLES)
            if raw is None or leaf_hash(raw) != self.verdict.proven.get(index, self.proven_leaf(index)):
                return None
            found[index] = raw
        return found

    def proven_leaf(self, index: int) -> Leaf:
        """The leaf hash that a signed root proves; None if none does."""
        return self.proven.leaves(index, index + 1)[0]

    # --- what is signed

    def _published_checkpoint(self, trusted: Sequence[NoteKey]) -> Checkpoint | None:
        place = Directory(self.directory / PUBLISHED)
        try:
            if place.read(VKEY) != f"{self.verifier.vkey}\n".encode():
                self._find("vkey", "the key beside the published log is not the log's", derived=True)
        except NotFound:
            self._find("vkey", "there is no key beside the published log", derived=True)
        try:
            raw = place.read(CHECKPOINT)
            origin, size, root = checkpoints.decode(note.open_note(raw, [self.verifier, *trusted])[0])
            if not any(line.name == self.verifier.name for line in note.parse(raw)[1]) or origin != self.verifier.name:
                raise Invalid("checkpoint", f"is of {origin}")  # noqa: TRY301  one place says what is wrong with it
        except (NotFound, Invalid) as e:
            self._find("checkpoint", f"the published checkpoint does not verify: {e}", derived=True)
            return None
        self.reached = place.synced()
        if place.synced() > size:
            self._find(
                "checkpoint", f"{place.synced()} entries were published, and the checkpoint is of {size}", size, derived=True
            )
        return Checkpoint(origin, size, root, raw)

    def _rows_end(self) -> int:
        return self.scan.last() + 1

    def _low_water(self) -> int:
        low = self.head.low_water if self.head else 0
        return min(low, self.size) if isinstance(low, int) else self.size

    # --- what is proven

    def _judge(self) -> None:
        """Entries against roots: first what is published, for others have seen that; then what came since."""
        head = self.head.signed if self.head else None
        hints: list[Hints] = [_Upper(self.files)]
        if (frontier := self._frontier()) is not None:
            hints.append(Peaks(frontier))
        base = self.out or head
        if base is not None:
            self.verdict = judge(base.size, base.root, list(self.copies.values()), hints)
        self.proven = composed(self.verdict, self.copies, base.size if base else 0)
        if base is None:
            self._find("head", "neither the database's head nor the published checkpoint verifies: nothing can be proven")
        elif head is None:
            self._unsigned_rows(base)
        elif head is not base:
            self._since(base, head, hints)
        self._tell_rows()

    def _since(self, base: Checkpoint, head: Checkpoint, hints: Sequence[Hints]) -> None:
        """The database's head must continue what is published, and the rows must make it."""
        rows = self.copies[ROWS]
        bad = self.verdict.bad[ROWS]
        if head.size < base.size:
            what = f"the database was set back: {base.size} entries are published, and its head is of {head.size}"
            self._find("rows", what, head.size)
            if rows.hash(0, head.size) == head.root:  # as far as it goes it is as signed, though the tiles may not show it
                unknown = self.verdict.unknown
                self.verdict.unknown = [(max(low, head.size), high) for low, high in unknown if high > head.size]
            if self.proven.hash(0, head.size) not in {head.root, None}:
                self._fork(head)
            return
        if head.size == base.size and head.root != base.root:
            self._fork(head)
            return
        joined = self._joined(base.size, head.size)
        if joined.hash(0, head.size) == head.root:
            self.proven = joined
        elif rows.hash(0, head.size) == head.root and bad:
            self._fork(head)
        else:
            later = judge(head.size, head.root, [joined], [*hints, self.copies[TILES], self.copies[BUNDLES]])
            bad += [index for index in later.bad[joined.name] if index >= base.size]
            self.verdict.proven |= later.proven
            self.verdict.unknown += [(max(low, base.size), high) for low, high in later.unknown if high > base.size]

    def _joined(self, published: int, size: int) -> Copy:
        """What is proven of the published entries, followed by the rows that came since."""
        rows, proven = self.copies[ROWS], self.proven

        def block(number: int) -> Sequence[Leaf]:
            start, end = number * tiles.WIDTH, min((number + 1) * tiles.WIDTH, size)
            seam = min(max(published, start), end)
            return [*proven.leaves(start, seam), *rows.leaves(seam, end)]

        blocks = [
            proven.hash(start, start + tiles.WIDTH)
            if start + tiles.WIDTH <= published
            else rows.hash(start, start + tiles.WIDTH)
            if start >= published
            else block_root(block(start // tiles.WIDTH))
            for start in range(0, size - tiles.WIDTH + 1, tiles.WIDTH)
        ]
        return Copy("rows since", blocks, block)

    def _fork(self, head: Checkpoint) -> None:
        self.forked = True
        at = next(iter(self.verdict.bad[ROWS]), None)
        self._find("rows", f"fork: the head of {head.size} entries is signed over another history than the published one", at)

    def _unsigned_rows(self, base: Checkpoint) -> None:
        if self.rows_end > base.size:
            self._find("rows", f"rows {base.size} to {self.rows_end - 1} are under no signed head", base.size)

    def _tell_rows(self) -> None:
        """Bad rows, by what is wrong with them; and ranges in which no copy could prove which."""
        for index in self.verdict.bad[ROWS][:1]:
            count = len(self.verdict.bad[ROWS])
            more = f" ({count} bad rows in all)" if count > 1 else ""
            if index in self.scan.errors:
                self._find("rows", f"entry {index} can't be read: {self.scan.errors[index]}{more}", index)
            elif self.copies[ROWS].leaves(index, index + 1)[0] is None:
                self._find("rows", f"entry {index} is missing{more}", index)
            else:
                self._find("rows", f"entry {index} is not the one that was signed{more}", index)
        for low, high in self.verdict.unknown:
            at = first_disagreement(list(self.copies.values()), low, min(high, self.out.size if self.out else high))
            self._find("rows", f"among entries {low} to {high - 1} at least one is not as signed, and no copy proves which", at)
        for table, index in self.scan.outside(self.size if self.signed else self.rows_end):
            if table == "side" or self.head is None or self.head.signed is not None:
                self._find("rows", f"a row of table {table} lies at {index}, outside the log of {self.size} entries", index)

    def _seals(self) -> None:
        """Each sealed bundle's root, as the database keeps it, is the proven one."""
        for number in range(self.scan.seam // tiles.WIDTH):
            start = number * tiles.WIDTH
            proven = self.proven.hash(start, start + tiles.WIDTH)
            at, root = self.scan.seals.get(number, (None, None))
            if proven is not None and (root != proven or not isinstance(at, int)):
                what = f"the database does not know sealed bundle {number} as it is proven"
                self._find("sealed", what, start, derived=True)
                return

    def _frontier(self) -> Frontier | None:
        head = self.head
        if head is None or head.signed is None:
            return None
        try:
            frontier = Frontier.from_bytes(head.signed.size, head.frontier)
        except (Invalid, TypeError):
            return None
        return frontier if frontier.root() == head.signed.root else None

    # --- what else must hold in the database

    def _beside_the_entries(self) -> None:
        self._head()
        self._seals()
        self._times()
        rows_are_sound = not self.verdict.bad[ROWS] and not self.verdict.unknown
        for index in list(self.survey.open_intents)[: int(rows_are_sound)]:
            what = f"the low water is {self.survey.low_water}, and intent {index} has no outcome"
            self._find("head", what, index, derived=True)
        # Beside a row that is not the signed one nothing can be said of its side records.
        odd = [(index, why) for index, why in self.survey.odd_sides if self.verdict.is_sound(ROWS, index, index + 1)]
        for index, why in odd[:1]:
            self._find("sides", f"the side record of entry {index} {why}", index)
        for what in [*self.scan.trouble, *(self.scan.structure() if not self.scan.errors else [])]:
            self._find("database", f"SQLite: {what}")

    def _head(self) -> None:
        head = self.head
        if head is None:
            if self.out is not None or self.rows_end:
                self._find("head", "the database has no head of this log", derived=self._head_is_published())
            return
        if head.signed is None:
            self._find("head", f"the head does not verify: {head.why}", derived=self._head_is_published())
            return
        if (head.size, head.root) != (head.signed.size, head.signed.root):
            self._find("head", "the head's columns are not what its note signs", derived=True)
        if self._frontier() is None:
            self._find("head", "the frontier does not make the signed root", derived=True)
        if not isinstance(head.low_water, int) or not 0 <= head.low_water <= head.signed.size:
            self._find("head", f"the low water is {head.low_water!r}, in a log of {head.signed.size} entries", derived=True)

    def _head_is_published(self) -> bool:
        """Whether the published checkpoint can stand for the head: it is of all the rows, and they make it."""
        return self.out is not None and self.rows_end == self.out.size and not self.verdict.bad[ROWS] + self.verdict.unknown

    def _times(self) -> None:
        """Commit times never run backwards, and the head's is the last: first_since searches by halving."""
        times, before = self.survey.times, None
        end = self.head.committed_at if self.head and self.head.signed else None
        for at, (index, time) in enumerate(times):
            if not isinstance(time, int):
                return self._find("rows", f"entry {index} has no commit time", index)
            if isinstance(end, int) and time > end and not self._is_head_odd(end):
                return self._find("rows", f"entry {index} was committed at {time}, after the head ({end})", index)
            if before is not None and time < before:
                wrong = self._odd_time(at)
                return self._find("rows", f"commit times run backwards at entry {wrong}", wrong)
            before = time
        if self.head and self.head.signed and before is not None and end != before:
            self._find("head", f"the head was committed at {end}, its last entry at {before}", derived=True)
        return None

    def _is_head_odd(self, end: int) -> bool:
        """Whether the head's time is the wrong one: no row has it, and from here on all rows are later."""
        times = [time for _, time in self.survey.times if isinstance(time, int)]
        return end not in times and times == sorted(times)

    def _odd_time(self, at: int) -> int:
        """Of two runs of rows that contradict each other: the first index of the shorter, if the rest fits without it."""
        times = [*self.survey.times, (self.size, None)]
        before, here, after = times[at - 1][0], times[at][0], times[at + 1][0]
        fits = at == 1 or times[at - 2][1] <= times[at][1]
        return before if fits and here - before < after - here else here

    # --- what is known elsewhere

    def _elsewhere(self, notes: Sequence[tuple[str, Checkpoint]]) -> None:
        """Checkpoints of this log that are kept in other places: it must be as long, and the same."""
        for where, kept in notes:
            self.reached = max(self.reached, kept.size)
            if kept.size > self.size:
                what = f"the log was set back: {where} shows {kept.size} entries, and here are {self.size}"
                self._find("rows", what, self.size)
            elif self.proven.hash(0, kept.size) not in {kept.root, None}:
                self.forked = True
                self._find("rows", f"fork: {where} is of another history, at size {kept.size}")
        bundles = [(number, width) for (level, number), widths in self.files.widths.items() if level is None for width in widths]
        self.reached = max([self.reached, *(number * tiles.WIDTH + width for number, width in bundles)])

    # --- what is published

    def _published_files(self) -> None:
        if self.out is None and not self.files.widths:
            return
        self._leaf_files()
        size = self.out.size if self.out else self.size
        level = 1
        while size >> (tiles.HEIGHT * level):
            self._upper_level(level, size >> (tiles.HEIGHT * level))
            level += 1

    def _leaf_files(self) -> None:
        """Level-0 tiles and bundles: the first bad one of each kind is told."""
        found: dict[str, Finding] = {}
        for number in sorted({*self.survey.differing, *self.survey.missing}):
            start, end = number * tiles.WIDTH, min((number + 1) * tiles.WIDTH, self.size)
            for missing in self.survey.missing.get(number, ()):
                part = BUNDLES if missing is None else TILES
                path = tiles.path(missing, number, min(tiles.WIDTH, self.survey.published - start))
                found.setdefault(part, Finding(part, f"{path} is missing", start, derived=True))
            proven = self.proven.leaves(start, end)
            for level, width in self.survey.differing.get(number, ()):
                raw = self.files.read(level, number, width)
                place = _first_wrong(raw, level, width=width, proven=proven)
                if place is not None:
                    part, path = (BUNDLES if level is None else TILES), tiles.path(level, number, width)
                    self.bad_files.append(path)
                    found.setdefault(part, Finding(part, f"{path} is damaged", start + place, derived=True))
        self.findings += found.values()

    def _upper_level(self, level: int, count: int) -> None:
        """Tiles above the leaves: each hash is the root of the full tile below."""
        span, found = tiles.WIDTH**level, None
        for number in range(-(-count // tiles.WIDTH)):
            start = number * tiles.WIDTH
            wanted = min(tiles.WIDTH, count - start)
            if self.files.best(level, number, wanted) is None:
                what = f"{tiles.path(level, number, wanted)} is missing"
                found = found or Finding(TILES, what, start * span, derived=True)
            for width in self.files.widths.get((level, number), ()):
                path, raw = tiles.path(level, number, width), self.files.read(level, number, width)
                wrong = next((place for place in range(min(width, wanted)) if self._is_wrong(raw, start, place, span)), None)
                if wrong is None and len(raw) != width * HASH_BYTES:
                    wrong = width
                if wrong is not None:
                    self.bad_files.append(path)
                    found = found or Finding(TILES, f"{path} is damaged", (start + wrong) * span, derived=True)
        self.findings += [found] if found else []

    def _is_wrong(self, raw: bytes, start: int, place: int, span: int) -> bool:
        proven = self.proven.hash((start + place) * span, (start + place + 1) * span)
        return proven is not None and raw[place * HASH_BYTES : (place + 1) * HASH_BYTES] != proven

    def _find(self, part: str, why: str, index: int | None = None, *, derived: bool = False) -> None:
        self.findings.append(Finding(part, why, index, derived))


@contextlib.contextmanager
def examine(
    directory: Path,
    verifier: Verifier,
    *,
    trusted: Sequence[NoteKey] = (),
    elsewhere: Sequence[tuple[str, Checkpoint]] = (),
) -> Iterator[Examination]:
    """Examine a data directory. `trusted` are witnesses' keys: a cosignature under one of them must verify.

    `elsewhere` are verified checkpoints of this log from other places, each with a word on where it was found.
    LedgerUnavailable if the database can't be opened at all.
    """
    with Scan.of(directory / DATABASE) as scan:
        yield Examination(directory, scan, verifier, trusted=trusted, elsewhere=elsewhere)


class _Upper:
    """The tiles above the leaves, as hints."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def hash(self, start: int, end: int) -> bytes | None:
        """A node of 256 leaves or more, from the one tile that has it."""
        count = end - start
        if count & (count - 1) or count < tiles.WIDTH or start % count:
            return None
        level = (count.bit_length() - 1) // tiles.HEIGHT
        span = tiles.WIDTH**level
        number, place = divmod(start // span, tiles.WIDTH)
        wide = count // span
        width = self._files.best(level, number, place + wide)
        if width is None:
            return None
        raw = self._files.read(level, number, width)[place * HASH_BYTES : (place + wide) * HASH_BYTES]
        return root_of(tiles.decode_tile(raw, wide)) if len(raw) == wide * HASH_BYTES else None


def _first_wrong(raw: bytes, level: int | None, *, width: int, proven: Sequence[Leaf]) -> int | None:
    """The first place at which a file of a block is not as proven; None if it is, as far as anything is proven there."""
    if level is None:
        entries = split_bundle(raw)
        theirs: list[bytes] = [leaf_hash(entry) for entry in entries]
        length = sum(2 + len(entry) for entry in entries)
    else:
        theirs = [raw[at : at + HASH_BYTES] for at in range(0, len(raw) - HASH_BYTES + 1, HASH_BYTES)]
        length = len(theirs) * HASH_BYTES
    for place, mine in enumerate(proven[:width]):
        if mine is not None and (place >= len(theirs) or theirs[place] != mine):
            return place
    if width > len(proven):
        return None  # further than this snapshot of the log: a running gateway is ahead of it
    return width if len(theirs) != width or length != len(raw) else None


def _odd_side(name: str, raw: bytes, entry: bytes) -> str:
    """What is wrong with a side record, by its shape and its entry's commitments; its content is sealed."""
    if not isinstance(raw, bytes) or not isinstance(name, str):
        return "is not a text and bytes"
    try:
        side_ref(raw)
        commit: Any = json.loads(entry).get("commit", {})
    except (Invalid, ValueError, AttributeError, RecursionError) as e:
        return f"does not read: {e}"
    if len(raw) < 1 + 16 + SEALED_BYTES:
        return "is too short"
    return "" if name in commit else f"is of class {name}, to which the entry commits nothing"
