"""Merkle trees over SHA-256: hashes, inclusion and consistency proofs, and the frontier that an appender keeps.

Follows RFC 6962 §2.1 (leaf, node, audit path, consistency proof) and, for subtrees, draft-ietf-plants-merkle-tree-certs
§4.4. Pure. Proof builders ask for hashes of ranges of leaves through `RangeHash`, so the same code proves from a list
or from tiles. Every `verify_*` returns nothing and raises Invalid, so that a check can't be forgotten at an `if`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    RangeHash = Callable[[int, int], bytes]
    """The Merkle tree hash of leaves [start, end); asked only for ranges that are nodes of the tree."""

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256().digest()
MAX_SIZE: Final = 2**63 - 1
_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry. The prefix byte keeps a leaf from ever being read as a node."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours."""
    return _sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over subtree hashes of equal height, the leaves' own included; EMPTY_ROOT of none."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        # An odd last one moves up unchanged: that is the split at the largest power of two, seen from below.
        odd = level[-1:] if len(level) % 2 else []
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def split(size: int) -> int:
    """The largest power of two below a size of two or more: where the tree of that size divides."""
    return 1 << ((size - 1).bit_length() - 1)


# --- proofs, built


def inclusion_proof(index: int, size: int, range_hash: RangeHash) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first."""
    if not 0 <= index < size:
        raise Invalid("index", f"{index} is not in a tree of {size} entries")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(range_hash(middle, end))
            end = middle
        else:
            path.append(range_hash(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, range_hash: RangeHash) -> list[bytes]:
    """The proof that the tree of `new` leaves begins with the tree of `old`; empty if they are equal."""
    if not 0 < old <= new:
        raise Invalid("old size", f"{old} is not between 1 and {new}")
    start, end, path = 0, new, []
    while end != old:
        middle = start + split(end - start)
        if old <= middle:
            path.append(range_hash(middle, end))
            end = middle
        else:
            path.append(range_hash(start, middle))
            start = middle
    # A verifier knows the old root; only when the old tree is not one whole node must its last piece be told.
    return [*([range_hash(start, end)] if start else []), *path[::-1]]


# --- proofs, verified


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Invalid unless the proof leads from the leaf hash at `index` to the root of the tree of `size` leaves."""
    verify_subtree_inclusion(index, 0, size, leaf=leaf, proof=proof, root=root)


def verify_subtree_inclusion(index: int, start: int, end: int, *, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Invalid unless the proof leads from the leaf hash at `index` to the hash of the subtree [start, end)."""
    _valid_subtree(start, end)
    if not start <= index < end:
        raise Invalid("inclusion proof", f"index {index} is not in [{start}, {end})")
    if len(leaf) != HASH_BYTES:
        raise Invalid("inclusion proof", f"the leaf hash is not {HASH_BYTES} bytes long")
    steps = _Steps("inclusion proof", proof)
    if steps.rebuild_leaf(index - start, end - start, leaf) != root:
        raise Invalid("inclusion proof", "does not lead to the root")
    steps.must_be_used_up()


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Invalid unless the tree of `new` leaves begins with the tree of `old`. Size 0 proves nothing and is refused."""
    if old == 0:
        raise Invalid("consistency proof", "an empty tree is consistent with everything; there is nothing to check")
    verify_subtree_consistency(0, old, new, subtree_root=old_root, root=new_root, proof=proof)


def verify_subtree_consistency(
    start: int, end: int, size: int, *, subtree_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Invalid unless the tree of `size` leaves has the subtree [start, end) with this hash.

    The empty subtree is in every tree: its hash and the empty proof are all that is checked.
    """
    _valid_subtree(start, end)
    if end > size:
        raise Invalid("consistency proof", f"[{start}, {end}) is not in a tree of {size} entries")
    steps = _Steps("consistency proof", proof)
    if start == end:
        if subtree_root != EMPTY_ROOT:
            raise Invalid("consistency proof", "the hash is not that of an empty tree")
    elif steps.rebuild_both(start, end, size, subtree_root) != (subtree_root, root):
        raise Invalid("consistency proof", "does not lead to both roots")
    steps.must_be_used_up()


def _valid_subtree(start: int, end: int) -> None:
    """§4.1: a subtree's start is a multiple of the smallest power of two that is not below its size."""
    if not 0 <= start <= end <= MAX_SIZE:
        raise Invalid("tree size", f"[{start}, {end}) is not a range of leaves")
    if start < end and start % (1 << (end - start - 1).bit_length()):
        raise Invalid("tree size", f"[{start}, {end}) is not a subtree")


class _Steps:
    """A proof's hashes, taken from the root's end: each function below mirrors the recursion that built the proof."""

    def __init__(self, name: str, proof: Sequence[bytes]) -> None:
        if any(len(step) != HASH_BYTES for step in proof):
            raise Invalid(name, f"a hash is not {HASH_BYTES} bytes long")
        self._name = name
        self._left = list(proof)

    def take(self) -> bytes:
        if not self._left:
            raise Invalid(self._name, "too short")
        return self._left.pop()

    def must_be_used_up(self) -> None:
        if self._left:
            raise Invalid(self._name, "too long")

    def rebuild_leaf(self, index: int, size: int, leaf: bytes) -> bytes:
        """RFC 6962 §2.1.1, PATH(m, D[n]): the root that this leaf and path make."""
        if size == 1:
            return leaf
        middle, sibling = split(size), self.take()
        if index < middle:
            return node_hash(self.rebuild_leaf(index, middle, leaf), sibling)
        return node_hash(sibling, self.rebuild_leaf(index - middle, size - middle, leaf))

    def rebuild_both(self, start: int, end: int, size: int, known: bytes | None) -> tuple[bytes, bytes]:
        """SUBTREE_SUBPROOF of §4.4.1 (start 0: RFC 6962 §2.1.2): the subtree's hash and the root that the proof makes.

        `known` is the subtree's hash as long as the subtree may be a whole node; None once it has been cut.
        """
        if start == 0 and end == size:
            whole = self.take() if known is None else known
            return whole, whole
        middle, sibling = split(size), self.take()
        if end <= middle:
            inner, root = self.rebuild_both(start, end, middle, known)
            return inner, node_hash(root, sibling)
        if start >= middle:
            inner, root = self.rebuild_both(start - middle, end - middle, size - middle, known)
            return inner, node_hash(sibling, root)
        # The cut goes through the subtree, so it starts here: [0, middle) is its left part, told by the proof.
        inner, root = self.rebuild_both(0, end - middle, size - middle, None)
        return node_hash(sibling, inner), node_hash(sibling, root)


# --- appending


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that an appender must keep of a tree: the roots of its perfect subtrees, largest first. A value."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.peaks) != self.size.bit_count():
            raise Invalid("frontier", f"{len(self.peaks)} peaks for {self.size} leaves")

    @classmethod
    def from_bytes(cls, size: int, raw: bytes) -> Frontier:
        """Read what `to_bytes` wrote; Invalid if the length does not fit the size."""
        if len(raw) % HASH_BYTES:
            raise Invalid("frontier", f"{len(raw)} bytes are no row of hashes")
        return cls(size, tuple(raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """The peaks in a row."""
        return b"".join(self.peaks)

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after these leaf hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, pairs = leaf, size
            while pairs & 1:
                node = _sha256(b"\x01" + peaks.pop() + node).digest()  # node_hash, without the call: this runs for every entry
                pairs >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The tree's root."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root
