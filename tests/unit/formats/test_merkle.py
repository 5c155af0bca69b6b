"""Merkle trees, held to the definitions of RFC 6962 written out naively."""

from __future__ import annotations

import hashlib

import pytest

from limen.core.errors import Invalid
from limen.formats import merkle
from limen.formats.merkle import Frontier

LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(70)]


def mth(leaves):
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(mth(leaves[:k]), mth(leaves[k:]))


def range_hash(start, end):
    return mth(LEAVES[start:end])


def flipped(value):
    return bytes([value[0] ^ 1]) + value[1:]


def test_the_root_is_that_of_the_definition_for_every_small_size():
    for size in range(len(LEAVES) + 1):
        assert merkle.root_of(LEAVES[:size]) == mth(LEAVES[:size])
        assert Frontier().extended(LEAVES[:size]).root() == mth(LEAVES[:size])


def test_a_frontier_grows_the_same_in_any_steps_and_survives_its_bytes():
    whole = Frontier().extended(LEAVES)
    for cut in range(len(LEAVES)):
        first = Frontier().extended(LEAVES[:cut])
        assert Frontier.from_bytes(cut, first.to_bytes()).extended(LEAVES[cut:]) == whole


@pytest.mark.parametrize(("size", "raw"), [(3, b"x" * 32), (1, b""), (0, b"x" * 32), (1, b"x" * 31), (-1, b"")])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size, raw):
    with pytest.raises(Invalid):
        Frontier.from_bytes(size, raw)


def test_every_leaf_of_every_small_tree_has_a_proof_that_verifies_and_no_other_does():
    for size in range(1, 34):
        root = mth(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, range_hash)
            merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
            wrong = [
                (index, size, flipped(LEAVES[index]), proof, root),
                (index, size, LEAVES[index], proof, flipped(root)),
                (index, size, LEAVES[index], [*proof, root], root),
                (size, size, LEAVES[index], proof, root),
            ]
            wrong += [(index, size, LEAVES[index], proof[:-1], root)] if proof else []
            wrong += [(index, size, LEAVES[index], [flipped(proof[0]), *proof[1:]], root)] if proof else []
            wrong += [(index ^ 1, size, LEAVES[index], proof, root)] if proof else []
            for case in wrong:
                with pytest.raises(Invalid):
                    merkle.verify_inclusion(*case)


def test_every_pair_of_small_trees_has_a_consistency_proof_that_verifies_and_no_other_does():
    for new in range(1, 34):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, range_hash)
            old_root, new_root = mth(LEAVES[:old]), mth(LEAVES[:new])
            merkle.verify_consistency(old, new, old_root, new_root, proof)
            wrong = [
                (old, new, flipped(old_root), new_root, proof),
                (old, new, old_root, flipped(new_root), proof),
                (old, new, old_root, new_root, [*proof, new_root]),
            ]
            wrong += [(old, new, old_root, new_root, proof[1:])] if proof else []
            for case in wrong:
                with pytest.raises(Invalid):
                    merkle.verify_consistency(*case)


def test_consistency_with_an_empty_tree_is_refused():
    with pytest.raises(Invalid):
        merkle.verify_consistency(0, 1, merkle.EMPTY_ROOT, LEAVES[0], [])
    with pytest.raises(Invalid):
        merkle.consistency_proof(0, 1, range_hash)


def test_a_hash_of_the_wrong_length_is_refused():
    with pytest.raises(Invalid):
        merkle.verify_inclusion(0, 2, LEAVES[0], [LEAVES[1] + b"x"], mth(LEAVES[:2]))
    with pytest.raises(Invalid):
        merkle.verify_inclusion(0, 1, b"", [], b"")
