"""Writes findings into the book, and queues them for whom they concern: once, however often they are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.types import Grade
from limen.watch import rules as r
from limen.watch.book import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from limen.watch.book import Book
    from limen.watch.finding import Finding
    from limen.watch.target import Target

LATELY_US: Final = r.DAY_US  # what a book made anew sends once more


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps findings of one log under one set of thresholds. `wake` is called when something is to be sent."""

    origin: str
    rules: r.Rules
    targets: tuple[Target, ...]
    now_us: Callable[[], int]
    wake: Callable[[], None]

    def keep(self, book: Book, found: Sequence[Finding], notes: Mapping[str, bytes], *, history: int) -> None:
        """All of it in one transaction. What rests on entries below `history` may have been found before, by an older book."""
        now_us, digest = self.now_us(), self.rules.digest()
        rows, queue = [], []
        for finding in found:
            again = finding.entry < history
            row = Found(
                uid=finding.uid(self.origin),
                entry=finding.entry,
                rule=finding.rule,
                severity=int(finding.severity),
                at_us=finding.at_us,
                found_us=now_us,
                rules=digest,
                again=again,
                raw=finding.to_bytes(self.origin, digest),
            )
            rows.append(row)
            if self._is_news(finding, again=again, now_us=now_us):
                queue += [(row.uid, target.name) for target in self.targets if finding.severity >= target.severity]
        if book.keep(rows, notes, queue=queue, now_us=now_us):
            self.wake()

    def _is_news(self, finding: Finding, *, again: bool, now_us: int) -> bool:
        if finding.grade is Grade.OBSERVED:
            lately_us = self.rules.observed_days * r.DAY_US
            if finding.figures["delay_s"] * 1_000_000 > lately_us:
                return False  # told when it was imported, long after: a past is not news
        else:
            lately_us = LATELY_US
        return not again or finding.at_us > now_us - lately_us
