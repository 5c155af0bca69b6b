"""The entries that a bundle names, proved together: their leaves, and the fewest subtrees from which the root follows.

One proof of many entries instead of many proofs that repeat each other: 100,000 neighbours cost about as much as one. Each
entry's own proof file (C2SP tlog-proof@v1) follows from it, without the log. RFC 6962 §2.1. Reads the published log; what it
returns makes the root that was signed, or TamperDetected.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import tiles
from limen.formats.merkle import leaf_hash, node_hash, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from limen.core.types import Checkpoint
    from limen.verify.published import Published


@dataclass(frozen=True, slots=True)
class Named:
    """Entries of one tree: hash of each by index, bytes of those that may be shown, and the subtrees between them."""

    leaves: Mapping[int, bytes]
    shown: Mapping[int, bytes]
    subtrees: Mapping[tuple[int, int], bytes]

    def entries_text(self) -> bytes:
        """A line an entry: index, leaf hash, and its bytes if they may be shown."""
        lines = []
        for index in sorted(self.leaves):
            raw = self.shown.get(index)
            lines.append(f"{index} {_text(self.leaves[index])}" + (f" {_text(raw)}" if raw is not None else ""))
        return "".join(f"{line}\n" for line in lines).encode()

    def tree_text(self) -> bytes:
        """A line a subtree that holds no named entry: start, end (exclusive), hash."""
        return "".join(f"{start} {end} {_text(value)}\n" for (start, end), value in sorted(self.subtrees.items())).encode()


def read(log: Published, size: int, indices: Iterable[int]) -> dict[int, bytes]:
    """The bytes of some entries of a log of this size, unverified. NotFound for one that it does not have."""
    wanted = sorted(set(indices))
    found: dict[int, bytes] = {}
    at = 0
    while at < len(wanted):
        number = wanted[at] // tiles.WIDTH
        if not 0 <= wanted[at] < size:
            raise NotFound(f"entry {wanted[at]}: the checkpoint is of {size} entries")
        first = number * tiles.WIDTH
        bundle = log.bundle(number, min(tiles.WIDTH, size - first))
        while at < len(wanted) and wanted[at] < min(first + tiles.WIDTH, size):
            found[wanted[at]] = bundle[wanted[at] - first]
            at += 1
    return found


def prove(log: Published, checkpoint: Checkpoint, entries: Mapping[int, bytes], shown: Callable[[int], bool]) -> Named:
    """Prove these entries under a checkpoint; TamperDetected if log, entries and signed root do not agree."""
    if not entries:
        raise Invalid("entries", "none is named, so nothing can be proved")
    leaves = {index: leaf_hash(raw) for index, raw in entries.items()}
    subtrees: dict[tuple[int, int], bytes] = {}
    try:
        root = _root(sorted(leaves), leaves, subtrees, (0, checkpoint.size), log.tree(checkpoint.size))
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"the entries can't be proved: {e}", next_step="run `limen ledger fsck`") from e
    if root != checkpoint.root:
        raise TamperDetected("the published log does not lead to its signed root", next_step="run `limen ledger fsck`")
    return Named(leaves, {index: raw for index, raw in entries.items() if shown(index)}, subtrees)


def _root(
    order: Sequence[int],
    leaves: Mapping[int, bytes],
    subtrees: dict[tuple[int, int], bytes],
    span: tuple[int, int],
    range_hash: Callable[[int, int], bytes],
) -> bytes:
    """The hash of a span of the tree; notes the subtrees that it had to ask for."""
    start, end = span
    if bisect_left(order, start) == bisect_left(order, end):
        found = subtrees[span] = range_hash(start, end)
        return found
    if end - start == 1:
        return leaves[start]
    middle = start + split(end - start)
    left = _root(order, leaves, subtrees, (start, middle), range_hash)
    return node_hash(left, _root(order, leaves, subtrees, (middle, end), range_hash))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
