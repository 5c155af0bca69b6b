"""Decides whether an access may be: Cedar 4 (cedarpy), wrapped so that whatever is not a clean yes is a no.

Cedar skips a policy whose evaluation errs, so a `forbid` that errs would fail open. Allowed therefore means: the answer
is Allow, *and* no policy erred, *and* entities and request fit the schema, which is always passed. Policies are
validated against the schema when they are loaded; an empty set, an unnamed policy or a finding refuses to start.
A pause and an ended session are checked in code first, so that no policy text can lift them.

Quotas are not here: they are exact, and outside any cache (`limen.policy.quota`).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import cedarpy
import msgspec

from limen.core.errors import Denied, Invalid, SessionEnded
from limen.policy.question import Entities, Question, entities_of, request_of
from limen.policy.reasons import NO_GRANT, ORDER, POLICY_ERROR, reason_for

if TYPE_CHECKING:
    from limen.core.types import Asset, Grant, Session

__all__ = ["Allowed", "Decision", "Explanation", "Policies", "Question", "Verdict"]

_Key = tuple["Session", str, "Asset", "int | None"]
KEPT: Final = 65_536  # decisions in the cache


@dataclass(frozen=True, slots=True)
class Allowed:
    """A yes: the rule that gave it, and until when it can hold (integer seconds)."""

    rule: str
    valid_until: int


@dataclass(frozen=True, slots=True)
class _Refused:
    rule: str
    reason: str
    detail: str
    valid_until: int  # a refusal, too, is only kept until something that it rests on can change


@dataclass(frozen=True, slots=True)
class Decision:
    """Cedar's answer to one request, before it is put in words: `rules` are the policies that decided."""

    allowed: bool
    rules: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says by itself: `permits`, `forbids`, `silent`, or `cannot say` if it errs."""

    rule: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which rule decided, and what every rule says."""

    allowed: bool
    rule: str
    reason: str
    valid_until: int | None
    rules: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        rules = [{"rule": verdict.rule, "verdict": verdict.verdict} for verdict in self.rules]
        return {
            "allowed": self.allowed,
            "rule": self.rule,
            "reason": self.reason,
            "valid_until": self.valid_until,
            "rules": rules,
        }


class Policies:
    """The policies of the package, parsed once. Owned by one thread: its cache of decisions has no lock."""

    def __init__(self, *, text: str | None = None, schema: str | None = None) -> None:
        text = _shipped("policies.cedar") if text is None else text
        self._schema = _parsed_schema(_shipped("schema.cedarschema") if schema is None else schema)
        self._each = _named(text)
        findings = cedarpy.validate_policies(text, self._schema)
        if not findings:
            raise Invalid("policies", "; ".join(str(finding) for finding in findings.errors) or "do not fit the schema")
        self._all = _policy_set(self._each)
        self._cache: OrderedDict[_Key, tuple[int, Allowed | _Refused]] = OrderedDict()
        self._epoch: int | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of all policies, in the order of their text."""
        return tuple(self._each)

    def check(self, question: Question) -> Allowed:
        """Allow, or raise Denied with the reason and the rule. A kept yes is used within its epoch and its time only."""
        _hard_checks(question)
        answer = self._recall(question)
        if answer is None:
            answer = self._ask(question)
            self._keep(question, answer)
        return _allowed(answer)

    def explain(self, question: Question) -> Explanation:
        """Which rule decides, and what each says by itself; the cache is neither read nor written."""
        valid_until = None
        try:
            _hard_checks(question)
            allowed = _allowed(self._ask(question))
            rule, reason, valid_until = allowed.rule, "", allowed.valid_until
        except Denied as refusal:
            rule, reason = refusal.rule, refusal.reason
        verdicts = tuple(self._verdict(name, question) for name in self._each)
        return Explanation(not reason, rule, reason, valid_until, verdicts)

    def decide(self, request: dict[str, Any], entities: Entities) -> Decision:
        """Put one request to Cedar. Allowed only if it says Allow and nothing erred."""
        return self._decide(self._all, request, entities)

    def _ask(self, question: Question) -> Allowed | _Refused:
        request = request_of(question)
        # One grant at a time, longest first. Forbids do not depend on the grant, so the first refusal by one is final.
        for grant in (*question.candidates(), None):
            decision = self.decide(request, entities_of(question, grant))
            if decision.allowed and grant is not None:
                return Allowed(decision.rules[0], question.valid_until(grant))
            if decision.errors or decision.rules:
                break
        rule = _refusing(decision)
        return _Refused(rule, reason_for(rule, question), "; ".join(decision.errors), question.refused_until())

    def _decide(self, policies: cedarpy.PolicySet, request: dict[str, Any], entities: Entities) -> Decision:
        # As text: cedarpy would write a list out with the slower json module.
        text = msgspec.json.encode(entities).decode()
        answer = cedarpy.is_authorized(request, policies, text, self._schema)
        errors = tuple(answer.diagnostics.errors)
        if answer.decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("no decision",)
        allowed = answer.decision is cedarpy.Decision.Allow and not errors
        return Decision(allowed, tuple(answer.diagnostics.reasons), errors)

    def _verdict(self, name: str, question: Question) -> Verdict:
        alone = _policy_set({name: self._each[name]})
        grants: tuple[Grant | None, ...] = question.candidates() or (None,)
        decisions = [self._decide(alone, request_of(question), entities_of(question, grant)) for grant in grants]
        if any(name in decision.rules and not decision.errors for decision in decisions):
            return Verdict(name, "permits" if self._each[name]["effect"] == "permit" else "forbids")
        return Verdict(name, "cannot say" if any(decision.errors for decision in decisions) else "silent")

    # -- the cache ----------------------------------------------------------------------------------------------------

    def _recall(self, question: Question) -> Allowed | _Refused | None:
        if question.epoch != self._epoch:
            self._cache.clear()
            self._epoch = question.epoch
            return None
        key = _key(question)
        kept = self._cache.get(key)
        if kept is None:
            return None
        since, answer = kept
        # A clock that was set back may stand before the grant's begin, so an answer does not hold backwards either.
        if not since <= question.now < answer.valid_until:
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return answer

    def _keep(self, question: Question, answer: Allowed | _Refused) -> None:
        if isinstance(answer, _Refused) and answer.rule == POLICY_ERROR:
            return
        self._cache[_key(question)] = (question.now, answer)
        if len(self._cache) > KEPT:
            self._cache.popitem(last=False)


def _key(question: Question) -> _Key:
    # The agreement is in it because one can begin, by the clock alone, within an epoch.
    return question.session, question.action.value, question.asset, question.agreement_until


def _allowed(answer: Allowed | _Refused) -> Allowed:
    if isinstance(answer, _Refused):
        raise Denied(answer.reason, rule=answer.rule, detail=answer.detail)
    return answer


def _hard_checks(question: Question) -> None:
    if question.paused:
        raise Denied(reason_for("forbid-paused", question), rule="forbid-paused")
    if question.ended:
        raise Denied(reason_for("forbid-ended", question), rule="forbid-ended")
    if question.now >= question.session.expires_at:
        raise SessionEnded(reason_for("forbid-ended", question), rule="forbid-ended")


def _refusing(decision: Decision) -> str:
    """The rule to name: a forbid that fired, else an error, else that nothing permitted."""
    fired = [rule for rule in ORDER if rule in decision.rules]
    if fired and not decision.allowed:
        return fired[0]
    return POLICY_ERROR if decision.errors or decision.rules else NO_GRANT


def _shipped(name: str) -> str:
    return files("limen.policy").joinpath(name).read_text(encoding="utf-8")


def _parsed_schema(text: str) -> cedarpy.Schema:
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as e:
        raise Invalid("schema", str(e)) from e


def _named(text: str) -> dict[str, dict[str, Any]]:
    """Each policy by its @id. Empty, unnamed, or twice the same name is Invalid."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as e:
        raise Invalid("policies", str(e)) from e
    named: dict[str, dict[str, Any]] = {}
    for policy in parsed["staticPolicies"].values():
        name = policy.get("annotations", {}).get("id")
        if not name or name in named:
            raise Invalid("policies", f"every policy needs an @id of its own ({name!r})")
        named[name] = policy
    if not named or parsed.get("templates"):
        raise Invalid("policies", "there are none, or there are templates: refused")
    return named


def _policy_set(each: dict[str, dict[str, Any]]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_json_str(json.dumps({"staticPolicies": each, "templates": {}, "templateLinks": []}))
