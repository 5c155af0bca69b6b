"""One finding: which rule, on what grounds, about which copy of which access; and the bytes that it always has.

It names entries, pseudonyms and the lab's own ids. No name, no address, no path and no content is in it, so that it may
leave the house. The bytes are canonical JSON, an OCSF Detection Finding; they depend on the entries and rules alone, not on when
or by whom they were found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.events import canonical
from limen.core.types import Grade
from limen.formats import ocsf
from limen.watch import rules as r

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRIES_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says. `entries` are in the log's order; the last one completed it, and `at_us` is its time."""

    rule: str
    severity: r.Severity
    at_us: int
    entries: tuple[int, ...]
    subject: Mapping[str, str] = field(default_factory=dict)  # who, sponsor, vendor, project, session, asset, advisory
    figures: Mapping[str, int] = field(default_factory=dict)
    grade: Grade = Grade.MEASURED

    @property
    def entry(self) -> int:
        """The entry that completed it."""
        return self.entries[-1]

    def uid(self, origin: str) -> str:
        """Its name for ever, in one log: what receivers know a repeat by. Thresholds have no part in it."""
        parts = [origin, self.rule, self.entry, int(self.severity), dict(self.subject)]
        return hashlib.sha256(b"limen/finding/1\n" + canonical(parts)).hexdigest()[:32]

    def to_json(self, origin: str, rules_digest: str) -> dict[str, Any]:
        """It as an OCSF Detection Finding; what OCSF has no word for is under `unmapped`."""
        return ocsf.detection_finding(
            uid=self.uid(origin),
            rule=self.rule,
            rule_version=f"{r.VERSION}-{rules_digest}",
            title=r.TITLES[self.rule],
            severity=int(self.severity),
            time_ms=self.at_us // 1000,
            actor=self.subject.get("who", ""),
            resource=self.subject.get("asset", ""),
            more={
                "ledger": origin,
                "entries": list(self.entries),
                "grade": self.grade.value,
                "subject": dict(self.subject),
                "figures": dict(self.figures),
            },
        )

    def to_bytes(self, origin: str, rules_digest: str) -> bytes:
        """The same entries and rules give the same bytes."""
        return canonical(self.to_json(origin, rules_digest))
