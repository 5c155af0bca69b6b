"""Measures of what is told: who left, what happened and when the vendor said so, what random audits found. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limen.assurance.facts.series import Day, Sample, Series, Span, events, states, weakest
from limen.core.types import Grade

if TYPE_CHECKING:
    from limen.assurance.facts.known import Known, Told
    from limen.assurance.facts.running import Malicious, Running


def deprovision(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """From each person's leaving, as it was declared, to the end of their access."""
    leavers = [one for one in known.of("notice.add") if one.fields["notice"] == "leaver"]

    def stood(day: Day) -> list[Sample]:
        found = []
        for one in leavers:
            left_us = one.fields["left_us"]
            if left_us >= day.end_us:
                continue
            until_us, ended = _access_end(known, one.fields["person"], left_us)
            if until_us is None or until_us >= day.end_us:
                found.append(Sample(day.end_us - left_us, day.start_us, (one.entry,), "access goes on", Grade.DECLARED))
            elif max(until_us, left_us) >= day.start_us:
                entries = (one.entry, ended) if ended is not None else (one.entry,)
                found.append(Sample(max(until_us - left_us, 0), max(until_us, left_us), entries, "", Grade.DECLARED))
        return found

    return states("deprovision_us", span, stood, doubt)


def _access_end(known: Known, person: str, left_us: int) -> tuple[int | None, int | None]:
    """When somebody's access ended who left at a moment: with the last of their enrolments up to then."""
    before = [(until_us, ended) for name, since_us, until_us, ended in known.people if name == person and since_us <= left_us]
    if not before:
        return left_us, None  # they were enrolled only later: at that time they had no access
    return before[-1]


def notice_latency(known: Known, running: Running, span: Span, doubt: dict[int, str]) -> Series:
    """From each incident becoming known, to the lab or to the vendor, to the vendor's notice of it.

    While a malicious component was there of which no incident was ever entered, nobody can say whether there was notice.
    """
    notices = known.of("notice.add")
    told: dict[str, Told] = {}
    for one in notices:
        if one.fields["notice"] == "told":
            earlier = told.get(one.fields["incident"])
            if earlier is None or one.fields["told_us"] < earlier.fields["told_us"]:
                told[one.fields["incident"]] = one
    incidents = [one for one in notices if one.fields["notice"] == "incident"]
    untold = [one for one in running.malicious if one.certain and not _entered(one, incidents)]

    def stood(day: Day) -> list[Sample] | str:
        found = []
        if silent := next((one.name for one in untold if one.meets(day.start_us, day.end_us)), None):
            return f"{silent} was there, and no incident was entered for it"
        for one in incidents:
            known_us, name = one.fields["known_us"], one.fields["incident"]
            answer = told.get(name)
            if known_us >= day.end_us:
                continue
            if answer is None or answer.fields["told_us"] >= day.end_us:
                note = f"{name}: the vendor has not said so"
                found.append(Sample(day.end_us - known_us, day.start_us, (one.entry,), note, _knowing(one)))
                continue
            told_us = max(answer.fields["told_us"], known_us)
            if told_us >= day.start_us:
                grade = weakest([_knowing(one), _telling(answer)])
                found.append(Sample(told_us - known_us, told_us, (one.entry, answer.entry), name, grade))
        return found

    return states("notice_latency_us", span, stood, doubt)


def _entered(one: Malicious, incidents: list[Told]) -> bool:
    """Whether an incident speaks of a component: an entry shows it, or it became known after the component came."""
    return any(
        incident.fields["known_us"] >= one.start_us or not set(one.entries).isdisjoint(incident.fields.get("of") or ())
        for incident in incidents
    )


def _knowing(one: Told) -> Grade:
    """How it is known when an incident became known: by limen's own entries, by a document, or by somebody's word."""
    if one.fields.get("of"):
        return Grade.MEASURED
    return Grade.EVIDENCE if one.fields.get("digest") else Grade.DECLARED


def _telling(one: Told) -> Grade:
    """How it is known when the vendor said so: entered as it came, shown by a document, or somebody's word."""
    if one.fields.get("now"):
        return Grade.MEASURED
    return Grade.EVIDENCE if one.fields.get("digest") else Grade.DECLARED


def audit_passed(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """What passed of what each random audit drew."""
    samples = (
        Sample((one.fields["passed"], one.fields["drawn"]), one.at_us, (one.entry,))
        for one in known.of("audit.result")
        if one.fields.get("drawn")
    )
    return events("audit_passed", span, samples, doubt)
