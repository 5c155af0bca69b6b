"""One vendor's answer to an advisory: *yes*, *no*, or *cannot say*, each with its grounds. Pure.

*Yes*: a bill of material (BOM) listed a component that an open record names, at whatever time. *No*: none did, and complete
BOMs cover all of the time that is asked about. Otherwise *cannot say*, and which time isn't covered, or which component can't be
judged. What a vendor's VEX says is noted beside the answer and changes nothing: whoever was hit does not rule on it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from limen.assurance.match.values import Answer, Disagreement, Doubt, Hit, Uncovered, Verdict
from limen.core.intervals import Intervals
from limen.formats.purl import CONTAINER, package

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from limen.assurance.advisories.values import Stated, Window
    from limen.assurance.bom.values import Coverage, Presence
    from limen.assurance.match.values import Question, Record
    from limen.formats.osv import Advisory
    from limen.formats.purl import Package

BY_VERSION: Final = "version"
BY_DIGEST: Final = "digest"
BY_TAG: Final = "tag"
DAY_US: Final = 86_400_000_000
REQUIRED: Final = "required"
# CycloneDX 1.7, `scope`: what is `optional` is not installed; what is `excluded` is used outside run time, by tests for one,
# and what is `external` comes from somewhere else. That a thing was never run does not help against one that acts when installed.
_UNINSTALLED: Final = {"optional": "not installed, by the vendor's word (in a lock file, say)"}
_ELSEWHERE: Final = "whether it was installed anywhere, the bill of material does not say"


def judge(
    question: Question,
    vendor: str,
    presences: Iterable[Presence],
    *,
    coverage: Sequence[Coverage],
    stated: Sequence[Stated] = (),
) -> Answer:
    """The vendor's answer, from its components of the packages asked about and all of its coverage, both as known then."""
    hits: list[Hit] = []
    doubts: list[Doubt] = []
    away: list[str] = []
    near: list[str] = []
    listed = Intervals.of((c.start_us, c.end_us) for c in coverage)
    for presence in sorted(presences, key=lambda p: (p.start_us, p.path, p.purl)):
        records, by, why = _grounds(question, presence)
        if presence.scope != REQUIRED and (records or why):
            uninstalled = _UNINSTALLED.get(presence.scope, "")
            sentence = f"{_place(presence)} lists {presence.purl} with scope {presence.scope}: {uninstalled or _ELSEWHERE}"
            if uninstalled:
                away.append(sentence)
            else:
                doubts.append(Doubt(presence, sentence))
        elif records:
            until = _until(presence, question.now_us)
            seen = listed.within(presence.start_us, until)
            hits.append(Hit(presence, presence.start_us, presence.end_us, seen, by, records))
        elif why:
            doubts.append(Doubt(presence, why))
        else:
            near.append(_near(question, presence))
    uncovered = _uncovered(question, coverage)
    verdict, why = _verdict(question, hits, doubts, uncovered)
    if verdict is Verdict.NO and away:
        why = f"{why} but what was not installed, by the vendor's word"
    return Answer(
        vendor=vendor,
        verdict=verdict,
        why=why,
        hits=tuple(hits),
        doubts=tuple(doubts),
        uncovered=tuple(uncovered),
        near=(*away, *near),
        stated=tuple(stated),
        disagreements=tuple(_disagreements(question, hits)),
        boms=tuple(sorted({c.bom for c in coverage if c.start_us < question.end_us and c.end_us > question.start_us})),
        covered=_asked(question).common(_complete(coverage)),
    )


def _verdict(
    question: Question, hits: Sequence[Hit], doubts: Sequence[Doubt], uncovered: Sequence[Uncovered]
) -> tuple[Verdict, str]:
    if hits:
        return Verdict.YES, _says_yes(hits)
    if not any(record.open for record in question.records):
        return Verdict.NO, f"withdrawn: {_withdrawn(question)}"
    if doubts:
        return Verdict.CANNOT_SAY, doubts[0].why
    if uncovered:
        return Verdict.CANNOT_SAY, _says_uncovered(uncovered)
    return Verdict.NO, f"complete bills of material cover {span(question.start_us, question.end_us)}, and list none of it"


# --- one component


def _grounds(question: Question, presence: Presence) -> tuple[tuple[Record, ...], str, str]:
    """The open records that name a component, by what they do; or why that can't be said; or neither."""
    named: list[tuple[Record, str]] = []
    why = ""
    for record in question.records:
        if record.open:
            said, by = _says(record.advisory, presence)
            if said:
                named.append((record, by))
            elif said is None and not why:
                why = _unjudged(presence, record)
    if named:
        return tuple(record for record, _ in named), BY_DIGEST if (named[0][0], BY_DIGEST) in named else named[0][1], ""
    if presence.package is None:
        return (), "", _unnamed(question, presence)
    if presence.package.ecosystem == CONTAINER and not _pinned(presence):
        return _by_tag(question, presence, why)
    return (), "", why


def _unnamed(question: Question, presence: Presence) -> str:
    """Why a component without a package URL can't be told from what a record names; empty if not even its name is the same."""
    for record in question.records:
        for each in record.advisory.affected if record.open else ():
            if package(each.package.ecosystem, presence.name) == each.package:
                return (
                    f"{_place(presence)} lists {presence.name} without a package URL: "
                    f"whether it is what {record.advisory.id} names can't be said"
                )
    return ""


def _says(advisory: Advisory, presence: Presence) -> tuple[bool | None, str]:
    """Whether one record names it. What a digest says goes before what a tag says: it can't have moved."""
    if any(not each.digests.isdisjoint(presence.digests) for each in advisory.affected):
        return True, BY_DIGEST
    named = presence.package
    if named is None:
        return False, BY_VERSION
    said = advisory.affects(named, presence.version)
    if said is None and named.ecosystem == CONTAINER and (digest := _pinned(presence)):
        return advisory.affects(named, digest), BY_DIGEST
    return said, BY_VERSION


def _pinned(presence: Presence) -> str:
    """The digest that an image is pinned to, if it is."""
    return next((digest for digest in presence.digests if digest.startswith("sha256:")), "")


def _by_tag(question: Question, presence: Presence, why: str) -> tuple[tuple[Record, ...], str, str]:
    """What a floating tag stood for: the bad image while a window says so, and whatever else at other times."""
    named = presence.package
    spans = [s for s in question.windows if named and s.image == named.name and s.tag == presence.version]
    until = _until(presence, question.now_us)
    for each in spans:
        end = question.now_us if each.end_us is None else each.end_us
        if each.start_us <= presence.start_us < end:
            return tuple(record for record in question.records if record.open), BY_TAG, ""
        if presence.start_us < end and until > each.start_us:
            when = span(each.start_us, each.end_us)
            why = (
                f"{_place(presence)} ran {each.image}:{each.tag}, a tag that named the bad image {when} ({each.source}); "
                "no bill of material says which image it had pulled"
            )
            return (), "", why
    return (), "", "" if spans else why


def _unjudged(presence: Presence, record: Record) -> str:
    what = f"version {presence.version!r}" if presence.version else "no version"
    if presence.package and presence.package.ecosystem == CONTAINER:
        what = f"the tag {presence.version!r} and no digest"
    return (
        f"{_place(presence)} lists {presence.purl or presence.package} with {what}: "
        f"whether {record.advisory.id} names it can't be said"
    )


def _near(question: Question, presence: Presence) -> str:
    ids = " or ".join(record.advisory.id for record in question.records)
    when = span(presence.start_us, presence.end_us)
    return f"{_place(presence)}: {presence.purl or presence.name} is none of what {ids} names ({when})"


def _place(presence: Presence) -> str:
    """Where a component is, in words; a BOM may list it without saying."""
    return presence.path.removeprefix("@ ") or "its top level"


def _until(presence: Presence, now_us: int) -> int:
    return max(now_us, presence.start_us + 1) if presence.end_us is None else presence.end_us


# --- what isn't covered


def _asked(question: Question) -> Intervals:
    return Intervals.of([(question.start_us, question.end_us)])


def _complete(coverage: Iterable[Coverage]) -> Intervals:
    return Intervals.of((c.start_us, c.end_us) for c in coverage if c.complete)


def _uncovered(question: Question, coverage: Sequence[Coverage]) -> list[Uncovered]:
    """What of the time asked about no complete BOM covers, in order, each stretch with its reason."""
    gap = _asked(question).minus(_complete(coverage))
    found: list[Uncovered] = []
    for c in coverage:
        if not c.complete:
            why = f"the bill of material of entry {c.bom} does not say all: {c.why or 'it says so itself'}"
            found += [Uncovered(start, end, why) for start, end in gap.within(c.start_us, c.end_us)]
    unlisted = gap.minus(Intervals.of((c.start_us, c.end_us) for c in coverage))
    found += [Uncovered(start, end, _why_unlisted(start, coverage)) for start, end in unlisted]
    return sorted(found, key=lambda each: (each.start_us, each.end_us))


def _why_unlisted(at_us: int, coverage: Sequence[Coverage]) -> str:
    if not coverage:
        return "no bill of material was received"
    before = [c for c in coverage if c.end_us <= at_us]
    if not before:
        return "no bill of material that was received speaks of that time"
    last = max(before, key=lambda c: (c.end_us, c.bom))
    days = -(-(last.end_us - last.start_us) // DAY_US)
    return f"the newest bill of material before it (entry {last.bom}) was then more than {days} days old"


# --- dates that don't agree


def _disagreements(question: Question, hits: Sequence[Hit]) -> list[Disagreement]:
    found = [
        _sources(channel, [s for s in question.windows if s.channel == channel])
        for channel in sorted({s.channel for s in question.windows})
    ]
    found.append(_published(question.records))
    for hit in hits:
        found += [_against_spans(question, hit), _against_records(question, hit)]
    return [each for each in dict.fromkeys(found) if each is not None]


def _sources(channel: str, spans: Sequence[Window]) -> Disagreement | None:
    if len({(s.start_us, s.end_us) for s in spans}) < 2:  # noqa: PLR2004  one says nothing against itself
        return None
    says = tuple(f"{s.source}: {span(s.start_us, s.end_us)} (entry {s.entry})" for s in spans)
    return Disagreement(f"when it could be had from {channel}", says)


def _published(records: Sequence[Record]) -> Disagreement | None:
    if len({record.advisory.published_us for record in records}) < 2:  # noqa: PLR2004
        return None
    says = tuple(f"{r.advisory.id}: {moment(r.advisory.published_us)} (entry {r.entry})" for r in records)
    return Disagreement("when it was published", says)


def _against_spans(question: Question, hit: Hit) -> Disagreement | None:
    """A component that ran before it could be had, or came after it was gone: one of the clocks or sources is wrong."""
    p = hit.presence
    spans = [w for w in question.windows if p.package and _is_about(w, p.package)]
    if not spans:
        return None
    start = min(s.start_us for s in spans)
    ends = [s.end_us for s in spans]
    end = None if None in ends else max(e for e in ends if e is not None)
    if hit.from_us >= start and (end is None or hit.from_us < end):
        return None
    order = "before it could be had" if hit.from_us < start else "after it was gone"
    return Disagreement(
        f"{p.purl} was there {order}",
        (f"bill of material, entry {p.bom}: from {moment(hit.from_us)}", f"widest window: {span(start, end)}"),
    )


def _is_about(window: Window, named: Package) -> bool:
    """Whether a window says when this package could be had; a channel called after an ecosystem needs no further word."""
    if window.image:
        return window.image == named.name
    return (window.ecosystem or window.channel).casefold() == named.ecosystem.casefold()


def _against_records(question: Question, hit: Hit) -> Disagreement | None:
    """Open records of the same finding of which some name this component and some don't."""
    if hit.by == BY_TAG or hit.presence.package is None:
        return None
    named, version = hit.presence.package, hit.presence.version
    silent = [
        r for r in question.records
        if r.open
        and r not in hit.records
        and any(each.package.name == named.name for each in r.advisory.affected)
        and r.advisory.affects(named, version) is False
    ]  # fmt: skip
    if not silent:
        return None
    says = [f"{r.advisory.id} (entry {r.entry}, modified {moment(r.advisory.modified_us)}): names it" for r in hit.records]
    says += [f"{r.advisory.id} (entry {r.entry}, modified {moment(r.advisory.modified_us)}): does not" for r in silent]
    return Disagreement(f"whether {version} is affected", tuple(says))


# --- words


def _says_yes(hits: Sequence[Hit]) -> str:
    first = min(hits, key=lambda hit: hit.from_us)
    records = ", ".join(f"{r.advisory.id} as of entry {r.entry}" for r in first.records)
    more = f", and {len(hits) - 1} more" if len(hits) > 1 else ""
    return (
        f"{first.presence.purl} at {_place(first.presence)} since {moment(first.from_us)} "
        f"by the bill of material of entry {first.presence.bom}, named by {records}{more}"
    )


def _says_uncovered(uncovered: Sequence[Uncovered]) -> str:
    first = uncovered[0]
    more = f"; and {len(uncovered) - 1} more stretches" if len(uncovered) > 1 else ""
    return f"{days(first.start_us, first.end_us)} not covered: {first.why}{more}"


def _withdrawn(question: Question) -> str:
    return ", ".join(
        f"{r.advisory.id} at {moment(r.advisory.withdrawn_us)} (entry {r.entry})"
        for r in question.records
        if r.advisory.withdrawn_us is not None
    )


def moment(us: int | None) -> str:
    """A time as people and programs read it; whole seconds. None is *now*."""
    return "now" if us is None else datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(start_us: int, end_us: int | None) -> str:
    """An interval in words."""
    return f"since {moment(start_us)}" if end_us is None else f"{moment(start_us)} to {moment(end_us)}"


def days(start_us: int, end_us: int) -> str:
    """The UTC days that an interval touches, in words."""
    first, last = (datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d") for us in (start_us, end_us - 1))
    return first if first == last else f"{first} to {last}"
