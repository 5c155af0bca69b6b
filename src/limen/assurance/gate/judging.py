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
    """A run judged again: `differs` names what is not as it was; empty if all of it is.

    `log_same`: whether the log gives the very same facts for that moment today.
    """

    verdict: dict[str, Any]
    differs: tuple[str, ...]
    log_same: bool


def again(contracts: Contracts, run: Run, facts_now: dict[str, Any]) -> Again:
    """Judge a run's kept bytes again, and compare; `facts_now` is what the log gives today for the same moment.

    Entries that count as written at the run's own moment may have come after it (a story's clock stands still, a clock is
    set back): then the facts have other bytes. That counts as a difference only if another verdict follows from them.
    TamperDetected if the kept bytes are not those that the entry names.
    """
    contract = json.loads(contracts.blob(run.form, run.entry))
    facts = json.loads(contracts.blob(run.facts, run.entry))
    kept = contracts.blob(run.verdict, run.entry)
    judged = judge(contract, facts, _purpose(run.purpose))
    differs = []
    if canonical(judged.verdict) != kept:
        differs.append("the verdict, judged again from the kept contract and facts, is another")
    log_same = digest(facts_now) == run.facts
    if not log_same and _said(judge(contract, facts_now, _purpose(run.purpose)).verdict) != _said(judged.verdict):
        differs.append("the log gives other facts for that moment, and another verdict follows from them")
    return Again(judged.verdict, tuple(differs), log_same)


def _said(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict without what names the bytes that it was made of."""
    return {**verdict, "facts": verdict["facts"]["cut"]}


def _purpose(word: str) -> Purpose:
    match word:
        case "standing" | "onboarding" | "renewal":
            return word
        case _:
            raise Invalid("gate", f"{word!r} is no purpose of a run")
