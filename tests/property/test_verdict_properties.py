"""Of any contract and any history: leaving facts out never makes a clause met, and the money is what a reckoning by hand says."""

from __future__ import annotations

import copy
import random
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from clauses import clause, contract, daily, document, midnight, statement
from limen.verify import verdict
from limen.verify.verdict import canonical, evaluate
from reckoning import history, reckoned

FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def met(terms, facts, as_of):
    """The references of the clauses that are met."""
    return {row["ref"] for row in evaluate(terms, facts, as_of)["clauses"] if row["verdict"] == "met"}


def without(facts, gone, *, healed=False):
    """The facts without some; `healed` as somebody would leave them who wants it not to show."""
    left = copy.deepcopy(facts)
    left["facts"] = [fact for i, fact in enumerate(left["facts"]) if i not in gone]
    if healed:
        left["census"] = dict.fromkeys(left["census"], 0)
        for fact in left["facts"]:
            fact["seq"] = left["census"][fact["measure"]]
            left["census"][fact["measure"]] += 1
    return left


def made_met(draw, *, healed):
    """Whether leaving out some fact of a history makes any clause met that was not."""
    terms, facts, as_of = history(draw, longest=40)
    before = met(terms, facts, as_of)
    tries = [{i} for i in range(len(facts["facts"]))] + [set(range(i)) for i in range(1, len(facts["facts"]), 7)]
    return any(
        met(terms, without(facts, gone, healed=healed), as_of) - before for gone in draw.sample(tries, min(15, len(tries)))
    )


@FEW
@given(st.randoms(use_true_random=False))
def test_leaving_facts_out_never_makes_a_clause_met(draw):
    assert not made_met(draw, healed=False)


@FEW
@given(st.randoms(use_true_random=False))
def test_nor_does_leaving_days_out_and_counting_anew(draw):
    assert not made_met(draw, healed=True)


def test_an_evaluator_that_passed_over_missing_days_would_be_caught(monkeypatch):
    def careless(self, asked, day, fact, row):
        return fact or verdict._Fact("measured", "", None, 0, 0, 0, [], [])

    monkeypatch.setattr(verdict._Known, "_of_day", careless)

    assert any(made_met(random.Random(seed), healed=True) for seed in range(60))


def papers():
    """Two reports, the newer of them with exceptions, and a clause that asks for none."""
    row = clause("soc2_exceptions", statistic="last", value=0, window_days=400)
    facts = document(
        [
            statement("soc2_exceptions", 0, "2025-01-01", "2027-01-01"),
            statement("soc2_exceptions", 3, "2025-06-01", "2027-01-01", seq=1),
        ],
        midnight("2026-01-01", 5),
    )
    return contract(row), facts, facts["as_of"]


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 1}])
def test_leaving_out_a_paper_never_makes_a_clause_met(gone):
    terms, facts, as_of = papers()

    assert not met(terms, facts, as_of)
    assert not met(terms, without(facts, gone), as_of)


def test_it_is_the_census_that_notices_a_paper_left_out():
    terms, facts, as_of = papers()

    assert met(terms, without(facts, {1}, healed=True), as_of), "whoever can forge the census too needs the digest to catch them"


def test_a_sample_left_out_is_caught_by_the_facts_digest_alone():
    """Deliberately not promised by the evaluator: what a fact says is protected by its digest in the run's entry, and the log."""
    facts = document(daily("revoke_us", "2026-01-01", [[90_000_000, 1]]), midnight("2026-01-01", 1))
    cut = copy.deepcopy(facts)
    del cut["facts"][0]["samples"][0]

    assert verdict.digest(cut) != verdict.digest(facts)


# --- money


def money(draw):
    """One history's money, by hand and by the evaluator: month to clawback and reward, where there is either."""
    terms, facts, as_of = history(draw)
    by_hand = reckoned(terms, facts, as_of)
    judged = {
        one["month"]: [Decimal(one["clawback"]), Decimal(one["reward"])]
        for one in evaluate(terms, facts, as_of)["money"]["months"]
    }
    return [{month: sums for month, sums in book.items() if any(sums)} for book in (by_hand, judged)]


def differs(seed):
    """Whether the two disagree on the history of a seed."""
    by_hand, judged = money(random.Random(seed))
    return by_hand != judged


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.randoms(use_true_random=False))
def test_the_money_is_what_a_reckoning_by_hand_says(draw):
    by_hand, judged = money(draw)

    assert by_hand == judged


@pytest.mark.slow
def test_so_it_is_for_ten_thousand_histories():
    billed = rewarded = months = 0
    for seed in range(10_000):
        by_hand, judged = money(random.Random(seed))
        assert by_hand == judged, seed
        billed += any(clawback for clawback, _ in judged.values())
        rewarded += any(reward for _, reward in judged.values())
        months += len(judged)
    print(f"10,000 histories, {months} months with money in them: all the same to the cent")
    print(f"{billed} histories with clawbacks, {rewarded} with rewards")
    assert min(billed, rewarded) > 2_000


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("over", lambda self, day: True),
        ("waiver", lambda self, ref, day: None),
    ],
)
def test_an_evaluator_that_bills_what_it_should_not_would_be_caught(monkeypatch, name, broken):
    monkeypatch.setattr(verdict._Asked, name, broken)

    assert any(differs(seed) for seed in range(300))


def test_one_that_forgets_the_cure_would_be_caught(monkeypatch):
    whole = verdict._Judged.chargeable

    def without_cure(self):
        self.row = {**self.row, "cure_days": 0}
        return whole(self)

    monkeypatch.setattr(verdict._Judged, "chargeable", without_cure)

    assert any(differs(seed) for seed in range(300))


@FEW
@given(st.randoms(use_true_random=False))
def test_the_same_question_gives_the_same_bytes(draw):
    terms, facts, as_of = history(draw, longest=60)

    assert canonical(evaluate(terms, facts, as_of)) == canonical(evaluate(copy.deepcopy(terms), copy.deepcopy(facts), as_of))


@FEW
@given(st.randoms(use_true_random=False))
def test_a_later_run_bills_no_day_anew_and_takes_none_back(draw):
    """Each whole day is judged by what was before it: so the days billed by an earlier run are a beginning of a later one's."""
    terms, facts, as_of = history(draw, longest=60)
    upto = midnight(terms["starts"], draw.randint(1, 60))
    assume(as_of.endswith("T00:00:00Z") and upto < as_of and upto[:10] <= terms["ends"])
    early = {**facts, "as_of": upto, "facts": [fact for fact in facts["facts"] if fact["to"] <= upto]}
    early["census"] = {name: len([f for f in early["facts"] if f["measure"] == name]) for name in facts["census"]}

    def days(run):
        return [
            (row["ref"], stretch["from"], min(stretch["to"], upto[:10]))
            for row in run["clauses"]
            for stretch in row["billed"]
            if stretch["from"] < upto[:10]
        ]

    assert days(evaluate(terms, early, upto)) == days(evaluate(terms, facts, as_of))
