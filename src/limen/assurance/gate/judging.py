"""One run of the gate as the three values that it is made of, and the same run again from what was kept of it.

A run keeps the canonical bytes of the contract (with its waivers), the facts and the verdict in the blob store; its entry names
their digests. Judged again from the kept bytes, by whoever has `limen.verify.verdict`, it gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.core.errors import Invalid
from limen.verify.verdict import canonical, digest, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.assurance.contract.book import Contracts, Run

Purpose = Literal["standing", "onboarding", "renewal"]
UNVERIFIABLE: Final = 5
EXIT: Final = {"pass": 0, "fail": 1, "undecided": 6}


@dataclass(frozen=True, slots=True)
class Judged:
    """One run: what was asked of what, and the verdict."""

    contract: dict[str, Any]
    facts: dict[str, Any]
    verdict: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 5 if the facts can't be all that there were, 6 undecided."""
        return exit_code(self.verdict)


def exit_code(verdict: Mapping[str, Any]) -> int:
    """What a command ends with."""
    return UNVERIFIABLE if verdict["facts"]["cut"] else EXIT[verdict["outcome"]]


def judge(contract: dict[str, Any], facts: dict[str, Any], purpose: Purpose) -> Judged:
    """The verdict as of the facts' own moment; Invalid if contract and facts are not of one piece."""
    try:
        return Judged(contract, facts, evaluate(contract, facts, facts["as_of"], purpose))
    except ValueError as e:
        raise Invalid("gate", str(e)) from e


@dataclass(frozen=True, slots=True)
class Again:
    """A run judged again: `differs` names what is not as it was; empty if all of it is."""

    verdict: dict[str, Any]
    raw: bytes
    differs: tuple[str, ...]


def again(contracts: Contracts, run: Run, facts_now: dict[str, Any] | None) -> Again:
    """Judge a run's kept bytes again, and compare; `facts_now` is what the log gives today for the same moment, if asked.

    TamperDetected if the kept bytes are not those that the entry names.
    """
    contract = json.loads(contracts.blob(run.form, run.entry))
    facts = json.loads(contracts.blob(run.facts, run.entry))
    kept = contracts.blob(run.verdict, run.entry)
    judged = judge(contract, facts, _purpose(run.purpose))
    raw = canonical(judged.verdict)
    differs = [] if raw == kept else ["the verdict, judged again from the kept contract and facts, is another"]
    if facts_now is not None and digest(facts_now) != run.facts:
        differs.append("the log gives other facts for that moment than those that were judged")
    return Again(judged.verdict, raw, tuple(differs))


def _purpose(word: str) -> Purpose:
    match word:
        case "standing" | "onboarding" | "renewal":
            return word
        case _:
            raise Invalid("gate", f"{word!r} is no purpose of a run")
