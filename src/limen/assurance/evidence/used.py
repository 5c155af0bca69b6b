"""The advisories that a vendor's bills of material were met by: every revision of each that was known, as its bytes came.

A bundle carries all revisions, not the last alone: which one was known when is half of what there is to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from limen.assurance.advisories.known import Advisories
    from limen.assurance.match.hits import Matching

MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Used:
    """One revision: the entry of the feed that brought it first, its id and its number by arrival, its bytes."""

    entry: int
    id: str
    number: int
    raw: bytes


def used(matching: Matching, advisories: Advisories, vendor: str, as_of_us: int) -> list[Used]:
    """What was known at a moment of the malicious packages that this vendor listed, also where that can't be said for sure."""
    met = [each for each in matching.all(malicious=True, as_of_us=as_of_us) if each.vendor == vendor and each.said is not False]
    found: dict[tuple[int, str, int], Used] = {}
    for id_ in sorted({told.id for told in matching.told(met)}):
        for revision in advisories.revisions(id_, as_of_us):
            place = (revision.entry, revision.id, revision.number)
            if place not in found and len(found) < MOST:
                found[place] = Used(*place, advisories.raw(revision))
    return [found[place] for place in sorted(found)]
