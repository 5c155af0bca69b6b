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


@pytest.mark.parametrize(
    ("size", "raw"), [(3, b"x" * 32), (1, b""), (0, b"x" * 32), (1, b"x" * 31), (-1, b""), (-1, b"x" * 32), (2**63, b"x" * 32)]
)
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
                (index, size, LEAVES[index], [root, *proof], root),
                (-1, size, LEAVES[index], proof, root),
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
                (old, new, old_root, new_root, [new_root, *proof]),
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
    with pytest.raises(Invalid, match="the leaf hash is not 32 bytes"):
        merkle.verify_inclusion(0, 1, b"x" * 33, [], b"x" * 33)
    with pytest.raises(Invalid, match="a hash is not 32 bytes long"):
        merkle.verify_inclusion(1, 3, LEAVES[1], [b"x" * 31, b"x" * 33], mth(LEAVES[:3]))
    with pytest.raises(Invalid, match="a hash is not 32 bytes long"):
        merkle.verify_consistency(1, 3, LEAVES[0], mth(LEAVES[:3]), [b"x" * 31, b"x" * 33])


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (-2, 0), (3, 2), (0, 2**63)])
def test_what_is_no_range_of_leaves_is_refused_as_such(start, end):
    with pytest.raises(Invalid, match="is not a range of leaves"):
        merkle.verify_subtree_inclusion(0, start, end, leaf=LEAVES[0], proof=[], root=LEAVES[0])
    with pytest.raises(Invalid, match="is not a range of leaves"):
        merkle.verify_subtree_consistency(start, end, 2**63 - 1, subtree_root=LEAVES[0], root=LEAVES[0], proof=[])


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 5), (4, 9), (6, 9)])
def test_what_is_no_subtree_is_refused_as_such(start, end):
    with pytest.raises(Invalid, match="is not a subtree"):
        merkle.verify_subtree_inclusion(start, start, end, leaf=LEAVES[0], proof=[], root=LEAVES[0])


def test_the_largest_tree_is_a_tree():
    with pytest.raises(Invalid, match="too short"):
        merkle.verify_inclusion(0, 2**63 - 1, LEAVES[0], [], LEAVES[0])
    path = [LEAVES[0]] * 63
    root = merkle.Frontier(2**63 - 1, tuple(path)).root()
    with pytest.raises(Invalid, match="does not lead to the root"):
        merkle.verify_inclusion(0, 2**63 - 1, LEAVES[0], path, root)


def test_an_empty_subtree_is_in_every_tree_under_the_empty_root_only():
    for place in (0, 5):
        merkle.verify_subtree_consistency(place, place, 7, subtree_root=merkle.EMPTY_ROOT, root=LEAVES[0], proof=[])
        with pytest.raises(Invalid, match="not that of an empty tree"):
            merkle.verify_subtree_consistency(place, place, 7, subtree_root=LEAVES[0], root=LEAVES[0], proof=[])
        with pytest.raises(Invalid, match="too long"):
            merkle.verify_subtree_consistency(place, place, 7, subtree_root=merkle.EMPTY_ROOT, root=LEAVES[0], proof=[LEAVES[0]])


def test_a_subtree_beyond_the_tree_is_refused_as_such():
    with pytest.raises(Invalid, match="is not in a tree of 7 entries"):
        merkle.verify_subtree_consistency(0, 8, 7, subtree_root=LEAVES[0], root=LEAVES[0], proof=[])
    with pytest.raises(Invalid, match="is not in"):
        merkle.verify_inclusion(7, 7, LEAVES[0], [LEAVES[0]] * 3, LEAVES[0])
    with pytest.raises(Invalid, match="is not in"):
        merkle.verify_subtree_inclusion(3, 4, 8, leaf=LEAVES[0], proof=[LEAVES[0]] * 2, root=LEAVES[0])


def subproof(start, end, leaves, *, whole=True):
    """SUBTREE_SUBPROOF of draft-ietf-plants-merkle-tree-certs §4.4.1, word for word."""
    n = len(leaves)
    if (start, end) == (0, n):
        return [] if whole else [mth(leaves)]
    k = 1
    while k * 2 < n:
        k *= 2
    if end <= k:
        return [*subproof(start, end, leaves[:k], whole=whole), mth(leaves[k:])]
    if k <= start:
        return [*subproof(start - k, end - k, leaves[k:], whole=whole), mth(leaves[:k])]
    return [*subproof(0, end - k, leaves[k:], whole=False), mth(leaves[:k])]


def test_every_subtree_of_a_small_tree_is_proved_and_verified():
    """Of draft-ietf-plants-merkle-tree-certs §4: inclusion in a subtree, and a subtree in the tree."""
    trees = [(start, end, size) for size in range(1, 18) for end in range(1, size + 1) for start in range(end)]
    for start, end, size in trees:
        if start % (1 << (end - start - 1).bit_length()):
            continue
        subtree, root = range_hash(start, end), range_hash(0, size)
        for index in range(start, end):
            path = merkle.inclusion_proof(index - start, end - start, lambda a, b, s=start: range_hash(s + a, s + b))
            merkle.verify_subtree_inclusion(index, start, end, leaf=LEAVES[index], proof=path, root=subtree)
        proof = subproof(start, end, LEAVES[:size])
        merkle.verify_subtree_consistency(start, end, size, subtree_root=subtree, root=root, proof=proof)
        for wrong in ([root, *proof], proof[1:] or [root], [*proof[:-1], flipped(root)]):
            with pytest.raises(Invalid):
                merkle.verify_subtree_consistency(start, end, size, subtree_root=subtree, root=root, proof=wrong)
        for bent in ({"subtree_root": flipped(subtree), "root": root}, {"subtree_root": subtree, "root": flipped(root)}):
            with pytest.raises(Invalid):
                merkle.verify_subtree_consistency(start, end, size, proof=proof, **bent)


def test_no_proof_is_made_for_what_is_not_there():
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(Invalid, match="is not in a tree"):
            merkle.inclusion_proof(index, size, range_hash)
    for old, new in ((0, 3), (4, 3), (-1, 3)):
        with pytest.raises(Invalid, match="is not between"):
            merkle.consistency_proof(old, new, range_hash)
    assert merkle.consistency_proof(3, 3, range_hash) == []
