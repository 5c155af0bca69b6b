"""Sealed bundles: entries that have left `ledger.db` and rest as bundles of 256, in the form in which they were published.

They lie in `DATA/sealed`, not in `DATA/log`: what is published can be thrown away and made again, and these can't. Only what
is full, published, and proven by the published checkpoint is sealed, and the bundle is durable before the rows go; the table
`sealed` keeps each bundle's root and commit time, so that what is read back is held against what was sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import tiles
from limen.formats.merkle import leaf_hash, root_of
from limen.ledger.publication.places import fsync, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.ledger.store import Store
    from limen.verify.published import Published

FOLDER: Final = "sealed"
AT_ONCE: Final = 8  # bundles in one transaction: so long a commit may have to wait


@dataclass(frozen=True, slots=True)
class Seal:
    """One bundle that is durable in its place, and the root over its 256 leaves."""

    number: int
    root: bytes


def bundle_path(database: Path, number: int) -> Path:
    """Where a sealed bundle lies, beside its database."""
    return database.with_name(FOLDER) / tiles.path(None, number)


def read_sealed(database: Path, seal: Seal) -> list[bytes]:
    """The entries of a sealed bundle. TamperDetected if they are not those that were sealed."""
    start = seal.number * tiles.WIDTH
    path = bundle_path(database, seal.number)
    try:
        entries = tiles.decode_bundle(path.read_bytes(), tiles.WIDTH)
    except (OSError, Invalid) as e:
        raise TamperDetected(f"the sealed entries from {start} on can't be read: {e}", index=start) from e
    if root_of([leaf_hash(entry) for entry in entries]) != seal.root:
        raise TamperDetected(f"among the sealed entries {start} to {start + tiles.WIDTH - 1} one is not as sealed", index=start)
    return entries


def split_bundle(raw: bytes) -> list[bytes]:
    """The entries of a bundle, as far as it reads; at most 256."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < tiles.WIDTH and at + 2 <= len(raw):
        start, at = at + 2, at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if at > len(raw):
            break
        entries.append(raw[start:at])
    return entries


def write_sealed(database: Path, number: int, entries: Sequence[bytes]) -> Seal:
    """Put a bundle in its place, durably."""
    path = bundle_path(database, number)
    write(path, tiles.encode_bundle(entries))
    root = database.with_name(FOLDER)
    for above in [path, *(parent for parent in path.parents if parent.is_relative_to(root)), root.parent]:
        fsync(above)
    return Seal(number, root_of([leaf_hash(entry) for entry in entries]))


def prepare(store: Store, log: Published, verifier: Verifier, *, below: int) -> Iterator[list[Seal]]:
    """Bundles of entries below an index that may be sealed, a few at a time, each durable in its place when handed out.

    TamperDetected if rows and published bundle differ, or do not lead to the published checkpoint: then none is from there on.
    """
    checkpoint = log.checkpoint(verifier)
    roots = proven_roots(log, checkpoint)
    seals: list[Seal] = []
    for number in range(store.sealed() // tiles.WIDTH, min(below, checkpoint.size) // tiles.WIDTH):
        start = number * tiles.WIDTH
        entries = [raw for _, raw in store.entries(start, start + tiles.WIDTH)]
        try:
            published = log.bundle(number, tiles.WIDTH)
        except (NotFound, Invalid) as e:
            raise TamperDetected(f"the published entries from {start} on can't be read: {e}", index=start) from e
        seal = Seal(number, root_of([leaf_hash(entry) for entry in entries]))
        if published != entries or seal.root != roots[number]:
            raise TamperDetected(
                f"database, published bundle and signed root differ within entries {start} to {start + tiles.WIDTH - 1}",
                index=start,
                next_step="nothing more was sealed; run `limen ledger fsck`",
            )
        seals.append(store.put_sealed(number, entries))
        if len(seals) == AT_ONCE:
            yield seals
            seals = []
    if seals:
        yield seals


def proven_roots(log: Published, checkpoint: Checkpoint) -> list[bytes]:
    """The root of each full block of 256 leaves, from the published tiles; TamperDetected unless they make the checkpoint's."""
    full, rest = divmod(checkpoint.size, tiles.WIDTH)
    try:
        leaves = log.tile(0, full, rest) if rest else []
        roots = [
            root
            for number in range(-(-full // tiles.WIDTH))
            for root in log.tile(1, number, min(tiles.WIDTH, full - number * tiles.WIDTH))
        ]
        edge, level = [leaves], roots
        while level:
            whole = len(level) - len(level) % tiles.WIDTH
            edge.append(level[whole:])
            level = [root_of(level[at : at + tiles.WIDTH]) for at in range(0, whole, tiles.WIDTH)]
        found = tiles.frontier_of(edge if checkpoint.size else [], checkpoint.size).root()
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"the published tiles can't be read: {e}", next_step="run `limen ledger fsck`") from e
    if found != checkpoint.root:
        raise TamperDetected("the published tiles do not make the published root", next_step="run `limen ledger fsck`")
    return roots
