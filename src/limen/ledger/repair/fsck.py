"""Verification of a database: every stored entry, against what was published and against the signed head.

For whoever holds a data directory, running or copied; reads only. `limen.verify` does the same for published files alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import merkle, tiles
from limen.ledger.sequencer import check_head
from limen.ledger.stored import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.ledger.store import Head
    from limen.verify.published import Published


def stored_head(database: Path, verifier: Verifier) -> Head:
    """The newest durable head, verified. NotFound if the database has none."""
    head = look(database.parent, verifier.name).head()
    if head is None:
        raise NotFound(f"a head of {verifier.name} in {database}")
    check_head(head, verifier)
    return head


def verify_stored(database: Path, log: Published, published: Checkpoint, *, verifier: Verifier) -> Head:
    """Check that the database holds exactly the published entries, and that with what came since they make its head.

    TamperDetected names the first bad index. `published` must have been verified before.
    """
    head = stored_head(database, verifier)
    if head.size < published.size:
        raise TamperDetected(f"{database.name} has {head.size} of the {published.size} published entries", index=head.size)
    frontier = merkle.Frontier()
    store = look(database.parent, verifier.name)
    for start, entries in _by_tile(store.entries(0, head.size)):
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        width = max(0, min(len(leaves), published.size - start))
        try:
            expected = log.tile(0, start // tiles.WIDTH, width) if width else []
        except (NotFound, Invalid) as e:
            raise TamperDetected(f"the leaf hashes from {start} on: {e}", index=start) from e
        for index, (mine, theirs) in enumerate(zip(leaves, expected, strict=False), start):
            if mine != theirs:
                raise TamperDetected(f"entry {index} of {database.name} is not the published one", index=index)
        frontier = frontier.extended(leaves)
    if (frontier.size, frontier.root()) != (head.size, head.checkpoint.root):
        raise TamperDetected(
            f"{database.name}: an entry that is not published yet is not the one that was signed", index=published.size
        )
    return head


def _by_tile(entries: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """Runs of up to 256 entries that begin where a tile does."""
    start, run = 0, []
    for expected, (index, raw) in enumerate(entries):
        if index != expected:
            raise TamperDetected(f"entry {expected} is missing", index=expected)
        run.append(raw)
        if len(run) == tiles.WIDTH:
            yield start, run
            start, run = start + tiles.WIDTH, []
    if run:
        yield start, run
