"""The rules about personal detail: when a legal hold may be set or lifted, and who may be erased. Pure, as `rules`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from limen.catalog.grammar import check_text
from limen.core.errors import Denied, Invalid
from limen.core.types import Hold

if TYPE_CHECKING:
    from limen.catalog.personal import Erasure, HoldLift, HoldSet
    from limen.catalog.state import State


def set_hold(state: State, change: HoldSet, at: int) -> None:
    """A hold begins; over records that are there."""
    check_text("reason", change.reason)
    if change.id not in state.people:
        raise Invalid("id", f"there is no person {change.id!a}")
    if state.people[change.id].erased_at is not None:
        raise Invalid("id", f"{change.id} was erased; nothing is left to hold")
    hold = state.holds.get(change.id)
    if hold is not None and hold.lifted_at is None:
        raise Invalid("id", f"{change.id} is on legal hold already")
    state.holds.put(change.id, Hold(change.id, at))


def lift_hold(state: State, change: HoldLift, at: int) -> None:
    """A hold that is in force ends."""
    check_text("reason", change.reason)
    hold = state.holds.get(change.id)
    if hold is None or hold.lifted_at is not None:
        raise Invalid("id", f"{change.id} is not on legal hold")
    state.holds.put(change.id, replace(hold, lifted_at=at))


def erase(state: State, change: Erasure, at: int) -> None:
    """A person who has ended and is on no hold is forgotten, with everybody whom they were or answered for."""
    check_text("reason", change.reason)
    if change.id not in state.people:
        raise Invalid("id", f"there is no person {change.id!a}")
    if {change.id, *change.also} != set(state.same_person(change.id)):
        raise Invalid("also", f"is not everybody whom {change.id} was or answered for")
    for id_ in change.everybody:
        holder = state.holder(id_)
        hold = state.holds.get(id_)
        if holder is None or holder.ended_at is None:
            raise Denied(f"id: {id_} has not ended; end them first with `limen person end`, or add --end", rule="not-ended")
        if hold is not None and hold.lifted_at is None:
            raise Denied(f"id: {id_} is on legal hold", rule="legal-hold")
        if holder.erased_at is not None:
            raise Invalid("id", f"{id_} was erased already")
    for id_ in change.everybody:
        state.erase(id_, at)
