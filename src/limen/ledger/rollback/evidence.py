"""Evidence of what the log has been: checkpoints that it signed, held against what `ledger.db` holds now.

A log that signed a checkpoint must hold its entries for ever. `contradiction` says whether it does: the published tiles
and the newest entries make a consistency proof (RFC 6962 §2.1.2), whose hashes need no trust because they must lead to
both roots. Where the tiles don't lead there, the stored entries are hashed, all of them, and they decide.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.core import epochs
from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, tiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Protocol

    from limen.formats.note import Verifier
    from limen.ledger.store import Head, Reading

    class Tiles(Protocol):
        """Where the published hashes are read."""

        def tile(self, level: int, index: int, width: int) -> list[bytes]:
            """The first `width` hashes of a tile, unverified. NotFound or Invalid if they are not there."""


NEXT_STEP = (
    "nothing was signed. First look for the newest ledger.db (another disk, a snapshot, a later backup) and put it back, or let "
    "`limen ledger fsck --repair` bring back what was published; only if entries are lost for good, `limen ledger new-epoch "
    "--reason …` goes on under a new name (docs/restore.md)"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A checkpoint under the log's signature, and where it was found. `witnessed`: others signed it too."""

    where: str
    checkpoint: Checkpoint
    witnessed: bool = False

    @classmethod
    def read(cls, raw: bytes, where: str, *, verifier: Verifier) -> Evidence:
        """A note of this log in any of its epochs, its signature verified; Invalid for anything else."""
        origin = note.parse(raw)[0].partition("\n")[0]
        if epochs.split(origin)[0] != epochs.split(verifier.name)[0]:
            raise Invalid(where, f"is a note of {origin or 'nobody'}, not of {verifier.name}")
        text, _ = note.open_note(raw, [note.Verifier.of(origin, verifier.public_key)])
        return cls(where, Checkpoint(*checkpoints.decode(text), raw), len(note.parse(raw)[1]) > 1)

    @property
    def epoch(self) -> int:
        """Which epoch of the log signed it."""
        return epochs.split(self.checkpoint.origin)[1]

    @property
    def reach(self) -> tuple[int, int]:
        """How far the log had come: epochs first, then entries."""
        return self.epoch, self.checkpoint.size

    def __str__(self) -> str:
        seen = self.checkpoint
        return f"{self.where} shows {seen.size} entries of {seen.origin} (root {base64.b64encode(seen.root).decode()})"


def contradiction(evidence: Evidence, head: Head | None, store: Reading, log: Tiles, *, origin: str) -> TamperDetected | None:
    """Why the log of this head can't be the one that signed the evidence, or None if it can.

    Evidence of an earlier epoch binds nobody any more: the epoch's first entry says what became of it.
    """
    said, size = evidence.checkpoint, head.size if head else 0
    epoch = epochs.split(origin)[1]
    if evidence.epoch < epoch or said.size == 0:
        return None
    if evidence.epoch > epoch:
        return _alarm(
            f"the log was set back to before {said.origin}: {evidence}, and ledger.db has {size} of {origin}", said, size
        )
    if head is None or size < said.size:
        return _alarm(f"the log was set back: {evidence}, and ledger.db has {size}", said, size)
    if _proved(said, head, store, log):
        return None
    mine, whole = roots(store, (said.size, size))
    if whole != head.checkpoint.root:
        return _alarm(
            f"the entries of ledger.db do not make the root that it holds as signed at size {size}; {evidence}",
            said,
            first_difference(said, store, log),
        )
    if mine != said.root:
        first = first_difference(said, store, log)
        what = f"its entry {first} is not the one that was published" if first >= 0 else "its entries make another root there"
        return _alarm(f"the log was rewritten: {evidence}, and ledger.db, although signed, is another log: {what}", said, first)
    return None


def roots(store: Reading, sizes: Iterable[int]) -> list[bytes]:
    """The roots that the stored entries make at these sizes, which must not fall. Reads and hashes them all.

    TamperDetected if one is missing.
    """
    frontier, found = merkle.Frontier(), []
    for size in sizes:
        frontier = frontier.extended(_leaves(store, frontier.size, size))
        found.append(frontier.root())
    return found


def _leaves(store: Reading, start: int, end: int) -> Iterator[bytes]:
    expected = start
    for index, raw in store.entries(start, end):
        if index != expected:
            break
        yield merkle.leaf_hash(raw)
        expected += 1
    if expected != end:
        raise TamperDetected(f"entry {expected} is missing from ledger.db", index=expected, next_step=NEXT_STEP)


def first_difference(said: Checkpoint, store: Reading, log: Tiles) -> int:
    """The first stored entry that is not the published one; -1 if the published tiles don't lead to what was said."""
    frontier, first = merkle.Frontier(), -1
    for start in range(0, said.size, tiles.WIDTH):
        width = min(tiles.WIDTH, said.size - start)
        try:
            theirs = log.tile(0, start // tiles.WIDTH, width)
        except (NotFound, Invalid):
            return -1
        frontier = frontier.extended(theirs)
        if first < 0:
            mine = [merkle.leaf_hash(raw) for _, raw in store.entries(start, start + width)]
            first = next((start + i for i, leaf in enumerate(theirs) if mine[i : i + 1] != [leaf]), -1)
    return first if frontier.root() == said.root else -1


def _proved(said: Checkpoint, head: Head, store: Reading, log: Tiles) -> bool:
    """Whether the head's tree is shown to begin with the tree that was said, by tiles and the newest entries."""
    if said.size == head.size:
        return said.root == head.checkpoint.root

    def read(level: int, index: int, width: int) -> list[bytes]:
        try:
            return log.tile(level, index, width)
        except (NotFound, Invalid):  # not published yet, or lost
            first = index * tiles.WIDTH
            if level:
                return [merkle.root_of(read(level - 1, first + place, tiles.WIDTH)) for place in range(width)]
            return [merkle.leaf_hash(raw) for _, raw in store.entries(first, first + width)]

    def range_hash(start: int, end: int) -> bytes:
        return tiles.range_hash(read, start, end)

    proof: Sequence[bytes] = merkle.consistency_proof(said.size, head.size, range_hash)
    try:
        merkle.verify_consistency(said.size, head.size, said.root, head.checkpoint.root, proof)
    except Invalid:
        return False
    return True


def _alarm(why: str, said: Checkpoint, index: int) -> TamperDetected:
    return TamperDetected(why, index=index, evidence=said.note, next_step=NEXT_STEP)
