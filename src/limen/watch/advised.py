"""A malicious component at a vendor, as findings: one a vendor, and one more if what follows from it waits for people.

The match was made when the advisory or the bill of material came in, and its entry (`advisory.action`) says what met. A flood is
one finding, however many vendors it is about. The grade is *declared*: what a vendor runs is known from its own bill of material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.core.types import Grade
from limen.watch import rules as r
from limen.watch.finding import ENTRIES_NAMED, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE_BY_ONE: Final = 20  # vendors; more than that are one finding


def findings(index: int, action: dict[str, Any], at_us: int) -> Iterable[Finding]:
    """What an action's entry says."""
    about = {"advisory": action["ids"][0]}
    figures = {"advisories": action["ids_count"], "vendors": action["vendors_count"]}
    entries = (*sorted({*action["feeds"], *action["boms"]} - {index})[-ENTRIES_NAMED + 1 :], index)
    if action["flood"] or action["vendors_count"] > ONE_BY_ONE:
        yield Finding(r.MALICIOUS, r.Severity.HIGH, at_us, entries, about, figures, Grade.DECLARED)
    else:
        for each in action["vendors"]:
            subject = {"vendor": each["vendor"], **about}
            yield Finding(r.MALICIOUS, r.Severity.HIGH, at_us, entries, subject, {"people": each["people"]}, Grade.DECLARED)
    if action["needs"]:
        yield Finding(r.WAITS, r.Severity.HIGH, at_us, entries, about, {**figures, "needs": action["needs"]}, Grade.DECLARED)
