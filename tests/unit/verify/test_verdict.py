"""Verdicts on single clauses: three-valued, day by day; what they lead to, and what they cost."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import pytest

from clauses import clause, contract, daily, document, midnight, statement
from limen.verify import verdict
from limen.verify.verdict import canonical, evaluate

START = "2026-01-01"
FINE, SLOW = [30_000_000], [90_000_000]


def judged(row, days, *, as_of=None, purpose="standing", **fields):
    """The verdict on one clause, and its row; `days` as `daily` takes them."""
    at = as_of or midnight(START, len(days))
    found = evaluate(contract(row, **fields), document(daily(row["measure"], START, days, as_of=at), at), at, purpose)
    return found, found["clauses"][0]


# --- three values


def test_it_is_met_when_every_day_is_known_and_the_statistic_holds():
    _, row = judged(clause(), [FINE, [], FINE])

    assert (row["verdict"], row["n"], row["value"], row["value_text"]) == ("met", 2, 30_000_000, "30 s")
    assert row["green"] is None


def test_it_is_breached_when_it_does_not_hold():
    found, row = judged(clause(), [FINE, SLOW, FINE])

    assert (row["verdict"], row["value_text"], row["worst"][0]["entries"]) == ("breached", "90 s", [101])
    assert row["why"] == "the largest is 90 s; it asks for at most 60 s"
    assert row["green"] == "no further one beyond 60 s: the last leaves the window on 2026-01-12"
    assert found["outcome"] == "fail"
    assert found["consequences"] == [{"action": "restrict", "clauses": ["7.1"], "mode": "read-only", "projects": []}]


def test_a_day_without_a_fact_makes_it_unknown():
    found, row = judged(clause(), [FINE, None, FINE])

    assert (row["verdict"], found["outcome"], row["consequence"]) == ("unknown", "undecided", "block_renewal")
    assert "2026-01-02" in row["why"]
    assert "2026-01-12" in row["green"]


def test_what_is_known_can_breach_it_whatever_the_missing_day_held():
    _, row = judged(clause(), [SLOW, None, FINE])

    assert row["verdict"] == "breached"
    assert "whatever" in row["why"]


@pytest.mark.parametrize(
    ("fields", "days", "verdict_"),
    [
        ({"statistic": "max", "min_n": 3}, [FINE, FINE], "unknown"),
        ({"statistic": "max", "min_n": 0}, [[], []], "met"),
        ({"statistic": "max", "min_n": 1}, [[], []], "unknown"),
        ({"statistic": "mean"}, [[60_000_000, 60_000_001], [59_999_999]], "met"),
        ({"statistic": "mean"}, [[60_000_000, 60_000_001], [60_000_000]], "breached"),
        ({"statistic": "p50", "value": 2}, [[1, 2, 3]], "met"),
        ({"statistic": "p50", "value": 1}, [[1, 2, 3]], "breached"),
        ({"statistic": "p95", "value": 19}, [list(range(1, 21))], "met"),
        ({"statistic": "p95", "value": 18}, [list(range(1, 21))], "breached"),
        ({"statistic": "min", "comparator": ">=", "value": 2}, [[3], [2]], "met"),
        ({"statistic": "count", "value": 1}, [FINE, FINE], "breached"),
        ({"statistic": "count", "value": 0}, [[], []], "met"),
        ({"statistic": "count", "value": 1}, [FINE, None, FINE], "breached"),
        ({"statistic": "count", "value": 2}, [FINE, None, FINE], "unknown"),
        ({"statistic": "sum", "value": 60_000_000}, [FINE, FINE], "met"),
        ({"statistic": "last"}, [SLOW, FINE, []], "met"),
        ({"statistic": "last"}, [FINE, SLOW, []], "breached"),
        ({"statistic": "last"}, [None, FINE, []], "met"),
        ({"statistic": "last"}, [FINE, None, []], "unknown"),
        ({"statistic": "age_days", "value": 2}, [FINE, []], "met"),
        ({"statistic": "age_days", "value": 1}, [FINE, []], "breached"),
        ({"statistic": "age_days", "value": 9}, [[], []], "unknown"),
        ({"statistic": "age_days", "value": 9}, [[]] * 10, "breached"),
        ({"statistic": "age_days", "value": 9}, [FINE, None], "unknown"),
        ({"measure": "named_share", "statistic": "share", "comparator": ">=", "value": [1, 1]}, [[[9, 9]], [[5, 5]]], "met"),
        ({"measure": "named_share", "statistic": "share", "comparator": ">=", "value": [1, 1]}, [[[9, 9]], [[4, 5]]], "breached"),
        ({"measure": "log_complete", "statistic": "share", "comparator": ">=", "value": [1, 1]}, [[True], [False]], "breached"),
        ({"measure": "log_complete", "statistic": "last", "comparator": "==", "value": True}, [[False], [True]], "met"),
        ({"measure": "static_keys", "statistic": "last", "value": 0}, [[1], [0]], "met"),
        ({"measure": "rotation_age_days", "statistic": "last", "value": 90}, [[1], [95, 3]], "breached"),
        ({"measure": "rotation_age_days", "statistic": "last", "value": 90, "min_n": 0}, [[95], []], "met"),
        ({"measure": "rotation_age_days", "statistic": "last", "value": 90}, [[95], []], "unknown"),
    ],
)
def test_each_statistic_says_exactly_when_it_holds(fields, days, verdict_):
    assert judged(clause(**fields), days)[1]["verdict"] == verdict_


def test_a_window_trails_each_days_end_and_lets_go_of_older_days():
    row = clause(window_days=3)

    assert judged(row, [SLOW, FINE, FINE])[1]["verdict"] == "breached"
    assert judged(row, [SLOW, FINE, FINE, FINE])[1]["verdict"] == "met"


def test_the_contracts_first_days_look_back_no_further_than_its_beginning():
    _, row = judged(clause(window_days=92), [FINE])

    assert row["window"] == {"days": 92, "from": START, "to": "2026-01-02T00:00:00Z"}


def test_before_the_contract_begins_what_is_known_since_the_facts_begin_is_judged_and_nothing_is_billed():
    row = clause("log_complete", statistic="share", comparator=">=", value=[1, 1], clawback_percent_day="1")
    at = "2025-12-22T00:00:00Z"

    def found(days):
        return evaluate(contract(row), document(daily("log_complete", "2025-12-20", days), at, "2025-12-20"), at, "onboarding")

    assert [found(days)["outcome"] for days in ([[True], [True]], [None, [True]], [[False], [True]])] == [
        "pass",
        "undecided",
        "fail",
    ]
    assert found([[False], [True]])["money"]["months"] == []


def test_a_fact_of_too_weak_a_grade_or_of_another_source_does_not_count():
    weak = document(daily("revoke_us", START, [FINE], grade="declared"), midnight(START, 1))
    other = document(daily("revoke_us", START, [FINE], source="a slide"), midnight(START, 1))

    assert "weaker grade" in evaluate(contract(clause()), weak, weak["as_of"])["clauses"][0]["why"]
    assert "not from log" in evaluate(contract(clause(source="log")), other, other["as_of"])["clauses"][0]["why"]


def test_a_stronger_grade_than_asked_for_counts():
    facts = document(daily("static_keys", START, [[0]], grade="measured"), midnight(START, 1))

    assert evaluate(contract(clause("static_keys", value=0)), facts, facts["as_of"])["clauses"][0]["verdict"] == "met"


def test_a_disputed_day_is_set_aside_until_it_is_settled():
    facts = document(daily("revoke_us", START, [FINE, SLOW, FINE]), midnight(START, 3))
    facts["facts"][1]["disputed"] = {"entry": 900, "since": "2026-01-03T00:00:00Z"}
    found = evaluate(contract(clause(clawback_percent_day="1", window_days=1)), facts, facts["as_of"])

    assert found["money"]["total"]["clawback"] == "0.00"
    wide = evaluate(contract(clause(clawback_percent_day="1")), facts, facts["as_of"])
    row = wide["clauses"][0]
    assert (row["verdict"], row["disputed"], row["consequence"], wide["outcome"]) == ("unknown", True, None, "undecided")
    assert wide["money"]["total"]["clawback"] == "0.00"


def test_a_dispute_does_not_excuse_a_day_that_is_missing_besides():
    facts = document(daily("revoke_us", START, [FINE, None, FINE]), midnight(START, 3))
    facts["facts"][0]["disputed"] = {"entry": 900, "since": "2026-01-03T00:00:00Z"}
    row = evaluate(contract(clause()), facts, facts["as_of"])["clauses"][0]

    assert (row["verdict"], row["disputed"], row["consequence"]) == ("unknown", False, "block_renewal")


def test_a_value_below_zero_is_not_believed():
    facts = document(daily("revoke_us", START, [[-1]]), midnight(START, 1))

    assert "can't be read" in evaluate(contract(clause()), facts, facts["as_of"])["facts"]["cut"][0]


# --- statements


def test_of_papers_the_one_in_force_at_the_days_end_decides():
    row = clause("soc2_report", statistic="last", comparator=">=", value=2, window_days=400)
    facts = document(
        [statement("soc2_report", 1, "2025-01-01", "2025-07-01"), statement("soc2_report", 2, "2025-07-01", None, seq=1)],
        "2026-01-02T00:00:00Z",
    )

    assert evaluate(contract(row), facts, facts["as_of"])["clauses"][0]["verdict"] == "met"


def test_a_paper_that_is_no_longer_in_force_leaves_it_unknown():
    row = clause("insurance", statistic="last", comparator=">=", value="5000000.00", window_days=400)
    facts = document([statement("insurance", "5000000.00", "2025-01-01", "2026-01-02")], "2026-01-03T00:00:00Z")

    assert evaluate(contract(row), facts, facts["as_of"])["clauses"][0]["verdict"] == "unknown"


def test_the_age_of_a_report_counts_from_the_end_of_its_period():
    row = clause("soc2_report", statistic="age_days", value=365, window_days=400)
    old = [statement("soc2_report", 2, "2024-01-01", "2025-01-01", at="2025-01-01", recorded_at="2025-03-01")]
    facts = document(old, "2026-01-01T00:00:00Z"), document(copy.deepcopy(old), "2026-01-02T00:00:00Z")

    verdicts = [evaluate(contract(row, starts="2025-06-01"), each, each["as_of"])["clauses"][0]["verdict"] for each in facts]
    assert verdicts == ["met", "breached"]


# --- what is missing


def test_a_fact_that_was_left_out_is_noticed_by_the_census_even_where_its_day_does_not_matter():
    facts = document(daily("revoke_us", START, [FINE] * 30), midnight(START, 30))
    del facts["facts"][2]
    found = evaluate(contract(clause(window_days=3)), facts, facts["as_of"])

    assert found["clauses"][0]["verdict"] == "unknown"
    assert found["facts"]["cut"] == ["revoke_us: 29 facts are here, 30 were put together"]


def test_without_that_check_the_fact_would_not_be_missed():
    facts = document(daily("revoke_us", START, [FINE] * 30), midnight(START, 30))
    del facts["facts"][2]
    facts["census"]["revoke_us"] = 29
    for seq, fact in enumerate(facts["facts"]):
        fact["seq"] = seq

    assert evaluate(contract(clause(window_days=3)), facts, facts["as_of"])["clauses"][0]["verdict"] == "met"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda facts: facts["facts"].append(copy.deepcopy(facts["facts"][0])), "31 facts are here"),
        (lambda facts: facts["facts"][3].update({"from": "2026-01-03T00:00:00Z"}), "two facts are about one day"),
        (lambda facts: facts["facts"][3].update(recorded_at="2026-03-01T00:00:00Z"), "recorded later"),
        (lambda facts: facts["facts"][3]["samples"][0].update(value=1.5), "can't be read"),
        (lambda facts: facts["facts"][3]["samples"][0].update(at="yesterday"), "can't be read"),
        (lambda facts: facts["census"].pop("revoke_us"), "the census does not name it"),
    ],
)
def test_facts_that_do_not_fit_together_are_not_believed(change, says):
    facts = document(daily("revoke_us", START, [FINE] * 30), midnight(START, 30))
    change(facts)
    found = evaluate(contract(clause()), facts, facts["as_of"])

    assert found["clauses"][0]["verdict"] == "unknown"
    assert says in found["facts"]["cut"][0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"vendor": "lexara"}, "about lexara"), ({"as_of": "2026-02-01T00:00:00Z"}, "not 2026-01-02"), ({"v": 2}, "version 1")],
)
def test_things_that_are_not_of_one_piece_are_refused(fields, says):
    facts = {**document(daily("revoke_us", START, [FINE]), midnight(START, 1)), **fields}

    with pytest.raises(ValueError, match=says):
        evaluate(contract(clause()), facts, midnight(START, 1))


# --- runs, cures, money


def test_a_breach_run_carries_over_the_months_end_and_each_day_is_billed_once():
    row = clause(window_days=1, clawback_percent_day="0.5")
    found, line = judged(row, [FINE] * 29 + [SLOW] * 4 + [FINE] * 3)

    assert line["runs"] == [{"from": "2026-01-30", "to": "2026-02-03"}]
    assert line["billed"] == [{"from": "2026-01-30", "to": "2026-02-03"}]
    assert [(one["month"], one["days"], one["clawback"]) for one in found["money"]["months"]] == [
        ("2026-01", 2, "1200.00"),
        ("2026-02", 2, "1200.00"),
    ]
    assert found["money"]["total"] == {"clawback": "2400.00", "reward": "0.00"}


def test_a_breach_that_is_cured_in_time_costs_nothing_and_leads_to_nothing():
    row = clause(window_days=1, clawback_percent_day="0.5", cure_days=3)
    cured, _ = judged(row, [FINE] * 5 + [SLOW] * 3 + [FINE])
    curing, line = judged(row, [FINE] * 5 + [SLOW] * 2)
    late, after = judged(row, [FINE] * 5 + [SLOW] * 5)

    assert cured["money"]["total"]["clawback"] == "0.00"
    assert (curing["outcome"], line["curing"], line["cure_ends"]) == ("undecided", True, "2026-01-09")
    assert (late["outcome"], after["billed"]) == ("fail", [{"from": "2026-01-09", "to": "2026-01-11"}])


def test_unknown_days_neither_end_a_run_nor_cost_anything():
    row = clause(window_days=1, clawback_percent_day="1", cure_days=2)
    _, line = judged(row, [SLOW, None, None, SLOW, SLOW, FINE])

    assert line["runs"] == [{"from": "2026-01-01", "to": "2026-01-06"}]
    assert line["billed"] == [{"from": "2026-01-04", "to": "2026-01-06"}]


def test_a_breach_that_nobody_can_see_any_more_stays_in_force_until_a_day_is_met():
    row = clause(window_days=1, unknown="warn", cure_days=1)
    _, hidden = judged(row, [FINE, SLOW, SLOW, None])
    _, in_cure = judged(row, [FINE, SLOW])
    _, ended = judged(row, [SLOW, SLOW, FINE, None])

    assert (hidden["verdict"], hidden["consequence"]) == ("unknown", "restrict")
    assert (in_cure["curing"], in_cure["consequence"]) == (True, None)
    assert (ended["verdict"], ended["consequence"]) == ("unknown", "warn")


def test_a_day_on_which_several_clauses_were_breached_is_billed_once_by_the_highest():
    rows = [clause(window_days=1, clawback_percent_day=percent, ref=ref) for ref, percent in [("a", "1"), ("b", "2"), ("c", "2")]]
    facts = document(daily("revoke_us", START, [SLOW] * 2), midnight(START, 2))
    found = evaluate(contract(*rows), facts, facts["as_of"])

    assert found["money"]["total"]["clawback"] == "4800.00"
    assert [row["billed"] for row in found["clauses"]] == [[], [{"from": "2026-01-01", "to": "2026-01-03"}], []]


def test_a_day_that_is_not_over_is_judged_and_not_billed():
    found, line = judged(clause(window_days=1, clawback_percent_day="1"), [SLOW, SLOW], as_of="2026-01-02T12:00:00Z")

    assert (line["verdict"], found["money"]["total"]["clawback"], found["money"]["upto"]) == ("breached", "1200.00", "2026-01-02")


def test_caps_hold_for_the_month_and_for_the_whole():
    found, _ = judged(clause(window_days=1, clawback_percent_day="1"), [SLOW] * 90, caps=("24000.00", "50000.00", None, None))

    assert [(one["uncapped"], one["clawback"]) for one in found["money"]["months"]] == [
        ("37200.00", "24000.00"),
        ("33600.00", "24000.00"),
        ("37200.00", "2000.00"),
    ]


def test_a_month_is_rounded_half_up_once():
    found, _ = judged(clause(window_days=1, clawback_percent_day="0.005"), [SLOW] * 3, monthly_fee="33.33")
    half, _ = judged(clause(window_days=1, clawback_percent_day="0.5"), [SLOW], monthly_fee="1.00")

    assert found["money"]["total"]["clawback"] == "0.00"
    assert half["money"]["total"]["clawback"] == "0.01"


def test_a_waived_clause_is_judged_and_neither_costs_nor_leads_to_anything():
    waiver = {"clause": "7.1", "from": "2026-01-02", "until": "2026-01-04", "signed_by": "p-1", "entry": 50}
    found, line = judged(clause(window_days=1, clawback_percent_day="1"), [SLOW] * 3, waivers=[waiver])
    ended, _ = judged(clause(window_days=1, clawback_percent_day="1"), [SLOW] * 4, waivers=[waiver])

    assert (line["verdict"], line["waiver"]["entry"], found["outcome"], found["consequences"]) == ("breached", 50, "pass", [])
    assert found["money"]["total"]["clawback"] == "1200.00"
    assert (ended["outcome"], ended["money"]["total"]["clawback"]) == ("fail", "2400.00")


def test_rewards_stand_beside_clawbacks():
    reward = {**clause(window_days=1, value=30_000_000, ref="bonus"), "reward_percent_day": "0.1"}
    found, _ = judged(
        clause(window_days=1, clawback_percent_day="1"),
        [FINE, SLOW, None, FINE],
        rewards=[reward],
        caps=("24000.00", "50000.00", "200.00", "1000.00"),
    )

    assert found["money"]["months"] == [
        {"month": "2026-01", "days": 1, "uncapped": "1200.00", "clawback": "1200.00", "reward_days": 2, "reward": "200.00"}
    ]
    assert found["rewards"][0]["met_days"] == 2
    assert found["passed_on"].endswith("never passed on to the people who do the work.")


# --- decisions


def test_a_clause_that_only_warns_does_not_fail_but_is_a_condition():
    found, _ = judged(clause(breach="warn"), [SLOW], purpose="renewal")

    assert (found["outcome"], found["decision"]) == ("pass", "RENEW WITH CONDITIONS")


@pytest.mark.parametrize(
    ("fields", "days", "outcome", "decision"),
    [
        ({}, [FINE], "pass", "RENEW"),
        ({}, [SLOW], "fail", "DO NOT RENEW"),
        ({"cure_days": 3}, [SLOW], "undecided", "RENEW WITH CONDITIONS"),
        ({"unknown": "warn"}, [None], "undecided", "RENEW WITH CONDITIONS"),
        ({"unknown": "block_renewal"}, [None], "undecided", "DO NOT RENEW"),
        ({"unknown": "warn", "owner": "x", "due": "2025-12-31"}, [None], "fail", "DO NOT RENEW"),
        ({"unknown": "warn", "owner": "x", "due": "2026-01-01"}, [None], "fail", "DO NOT RENEW"),
        ({"unknown": "warn", "owner": "x", "due": "2026-01-02"}, [None], "undecided", "RENEW WITH CONDITIONS"),
    ],
)
def test_renewal_is_decided_by_what_is_in_force_and_what_is_overdue(fields, days, outcome, decision):
    found, _ = judged(clause(**fields), days, purpose="renewal")

    assert (found["outcome"], found["decision"]) == (outcome, decision)
    assert found["notice_deadline"] == "2026-11-02"


# --- the file itself


def test_the_same_question_gives_the_same_bytes_and_changes_nothing_that_it_was_given():
    at = midnight(START, 40)
    given = contract(clause(clawback_percent_day="1", window_days=5)), document(daily("revoke_us", START, [SLOW, FINE] * 20), at)
    before = copy.deepcopy(given)

    assert canonical(evaluate(*given, at)) == canonical(evaluate(*copy.deepcopy(given), at))
    assert given == before


def test_the_file_stands_alone_and_an_older_python_reads_it():
    source = Path(verdict.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }

    assert imported <= {
        "__future__",
        "bisect",
        "collections",
        "datetime",
        "decimal",
        "fractions",
        "hashlib",
        "heapq",
        "json",
        "operator",
        "typing",
    }
