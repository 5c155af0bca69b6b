"""Several damaged copies of a tree under one signed root: what is proven is right, and what can be proven is."""

from __future__ import annotations

import random

import pytest

from limen.formats.merkle import Frontier, leaf_hash, root_of
from limen.ledger.repair.survey import block_root
from limen.ledger.repair.truth import Copy, Peaks, composed, first_disagreement, judge

NAMES = ("rows", "tiles", "bundles")


def copy_of(name, leaves):
    """A copy of these leaves, None where one is missing."""

    def block(number):
        return leaves[number * 256 : (number + 1) * 256]

    return Copy(name, [block_root(block(number)) for number in range(len(leaves) // 256)], block)


def damaged(leaves, indexes, rng):
    """The leaves with some gone, changed, or taken from elsewhere."""
    changed = list(leaves)
    for index in indexes:
        other = rng.choice(leaves)
        changed[index] = rng.choice([None, rng.randbytes(32), other if other != leaves[index] else None])
    return changed


def scene(seed, *, everywhere=0):
    """A tree, its root, three copies of its leaves, and where each is damaged; some indexes in all of them."""
    rng = random.Random(f"truth {seed}")
    size = rng.choice([1, 2, 255, 256, 257, 600, rng.randrange(1, 900)])
    leaves = [leaf_hash(index.to_bytes(4, "big")) for index in range(size)]
    lost = set(rng.sample(range(size), min(everywhere, size)))
    wrong = {name: set(lost) for name in NAMES}
    for count, index in enumerate(rng.sample(range(size), rng.randrange(min(size, 40) + 1))):
        for name in rng.sample(NAMES, 2 if count < 6 else 1):  # of six leaves only one copy is sound
            wrong[name].add(index)
    copies = {name: copy_of(name, damaged(leaves, wrong[name], rng)) for name in NAMES}
    return leaves, root_of(leaves), copies, wrong, lost


@pytest.mark.parametrize("seed", range(60))
def test_one_sound_copy_of_each_leaf_is_enough_to_name_every_bad_one(seed):
    leaves, root, copies, wrong, _ = scene(seed)

    verdict = judge(len(leaves), root, list(copies.values()))

    assert verdict.unknown == []
    assert {name: set(found) for name, found in verdict.bad.items()} == wrong
    assert all(leaves[index] == leaf for index, leaf in verdict.proven.items())
    whole = composed(verdict, copies, len(leaves))
    assert [leaf for start in range(0, len(leaves), 256) for leaf in whole.leaves(start, min(start + 256, len(leaves)))] == leaves
    assert whole.hash(0, len(leaves)) == root


@pytest.mark.parametrize("seed", range(40))
def test_what_no_copy_has_is_unknown_and_nothing_wrong_is_ever_proven(seed):
    leaves, root, copies, _, lost = scene(seed, everywhere=2)

    verdict = judge(len(leaves), root, list(copies.values()))

    for index in lost:
        inside = any(low <= index < high for low, high in verdict.unknown)
        assert inside or all(index in verdict.bad[name] for name in NAMES)
    assert all(leaves[index] == leaf for index, leaf in verdict.proven.items())
    whole = composed(verdict, copies, len(leaves))
    for start in range(0, len(leaves), 256):
        end = min(start + 256, len(leaves))
        assert all(leaf in {None, mine} for leaf, mine in zip(whole.leaves(start, end), leaves[start:end], strict=True))


def test_a_frontier_narrows_down_what_a_single_copy_can_not():
    leaves = [leaf_hash(bytes([index % 256, index // 256])) for index in range(700)]
    frontier = Frontier().extended(leaves)
    alone = copy_of("rows", [*leaves[:600], leaf_hash(b"another"), *leaves[601:]])

    assert judge(700, root_of(leaves), [alone]).unknown == [(0, 700)]
    [(low, high)] = judge(700, root_of(leaves), [alone], [Peaks(frontier)]).unknown
    assert (low, high) == (512, 640)
    assert first_disagreement([alone, copy_of("tiles", leaves)], low, high) == 600


def test_a_missing_last_part_is_told_without_looking_at_each_leaf():
    leaves = [leaf_hash(bytes([index % 256, index // 256])) for index in range(1000)]
    asked = []

    class Counting(Copy):
        def leaves(self, start, end):
            asked.append((start, end))
            return super().leaves(start, end)

    short = Counting(
        "rows", [root_of(leaves[:256]), root_of(leaves[256:512]), None], lambda number: leaves[:512][number * 256 :][:256]
    )

    verdict = judge(1000, root_of(leaves), [short, copy_of("tiles", leaves)])

    assert verdict.bad["rows"] == list(range(512, 1000))
    assert len(asked) < 10


def test_an_empty_tree_has_nothing_to_judge():
    assert judge(0, root_of([]), [copy_of("rows", [])]).bad == {"rows": []}
