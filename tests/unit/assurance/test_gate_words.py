"""What a verdict says to people, what it lists as missing, and what it asks of the doors."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from clauses import clause, contract, daily, document, midnight
from limen.assurance.gate import follow
from limen.assurance.gate.gap import gap
from limen.assurance.gate.judging import exit_code
from limen.assurance.gate.text import lines
from limen.verify.verdict import evaluate

START = "2026-01-01"
FINE, SLOW = [30_000_000], [90_000_000]


def verdict(days, *, purpose="standing", rewards=(), waivers=(), change=None, **fields):
    at = midnight(START, len(days))
    facts = document(daily("revoke_us", START, days), at)
    if change:
        change(facts)
    terms = contract(clause(**fields), rewards=rewards, waivers=list(waivers), caps=("24000.00", "60000.00", "200.00", "500.00"))
    return evaluate(terms, facts, at, purpose)


def text(*args, **fields):
    return "\n".join(lines(verdict(*args, **fields)))


def test_a_breach_names_its_worst_events_with_entries_and_what_would_end_it():
    said = text([FINE, SLOW, [91_000_000], FINE], clawback_percent_day="0.5")

    assert "BREACHED  7.1  LM-05  A clause." in said
    assert "worst: 91 s at 2026-01-03T00:00:00.000000Z (entry 102); 90 s at 2026-01-02T00:00:00.000000Z (entry 101); 30 s" in said
    assert "green: no further one beyond 60 s: the last leaves the window on 2026-01-13" in said
    assert "leads to: restrict, 0.5 % of the monthly fee a day" in said
    assert "2026-01: clawback 1800.00 EUR for 3 days" in said
    assert "restrict to reading: clause 7.1" in said
    assert said.endswith("FAIL")


def test_a_cure_period_a_waiver_and_a_dispute_are_told():
    waiver = {"clause": "7.1", "from": START, "until": "2026-02-01", "signed_by": "p-1", "entry": 50}

    def disputed(facts):
        facts["facts"][0]["disputed"] = {"entry": 9, "since": "2026-01-01T00:00:00Z"}

    assert "CURING" in text([SLOW], cure_days=5)
    assert "breached since 2026-01-01; cure ends 2026-01-06" in text([SLOW], cure_days=5)
    assert "waived until 2026-02-01 by p-1 (entry 50)" in text([SLOW], waivers=[waiver])
    assert "disputed: set aside until that is settled" in text([SLOW], change=disputed)


def test_a_reward_is_never_called_a_breach():
    said = text([SLOW], rewards=[{**clause(ref="12"), "reward_percent_day": "1"}])

    assert "NOT MET   12" in said
    assert "reward: met on 0 days so far" in said


def test_facts_that_are_not_whole_are_told_first_and_end_with_five():
    def cut(facts):
        del facts["facts"][0]

    found = verdict([FINE, FINE, FINE], change=cut)

    assert list(lines(found))[1] == "UNVERIFIABLE: revoke_us: 2 facts are here, 3 were put together"
    assert exit_code(found) == 5
    assert follow.steps(found, 7, paused=False, order=None) == []
    assert [exit_code(verdict(days)) for days in ([FINE], [SLOW], [None])] == [0, 1, 6]


def test_the_gap_has_a_row_for_each_clause_and_for_what_people_check():
    rows = gap(verdict([None], owner="ops", due="2025-12-31"), {"LM-05": ["Ask them."], "LM-99": ["Not in this contract."]})

    assert [(row["control"], row["state"], row["owner"], row["overdue"]) for row in rows] == [
        ("LM-05", "unknown", "ops", True),
        ("LM-05", "manual", "", False),
    ]
    assert rows[0]["required"] == "max revoke_us <= 60 s, 10 days"
    assert "no fact covers 2026-01-01" in rows[0]["unknown"]


class Order(NamedTuple):
    read_only: bool
    projects: frozenset[str]
    cause: str


@pytest.mark.parametrize(
    ("order", "made"),
    [
        (None, (True, (), "gate 7")),
        (Order(read_only=True, projects=frozenset(), cause="gate 5"), None),
        (Order(read_only=False, projects=frozenset({"a"}), cause="gate 5"), (True, (), "gate 7")),
        (Order(read_only=False, projects=frozenset({"a"}), cause=""), (True, ("a",), "an order, gate 7")),
        (Order(read_only=True, projects=frozenset({"a"}), cause="advisory MAL-1"), None),
    ],
)
def test_a_restriction_adds_to_what_others_ordered_and_replaces_the_gates_own(order, made):
    found = follow.steps(verdict([SLOW]), 7, paused=False, order=order)

    assert [(one.read_only, one.projects, one.cause) for one in found] == ([] if made is None else [made])


def test_no_project_is_opened_by_two_restrictions_that_share_none():
    found = verdict([SLOW])
    found["consequences"][0].update(mode="projects", projects=["b"])
    order = Order(read_only=False, projects=frozenset({"a"}), cause="advisory MAL-1")

    [made] = follow.steps(found, 7, paused=False, order=order)
    assert (made.read_only, made.projects) == (True, ("a",))


@pytest.mark.parametrize(
    ("cause", "lifted"), [("gate 5", True), ("", False), ("advisory MAL-1", False), ("an order, gate 5", False)]
)
def test_only_what_the_gate_alone_ordered_is_lifted(cause, lifted):
    order = Order(read_only=True, projects=frozenset(), cause=cause)

    assert bool(follow.steps(verdict([FINE]), 7, paused=False, order=order)) == lifted


def test_a_pause_is_ordered_once():
    found = verdict([SLOW], breach="pause")

    assert [one.does for one in follow.steps(found, 7, paused=False, order=None)] == ["pause"]
    assert follow.steps(found, 7, paused=True, order=None) == []


def test_a_vendor_is_admitted_no_longer_than_what_its_pass_rests_on():
    waiver = {"clause": "7.1", "from": START, "until": "2026-02-01", "signed_by": "p-1", "entry": 50}
    day = 86_400_000_000

    assert follow.admitted_until(verdict([FINE], purpose="onboarding")) == 20_819 * day, "the contract's end"
    assert follow.admitted_until(verdict([SLOW], purpose="onboarding", waivers=[waiver])) == 20_485 * day
    assert follow.admitted_until(verdict([FINE], purpose="onboarding", waivers=[waiver])) == 20_819 * day
    assert follow.admitted_until(verdict([SLOW], purpose="onboarding")) is None
    assert follow.admitted_until(verdict([FINE])) is None
