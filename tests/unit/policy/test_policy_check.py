"""The check allows one thing, refuses everything else with a reason and a next step, and never reads an error as silence."""

from __future__ import annotations

from dataclasses import replace

import cedarpy
import pytest

from limen.core.errors import Denied, Invalid, SessionEnded
from limen.core.types import Action, AssetClass
from limen.policy import policies as module
from limen.policy.policies import Policies
from limen.policy.question import entities_of, request_of
from limen.policy.reasons import ORDER, POLICY_ERROR, reason_for

NOW = 1_775_000_000
REFUSED = [
    ({"grants": ()}, "no-grant", "you have no grant to read orchid-sft; ask the project's owner lab/mira"),
    ({"paused": True}, "forbid-paused", "access is paused; ask the project's owner lab/mira"),
    ({"ended": True}, "forbid-ended", "this access has ended; ask your vendor's contact"),
    ({"session_expires_at": NOW}, "forbid-ended", "this session is over; log in again"),
    ({"session_project": "helio"}, "forbid-other-project", "this session is for project helio only"),
    ({"asset_class": AssetClass("training", vendors=False)}, "forbid-barrier", "class training are never open to vendors"),
    ({"agreement_until": 0}, "forbid-no-agreement", "quillwork has no agreement in force"),
    ({"agreement_until": None}, "forbid-no-agreement", "quillwork has no agreement in force"),
    ({"agreement_until": NOW}, "forbid-no-agreement", "quillwork has no agreement in force"),
    ({"tier_hardware_key": True}, "forbid-hardware-key", "tier internal needs a session opened with a security key"),
    ({"tier_session_s": 1800}, "forbid-session-too-long", "tier internal takes sessions of at most 30 minutes"),
    ({"asset_kind": "drop"}, "forbid-drop-read", "orchid-sft is a drop box"),
    ({"action": Action.WRITE}, "forbid-dataset-write", "orchid-sft can only be read"),
    ({"action": Action.DELETE}, "forbid-dataset-write", "orchid-sft can only be read"),
    ({"action": Action.LIST}, "no-grant", "you have no grant to list orchid-sft"),
    ({"asset_class": AssetClass("other")}, POLICY_ERROR, "policy could not be evaluated, so nothing was served"),
    ({"tier_name": "other"}, POLICY_ERROR, "policy could not be evaluated"),
]


def test_a_grant_that_covers_it_allows_until_the_first_thing_that_ends(policies, question, a_grant, bent):
    assert policies.check(question) == module.Allowed("permit-granted", NOW + 99)
    longer = a_grant(id="g-2", expires_at=NOW + 10**6)
    assert policies.check(bent(question, grants=(question.grants[0], longer), epoch=2)).valid_until == NOW + 3540
    assert policies.check(bent(question, grants=(longer,), agreement_until=NOW + 5, epoch=3)).valid_until == NOW + 5


@pytest.mark.parametrize("case", REFUSED, ids=[f"{next(iter(bend))}-{rule}" for bend, rule, _ in REFUSED])
def test_a_refusal_says_which_rule_and_what_to_do(policies, question, bent, case):
    bend, rule, reason = case
    with pytest.raises(Denied) as refused:
        policies.check(bent(question, **bend))
    assert refused.value.rule == rule
    assert reason in refused.value.reason
    assert policies.explain(bent(question, **bend)).rule == rule


GRANT_FAULTS = [
    ({"holder": "quillwork/q02"}, "you have no grant"),
    ({"project": "helio"}, "you have no grant"),
    ({"assets": frozenset({"orchid-guide"})}, "you have no grant"),
    ({"actions": frozenset({Action.HEAD})}, "you have no grant"),
    ({"actions": frozenset()}, "you have no grant"),
    ({"ended_at": NOW - 1}, "you have no grant"),
    ({"expires_at": NOW}, "your grant to read orchid-sft ended on 2026-03-31T23:33:20Z; ask the project's owner lab/mira"),
    ({"not_before": NOW + 1}, "your grant to read orchid-sft begins on 2026-03-31T23:33:21Z"),
]


@pytest.mark.parametrize("case", GRANT_FAULTS, ids=[next(iter(fault)) for fault, _ in GRANT_FAULTS])
def test_a_grant_that_misses_in_one_thing_covers_nothing(policies, question, a_grant, bent, case):
    fault, reason = case
    with pytest.raises(Denied) as refused:
        policies.check(bent(question, grants=(a_grant(**fault),)))
    assert refused.value.rule == "no-grant"
    assert reason in refused.value.reason


def test_of_several_grants_any_may_cover_it(policies, question, a_grant, bent):
    misses = tuple(a_grant(**fault, id=f"g-x{i}") for i, (fault, _) in enumerate(GRANT_FAULTS))
    assert policies.check(bent(question, grants=(*misses, a_grant(assets=frozenset({"*"}))), epoch=9)).valid_until == NOW + 99


def test_a_session_that_is_over_is_told_to_log_in_again(policies, question, bent):
    with pytest.raises(SessionEnded):
        policies.check(bent(question, session_expires_at=NOW))


def test_the_labs_own_people_need_no_agreement_and_pass_the_barrier(policies, question, a_grant, bent):
    own = a_grant(holder="lab/sol")
    asked = bent(
        question, session_vendor=None, session_holder="lab/sol", grants=(own,), agreement_until=None,
        asset_class=AssetClass("training", vendors=False),
    )  # fmt: skip
    assert policies.check(asked).rule == "permit-granted"
    assert policies.check(bent(asked, asset_kind="drop")).rule == "permit-granted"


def test_a_workload_is_asked_about_as_a_workload(policies, question, bent):
    asked = bent(question, session_sponsor="quillwork/q02")
    assert request_of(asked)["principal"]["type"] == "Workload"
    assert policies.check(asked).rule == "permit-granted"


def test_a_writer_puts_lists_and_deletes_in_a_drop_box_and_reads_nothing(policies, question, a_grant, bent):
    box = bent(question, asset_kind="drop", grants=(a_grant(actions=frozenset(Action)),))
    for action in (Action.WRITE, Action.LIST, Action.HEAD, Action.DELETE):
        assert policies.check(bent(box, action=action)).rule == "permit-granted"
    with pytest.raises(Denied, match="gives none back"):
        policies.check(box)


def test_explain_tells_what_every_rule_says(policies, question, bent):
    yes = policies.explain(question)
    assert (yes.allowed, yes.rule, yes.valid_until) == (True, "permit-granted", NOW + 99)
    assert {v.rule: v.verdict for v in yes.rules} == {"permit-granted": "permits"} | dict.fromkeys(ORDER, "silent")
    no = policies.explain(bent(question, paused=True, agreement_until=0, asset_class=AssetClass("other")))
    assert (no.allowed, no.rule, no.valid_until) == (False, "forbid-paused", None)
    said = {v.rule: v.verdict for v in no.rules}
    assert [said[name] for name in ("forbid-paused", "forbid-no-agreement", "forbid-barrier")] == [
        "forbids",
        "forbids",
        "cannot say",
    ]
    assert [rule["rule"] for rule in no.to_json()["rules"]] == list(policies.rules)


def test_every_rule_has_its_words(policies, question):
    assert set(policies.rules) == {*ORDER, "permit-granted"}
    sentences = {reason_for(rule, question) for rule in (*ORDER, "no-grant", POLICY_ERROR)}
    assert len(sentences) == len(ORDER) + 2


# -- the cache -------------------------------------------------------------------------------------------------------------


class Counting(Policies):
    asked = 0

    def decide(self, request, entities):
        self.asked += 1
        return super().decide(request, entities)


def test_a_kept_yes_is_used_within_its_time_and_its_epoch_only(question, bent):
    policies = Counting()
    for now, epoch, asked in [(NOW, 1, 1), (NOW + 98, 1, 1), (NOW, 2, 2), (NOW + 1, 2, 2), (NOW - 1, 2, 3)]:
        policies.check(bent(question, now=now, epoch=epoch))
        assert policies.asked == asked
    with pytest.raises(Denied, match="ended on"):
        policies.check(bent(question, now=NOW + 99, epoch=2))


def test_a_revoked_grant_is_gone_with_the_next_epoch(policies, question, bent):
    policies.check(question)
    with pytest.raises(Denied):
        policies.check(bent(question, grants=(), epoch=question.epoch + 1))


def test_a_pause_is_seen_through_the_cache(policies, question, bent):
    policies.check(question)
    with pytest.raises(Denied, match="paused"):
        policies.check(bent(question, paused=True))


def test_control_without_the_hard_check_the_cache_would_hide_a_pause(policies, question, bent, monkeypatch):
    policies.check(question)
    monkeypatch.setattr(module, "_hard_checks", lambda _: None)
    policies.check(bent(question, paused=True))


def test_a_kept_no_ends_when_a_grant_begins(question, a_grant, bent):
    policies = Counting()
    later = bent(question, grants=(a_grant(not_before=NOW + 10),))
    for _ in range(3):
        with pytest.raises(Denied):
            policies.check(later)
    assert policies.asked == 2  # under the grant, and under none
    assert policies.check(replace(later, now=NOW + 10)).rule == "permit-granted"


def test_a_no_for_want_of_an_agreement_ends_when_one_begins(policies, question, bent):
    with pytest.raises(Denied, match="no agreement"):
        policies.check(bent(question, agreement_until=0, epoch=77))
    assert policies.check(bent(question, epoch=77)).rule == "permit-granted"


def test_an_error_is_never_kept(question, bent):
    policies = Counting()
    for _ in range(2):
        with pytest.raises(Denied, match="error while evaluating policy") as refused:
            policies.check(bent(question, tier_name="other"))
        assert "evaluating policy" not in refused.value.reason  # that is for the operator
        assert policies._cache == {}
    assert policies.asked == 2


def test_the_cache_stays_bounded(question, bent, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    policies = Policies()
    for i in range(9):
        policies.check(bent(question, session_id=f"s-{i}"))
    assert len(policies._cache) == 3


def test_another_session_does_not_get_a_kept_yes(policies, question, bent):
    policies.check(question)
    with pytest.raises(Denied):
        policies.check(bent(question, session_holder="quillwork/q02", grants=()))


# -- loading ---------------------------------------------------------------------------------------------------------------

PERMIT = '@id("all") permit (principal, action, resource);'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are none"),
        ("// only words", "there are none"),
        ("permit (principal, action, resource);", "needs an @id"),
        (f"{PERMIT}{PERMIT}", "needs an @id of its own"),
        ('@id("x") permit (principal, action, resource) when { resource.colour == 1 };', "colour"),
        ('@id("x") permit (principal, action == Action::"steal", resource);', "steal"),
        ('@id("x") permit (principal == ?principal, action, resource);', "there are none"),
        ("@id(", "policies"),
    ],
)
def test_policies_that_are_empty_unnamed_or_wrong_are_refused(text, message):
    with pytest.raises(Invalid, match=message):
        Policies(text=text)


def test_a_schema_that_does_not_parse_is_refused():
    with pytest.raises(Invalid, match="schema"):
        Policies(text=PERMIT, schema="entity")


def test_an_empty_set_would_be_refused_for_every_question_anyway(question):
    answer = cedarpy.is_authorized(request_of(question), "", entities_of(question, question.grants[0]))
    assert not answer.allowed


def test_a_forbid_that_errs_is_a_refusal_where_cedar_alone_would_allow(policies, question):
    entities = [e for e in entities_of(question, question.grants[0]) if e["uid"]["type"] != "Class"]
    raw = cedarpy.is_authorized(request_of(question), policies._all, entities, policies._schema)
    assert raw.allowed  # the control: Cedar skipped the barrier
    assert not policies.decide(request_of(question), entities).allowed
