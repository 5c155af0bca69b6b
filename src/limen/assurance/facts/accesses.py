"""Measures of who came, how they proved it, and whether the log holds all of it. Pure: from `Known` to `Series`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from limen.assurance.facts.series import Day, Sample, Series, Span, events, states
from limen.assurance.measures import DAY_US

if TYPE_CHECKING:
    from limen.assurance.facts.known import Known, Session

NAMED: Final = 3  # entries named in a sample that stands for many
GRACE_US: Final = 3_600_000_000  # an access that is older has ended, and its outcome is lost


def doubtful(known: Known) -> dict[int, str]:
    """The days on which entries are missing or were lost, with the reason."""
    found: dict[int, str] = {}
    for lost in known.lost:
        for day in range(max(lost.from_us, known.since_us) // DAY_US, lost.to_us // DAY_US + 1):
            found.setdefault(day, f"{lost.why} (entry {lost.entry})")
    return found


def named_share(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """Accesses in a session that an identity was proven for, by a person or by a workload with its sponsor, of all."""
    without: dict[int, list[int]] = defaultdict(list)
    for at_us, entry in known.unnamed:
        without[at_us // DAY_US].append(entry)

    def stood(day: Day) -> list[Sample]:
        pulse = known.pulses.get(day.number)
        if pulse is None:
            return []
        unnamed = without.get(day.number, [])
        entries = tuple(unnamed[:NAMED]) if unnamed else (pulse.first, pulse.last)
        return [Sample((pulse.accesses - len(unnamed), pulse.accesses), day.start_us, entries)]

    return states("named_share", span, stood, doubt)


def refusals_out_of_project(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """Each refusal of what lies outside the project or any grant."""
    samples = (Sample(1, at_us, (entry,), rule) for at_us, entry, rule in known.refusals)
    return events("refusals_out_of_project", span, samples, doubt)


def hardware_share(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """Sessions that opened a tier-1 asset with a hardware-backed factor, of all that opened one that day."""
    hardware = {session.id: session.hardware for session in known.sessions}
    by_day: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for at_us, entry, session in known.touches:
        by_day[at_us // DAY_US].append((entry, hardware.get(session, False)))

    def stood(day: Day) -> list[Sample]:
        opened = by_day.get(day.number)
        if not opened:
            return []
        without = [entry for entry, strong in opened if not strong]
        entries = tuple((without or [entry for entry, _ in opened])[:NAMED])
        return [Sample((len(opened) - len(without), len(opened)), day.start_us, entries)]

    return states("hardware_share", span, stood, doubt)


def session_length(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """The lifetime of each credential, from the entry that had to be durable first."""
    samples = (Sample(session.length_us, session.at_us, (session.entry,)) for session in known.sessions)
    return events("session_length_us", span, samples, doubt)


def credential_age(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """The oldest credential that was alive that day, at its end or the day's."""
    alive: dict[int, list[Session]] = defaultdict(list)
    for session in known.sessions:
        last = min(_until(session), span.to_us)
        for day in range(session.at_us // DAY_US, last // DAY_US + 1):
            alive[day].append(session)

    def stood(day: Day) -> list[Sample]:
        ages = [(min(_until(one), day.end_us) - one.at_us, -one.entry) for one in alive.get(day.number, [])]
        if not ages:
            return []
        age, entry = max(ages)
        return [Sample(age, day.start_us, (-entry,))]

    return states("credential_age_us", span, stood, doubt)


def _until(session: Session) -> int:
    expires = session.at_us + session.length_us
    return expires if session.ended_us is None else max(min(expires, session.ended_us), session.at_us)


def outcomes_unknown(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """How many accesses of the day have no known outcome: told to be unknown, or overdue."""
    by_day = _unknown_outcomes(known)

    def stood(day: Day) -> list[Sample]:
        entries = by_day.get(day.number, [])
        return [Sample(len(entries), day.start_us, tuple(entries[:NAMED]))]

    return states("outcomes_unknown", span, stood, doubt)


def log_complete(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """Whether nothing of the day is missing. The one measure that answers for a day on which entries were lost: no."""
    by_day = _unknown_outcomes(known)
    lost = {day: loss for loss in reversed(known.lost) for day in range(loss.from_us // DAY_US, loss.to_us // DAY_US + 1)}

    def stood(day: Day) -> list[Sample]:
        if day.number in doubt:
            return [Sample(False, day.start_us, (lost[day.number].entry,), lost[day.number].why)]
        entries = by_day.get(day.number, [])
        note = f"{len(entries)} accesses without a known outcome" if entries else ""
        return [Sample(not entries, day.start_us, tuple(entries[:NAMED]), note)]

    return states("log_complete", span, stood, {})


def _unknown_outcomes(known: Known) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for at_us, entry, _ in known.unsure:
        found[at_us // DAY_US].append(entry)
    for flight in known.flights:
        if flight.at_us + GRACE_US <= known.as_of_us:
            found[flight.at_us // DAY_US].append(flight.entry)
    return {day: sorted(entries) for day, entries in found.items()}


def witness_gap(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """The longest time of the day without a cosigned checkpoint, from what the gateway recorded of its witnesses.

    Unknown before the first such record: a log without witnesses has none. Between the last cosignature of one record and the
    first of the next (a restart, say) there was none that anybody knows of; after the newest record the gap grows.
    """
    told = known.of("log.witnessed")
    gaps: list[tuple[int, int, int, int]] = []  # from, to, how long, entry
    cosigned_us: int | None = None
    for one in told:
        begins_us, ends_us = one.at_us - one.fields["since_us"], one.at_us - one.fields["ago_us"]
        gaps.append((begins_us, ends_us, one.fields["gap_us"], one.entry))
        if cosigned_us is not None and begins_us > cosigned_us:
            gaps.append((cosigned_us, begins_us, begins_us - cosigned_us, one.entry))
        cosigned_us = ends_us
    if told and cosigned_us is not None:
        gaps.append((cosigned_us, span.to_us, span.to_us - cosigned_us, told[-1].entry))
    first_us = gaps[0][0] if gaps else span.to_us

    def stood(day: Day) -> list[Sample] | str:
        if first_us >= day.end_us:
            return "no cosignature by the witnesses' quorum was recorded by then"
        # A gap that goes on past the day is counted up to its end: more of it belongs to the next one.
        longest = [(min(gap, day.end_us - from_us), -entry) for from_us, to_us, gap, entry in gaps if _meets(from_us, to_us, day)]
        gap, entry = max(longest)
        return [Sample(max(gap, 0), day.start_us, (-entry,))]

    return states("witness_gap_us", span, stood, doubt)


def _meets(from_us: int, to_us: int, day: Day) -> bool:
    return from_us < day.end_us and to_us >= day.start_us
