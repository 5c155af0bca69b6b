"""What the matching of all advisories against all bills of material found, each with its names: as facts read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.assurance.facts.components import Meeting

if TYPE_CHECKING:
    from limen.assurance.match.hits import Matching


@dataclass(frozen=True, slots=True)
class Named:
    """Reads the matching. From any thread."""

    matching: Matching

    def all(self, *, malicious: bool = False, as_of_us: int | None = None) -> list[Meeting]:
        """Everything that meets, as known at a time; with `malicious`, only records of malicious packages."""
        return [
            Meeting(
                vendor=one.met.vendor,
                purl=one.purl,
                version=one.version,
                path=f"{one.met.vendor}, as entry {one.met.bom} lists it",
                start_us=one.met.start_us,
                end_us=one.met.end_us,
                bom=one.met.bom,
                scope=one.met.scope,
                id=one.id,
                feed=one.feed,
                said=one.met.said,
            )
            for one in self.matching.told(self.matching.all(malicious=malicious, as_of_us=as_of_us))
        ]
