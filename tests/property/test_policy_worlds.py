"""Every small world: the policies against rules written anew in Python, and what happens when something is missing.

The world is bounded but whole: every combination of who asks, in which project, under which agreement, tier and grant,
for what. The oracle below shares no code with the policies.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, replace

import cedarpy
import pytest

from limen.core.errors import Denied, Invalid
from limen.core.types import Action, Asset, AssetClass, Grant, Session, Tier
from limen.policy.policies import Policies
from limen.policy.question import Question, entities_of, request_of
from limen.policy.reasons import ORDER

# Counted by hand. Covering grants (2) x hardware key had or not needed (3) x [vendor's person: 1 way to stand x (3 actions on
# a dataset + 4 on a drop box) + the lab's own: 4 ways, barrier and agreement aside, x (3 + 5)].
ALLOWED = 2 * 3 * (1 * (3 + 4) + 4 * (3 + 5))
NOW = 1_775_000_000


@dataclass(frozen=True)
class World:
    """One way that things can stand, in the words of the promises."""

    paused: bool = False
    ended: bool = False
    outside: bool = True
    elsewhere: bool = False  # the session is of another project
    barred: bool = False
    agreed: bool = True
    hardware_tier: bool = False
    hardware: bool = False
    long_session: bool = False
    drop: bool = False
    action: Action = Action.READ
    grant: str = "named"

    def question(self) -> Question:
        return Question(
            session=Session(
                "s", "q/p", "q" if self.outside else None, None, "helio" if self.elsewhere else "orchid", "p", "LMN",
                "hardware" if self.hardware else "single", NOW - 10, NOW + (7200 if self.long_session else 3000),
            ),
            action=self.action,
            asset=Asset("sft", "orchid", "class", "tier", "drop" if self.drop else "dataset"),
            asset_class=AssetClass("class", vendors=not self.barred),
            tier=Tier("tier", frozenset({"owner"}), 3600, self.hardware_tier, None),
            grants=GRANTS[self.grant](self.action),
            agreement_until=NOW + 99 if self.agreed else 0,
            paused=self.paused,
            ended=self.ended,
            now=NOW,
            epoch=next(EPOCHS),
        )  # fmt: skip

    def refusals(self) -> set[str]:
        """The forbids that must fire, by the promises' own words."""
        return {
            name
            for name, fires in {
                "forbid-paused": self.paused,
                "forbid-ended": self.ended,
                "forbid-other-project": self.elsewhere,
                "forbid-barrier": self.outside and self.barred,
                "forbid-no-agreement": self.outside and not self.agreed,
                "forbid-hardware-key": self.hardware_tier and not self.hardware,
                "forbid-session-too-long": self.long_session,
                "forbid-drop-read": self.outside and self.drop and self.action is Action.READ,
                "forbid-dataset-write": not self.drop and self.action in {Action.WRITE, Action.DELETE},
            }.items()
            if fires
        }

    def allowed(self) -> bool:
        return not self.refusals() and self.grant in {"named", "star"}


EPOCHS = itertools.count(1)  # a world is an epoch of its own
PLAIN = Grant("g", "q/p", "orchid", frozenset({"sft"}), frozenset(), "lab/mira", NOW - 5, NOW + 50, 1)
GRANTS = {
    "named": lambda action: (replace(PLAIN, actions=frozenset({action})),),
    "star": lambda action: (replace(PLAIN, actions=frozenset({action}), assets=frozenset({"*"})),),
    "none": lambda _: (),
    "other asset": lambda action: (replace(PLAIN, actions=frozenset({action}), assets=frozenset({"guide"})),),
    "other project": lambda action: (replace(PLAIN, actions=frozenset({action}), project="helio"),),
    "other person": lambda action: (replace(PLAIN, actions=frozenset({action}), holder="q/z"),),
    "other actions": lambda action: (replace(PLAIN, actions=frozenset(Action) - {action}),),
    "expired": lambda action: (replace(PLAIN, actions=frozenset({action}), expires_at=NOW),),
    "not begun": lambda action: (replace(PLAIN, actions=frozenset({action}), not_before=NOW + 1),),
    "revoked": lambda action: (replace(PLAIN, actions=frozenset({action}), ended_at=NOW - 1),),
}
TRUTHS = ["outside", "elsewhere", "barred", "agreed", "hardware_tier", "hardware", "long_session", "drop"]


def worlds(*, live=True):
    """Every world; with `live` neither paused nor ended (those are refused in code, and enumerated by themselves)."""
    states = [(False, False)] if live else [(True, False), (False, True), (True, True)]
    for paused, ended in states:
        for truths in itertools.product((False, True), repeat=len(TRUTHS)):
            for action in Action:
                for grant in GRANTS if live else ("named", "none"):
                    yield World(paused, ended, action=action, grant=grant, **dict(zip(TRUTHS, truths, strict=True)))


def allows(policies, world):
    try:
        policies.check(world.question())
    except Denied as refusal:
        return False, refusal.rule
    return True, "permit-granted"


def test_every_small_world_is_decided_as_the_promises_say():
    policies, seen, allowed = Policies(), 0, 0
    for world in worlds():
        expected = (True, "permit-granted") if world.allowed() else (False, _told(world))
        assert allows(policies, world) == expected, world
        seen, allowed = seen + 1, allowed + expected[0]
    assert (seen, allowed) == (12_800, ALLOWED)


def _told(world):
    return next((rule for rule in ORDER if rule in world.refusals()), "no-grant")


def test_whoever_is_paused_or_ended_is_refused_in_every_world():
    policies = Policies()
    for world in worlds(live=False):
        assert allows(policies, world)[1] in {"forbid-paused", "forbid-ended"}, world


def test_the_policies_alone_also_refuse_whoever_is_paused_or_ended():
    policies = Policies()
    for world in worlds(live=False):
        if world.grant == "named" and world.outside and world.agreed:
            question = world.question()
            decision = policies.decide(request_of(question), entities_of(question, question.grants[0]))
            assert not decision.allowed
            assert ("forbid-paused" in decision.rules, "forbid-ended" in decision.rules) == (world.paused, world.ended)


def alone(rule):
    """The first world that only this rule refuses."""
    live = [world for world in worlds() if world.grant == "named"]
    candidates = itertools.chain(live, (replace(w, paused=True) for w in live), (replace(w, ended=True) for w in live))
    return next(world for world in candidates if world.refusals() == {rule} and world.outside)


def without(rule):
    """The policies with one rule cut out of their text: the broken variant."""
    policies = Policies()
    kept = {name: policy for name, policy in policies._each.items() if name != rule}
    policies._all = cedarpy.PolicySet.from_json_str(_json({"staticPolicies": kept, "templates": {}, "templateLinks": []}))
    return policies


def _json(value):
    import json  # noqa: PLC0415  the one place that writes policies back

    return json.dumps(value)


@pytest.mark.parametrize("rule", ORDER)
def test_each_rule_refuses_what_no_other_would(rule):
    question = alone(rule).question()
    request, entities = request_of(question), entities_of(question, question.grants[0])
    assert Policies().decide(request, entities).rules == (rule,)
    assert without(rule).decide(request, entities).allowed  # the control


def test_control_with_any_rule_missing_the_enumeration_finds_a_difference():
    for rule in ORDER[2:]:  # the first two are checked in code as well, and so can't be missing alone
        broken = without(rule)
        assert allows(broken, alone(rule))[0] != alone(rule).allowed()


def removals(request, entities):
    """The same question with one thing missing: each entity, each attribute, each part of the context."""
    for i, entity in enumerate(entities):
        # A project has no attributes and is only compared by name, so nothing can read it.
        if entity["uid"]["type"] != "Project":
            yield f"entity {entity['uid']['type']}", request, entities[:i] + entities[i + 1 :]
        for name in entity["attrs"]:
            less = copy.deepcopy(entities)
            del less[i]["attrs"][name]
            yield f"{entity['uid']['type']}.{name}", request, less
    for name in ("now", "session"):
        less = copy.deepcopy(request)
        del less["context"][name]
        yield f"context.{name}", less, entities
    for name in request["context"]["session"]:
        less = copy.deepcopy(request)
        del less["context"]["session"][name]
        yield f"context.session.{name}", less, entities


def refused(policies, request, entities):
    return not policies.decide(request, entities).allowed


@pytest.mark.parametrize("rule", ORDER)
def test_whatever_a_rule_needs_may_be_missing_and_the_answer_is_still_no(rule):
    policies, question = Policies(), alone(rule).question()
    request, entities = request_of(question), entities_of(question, question.grants[0])
    open_raw = []
    for what, less_request, less_entities in removals(request, entities):
        assert refused(policies, less_request, less_entities), what
        raw = cedarpy.is_authorized(less_request, policies._all, less_entities)  # no schema, no look at the errors
        open_raw += [what] if raw.allowed else []
    assert open_raw, f"the control: Cedar alone would skip {rule} in at least one of these and allow"


def test_an_access_that_would_be_allowed_is_not_when_anything_is_missing():
    policies, question = Policies(), World().question()
    request, entities = request_of(question), entities_of(question, question.grants[0])
    assert policies.decide(request, entities).allowed
    for what, less_request, less_entities in removals(request, entities):
        assert refused(policies, less_request, less_entities), what


def test_an_attribute_of_the_wrong_kind_is_a_no():
    policies, question = Policies(), World().question()
    request, entities = request_of(question), entities_of(question, question.grants[0])
    for i, entity in enumerate(entities):
        for name, value in entity["attrs"].items():
            for wrong in ("yes", None, 1.5, [], {}, 2**70, not value if isinstance(value, bool) else "x"):
                if (
                    wrong == value
                    or (isinstance(value, bool) and isinstance(wrong, bool))
                    or (wrong == [] and isinstance(value, list))
                ):
                    continue
                bent = copy.deepcopy(entities)
                bent[i]["attrs"][name] = wrong
                assert refused(policies, request, bent), (name, wrong)


def test_an_unknown_action_or_kind_of_principal_is_a_no():
    policies, question = Policies(), World().question()
    request, entities = request_of(question), entities_of(question, question.grants[0])
    for part, uid in [("action", ("Action", "admin")), ("principal", ("Vendor", "q")), ("principal", ("Person", "q/other"))]:
        assert refused(policies, {**request, part: {"type": uid[0], "id": uid[1]}}, entities)


def test_no_policy_at_all_allows_nothing():
    with pytest.raises(Invalid):
        Policies(text="")
    policies = Policies()
    policies._all = cedarpy.PolicySet.from_str("")
    assert allows(policies, World()) == (False, "no-grant")
