"""The model test: the null law of leans, and a small language model that gives its training copy away."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from orchid import person

from limen.marks import trained
from limen.marks.code import BIASES, PERSON, codeword
from limen.marks.keys import MarkKey
from limen.marks.leaning import leans
from limen.marks.registry import PAIR, WITHHELD
from limen.marks.trained import Asked, Outcome, bank, chernoff, compare, evalue, fresh
from trigrams import Trigram, passages

PEOPLE = [person(n) for n in range(12)]
SLOTS = 225  # about 150 of them of the person tier
BASE, CLEAN, MINE = slice(0, 1500), slice(1500, 1650), slice(1650, 1650 + 2 * SLOTS)
TEXTS = passages()


@dataclass(frozen=True)
class Deal:
    """One lineage: who holds which of two texts in each slot, under a key of its own."""

    key: MarkKey
    asked: Asked
    pairs: list[tuple[int, int]]

    def bits(self, recipient):
        asked = self.asked
        return codeword(self.key, recipient, tiers=asked.tier, levels=asked.level, indexes=asked.index)

    def copy(self, recipient):
        return [TEXTS[pair[int(bit)]] for pair, bit in zip(self.pairs, self.bits(recipient), strict=True)]

    def compare(self, lean, recipients=PEOPLE, **more) -> Outcome:
        served = {r.copy_id for r in recipients}
        return compare(self.asked, lean, recipients, keys={"k": self.key}, served=served, **{"draws": 2000, **more})

    def measured(self, value):
        return np.array([[value[zero], value[one]] for zero, one in self.pairs])


def deal(seed, slots=SLOTS, first=MINE.start) -> Deal:
    """Levels and tiers as the code draws them; pairs of passages at random."""
    rng = np.random.default_rng(seed)
    tier = (rng.random(slots) < 1 / 3).astype(np.uint8)
    level = rng.choice(4, slots, p=[0.2483, 0.2517, 0.2517, 0.2483]).astype(np.uint8)
    kind, index = np.full(slots, PAIR, dtype=np.uint8), np.arange(slots, dtype=np.uint32)
    asked = Asked(("k",), np.zeros(slots, dtype=np.int64), tier, level, kind, index)
    pairs = (first + rng.permutation(2 * slots)).reshape(-1, 2).tolist()
    return Deal(MarkKey("k", rng.bytes(32), rng.bytes(32)), asked, pairs)


@pytest.fixture(scope="module")
def base():
    return Trigram().train(TEXTS[BASE])


def tuned(*parts):
    return Trigram().train(TEXTS[BASE]).train(text for part in parts for text in part)


def losses(model):
    return {number: model.loss(TEXTS[number]) for number in range(MINE.start, MINE.stop)}


def lean_of(dealt, model, reference):
    return lean_from(dealt, losses(model), losses(reference))


def lean_from(dealt, suspect, reference):
    return leans(dealt.measured(suspect), dealt.measured(reference), dealt.asked.kind, measure="loss")


def ks(p):
    """The Kolmogorov-Smirnov distance to the uniform law, times the square root of n: 1.63 is exceeded once in 100."""
    p, n = np.sort(p), len(p)
    return math.sqrt(n) * max(np.max(np.arange(1, n + 1) / n - p), np.max(p - np.arange(n) / n))


def test_a_model_trained_on_a_copy_names_it_and_no_other(base):
    dealt = deal(1)
    found = dealt.compare(lean_of(dealt, tuned(dealt.copy(PEOPLE[4]), TEXTS[CLEAN]), base), draws=20_000)
    assert [copy.copy_id for copy in found.copies] == [PEOPLE[4].copy_id]
    assert found.copies[0].p <= 1e-12
    assert found.copies[0].q <= found.alpha
    assert found.copies[0].rank == 1
    # Its vendor's colleagues share the vendor's bits: all that is said of them is what is said of the vendor.
    assert [vendor.recipient for vendor in found.vendors] == ["quillwork"]


def test_a_model_trained_on_clean_records_alone_names_nobody(base):
    model = tuned(TEXTS[CLEAN])
    for seed in range(4):
        dealt = deal(seed)
        lean = lean_of(dealt, model, base)
        found = dealt.compare(lean)
        assert found.verdict == "abstain"
        assert found.best.q == 1
        assert dealt.compare(lean, [PEOPLE[4]], draws=99).best.p > 0.01


def test_copies_of_a_coalition_are_named_and_no_others():
    """Two copies in one training set: each explains half of a lean, so it takes more slots."""
    dealt, rng = deal(2, slots=1200), np.random.default_rng(2)
    held = [dealt.bits(PEOPLE[4]), dealt.bits(PEOPLE[7])]
    lean = rng.normal(size=1200) + 2.0 * (held[0].astype(float) + held[1] - 1)
    named = {copy.copy_id for copy in dealt.compare(lean).copies}
    assert named == {PEOPLE[4].copy_id, PEOPLE[7].copy_id}


def null(count, make, **more):
    """Rank p and Chernoff p of a copy that had no part, over fresh keys; `make(dealt, innocent)` gives the leans."""
    out = []
    for seed in range(count):
        dealt = deal(1000 + seed, slots=90)
        innocent = replace(person(seed, vendor="tessel"), vendor=None)
        best = dealt.compare(make(dealt, innocent), [innocent], seed=seed.to_bytes(4, "big"), draws=499, **more).best
        out.append((best.rank_p, best.p))
    return np.array(out)


def test_over_fresh_keys_an_innocent_copys_rank_is_uniform_and_chernoffs_bound_is_above(base):
    """One model, trained on somebody's copy under some key; each fresh key pairs the same passages anew."""
    suspect, reference = losses(tuned(deal(1).copy(PEOPLE[4]))), losses(base)
    ranks, bounds = null(200, lambda dealt, _: lean_from(dealt, suspect, reference)).T
    assert ks(ranks) < 1.63
    for level in (0.05, 0.1, 0.2, 0.5):
        assert np.mean(bounds <= level) <= level
    assert np.mean(ranks <= 0.05) > 0.01  # the rank has no slack: it is a test, not a formality


def test_control_leans_that_peek_at_the_copys_bits_are_caught(base):
    rng = np.random.default_rng(3)

    def peeking(dealt, innocent):
        # Of two noisy looks at each slot the one that suits this copy is kept: weights that use x_j.
        two = rng.normal(size=(2, len(dealt.pairs)))
        side = np.where(dealt.bits(innocent), 1.0, -1.0)
        return np.where((two[0] - two[1]) * side > 0, two[0], two[1])

    ranks, bounds = null(30, peeking).T
    assert ks(ranks) > 1.63
    assert np.mean(bounds <= 0.05) > 0.5


def test_control_a_key_known_to_who_made_the_model_frames_an_innocent(base):
    dealt = deal(9)
    framed = tuned(dealt.copy(PEOPLE[2]))  # made from the key, never served
    assert dealt.compare(lean_of(dealt, framed, base)).copies[0].copy_id == PEOPLE[2].copy_id


def test_control_without_the_reference_many_models_repeat_one_accident_of_the_texts(base):
    """Under one key, models that saw nothing of ours: their losses are alike, so a copy that fits one fits them all."""
    dealt, innocent = deal(11), replace(PEOPLE[1], vendor=None)
    reference = losses(base)
    with_it, without = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        own = {n: value + rng.normal(0, 1.0) for n, value in reference.items()}
        nothing = dict.fromkeys(own, 0.0)
        for out, against in ((with_it, reference), (without, nothing)):
            out.append(dealt.compare(lean_from(dealt, own, against), [innocent], draws=500).best.rank_p)
    assert np.ptp(without) < 0.35 < np.ptp(with_it)
    assert ks(np.array(with_it)) < 1.63 < ks(np.array(without))


def test_an_innocent_copys_e_value_has_mean_one_whatever_the_leans():
    rng = np.random.default_rng(8)
    bias = BIASES[rng.integers(0, 4, 9)]
    every = np.array([[(word >> slot) & 1 for word in range(512)] for slot in range(9)], dtype=np.uint8)
    chance = np.prod(np.where(every, bias[:, None], 1 - bias[:, None]), axis=0)
    for z in (rng.normal(size=9), np.ones(9), np.zeros(9), 3 * np.sign(rng.normal(size=9)), np.array([3.0] + [0.0] * 8)):
        for score in bank(z, bias):
            for needed in (0.5, 5.0, 40.0):
                e = evalue(score, bias, needed)
                assert bias * np.exp(e.one) + (1 - bias) * np.exp(e.zero) == pytest.approx(1, abs=1e-12)
                assert chance @ np.exp(e.of(every)) == pytest.approx(1, abs=1e-9)


def test_control_weights_of_which_one_counts_twice_have_another_mean():
    bias = BIASES[[0, 1, 2, 3]]
    every = np.array([[(word >> slot) & 1 for word in range(16)] for slot in range(4)], dtype=np.uint8)
    chance = np.prod(np.where(every, bias[:, None], 1 - bias[:, None]), axis=0)
    e = evalue(bank(np.array([1.0, -1, 2, 1]), bias)[0], bias, 2.0)
    twice = np.exp(e.of(every) + np.where(every[0], e.one[0], e.zero[0]))
    assert chance @ twice != pytest.approx(1, abs=0.01)


def test_chernoffs_bound_is_above_the_exact_tail():
    rng = np.random.default_rng(4)
    bias = BIASES[rng.integers(0, 4, 10)]
    every = np.array([[(word >> slot) & 1 for word in range(1024)] for slot in range(10)], dtype=np.uint8)
    chance = np.prod(np.where(every, bias[:, None], 1 - bias[:, None]), axis=0)
    for score in bank(rng.normal(size=10), bias):
        values = score.of(every)
        for reached in np.quantile(values, [0.3, 0.6, 0.9, 1.0]):
            assert chance[values >= reached - 1e-9].sum() <= math.exp(chernoff(score, bias, reached)) * (1 + 1e-9)


def test_the_bank_is_shared_out_and_fixed():
    scores = bank(np.linspace(-3, 3, 40), BIASES[np.arange(40) % 4])
    assert sum(score.share for score in scores) == pytest.approx(1)
    assert [score.name for score in scores][:2] == ["linear", "sign"]
    assert trained.METHOD == "limen-model-test/1"


def test_fresh_copies_are_dealt_as_the_code_deals_and_come_again():
    thresholds = np.array([18, 84, 172, 238], dtype=np.uint8)
    some = fresh(thresholds, 50_000, b"seed")
    assert np.abs(some.mean(axis=1) - thresholds / 256).max() < 0.01
    assert np.array_equal(some, fresh(thresholds, 50_000, b"seed"))
    assert not np.array_equal(some, fresh(thresholds, 50_000, b"another"))


def test_more_models_in_a_case_ask_more_of_each(base):
    dealt = deal(1)
    lean = lean_of(dealt, tuned(dealt.copy(PEOPLE[4])), base)
    one, ten = dealt.compare(lean, models=1).copies[0], dealt.compare(lean, models=10).copies[0]
    assert 1 < ten.q / one.q < 20
    assert ten.p < 1e-12
    assert one.p < 1e-12


def test_slots_that_were_not_measured_are_erased_and_counted(base):
    dealt = deal(1)
    lean = lean_of(dealt, tuned(dealt.copy(PEOPLE[4])), base)
    lean[:40] = np.nan
    found = dealt.compare(lean)
    assert found.erased == 40
    assert found.slots_person + found.slots_vendor == SLOTS - 40
    assert found.verdict == "named"


def test_nothing_measured_and_nothing_moved_name_nobody():
    dealt = deal(1)
    for lean in (np.full(SLOTS, np.nan), np.zeros(SLOTS)):
        found = dealt.compare(lean)
        assert found.verdict == "abstain"
        assert found.best.q == 1
        assert found.best.rank_p == 1


def test_a_withheld_record_leans_from_the_median_of_its_kind():
    kind = np.array([PAIR, WITHHELD, WITHHELD, WITHHELD], dtype=np.uint8)
    zero = np.zeros((4, 2))
    suspect = np.array([[5.0, 3.0], [np.nan, -9.0], [np.nan, -1.0], [np.nan, -1.5]])
    assert leans(suspect, zero, kind, measure="loss").tolist() == [2.0, 7.5, -0.5, 0.0]
    assert leans(suspect, zero, kind, measure="hits").tolist() == [-2.0, -7.5, 0.5, 0.0]


def test_one_odd_record_does_not_decide(base):
    dealt = deal(5)
    lean = lean_of(dealt, tuned(TEXTS[CLEAN]), base)
    lean[np.flatnonzero(dealt.asked.tier == PERSON)[0]] = 1e12
    assert dealt.compare(lean).verdict == "abstain"


def test_an_outcome_is_json_values(base):
    dealt = deal(1)
    said = dealt.compare(lean_of(dealt, tuned(dealt.copy(PEOPLE[4])), base)).to_json()
    assert said["method"] == trained.METHOD
    assert "not the probability of innocence" in said["meaning"]
    assert sum(said["innocents"]["counts"]) == said["innocents"]["draws"]
