"""A log's tree in memory, and another history of the same log: what a witness is asked about."""

from __future__ import annotations

from limen.formats import checkpoint, merkle, note
from limen.formats import witness as codec

LOG = note.Signer("example.com/log", bytes(32))


class Tree:
    """Leaves of invented entries; another `history` differs from the first entry on. Roots are remembered."""

    def __init__(self, size, history="one"):
        self.leaves = [merkle.leaf_hash(f"{history} {i}".encode()) for i in range(size)]

    def range_hash(self, start, end):
        return merkle.root_of(self.leaves[start:end])

    def note(self, size, *, signer=LOG, root=None):
        root = self.range_hash(0, size) if root is None else root
        return note.sign(checkpoint.encode(signer.name, size, root), signer)

    def proof(self, old, new):
        return tuple(merkle.consistency_proof(old, new, self.range_hash)) if 0 < old <= new else ()

    def request(self, old, new, *, proof=None, checkpoint=None):
        """The body of an add-checkpoint; `proof` and `checkpoint` stand in for the right ones."""
        proof = self.proof(old, new) if proof is None else proof
        return codec.Request(old, proof, checkpoint or self.note(new)).encode()
