"""The simulator that docs/marks.md's tables come from: does it deal what the code deals, and can its checks fail?"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tools" / "simulation"))

import deal
import power
import validity
import worst
from strategies import DROPPED, STRATEGIES

WITHIN = sorted(set(STRATEGIES) - {"flipped"})


@pytest.mark.parametrize("name", WITHIN)
def test_no_strategy_shows_a_side_that_no_colluder_held(name):
    rng = np.random.default_rng(1)
    for colluders in (1, 2, 5):
        bits = rng.random((colluders, 400)) < 0.4
        shown = STRATEGIES[name](bits, rng)
        some, every = bits.any(axis=0), bits.all(axis=0)
        assert set(np.unique(shown).tolist()) <= {DROPPED, 0, 1, 2}
        assert not (shown == 1)[~some].any()
        assert not (shown == 0)[every].any()
        assert not (shown == 2)[some == every].any()


def test_ones_drawn_by_class_have_the_mean_and_spread_of_bits_dealt_slot_by_slot():
    rng = np.random.default_rng(2)
    case = deal.deal(STRATEGIES["majority"], 3, 600, rng)
    look = case.look(40_000, rng)
    classes, which = look.shown.classes(case.held[:, 0].astype(np.int64))
    drawn = look.book.ones(which, len(classes.count))[3:]
    spread = np.sqrt(classes.count * classes.bias * (1 - classes.bias))
    assert np.abs((drawn.mean(axis=0) - classes.count * classes.bias) / spread).max() < 5 / np.sqrt(40_000)
    assert np.abs(drawn.std(axis=0) / spread - 1).max() < 0.03
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(len(classes.count), 1)]).max() < 0.03
    held = case.held[:, 1]
    assert (look.book.ones(which, len(classes.count))[1] == [held[which == n].sum() for n in range(len(classes.count))]).all()


def test_the_search_for_the_worst_attack_finds_the_known_optimum():
    # Two colluders have one choice only, and by symmetry it is a coin; three do best near .62 for the majority's side.
    assert abs(worst.choosing(2, power.THRESHOLD)[1, 1] - 0.5) < 0.01
    assert abs(worst.choosing(3, power.THRESHOLD)[1, 2] - 0.375) < 0.03
    pick = np.arange(4) / 3
    three = worst.slots_needed(worst.choosing(3, power.THRESHOLD), power.THRESHOLD)
    assert three > worst.slots_needed(np.vstack([1 - pick, pick]), power.THRESHOLD)


def test_two_colluders_are_named_at_the_size_that_the_table_promises():
    attack = power.attacks(2)["worst choice of sides"]
    assert power.rate(attack, 2, power.BARS[2], trials=12, seed=3, log_prior=-np.log(power.PEOPLE)) >= 0.91


def test_in_whole_searches_with_prior_and_rounds_innocent_copies_are_implicated_less_often_than_promised():
    tally = validity.play(cases=30, people=500, alpha=0.05, seed=4)
    assert tally.bad <= 6  # 1.5 promised; more than 6 by chance once in 1,000
    assert tally.found > 20


CONTROLS = {
    "a leaked key": validity.leaked_key,
    "a 50/50 code": validity.fair_code,
    "a framer": lambda **given: validity.framed(known=1, **given),
    "a record-level prior": lambda **given: validity.record_level_prior(by_record=True, **given),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_each_condition_of_the_theorem_broken_on_purpose_breaks_the_bound(name):
    assert CONTROLS[name](cases=12, people=2000, alpha=0.05, seed=5) >= 3


def test_the_same_withheld_records_with_a_prior_that_asks_nobody_s_bits_keep_the_bound():
    assert validity.record_level_prior(cases=12, people=2000, alpha=0.05, seed=5, by_record=False) <= 1


def test_the_chernoff_bound_is_near_the_true_tail_also_at_ten_to_the_minus_fourteen():
    for tail, least, most in validity.tails(draws=50_000, seed=6):
        assert least >= (0.8 if tail > 1e-9 else 0.97), tail
        assert most <= 25, tail


def test_an_innocent_copy_that_is_implicated_stops_the_case_and_is_counted():
    rng = np.random.default_rng(7)
    case = deal.deal(STRATEGIES["random pick"], 1, 60, rng)
    with pytest.raises(deal.InnocentImplicatedError):
        case.look(10, rng).book.bits([5])
