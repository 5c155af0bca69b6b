import json

import pytest

from limen.core.errors import Invalid
from limen.core.events import canonical
from limen.formats import oscal, sarif, vsa
from verdicts import clause, judged, verdict

CODECS = {"sarif": sarif.log, "oscal": oscal.assessment_results, "vsa": vsa.statement}


def results(found):
    return {one["ruleId"]: one for one in sarif.log(found)["runs"][0]["results"]}


def findings(found):
    [result] = oscal.assessment_results(found)["assessment-results"]["results"]
    return {one["title"].partition(":")[0]: one["target"]["status"] for one in result["findings"]}


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_verdict_gives_the_same_bytes_and_another_does_not(codec):
    first, again = canonical(CODECS[codec](verdict())), canonical(CODECS[codec](json.loads(json.dumps(verdict()))))

    assert first == again
    assert first != canonical(CODECS[codec](verdict(as_of="2026-04-10T00:00:00Z")))


def test_unknown_is_neither_pass_nor_fail_in_sarif():
    kinds = {ref: (one["kind"], one["level"]) for ref, one in results(verdict()).items()}

    assert kinds == {
        "LM-01": ("pass", "none"),
        "LM-05.1": ("open", "none"),
        "LM-10": ("fail", "error"),
        "10.2 (b)": ("open", "none"),
    }


def test_a_disputed_clause_is_for_people_to_review_and_a_waiver_hides_nothing():
    found = verdict()
    found["clauses"][2] = clause("LM-10", "breached", "measured", "7 days", 1, "", waiver={"entry": 90, "until": "2026-05-01"})
    found["clauses"][1]["disputed"] = {"entry": 81}
    told = results(found)

    assert told["LM-05.1"]["kind"] == "review"
    assert told["LM-10"]["kind"] == "fail"
    assert told["LM-10"]["suppressions"][0]["justification"] == "waived: entry 90, until 2026-05-01"
    assert "suppressions" not in told["LM-01"]


def test_the_worst_events_stand_at_their_entries():
    [event] = results(verdict())["LM-10"]["relatedLocations"]

    assert [place["fullyQualifiedName"] for place in event["logicalLocations"]] == [
        "aurelia.example/log/4711",
        "aurelia.example/log/4712",
    ]


def test_a_clause_keeps_its_fingerprint_over_runs_and_not_over_contracts():
    [one, later] = (results(verdict(as_of=day))["LM-10"] for day in ("2026-04-09T00:00:00Z", "2026-04-10T00:00:00Z"))
    other = results(verdict(contract={"id": "another", "digest": "ab" * 32}))["LM-10"]

    assert one["partialFingerprints"] == later["partialFingerprints"] != other["partialFingerprints"]


def test_a_control_is_satisfied_only_if_all_its_clauses_are_met():
    found = verdict()
    found["clauses"][0] = clause("LM-05.2", "met", "measured", None, 1, None)
    told = findings(found)

    assert (told["LM-05"]["state"], told["LM-05"]["reason"]) == ("not-satisfied", "other")
    assert (told["LM-10"]["state"], told["LM-10"]["reason"]) == ("not-satisfied", "fail")
    assert all(one["state"] == "satisfied" for one in findings(verdict("pass")).values())


@pytest.mark.parametrize("outcome", ["fail", "undecided"])
def test_a_summary_passes_only_what_passed_and_names_the_reasons_under_a_uri(outcome):
    predicate = vsa.statement(verdict(outcome))["predicate"]
    passed = vsa.statement(verdict("pass"))["predicate"]

    assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
    assert [one["ref"] for one in predicate[vsa.REASONS]["clauses"]] == ["LM-05.1", "LM-10", "10.2 (b)"]
    assert (passed["verificationResult"], passed[vsa.REASONS]["clauses"]) == ("PASSED", [])


@pytest.mark.parametrize("part", ["contract", "facts"])
def test_a_summary_about_nothing_in_particular_is_not_made(part):
    found = verdict()
    found[part] = {**found[part], "digest": ""}

    with pytest.raises(Invalid, match=part):
        vsa.statement(found)


def test_the_evaluator_s_own_verdicts_keep_their_answers():
    found = judged(disputed={"entry": 12, "since": "2026-03-21T00:00:00Z"})
    told, controls = results(found), findings(found)
    kinds = {"met": "pass", "breached": "fail", "unknown": "open"}

    assert {one["verdict"] for one in found["clauses"]} == set(kinds)
    for one in found["clauses"]:
        expected = "review" if one["disputed"] else kinds[one["verdict"]]
        assert told[one["ref"]]["kind"] == expected, one["ref"]
    for control, status in controls.items():
        met = all(one["verdict"] == "met" for one in found["clauses"] if one["control"] == control)
        assert (status["state"] == "satisfied") == met
    assert told["LM-05.1"]["kind"] == "review"
    assert "6 d" in told["LM-09.1"]["relatedLocations"][0]["message"]["text"]


def test_a_waived_clause_is_suppressed_for_as_long_as_it_is_waived():
    waiver = {"clause": "LM-09.1", "from": "2026-04-01", "until": "2026-05-01", "by": "lab/mira", "why": "agreed", "entry": 90}

    assert "suppressions" in results(judged(waivers=[waiver]))["LM-09.1"]
    assert "suppressions" not in results(judged(waivers=[{**waiver, "until": "2026-04-02"}]))["LM-09.1"]
