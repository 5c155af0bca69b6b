"""The search on books of bits given by hand: samples of a case add up, slots count once, and the bound covers all looks."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from orchid import person

from limen.marks import decoder as dec
from limen.marks import trace
from limen.marks.classes import Shown
from limen.marks.code import BIASES
from limen.marks.index import OBSERVED, Observed
from limen.marks.keys import MarkKey
from limen.marks.search import FIRST, ROUNDS, Look, search


@dataclass(frozen=True)
class Given:
    held: np.ndarray  # slots x copies

    def bits(self, copies):
        return self.held[:, list(copies)]

    def ones(self, which, classes):
        return np.stack([self.held[which == n].sum(axis=0, dtype=np.uint32) for n in range(classes)], axis=1)


def look(level, symbol, held):
    return Look(Shown(BIASES[level], np.asarray(symbol), np.zeros(len(level), dtype=np.int64)), Given(held))


def dealt(slots, copies, seed):
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 4, slots)
    return level, (rng.random((slots, copies)) < BIASES[level][:, None]).astype(np.uint8)


def priors(copies):
    return np.full(copies, -math.log(copies))


def part(level, held, some, leaker=7):
    return look(level[some], held[some, leaker].astype(np.int64), held[some])


def test_two_samples_that_are_too_small_alone_name_the_copy_together():
    level, held = dealt(140, 500, seed=1)
    one, two = part(level, held, slice(0, 45)), part(level, held, slice(45, 140))
    assert search([one], priors(500), alpha=1e-9).found == ()
    both = search([one, two], priors(500), alpha=1e-9).found
    assert [(f.copy, f.look, f.round) for f in both] == [(7, 2, 1)]
    alone = search([two], priors(500), alpha=1e-9).found
    assert both[0].log_e > alone[0].log_e + 5


def test_a_later_sample_changes_nothing_of_what_earlier_ones_said():
    level, held = dealt(400, 300, seed=2)
    one, two = part(level, held, slice(0, 150)), part(level, held, slice(150, 400), leaker=9)
    before, after = search([one], priors(300), alpha=1e-9).found, search([one, two], priors(300), alpha=1e-9).found
    assert [f.copy for f in before] == [7]
    assert after[: len(before)] == before
    assert [f.copy for f in after] == [7, 9]


def test_copies_found_in_an_earlier_sample_are_side_information_for_a_later_one():
    level, held = dealt(900, 200, seed=3)
    pick = np.random.default_rng(4).integers(0, 2, 700)
    mixed = np.where(pick == 0, held[200:, 7], held[200:, 9]).astype(np.int64)
    first, second = part(level, held, slice(0, 200)), look(level[200:], mixed, held[200:])
    found = search([first, second], priors(200), alpha=1e-9).found
    assert [f.copy for f in found] == [7, 9]
    assert found[1].look == 2


def test_an_empty_look_is_no_look():
    level, held = dealt(120, 50, seed=5)
    whole, nothing = part(level, held, slice(0, 120)), part(level, held, slice(0, 0))
    assert (
        search([nothing, whole], priors(50), alpha=1e-9).found[0].log_e == search([whole], priors(50), alpha=1e-9).found[0].log_e
    )
    assert search([nothing], priors(50), alpha=1e-9).best is None


def test_the_shares_of_all_tests_of_all_looks_sum_to_no_more_than_alpha():
    further = sum((1 - FIRST) * 2.0 ** (1 - turn) * 2.0**-number for turn in range(2, ROUNDS + 1) for number in range(1, 200))
    assert FIRST + further <= 1.0


# --- the product of looks is an e-value though the second sample is made after seeing what the first one said


SLOTS = 6
LEVELS = np.array([0, 1, 2, 3, 1, 0])
EVERY = (np.arange(1 << SLOTS)[None, :] >> np.arange(SLOTS)[:, None] & 1).astype(np.uint8)
CHANCE = np.where(EVERY == 1, BIASES[LEVELS][:, None], 1 - BIASES[LEVELS][:, None]).prod(axis=0)


def evalue(level, symbol, bits):
    classes, which = look(level, symbol, bits).shown.classes(np.zeros(len(level), dtype=np.int64))
    decoders = dec.bank(classes, found=0, threshold=9.0)
    ones = Given(bits).ones(which, len(classes.count))
    scores = ones @ np.stack([d.one - d.zero for d in decoders], axis=1) + [classes.count @ d.zero for d in decoders]
    return np.exp(dec.log_evalues(decoders, scores))


def test_a_second_sample_shaped_by_the_first_one_s_score_leaves_the_mean_at_one():
    # Whoever leaks again knows how well the copy did, and answers with whatever symbols they like, on other slots.
    first = evalue(LEVELS[:3], np.array([1, 0, 1]), EVERY[:3])
    total = 0.0
    for reply, chosen in ((np.array([1, 1, 0]), first > 1), (np.array([0, 2, 1]), first <= 1)):
        second = evalue(LEVELS[3:], reply, EVERY[3:])
        total += float((CHANCE * first * second)[chosen].sum())
    assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_the_same_slots_weighed_twice_break_the_mean_and_it_shows():
    twice = evalue(LEVELS, np.array([1, 0, 1, 1, 1, 0]), EVERY) ** 2
    assert float(CHANCE @ twice) > 1.5


def observed(level, index, seen):
    slots = np.zeros(len(level), dtype=OBSERVED)
    slots["level"], slots["index"], slots["seen"], slots["number"] = level, index, seen, index
    return Observed(("k",), slots, matched={"orchid": np.asarray(index)})


def test_a_slot_that_a_case_s_samples_show_twice_counts_once_as_first_seen():
    first = observed([0, 1, 2], [5, 5, 5], [1, 1, 2])
    second = observed([1, 2, 3], [5, 6, 5], [2, 2, 2])
    case = trace.new_slots([first, second])
    assert [(r["level"].tolist(), r["index"].tolist(), r["seen"].tolist()) for r in case.rows] == [
        ([0, 1, 2], [5, 5, 5], [1, 1, 2]),
        ([2, 3], [6, 5], [2, 2]),
    ]


def test_slots_of_two_keys_stay_apart_whatever_order_samples_name_them_in():
    first, second = observed([0], [5], [1]), observed([0], [5], [2])
    case = trace.new_slots([first, Observed(("a", "k"), second.slots)])
    assert case.keys == ("a", "k")
    assert [rows["key"].tolist() for rows in case.rows] == [[1], [0]]


@pytest.mark.parametrize("repeats", [1, 4])
def test_tracing_the_same_sample_again_adds_nothing(repeats):
    key = MarkKey("k", b"\7" * 32, b"s" * 32)
    rng = np.random.default_rng(6)
    sample = observed(rng.integers(0, 4, 60), np.arange(60), rng.integers(1, 3, 60))
    people = [person(n) for n in range(20)]
    once = trace.score(sample, people, keys={"k": key}, served=frozenset())
    again = trace.score(sample, people, keys={"k": key}, served=frozenset(), earlier=[sample] * repeats)
    assert again.looks == 1 + repeats
    assert (again.slots_matched, again.second_best, again.copies) == (once.slots_matched, once.second_best, once.copies)
