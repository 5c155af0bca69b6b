"""A published log, read and verified: a directory or a server, a key or a policy, and nothing else. C2SP tlog-tiles v0.1.

`Published` reads; `verify` checks the signatures, every entry against its leaf, every tile against the tile below, and
the root; `prove` makes a proof that other programs can check. Where the bytes lie is a `Reader`'s matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.formats import merkle, tiles
from limen.formats.note import Verifier
from limen.formats.tlogpolicy import Policy
from limen.formats.tlogproof import Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limen.formats.tlogpolicy import Cosigned

Trust = Policy | Verifier
"""Whom a checkpoint must be signed by: a policy, or the log's own key alone."""
CHECKPOINT: Final = "checkpoint"
VKEY: Final = "vkey"


class Reader(Protocol):
    """Where the bytes of a published log are: each method reads, keeps nothing, and may be called again."""

    def read(self, path: str) -> bytes:
        """The bytes at a path below the log's prefix. NotFound if there are none, OSError if that can't be told just now."""

    def wider(self, path: str, width: int) -> Iterable[str]:
        """Paths of partial tiles wider than this one, beside the full tile at `path`, as far as the place can list them."""

    def where(self, path: str) -> str:
        """The path as people should be told it."""


class Directory:
    """A log in a directory of files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        """The file's bytes."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as e:
            raise NotFound(path) from e

    def wider(self, path: str, width: int) -> Iterable[str]:
        """The wider partial tiles that lie there, narrowest first."""
        folder = self.root / f"{path}.p"
        there = sorted(int(found.name) for found in folder.glob("*") if re.fullmatch("[1-9][0-9]{0,2}", found.name))
        return [f"{path}.p/{other}" for other in there if width < other < tiles.WIDTH]

    def where(self, path: str) -> str:
        """The file's path."""
        return str(self.root / path)


class Published:
    """One log's `checkpoint`, `vkey` and `tile/`, in a directory or wherever a Reader reads. Keeps nothing."""

    def __init__(self, place: Path | Reader) -> None:
        self.reader: Reader = Directory(place) if isinstance(place, Path) else place

    def verifier(self) -> Verifier:
        """The key that lies beside the log. It shows damage; against forgery bring the key you were given."""
        where = self.reader.where(VKEY)
        try:
            return Verifier.from_vkey(self.reader.read(VKEY).decode())
        except NotFound as e:
            raise NotFound(f"{where} (give the log's key with --vkey)") from e
        except (Invalid, UnicodeDecodeError) as e:
            raise TamperDetected(f"{where} is no key: {e}") from e

    def checkpoint(self, trust: Trust) -> Checkpoint:
        """The checkpoint, accepted by the policy or key. NotFound if there is none, TamperDetected if it is not accepted."""
        return self.accepted(trust)[0]

    def accepted(self, trust: Trust) -> tuple[Checkpoint, Cosigned]:
        """The checkpoint as `checkpoint` returns it, and who cosigned it."""
        where = self.reader.where(CHECKPOINT)
        try:
            raw = self.reader.read(CHECKPOINT)
        except NotFound as e:
            raise NotFound(f"{where} (is this a published log?)") from e
        try:
            found = as_policy(trust).check(raw)
        except Invalid as e:
            raise TamperDetected(f"{where} does not verify: {e}") from e
        return Checkpoint(found.origin, found.size, found.root, raw), found

    def key(self, trust: Trust) -> Verifier:
        """The log's own key, as `trust` has it; of a policy's several logs, the one that this checkpoint is of."""
        return trust if isinstance(trust, Verifier) else key_of(trust, self.checkpoint(trust).origin)

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """The first `width` hashes of a tile, unverified. NotFound or Invalid if they are not there."""
        return tiles.decode_tile(self.read(level, index, width), width)

    def bundle(self, index: int, width: int) -> list[bytes]:
        """The first `width` entries of a bundle, unverified. NotFound or Invalid if they are not there."""
        return tiles.decode_bundle(self.read(None, index, width), width)

    def entry(self, index: int, size: int) -> bytes:
        """One entry of a log of this size, unverified."""
        number, place = divmod(index, tiles.WIDTH)
        return self.bundle(number, min(tiles.WIDTH, size - number * tiles.WIDTH))[place]

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Entries with start <= index < end <= the log's size, unverified."""
        for number in range(start // tiles.WIDTH, -(-end // tiles.WIDTH)):
            first = number * tiles.WIDTH
            for index, raw in enumerate(self.bundle(number, min(tiles.WIDTH, end - first)), first):
                if index >= start:
                    yield index, raw

    def read(self, level: int | None, index: int, width: int) -> bytes:
        """A tile or bundle of exactly this width, or any wider one: a partial tile may go once the full one is there."""
        path, full = tiles.path(level, index, width), tiles.path(level, index)
        for candidate in dict.fromkeys([path, full]):
            try:
                return self.reader.read(candidate)
            except NotFound:
                continue
        for candidate in self.reader.wider(full, width):
            try:
                return self.reader.read(candidate)
            except NotFound:
                continue  # it went while we looked: the publisher put a wider one there
        raise NotFound(path)

    def range_hash(self, start: int, end: int) -> bytes:
        """The hash of leaves [start, end), a node of the tree, from tiles: what builders of proofs ask for. Unverified."""
        return tiles.range_hash(self.tile, start, end)

    def tree(self, size: int) -> Callable[[int, int], bytes]:
        """`range_hash` for one proof in the tree of this size: each tile is read once, as wide as that tree has it."""
        read: dict[tuple[int, int], list[bytes]] = {}

        def tile(level: int, index: int, width: int) -> list[bytes]:
            if (level, index) not in read:
                whole = min(tiles.WIDTH, (size >> (tiles.HEIGHT * level)) - index * tiles.WIDTH)
                read[level, index] = self.tile(level, index, whole)
            return read[level, index][:width]

        return lambda start, end: tiles.range_hash(tile, start, end)


def as_policy(trust: Trust) -> Policy:
    """The policy itself, or the one that asks for this log's signature and for no witness."""
    return trust if isinstance(trust, Policy) else Policy.of_logs([trust])


def key_of(trust: Trust, origin: str) -> Verifier:
    """The trusted key of the log of this origin. NotFound if there is none."""
    for log in as_policy(trust).logs:
        if log.verifier.name == origin:
            return log.verifier
    raise NotFound(f"a trusted key of {origin}")


@dataclass(frozen=True, slots=True)
class Verified:
    """A log whose every published byte leads to the signed root, and who cosigned that, when."""

    checkpoint: Checkpoint
    first: bytes | None
    last: bytes | None
    cosigners: tuple[tuple[str, int], ...] = ()


def verify(log: Published, trust: Trust) -> Verified:
    """Check everything that the checkpoint covers; TamperDetected names the first bad index.

    1. The checkpoint's signatures. 2. Each bundle's entries against the leaf hashes of its tile. 3. Each hash of a higher
    tile against the full tile below. 4. The root, from the entries alone. What lies beyond the checkpoint is not looked at.
    """
    checkpoint, accepted = log.accepted(trust)
    size = checkpoint.size
    rest: list[bytes] = []
    roots: list[bytes] = []
    first = last = None
    for number in range(-(-size // tiles.WIDTH)):
        width = min(tiles.WIDTH, size - number * tiles.WIDTH)
        entries, leaves = _verified_leaves(log, number, width)
        first, last = (entries[0] if first is None else first), entries[-1]
        if width == tiles.WIDTH:
            roots.append(merkle.root_of(leaves))
        else:
            rest = leaves
    edge = [rest, *_verified_upper_edge(log, roots)] if size else []
    if tiles.frontier_of(edge, size).root() != checkpoint.root:
        raise TamperDetected(
            f"entries and tiles agree with each other, but their root is not the one signed at size {size}: the log was "
            "rewritten as a whole, and which entry differs can't be said"
        )
    return Verified(checkpoint, first, last, accepted.cosigners)


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
    if leaves != tile:
        index = start + next(place for place in range(width) if leaves[place] != tile[place])
        raise TamperDetected(f"entry {index} is not the one whose hash is in the tree", index=index)
    return entries, leaves


def _first_bad(log: Published, number: int, width: int) -> int:
    """In a bundle that does not read as a whole: the first entry that does not hash to its leaf, by the tile."""
    start = number * tiles.WIDTH
    try:
        leaves = log.tile(0, number, width)
        raw = log.read(None, number, width)
    except (NotFound, Invalid):
        return start
    at = 0
    for index, leaf in enumerate(leaves, start):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if merkle.leaf_hash(raw[at + 2 : end]) != leaf:
            return index
        at = end
    return start + width


def _verified_upper_edge(log: Published, roots: list[bytes]) -> list[list[bytes]]:
    """Check every tile above level 0; returns the hashes of each level's partial tile, level 1 first.

    `roots` are those of the full level-0 tiles, from the entries: what level 1 must hold, and so on up.
    """
    edge, level = [], 1
    while roots:
        above, rest = [], []
        for number in range(-(-len(roots) // tiles.WIDTH)):
            mine = roots[number * tiles.WIDTH : (number + 1) * tiles.WIDTH]
            _check_upper_tile(log, level, number, mine)
            if len(mine) == tiles.WIDTH:
                above.append(merkle.root_of(mine))
            else:
                rest = mine
        edge.append(rest)
        roots, level = above, level + 1
    return edge


def _check_upper_tile(log: Published, level: int, number: int, mine: list[bytes]) -> None:
    """TamperDetected unless the published tile holds these hashes."""
    span = tiles.WIDTH**level
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


def prove(log: Published, trust: Trust, index: int) -> tuple[Proof, bytes]:
    """The proof file of one entry under the published checkpoint, verified before it is returned, and the entry.

    The entry's bytes ride in the proof's `extra` line too, so that the file and a policy are enough to check it. NotFound
    if the log has no such entry, TamperDetected if the tiles on the way do not lead to the signed root.
    """
    checkpoint = log.checkpoint(trust)
    if not 0 <= index < checkpoint.size:
        raise NotFound(f"entry {index}: the checkpoint is of {checkpoint.size} entries")
    try:
        entry = log.entry(index, checkpoint.size)
        hashes = merkle.inclusion_proof(index, checkpoint.size, log.tree(checkpoint.size))
        proof = Proof(index, tuple(hashes), checkpoint.note, entry)
        proof.verify(entry, as_policy(trust))
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"entry {index} can't be proved: {e}", index=index) from e
    return proof, entry
