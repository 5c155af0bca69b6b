"""Verification of a published log, offline: a directory, a key, and nothing else. C2SP tlog-tiles v0.1.

An auditor runs this on a laptop: it imports the standard library, `cryptography`, and limen's pure parts only. `Published`
reads the files; `verify` checks the signature, every entry against its leaf, every tile against the tile below, and the
root; `prove` makes a proof that other programs can check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, tiles
from limen.formats.tlogproof import Proof

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limen.formats.note import Verifier

CHECKPOINT: Final = "checkpoint"
VKEY: Final = "vkey"


class Published:
    """A directory that holds one log's `checkpoint`, `vkey` and `tile/`. Reads on every call; keeps nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def verifier(self) -> Verifier:
        """The key that lies beside the log. It shows damage; against forgery bring the key you were given."""
        path = self.root / VKEY
        try:
            return note.Verifier.from_vkey(path.read_text())
        except FileNotFoundError as e:
            raise NotFound(f"{path} (give the log's key with --vkey)") from e
        except (Invalid, UnicodeDecodeError) as e:
            raise TamperDetected(f"{path} is no key: {e}") from e

    def checkpoint(self, verifier: Verifier) -> Checkpoint:
        """The checkpoint, its signature verified. NotFound if there is none, TamperDetected if it is not the log's."""
        path = self.root / CHECKPOINT
        try:
            raw = path.read_bytes()
        except FileNotFoundError as e:
            raise NotFound(f"{path} (is this a published log?)") from e
        try:
            origin, size, root = checkpoints.decode(note.open_note(raw, [verifier])[0])
        except Invalid as e:
            raise TamperDetected(f"{path} does not verify: {e}") from e
        if origin != verifier.name:
            raise TamperDetected(f"{path} is of {origin}, and the key is of {verifier.name}")
        return Checkpoint(origin, size, root, raw)

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """The first `width` hashes of a tile, unverified. NotFound or Invalid if they are not there."""
        return tiles.decode_tile(self._read(level, index, width), width)

    def bundle(self, index: int, width: int) -> list[bytes]:
        """The first `width` entries of a bundle, unverified. NotFound or Invalid if they are not there."""
        return tiles.decode_bundle(self._read(None, index, width), width)

    def entry(self, index: int, size: int) -> bytes:
        """One entry, unverified."""
        number, place = divmod(index, tiles.WIDTH)
        return self.bundle(number, min(tiles.WIDTH, size - number * tiles.WIDTH))[place]

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Entries with start <= index < end <= the log's size, unverified."""
        for number in range(start // tiles.WIDTH, -(-end // tiles.WIDTH)):
            first = number * tiles.WIDTH
            for index, raw in enumerate(self.bundle(number, min(tiles.WIDTH, end - first)), first):
                if index >= start:
                    yield index, raw

    def _read(self, level: int | None, index: int, width: int) -> bytes:
        """The file of exactly this width, or any wider one: a partial tile may go once the full one is there."""
        path = self.root / tiles.path(level, index, width)
        full = self.root / tiles.path(level, index)
        wider = sorted(
            int(found.name) for found in full.with_name(full.name + ".p").glob("*") if re.fullmatch("[1-9][0-9]{0,2}", found.name)
        )
        candidates = [path, full, *(self.root / tiles.path(level, index, w) for w in wider if width < w < tiles.WIDTH)]
        for candidate in candidates:
            try:
                return candidate.read_bytes()
            except FileNotFoundError:
                continue
        raise NotFound(str(path.relative_to(self.root)))


@dataclass(frozen=True, slots=True)
class Verified:
    """A log whose every published byte leads to the signed root."""

    checkpoint: Checkpoint
    first: bytes | None
    last: bytes | None


def verify(log: Published, verifier: Verifier) -> Verified:
    """Check everything that the checkpoint covers; TamperDetected names the first bad index.

    1. The checkpoint's signature. 2. Each bundle's entries against the leaf hashes of its tile. 3. Each hash of a higher
    tile against the full tile below. 4. The root, from the entries alone. What lies beyond the checkpoint is not looked at.
    """
    checkpoint = log.checkpoint(verifier)
    size = checkpoint.size
    frontier, roots = merkle.Frontier(), []
    first = last = None
    for number in range(-(-size // tiles.WIDTH)):
        width = min(tiles.WIDTH, size - number * tiles.WIDTH)
        entries, leaves = _verified_leaves(log, number, width)
        frontier = frontier.extended(leaves)
        first, last = (entries[0] if first is None else first), entries[-1]
        if width == tiles.WIDTH:
            roots.append(merkle.root_of(leaves))
    _verify_upper_tiles(log, roots)
    if frontier.root() != checkpoint.root:
        raise TamperDetected(
            f"entries and tiles agree with each other, but their root is not the one signed at size {size}: the log was "
            "rewritten as a whole, and which entry differs can't be said"
        )
    return Verified(checkpoint, first, last)


def _verified_leaves(log: Published, number: int, width: int) -> tuple[list[bytes], list[bytes]]:
    start = number * tiles.WIDTH
    try:
        entries = log.bundle(number, width)
    except (NotFound, Invalid) as e:
        # Which entries of a bundle still read is not worth knowing: its tile tells how many there should be.
        raise TamperDetected(f"the entries from {start} on: {e}", index=_first_bad(log, number, width)) from e
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    try:
        tile = log.tile(0, number, width)
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"the leaf hashes from {start} on: {e}", index=start) from e
    for index, (mine, theirs) in enumerate(zip(leaves, tile, strict=True), start):
        if mine != theirs:
            raise TamperDetected(f"entry {index} is not the one whose hash is in the tree", index=index)
    return entries, leaves


def _first_bad(log: Published, number: int, width: int) -> int:
    """In a bundle that does not read as a whole: the first entry that does not hash to its leaf, by the tile."""
    start = number * tiles.WIDTH
    try:
        leaves = log.tile(0, number, width)
        raw = (log.root / tiles.path(None, number, width)).read_bytes()
    except (OSError, NotFound, Invalid):
        return start
    at = 0
    for index, leaf in enumerate(leaves, start):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if merkle.leaf_hash(raw[at + 2 : end]) != leaf:
            return index
        at = end
    return start + width


def _verify_upper_tiles(log: Published, roots: list[bytes]) -> None:
    """`roots` are those of the full level-0 tiles, from the entries: what level 1 must hold, and so on up."""
    level = 1
    while roots:
        span = tiles.WIDTH**level
        above = []
        for number in range(-(-len(roots) // tiles.WIDTH)):
            mine = roots[number * tiles.WIDTH : (number + 1) * tiles.WIDTH]
            start = number * tiles.WIDTH
            try:
                theirs = log.tile(level, number, len(mine))
            except (NotFound, Invalid) as e:
                raise TamperDetected(f"a tile of level {level}: {e}", index=start * span) from e
            for place, (one, other) in enumerate(zip(mine, theirs, strict=True), start):
                if one != other:
                    raise TamperDetected(
                        f"level {level} of the tree does not agree with entries {place * span} to {(place + 1) * span - 1}",
                        index=place * span,
                    )
            if len(mine) == tiles.WIDTH:
                above.append(merkle.root_of(mine))
        roots, level = above, level + 1


def prove(log: Published, verifier: Verifier, index: int) -> tuple[Proof, bytes]:
    """The proof file of one entry under the published checkpoint, verified before it is returned, and the entry.

    NotFound if the log has no such entry, TamperDetected if the tiles on the way do not lead to the signed root.
    """
    checkpoint = log.checkpoint(verifier)
    if not 0 <= index < checkpoint.size:
        raise NotFound(f"entry {index}: the checkpoint is of {checkpoint.size} entries")

    def range_hash(start: int, end: int) -> bytes:
        return tiles.range_hash(log.tile, start, end)

    try:
        entry = log.entry(index, checkpoint.size)
        hashes = merkle.inclusion_proof(index, checkpoint.size, range_hash)
        proof = Proof(index, tuple(hashes), checkpoint.note)
        proof.verify(entry, [verifier])
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"entry {index} can't be proved: {e}", index=index) from e
    return proof, entry
