"""What a refused person reads: which rule refused, in plain words, and the next step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from limen.policy.question import Question

NO_GRANT: Final = "no-grant"
POLICY_ERROR: Final = "policy-error"

# When several rules refuse, the first of these is the one that is told: it is what must change first.
ORDER: Final = (
    "forbid-paused",
    "forbid-ended",
    "forbid-other-project",
    "forbid-barrier",
    "forbid-no-agreement",
    "forbid-drop-read",
    "forbid-dataset-write",
    "forbid-hardware-key",
    "forbid-session-too-long",
)


def reason_for(rule: str, question: Question) -> str:  # noqa: C901  one arm per rule
    """The sentence for one rule's refusal."""
    session, asset, tier = question.session, question.asset, question.tier
    match rule:
        case "forbid-paused":
            return f"access is paused; ask {_owner(question)}"
        case "forbid-ended":
            if question.ended:
                return "this access has ended; ask your vendor's contact"
            return "this session is over; log in again"
        case "forbid-other-project":
            return f"this session is for project {session.project} only; log in to the other project"
        case "forbid-barrier":
            return f"assets of class {question.asset_class.name} are never open to vendors; no grant can change that"
        case "forbid-no-agreement":
            return f"{session.vendor} has no agreement in force; ask your vendor's contact to renew it"
        case "forbid-hardware-key":
            return f"tier {tier.name} needs a session opened with a security key; log in again with one"
        case "forbid-session-too-long":
            minutes = tier.session_s // 60
            return f"tier {tier.name} takes sessions of at most {minutes} minutes; log in again with a shorter one"
        case "forbid-drop-read":
            return f"{asset.id} is a drop box: it takes uploads and gives none back; list shows what you have put there"
        case "forbid-dataset-write":
            return f"{asset.id} can only be read; put returned work into the project's drop box"
        case "no-grant":
            return _no_grant(question)
        case _:
            return f"policy could not be evaluated, so nothing was served; ask {_owner(question)}"


def _no_grant(question: Question) -> str:
    what = f"{question.action.value} {question.asset.id}"
    ask = f"ask {_owner(question)}"
    named = [
        g for g in question.candidates() if question.action in g.actions and (question.asset.id in g.assets or "*" in g.assets)
    ]
    if later := [g.not_before for g in named if g.ended_at is None and question.now < g.not_before]:
        return f"your grant to {what} begins on {_when(min(later))}"
    if past := [g.expires_at for g in named if g.ended_at is None and g.expires_at <= question.now]:
        return f"your grant to {what} ended on {_when(max(past))}; {ask} for a new one"
    return f"you have no grant to {what}; {ask}"


def _owner(question: Question) -> str:
    return f"the project's owner {question.owner}" if question.owner else "the project's owner"


def _when(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
