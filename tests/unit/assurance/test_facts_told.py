"""Measures of what is told: long-lived keys, incidents, leavers, returns, papers, disputes; and of BOMs and advisories."""

import pytest

from factlogs import DAY, HOUR, MONDAY, ORIGIN, US, Paper
from limen.assurance.facts import papers, stating
from limen.assurance.facts.book import Facts
from limen.assurance.facts.components import Listed
from limen.assurance.facts.running import Covered, Filed, Malicious, Running
from limen.assurance.measures import MEASURES
from limen.core.errors import Invalid, NotFound
from limen.core.events import canonical

V = {"vendor": "quillwork", "by": "x"}


class Told:
    """A log of one vendor, from Monday on; `running` is what its components are, without anybody's BOM."""

    def __init__(self, tmp_path, running=None):
        self.paper, self.path = Paper(), tmp_path
        self.running = running or Running()
        self.add("vendor.add", name="Quillwork")

    def add(self, kind, at=0, **fields):
        return self.paper.add(kind, MONDAY + at, **{**V, **fields})

    def document(self, days):
        told = self

        class Components:
            def running(self, vendor, as_of_us, *, upto):
                assert (vendor, upto) == ("quillwork", len(told.paper.raws))
                return told.running

        facts = Facts(self.path, self.paper, Components(), origin=ORIGIN)
        try:
            return facts.document("quillwork", MONDAY + days)
        finally:
            facts.close()

    def samples(self, measure, days):
        """Day from Monday -> values."""
        found = {}
        for fact in self.document(days)["facts"]:
            if fact["measure"] == measure:
                found[_day(fact)] = [s["value"] for s in fact["samples"]]
        return found

    def unknown(self, measure, days):
        return [row["why"] for row in self.document(days)["unknown"] if row["measure"] == measure]

    def grades(self, measure, days):
        return [fact["grade"] for fact in self.document(days)["facts"] if fact["measure"] == measure]


def _day(fact):
    return int(fact["from"][8:10]) - 5  # 2026-01-05 is day 0


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path)


# --- long-lived keys


def test_without_a_list_nobody_can_say_how_many_keys_there_are(told):
    told.add("static.add", key="k", what="deploy-key", issued_us=MONDAY - 30 * DAY, observed=False)
    assert told.samples("static_keys", 3 * DAY) == {}
    assert told.unknown("static_keys", 3 * DAY) == ["no list of all long-lived keys covers the day"]


def test_a_list_speaks_for_31_days_and_not_for_those_before_it(told):
    told.add("static.list", 2 * DAY, count=0)
    assert told.samples("static_keys", 4 * DAY) == {2: [0], 3: [0]}
    assert len(told.grades("static_keys", 40 * DAY)) == 31


def test_a_key_counts_until_it_was_tried_and_refused(told):
    told.add("static.list", count=0)
    told.add("static.add", DAY, key="k", what="deploy-key", issued_us=MONDAY + DAY, observed=False)
    told.add("static.end", 2 * DAY + HOUR, key="k", ended_us=MONDAY + 2 * DAY, old="untried")
    told.add("static.end", 4 * DAY + HOUR, key="k", ended_us=MONDAY + 4 * DAY, old="refused")
    assert told.samples("static_keys", 7 * DAY) == {0: [0], 1: [1], 2: [1], 3: [1], 4: [1], 5: [0], 6: [0]}
    ages = told.samples("static_key_age_us", 7 * DAY)
    assert [ages[1], ages[3], ages[6]] == [[DAY], [3 * DAY], []]


def test_a_rotation_makes_a_key_young_only_if_the_old_one_is_refused(told):
    told.add("static.list", count=1)
    told.add("static.add", key="k", what="deploy-key", issued_us=MONDAY - 10 * DAY, observed=True)
    told.add("rotation.add", 2 * DAY, key="k", rotated_us=MONDAY + 2 * DAY, old="alive", new="")
    told.add("rotation.add", 4 * DAY, key="k", rotated_us=MONDAY + 4 * DAY, old="refused", new="")
    ages = told.samples("rotation_age_days", 6 * DAY)
    assert [ages[n] for n in range(6)] == [[11], [12], [13], [14], [1], [2]]


def test_a_replaced_key_that_is_still_alive_counts_beside_the_new_one(told):
    told.add("static.list", count=1)
    told.add("static.add", key="old", what="api-key", issued_us=MONDAY, observed=False)
    told.add("rotation.add", DAY, key="old", rotated_us=MONDAY + DAY, old="alive", new="new")
    assert told.samples("static_keys", 3 * DAY) == {0: [1], 1: [2], 2: [2]}


def test_an_incident_runs_until_the_last_of_its_keys_was_refused(told):
    told.add("static.list", count=2)
    for key in ("a", "b"):
        told.add("static.add", key=key, what="token", issued_us=MONDAY - DAY, observed=False)
    known = MONDAY + DAY + 6 * HOUR
    told.add("notice.add", DAY + 7 * HOUR, notice="incident", incident="INC", known_us=known, of=[], digest="")
    told.add("rotation.add", 2 * DAY, key="a", rotated_us=MONDAY + 2 * DAY, old="refused", new="", incident="INC")
    told.add("rotation.add", 3 * DAY + HOUR, key="b", rotated_us=MONDAY + 3 * DAY + HOUR, old="alive", new="")
    told.add("static.end", 4 * DAY + HOUR, key="b", ended_us=MONDAY + 4 * DAY, old="refused")
    runs = told.samples("rotation_after_incident_us", 7 * DAY)
    hours = {day: [value // HOUR for value in values] for day, values in runs.items()}
    assert hours == {0: [], 1: [18], 2: [42], 3: [66], 4: [66], 5: [], 6: []}


def test_an_incident_with_keys_that_nobody_entered_leaves_its_rotation_unknown(told):
    told.add("notice.add", DAY, notice="incident", incident="INC", known_us=MONDAY + DAY, of=[], keys=["x"], digest="")
    assert told.unknown("rotation_after_incident_us", 3 * DAY) == ["incident INC names a key that nobody has entered"]


# --- who left, and when it was said


def test_access_that_goes_on_after_somebody_left_is_counted_until_it_ends(told):
    told.add("person.add", person="p-1", roles=[])
    told.add("notice.add", 2 * DAY, notice="leaver", person="p-1", left_us=MONDAY + DAY + 12 * HOUR, digest="")
    told.add("person.end", 3 * DAY + HOUR, person="p-1")
    runs = told.samples("deprovision_us", 5 * DAY)
    assert runs == {0: [], 1: [12 * HOUR], 2: [36 * HOUR], 3: [37 * HOUR], 4: []}
    before = told.samples("deprovision_us", 2 * DAY - 1)
    assert before == {0: [], 1: []}  # nobody had said so yet


def test_somebody_whose_access_ended_before_they_left_took_no_time(told):
    told.add("person.add", person="p-1", roles=[])
    told.add("person.end", DAY, person="p-1")
    told.add("notice.add", 2 * DAY, notice="leaver", person="p-1", left_us=MONDAY + DAY + HOUR, digest="")
    assert told.samples("deprovision_us", 3 * DAY)[1] == [0]


@pytest.mark.parametrize(
    ("incident", "answer", "grade"),
    [
        ({"of": [0]}, {"now": True}, "measured"),
        ({"of": []}, {"now": True}, "declared"),
        ({"of": [0]}, {"now": False, "digest": "ab" * 32}, "evidence"),
        ({"of": [0]}, {"now": False}, "declared"),
    ],
)
def test_a_notice_is_awaited_and_graded_by_how_its_two_ends_are_known(told, incident, answer, grade):
    told.add("notice.add", DAY, notice="incident", incident="INC", known_us=MONDAY + DAY, **{"digest": "", **incident})
    told.add("notice.add", 8 * DAY, notice="told", incident="INC", told_us=MONDAY + 8 * DAY, **{"digest": "", **answer})
    runs = told.samples("notice_latency_us", 10 * DAY)
    assert [runs[day] for day in (0, 1, 7, 8, 9)] == [[], [DAY], [7 * DAY], [7 * DAY], []]
    assert told.grades("notice_latency_us", 10 * DAY)[8] == grade


# --- what came back


def served(told, at):
    who = {"session": "s", "who": "o-1", "project": "orchid"}
    told.add("session.start", at, **who, until=(MONDAY + at) // US + 3600, strength="single")
    index = told.add("access.intent", at + US, **who, action="read", asset="a", version=1, shard="0", status=200, span=[0, 10])
    told.add("access.outcome", at + 2 * US, of=index, session="s", end="complete", sent=10)


def test_return_is_awaited_from_the_end_of_the_last_grant_and_graded_by_its_paper(told):
    grant = {"grant": "g", "holder": "o-1", "project": "orchid", "assets": ["*"], "actions": [], "not_before": 0}
    told.add("grant.add", **grant, expires_at=(MONDAY + 2 * DAY) // US)
    served(told, DAY)
    told.add("notice.add", 6 * DAY, notice="destroyed", project="orchid", done_us=MONDAY + 5 * DAY, digest="ab" * 32)
    assert told.samples("return_us", 8 * DAY) == {
        0: [], 1: [], 2: [DAY], 3: [2 * DAY], 4: [3 * DAY], 5: [3 * DAY], 6: [], 7: [],
    }  # fmt: skip
    assert set(told.grades("return_us", 8 * DAY)) == {"evidence"}
    assert told.samples("return_us", 6 * DAY - 1)[5] == [4 * DAY - 1]  # the paper had not come


def test_what_was_served_after_a_return_is_not_returned_by_it(told):
    grant = {"grant": "g", "holder": "o-1", "project": "orchid", "assets": ["*"], "actions": [], "not_before": 0}
    told.add("grant.add", **grant, expires_at=(MONDAY + 3 * DAY) // US)
    told.add("notice.add", DAY, notice="returned", project="orchid", done_us=MONDAY + DAY, digest="")
    served(told, 2 * DAY)
    assert told.samples("return_us", 6 * DAY)[5] == [3 * DAY]


def test_a_vendor_whose_people_are_all_gone_has_ended_its_work_and_workloads_go_with_their_sponsor(told):
    told.add("person.add", person="p-1", roles=[])
    told.add("workload.add", workload="p-ci", sponsor="p-1")
    served(told, HOUR)
    told.add("person.end", 2 * DAY, person="p-1")
    assert told.samples("return_us", 4 * DAY) == {0: [], 1: [], 2: [DAY], 3: [2 * DAY]}


def test_what_is_served_after_the_end_is_held_from_then_on(told):
    told.add("notice.add", DAY, notice="project-end", project="orchid", ended_us=MONDAY + DAY, digest="")
    served(told, 2 * DAY)
    assert told.samples("return_us", 4 * DAY)[3] == [2 * DAY - US]


def test_a_project_of_which_nothing_was_served_has_nothing_to_return(told):
    told.add("notice.add", DAY, notice="project-end", project="orchid", ended_us=MONDAY, digest="")
    assert set(map(str, told.samples("return_us", 3 * DAY).values())) == {"[]"}


# --- the witnesses


def test_the_witness_gap_is_what_was_recorded_and_grows_while_nothing_is(told):
    told.add("log.witnessed", DAY + HOUR, size=3, since_us=HOUR - US, ago_us=10 * US, gap_us=70 * US)
    told.add("log.witnessed", DAY + 2 * HOUR, size=4, since_us=HOUR + 10 * US, ago_us=20 * US, gap_us=HOUR // 2)
    assert told.samples("witness_gap_us", DAY + 3 * HOUR) == {1: [HOUR + 20 * US]}
    assert told.samples("witness_gap_us", DAY + 2 * HOUR + 40 * US) == {1: [HOUR // 2]}
    assert told.samples("witness_gap_us", 3 * DAY) == {1: [22 * HOUR + 20 * US], 2: [46 * HOUR + 20 * US]}


def test_between_two_lives_of_the_gateway_nobody_cosigned(told):
    told.add("log.witnessed", HOUR, size=3, since_us=HOUR, ago_us=0, gap_us=70 * US)
    told.add("log.witnessed", 9 * HOUR, size=4, since_us=HOUR, ago_us=0, gap_us=60 * US)
    assert told.samples("witness_gap_us", 10 * HOUR) == {0: [7 * HOUR]}


def test_a_log_without_witnesses_has_no_gap_but_nobody_can_say(told):
    assert told.samples("witness_gap_us", 2 * DAY) == {}
    assert "cosignature" in told.unknown("witness_gap_us", 2 * DAY)[0]


# --- papers, the vendor's word, disputes


def paper(told, at=0, *, facts, **fields):
    common = {"from_us": MONDAY - 365 * DAY, "to_us": MONDAY, "of_us": MONDAY, "source": "an auditor", "digest": "ab" * 32}
    return told.add("fact.add", at, facts=[{"measure": m, "value": v} for m, v in facts.items()], **{**common, **fields})


def test_a_paper_speaks_for_its_own_time_whenever_it_was_filed(told):
    entry = paper(told, 2 * DAY, facts={"soc2_report": 2, "soc2_exceptions": 3})
    [fact] = [one for one in told.document(3 * DAY)["facts"] if one["measure"] == "soc2_exceptions"]
    assert (fact["from"], fact["to"], fact["recorded_at"]) == (
        "2025-01-05T00:00:00Z",
        "2026-01-05T00:00:00Z",
        "2026-01-07T00:00:00Z",
    )
    assert fact["samples"] == [{"value": 3, "at": "2026-01-05T00:00:00Z", "entries": [entry]}]
    assert told.document(2 * DAY - 1)["census"]["soc2_exceptions"] == 0


def test_a_paper_without_the_paper_is_declared(told):
    paper(told, facts={"pentest": 0}, digest="")
    paper(told, facts={"insurance": "5000000.00"})
    assert (told.grades("pentest", DAY), told.grades("insurance", DAY)) == (["declared"], ["evidence"])


def test_a_replaced_paper_is_no_fact_any_more_from_its_replacement_on(told):
    first = paper(told, facts={"soc2_report": 1})
    paper(told, DAY, facts={"soc2_report": 2}, replaces=first)
    values = [s["value"] for f in told.document(2 * DAY)["facts"] if f["measure"] == "soc2_report" for s in f["samples"]]
    assert values == [2]
    assert told.document(DAY - 1)["census"]["soc2_report"] == 1


def test_what_the_vendor_says_is_held_against_the_days_for_which_it_speaks(told):
    speaks = {"from_us": MONDAY + DAY, "to_us": MONDAY + 2 * DAY, "digest": "", "source": "questionnaire"}
    paper(told, facts={"declared.session_length_us": HOUR, "declared.mfa": True}, **speaks)
    for day, length in enumerate((7200, 3600, 7200)):
        told.add("session.start", day * DAY, session=f"s{day}", who="o", project="p", strength="single",
                 until=(MONDAY + day * DAY) // US + length)  # fmt: skip
    assert told.document(3 * DAY)["contradictions"] == []
    told.add("session.start", DAY + HOUR, session="s9", who="o", project="p", strength="single",
             until=(MONDAY + DAY + HOUR) // US + 7200)  # fmt: skip
    [found] = told.document(3 * DAY)["contradictions"]
    assert found["declared"]["measure"] == "declared.session_length_us"
    assert (found["measured"]["value"], found["measured"]["entries"], found["measured"]["grade"]) == (2 * HOUR, [5], "measured")


def test_sub_processors_that_were_never_named_contradict_the_vendor(tmp_path):
    told = Told(tmp_path, Running(undisclosed=(("shadow.example", 4),)))
    paper(told, facts={"declared.subprocessors": True}, to_us=None, digest="")
    [found] = told.document(DAY)["contradictions"]
    assert (found["measured"]["value"], found["measured"]["note"]) == (1, "shadow.example")


def test_a_ratio_that_is_better_than_what_was_said_is_no_contradiction():
    assert papers._worse((99, 100), (999, 1000), "less")
    assert not papers._worse((1000, 1000), (999, 1000), "less")
    assert papers._worse((1, 19), (1, 20), "more")


@pytest.mark.parametrize(("outcome", "aside"), [(None, True), ("stands", False), ("upheld", True)])
def test_a_disputed_measure_is_set_aside_until_it_is_settled_for_the_lab(told, outcome, aside):
    entry = told.add("fact.dispute", 2 * DAY, measure="log_complete", from_us=MONDAY + DAY, to_us=MONDAY + 2 * DAY)
    if outcome:
        told.add("fact.settle", 3 * DAY, dispute=entry, outcome=outcome)
    facts = {_day(f): f["disputed"] for f in told.document(4 * DAY)["facts"] if f["measure"] == "log_complete"}
    assert facts[1] == ({"entry": entry, "since": "2026-01-07T00:00:00Z"} if aside else None)
    assert (facts[0], facts[2]) == (None, None)
    early = {_day(f): f["disputed"] for f in told.document(2 * DAY - 1)["facts"] if f["measure"] == "log_complete"}
    assert early[1] is None


# --- components

ALWAYS = (Covered(0, MONDAY + 99 * DAY, complete=True, why=""),)


def test_the_age_of_a_bom_counts_those_received_by_then(tmp_path):
    told = Told(tmp_path, Running(filed=(Filed(7, MONDAY, MONDAY + 2 * DAY), Filed(5, MONDAY - 4 * DAY, MONDAY - DAY))))
    assert told.samples("bom_age_days", 4 * DAY) == {0: [5], 1: [6], 2: [3], 3: [4]}


def test_a_vendor_without_a_bom_has_unknown_days_and_no_age(told):
    assert told.samples("bom_unknown_days", 2 * DAY) == {0: [1], 1: [1]}
    assert told.samples("bom_age_days", 2 * DAY) == {}


def test_a_day_that_is_covered_in_part_is_unknown(tmp_path):
    covered = (
        Covered(MONDAY, MONDAY + DAY + HOUR, complete=True, why=""),
        Covered(MONDAY + DAY + HOUR, MONDAY + 3 * DAY, complete=False, why="partly"),
    )
    told = Told(tmp_path, Running(covered=covered, fed=(MONDAY,)))
    assert told.samples("bom_unknown_days", 3 * DAY) == {0: [0], 1: [1], 2: [1]}
    assert told.samples("malicious_open", 3 * DAY) == {0: [0]}
    assert "not complete: partly" in told.unknown("malicious_open", 3 * DAY)[0]


def test_a_malicious_component_dwells_until_it_goes(tmp_path):
    bad = Malicious("pkg:pypi/litellm@1.82.8 at host", MONDAY + DAY + HOUR, MONDAY + 3 * DAY + HOUR, (3, 4))
    told = Told(tmp_path, Running(covered=ALWAYS, malicious=(bad,), fed=(MONDAY + 4 * DAY,)))
    assert told.samples("malicious_open", 5 * DAY) == {0: [0], 1: [1], 2: [1], 3: [1], 4: [0]}
    assert told.samples("malicious_dwell_us", 5 * DAY) == {0: [], 1: [23 * HOUR], 2: [47 * HOUR], 3: [2 * DAY], 4: []}


@pytest.mark.parametrize(
    ("incident", "known"),
    [
        (None, [0, 3]),
        ({"known_us": MONDAY + 2 * DAY, "of": []}, [0, 1, 2, 3]),
        ({"known_us": MONDAY, "of": [4]}, [0, 1, 2, 3]),
        ({"known_us": MONDAY, "of": []}, [0, 3]),  # an older incident says nothing of it
    ],
)
def test_without_an_incident_for_what_was_there_nobody_can_say_whether_notice_was_given(tmp_path, incident, known):
    bad = Malicious("pkg:pypi/litellm@1.82.8", MONDAY + DAY, MONDAY + 3 * DAY, (3, 4))
    told = Told(tmp_path, Running(malicious=(bad,)))
    if incident:
        told.add("notice.add", notice="incident", incident="INC", digest="", **incident)
    assert sorted(told.samples("notice_latency_us", 4 * DAY)) == known


def test_no_feed_speaks_for_more_than_seven_days_after_it(tmp_path):
    told = Told(tmp_path, Running(covered=ALWAYS, fed=(MONDAY,)))
    assert sorted(told.samples("malicious_open", 9 * DAY)) == list(range(7))
    told.running = Running(covered=ALWAYS)
    assert told.samples("malicious_open", 2 * DAY) == {}


def test_a_component_of_which_nothing_can_be_said_leaves_its_days_unknown(tmp_path):
    doubt = Malicious("pkg:pypi/litellm@weird", MONDAY + DAY, MONDAY + 2 * DAY, (3,), certain=False)
    told = Told(tmp_path, Running(covered=ALWAYS, malicious=(doubt,), fed=(MONDAY + DAY,)))
    assert sorted(told.samples("malicious_open", 4 * DAY)) == [0, 2, 3]
    assert "can't be said" in told.unknown("malicious_open", 4 * DAY)[0]


class Shelf:
    """Bills of material, feeds and matches as their readers give them."""

    def __init__(self, meetings):
        self.meetings, self.asked = meetings, 0

    def all(self, *, malicious, as_of_us):
        assert malicious
        self.asked += 1
        return self.meetings

    def feeds(self, as_of_us):
        return ()

    def revisions(self, vendor, as_of_us):
        return []

    coverage = revisions

    def services(self, vendor, as_of_us, *, classes, assets):
        return []


class Met:
    def __init__(self, name, *, said=True, scope="required", path="host"):
        self.vendor, self.purl, self.version, self.path = "quillwork", "pkg:pypi/litellm@1.82.8", "1.82.8", path
        self.start_us, self.end_us, self.bom, self.scope, self.id, self.feed, self.said = 5, None, 1, scope, name, 2, said


def test_several_ids_of_one_finding_are_one_component_and_what_is_not_installed_is_none():
    shelf = Shelf([Met("MAL-1"), Met("GHSA-1"), Met("PYSEC-1", said=None), Met("MAL-1", scope="excluded", path="lock")])
    listed = Listed(shelf, shelf, shelf)
    [one] = listed.running("quillwork", 9, upto=3).malicious
    assert (one.certain, one.entries, one.name) == (True, (1, 2), "pkg:pypi/litellm@1.82.8 at host (GHSA-1, MAL-1)")
    assert listed.running("tessel", 9, upto=3).malicious == ()
    assert shelf.asked == 1
    listed.running("quillwork", 9, upto=4)
    assert shelf.asked == 2


# --- the document itself


def test_the_census_names_every_measure_and_no_value_is_a_float(told):
    paper(told, facts={"insurance": "0.10"})
    document = told.document(2 * DAY)
    assert set(document["census"]) == set(MEASURES)

    def floats(value):
        if isinstance(value, dict | list):
            return [x for one in (value.values() if isinstance(value, dict) else value) for x in floats(one)]
        return [value] if isinstance(value, float) else []

    assert floats(document) == []
    assert canonical(document) == canonical(told.document(2 * DAY))


def test_the_last_day_ends_with_the_document_and_a_day_that_has_not_begun_is_none(told):
    ends = [f["to"] for f in told.document(DAY + HOUR)["facts"] if f["measure"] == "log_complete"]
    assert ends == ["2026-01-06T00:00:00Z", "2026-01-06T01:00:00Z"]
    assert len([f for f in told.document(DAY)["facts"] if f["measure"] == "log_complete"]) == 1


def test_a_vendor_that_was_not_entered_yet_is_not_found(told):
    with pytest.raises(NotFound):
        told.document(-1)


# --- values as they are typed


@pytest.mark.parametrize(
    ("measure", "text", "value"),
    [
        ("soc2_report", "2", 2),
        ("soc2_bridge", "yes", True),
        ("insurance", "5000000.00", "5000000.00"),
        ("declared.named_share", "99.5%", [199, 200]),
        ("declared.named_share", "95/100", [95, 100]),
        ("declared.session_length_us", "60 min", 3_600_000_000),
        ("declared.bom_age_days", "7 d", 7),
    ],
)
def test_a_typed_value_is_read_exactly(measure, text, value):
    assert stating.typed(measure, text) == value
    stating.check(measure, value)


@pytest.mark.parametrize(
    ("measure", "text"),
    [("soc2_report", "two"), ("soc2_report", "2 h"), ("insurance", "5e6"), ("insurance", "NaN"), ("soc2_bridge", "1"),
     ("declared.named_share", "150%x"), ("named_share", "1/1"), ("nothing", "1"), ("declared.bom_age_days", "7 h")],
)  # fmt: skip
def test_what_is_no_value_is_refused(measure, text):
    with pytest.raises(Invalid):
        stating.typed(measure, text)


@pytest.mark.parametrize(
    ("measure", "value"),
    [("declared.named_share", [3, 2]), ("declared.named_share", [0, 0]), ("soc2_report", True), ("soc2_report", -1),
     ("insurance", 5), ("soc2_bridge", 1), ("soc2_report", 2.0)],
)  # fmt: skip
def test_an_entry_holds_no_value_of_another_kind(measure, value):
    with pytest.raises(Invalid):
        stating.check(measure, value)
