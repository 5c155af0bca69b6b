"""What a verdict asks of the doors, set against what is in force there. Pure: it decides, `verbs.gate` does.

A run may tighten by itself: restrict or pause, as the contract says. It lifts only what runs of the gate have ordered, and only
a restriction: whoever is paused is let in again by a person. A restriction that somebody else ordered, or an advisory, is kept:
the gate's is added to it. Nothing follows from a run about the past, from a dry run, or from facts that are not whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from limen.assurance.contract.book import day_us
from limen.identity.live import Leaving, narrowed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CAUSE: Final = "gate "


class Order(Leaving, Protocol):
    """What is read of a restriction in force."""

    @property
    def cause(self) -> str:
        """Where it came from; empty: a person ordered it."""


@dataclass(frozen=True, slots=True)
class Restrict:
    """Leave the vendor some of its work only. `because` names the clauses."""

    read_only: bool
    projects: tuple[str, ...]
    because: str
    cause: str
    does: Literal["restrict"] = "restrict"


@dataclass(frozen=True, slots=True)
class Pause:
    """Cut the vendor off."""

    because: str
    does: Literal["pause"] = "pause"


@dataclass(frozen=True, slots=True)
class Lift:
    """End a restriction that the gate had ordered."""

    because: str
    does: Literal["unrestrict"] = "unrestrict"


Step = Restrict | Pause | Lift


def steps(verdict: Mapping[str, Any], run: int, *, paused: bool, order: Order | None) -> list[Step]:
    """What is to be done at the doors after a run; `order` is the vendor's restriction in force, if any."""
    if verdict["facts"]["cut"]:
        return []
    asked = {one["action"]: one for one in verdict["consequences"]}
    done: list[Step] = []
    if "pause" in asked and not paused:
        done.append(Pause(_because(verdict, asked["pause"]["clauses"], run)))
    if "restrict" in asked:
        made = _restriction(asked["restrict"], order, run, _because(verdict, asked["restrict"]["clauses"], run))
        if order is None or (made.read_only, frozenset(made.projects)) != (order.read_only, order.projects):
            done.append(made)
    elif order is not None and order.cause.startswith(CAUSE) and "pause" not in asked:
        done.append(Lift(f"run {run} of the gate asks for no restriction any more"))
    return done


def _restriction(asked: Mapping[str, Any], order: Order | None, run: int, because: str) -> Restrict:
    read_only, projects, cause = asked["mode"] == "read-only", frozenset(asked["projects"]), f"{CAUSE}{run}"
    if order is not None and not order.cause.startswith(CAUSE):
        read_only, projects = narrowed(order, read_only=read_only, projects=projects)
        cause = f"{order.cause or 'an order'}, {cause}"
    return Restrict(read_only, tuple(sorted(projects)), because, cause)


def _because(verdict: Mapping[str, Any], refs: Sequence[str], run: int) -> str:
    return f"contract {verdict['contract']['id']}, clause {', '.join(refs)} (entry {run})"


def admitted_until(verdict: Mapping[str, Any]) -> int | None:
    """Until when (µs) a passed onboarding run admits: the contract's end, or the first end of a waiver that it rests on."""
    if verdict["purpose"] != "onboarding" or verdict["outcome"] != "pass" or verdict["facts"]["cut"]:
        return None
    ends = [verdict["contract"]["ends"]]
    ends += [row["waiver"]["until"] for row in verdict["clauses"] if row["waiver"] and row["verdict"] != "met"]
    return min(map(day_us, ends))
