"""Puts an advisory's question to every vendor, as of a time of knowledge.

What a *no* must be covered over: the widest window that any source gives for the finding; where no window is known, from some
days before its first date until the time that is asked about. A caller who knows better says so. `now_us` is what the clock
says; nothing here reads it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from limen.assurance.match.act import Act
from limen.assurance.match.judge import days, judge, span
from limen.assurance.match.values import Question, Record
from limen.core.errors import Invalid
from limen.formats.purl import CONTAINER, Package, image_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limen.assurance.advisories.known import Advisories
    from limen.assurance.advisories.values import Finding, Revision, Stated, Windows
    from limen.assurance.bom.boms import Boms
    from limen.assurance.match.hits import Matching
    from limen.assurance.match.values import Answer

DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A finding as it was known, the question that it puts, and each vendor's answer."""

    finding: Finding
    windows: Windows
    question: Question
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks. Reads the disk; from any thread. `sources`: how far what each signs may go by itself."""

    boms: Boms
    advisories: Advisories
    matching: Matching
    lookback_days: int
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def trusted(self) -> frozenset[str]:
        """The sources whose signature may restrict."""
        return frozenset(name for name, may in self.sources.items() if may in {Act.RESTRICT, Act.PAUSE})

    def affected(
        self,
        name: str,
        vendors: Iterable[str],
        *,
        now_us: int,
        as_of_us: int | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Asked:
        """What each of the vendors, and every other that ever sent a BOM, ran of what an id's finding names.

        NotFound if no record of the id was known then; Invalid for a time that is none.
        """
        finding = self.advisories.finding(name, as_of_us)
        windows = self.advisories.windows(name, as_of_us)
        asked = (since_us, until_us)
        question = self._question(finding, windows, now_us=now_us, as_of_us=as_of_us, asked=asked)
        listed = self.matching.listed(
            _packages(question),
            digests={digest for record in question.records for each in record.advisory.affected for digest in each.digests},
            as_of_us=as_of_us,
        )
        stated: dict[str, list[Stated]] = defaultdict(list)
        for each in self.advisories.vex(as_of_us=as_of_us):
            if set(each.statement.names) & set(finding.ids):
                stated[each.vendor].append(each)
        answers = [
            judge(
                question,
                vendor,
                listed.get(vendor, ()),
                coverage=[c for c in self.boms.coverage(vendor, as_of_us) if c.start_us < question.now_us],
                stated=stated.get(vendor, ()),
            )
            for vendor in sorted({*vendors, *self.boms.vendors(as_of_us), *listed})
        ]
        return Asked(finding, windows, question, tuple(answers))

    def record(self, revision: Revision) -> Record:
        """A revision as a record of a question."""
        return Record(
            revision.entry,
            revision.received_us,
            self.advisories.advisory(revision),
            revision.number,
            tuple(sorted({each.source for each in revision.carriers})),
            any(each.signed and each.source in self.trusted for each in revision.carriers),
        )

    def _question(
        self,
        finding: Finding,
        windows: Windows,
        *,
        now_us: int,
        as_of_us: int | None,
        asked: tuple[int | None, int | None],
    ) -> Question:
        since_us, until_us = asked
        now = now_us if as_of_us is None else min(as_of_us, now_us)
        if since_us is not None and since_us >= (now if until_us is None else until_us):
            raise Invalid("since", "is not before the end of what is asked")
        records = tuple(self.record(revision) for revision in finding.standing)
        widest = windows.widest()
        if widest is not None:
            start, end = widest
            basis = f"the widest window that any source gives: {span(start, end)}"
        else:
            first = min(record.advisory.published_us or record.advisory.modified_us for record in records)
            start, end = first - self.lookback_days * DAY_US, None
            basis = f"no window is known: from {self.lookback_days} days before its first date, {days(first, first + 1)}"
        if since_us is not None or until_us is not None:
            start, end = since_us if since_us is not None else start, until_us if until_us is not None else end
            basis = f"as asked: {span(start, end)}"
        end = now if end is None else min(end, now)
        written_out = tuple(replace(each, image=_image(each.image)) if each.image else each for each in windows.windows)
        return Question(records, min(start, end - 1), end, now, basis, written_out, as_of_us)


def _packages(question: Question) -> set[Package]:
    """What a vendor may list that a record is about: its packages, and images of which a tag named it."""
    named = {each.package for record in question.records for each in record.advisory.affected}
    return named | {Package(CONTAINER, each.image) for each in question.windows if each.image}


def _image(reference: str) -> str:
    """An image's repository, written out as packages of images are named."""
    found = image_of(reference)
    return found[0].name if found is not None else reference
