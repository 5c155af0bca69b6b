"""The changes about personal detail itself: legal holds, and erasure.

After an erasure nothing of the person can be opened any more, so what the erasure's own side record holds is what a replay
needs in place of it: the person's changes without detail, and what entries have called them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from limen.catalog.change import OUTSIDE, Change, OfHolder

if TYPE_CHECKING:
    from limen.catalog.change import Pseudonym


class HoldSet(OfHolder, frozen=True, kw_only=True):
    """A legal hold: from now on the person's records may be neither erased nor dropped for age."""

    kind: ClassVar[str] = "hold.set"


class HoldLift(OfHolder, frozen=True, kw_only=True):
    """A legal hold is over."""

    kind: ClassVar[str] = "hold.lift"


class StandIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to apply for the entry of that index, now that its own side record is gone."""

    entry: int
    kind: str
    change: dict[str, Any]


class Erasure(Change, frozen=True, kw_only=True):
    """A person is erased, with `also`: the ids they had before, and the workloads that they answered for.

    `pseudonyms` are by id and project; `records` says how many side records of each class were to be destroyed.
    """

    kind: ClassVar[str] = "erasure"
    id: str
    reason: str
    also: tuple[str, ...] = ()
    pseudonyms: dict[str, dict[str, str]]
    stand_ins: tuple[StandIn, ...] = ()
    records: dict[str, int]

    @property
    def everybody(self) -> tuple[str, ...]:
        """Every id that is erased."""
        return (self.id, *self.also)

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Who, by the pseudonyms that are kept, and what is destroyed; not why."""
        del pseudonym
        outside = {id_: self.pseudonyms[id_][OUTSIDE] for id_ in self.everybody}
        return {
            "person": outside[self.id],
            "also": sorted(outside[id_] for id_ in self.also),
            "classes": sorted(self.records),
            "records": self.records,
        }
