"""The facts document: every measure of a vendor at one moment, as a JSON value. Pure; its shape is told in `measures`.

The same values give the same bytes. Each daily measure has one fact for each day that can be vouched for; where there is none,
`unknown` says why, in stretches of days. Disputes set a measure's facts aside for the days that they name: from the dispute's
entry on, until it is settled for the lab; for good, if it is settled for the vendor.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.facts import accesses, cutting, holding, keys, running, told
from limen.assurance.facts.papers import contradictions, statements
from limen.assurance.facts.series import Span
from limen.assurance.measures import DAY_US, DECLARED, MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limen.assurance.facts.known import Known, Told
    from limen.assurance.facts.papers import Statement
    from limen.assurance.facts.running import Running
    from limen.assurance.facts.series import Sample, Series

VERSION: Final = 1
UPHELD: Final = "upheld"  # a dispute settled for the vendor: the measurement doesn't count
STANDS: Final = "stands"  # settled for the lab

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def document(known: Known, components: Running, *, origin: str, from_us: int | None = None) -> dict[str, Any]:
    """The document of one vendor, of the days since it was entered or since `from_us`, whichever is later."""
    begins = max(known.since_us, from_us or 0) // DAY_US * DAY_US
    daily = series_of(known, components, Span(begins, known.as_of_us))
    papers = statements(known)
    disputes = list(_disputes(known))
    facts = [
        fact
        for name in sorted(MEASURES)
        for fact in (_days(daily[name], disputes, known.as_of_us) if name in daily else _papers(name, papers, disputes))
    ]
    census = dict.fromkeys(MEASURES, 0)
    for fact in facts:
        fact["seq"] = census[fact["measure"]]
        census[fact["measure"]] += 1
    return {
        "v": VERSION,
        "vendor": known.vendor,
        "as_of": moment(known.as_of_us),
        "from": moment(begins),
        "log": {"origin": origin, "size": known.size},
        "facts": facts,
        "census": census,
        "contradictions": _contradictions(papers, daily, components),
        "unknown": [row for name in sorted(daily) for row in _unknown(daily[name])],
    }


def series_of(known: Known, components: Running, span: Span) -> dict[str, Series]:
    """Every daily measure over some days, by name."""
    doubt = accesses.doubtful(known)
    held = keys.Keys(known)
    found = (
        accesses.named_share(known, span, doubt),
        accesses.refusals_out_of_project(known, span, doubt),
        accesses.hardware_share(known, span, doubt),
        accesses.session_length(known, span, doubt),
        accesses.credential_age(known, span, doubt),
        accesses.log_complete(known, span, doubt),
        accesses.outcomes_unknown(known, span, doubt),
        accesses.witness_gap(known, span, doubt),
        cutting.revoke(known, span, doubt),
        cutting.drill(known, span, doubt),
        keys.static_keys(known, held, span, doubt),
        keys.static_key_age(known, held, span, doubt),
        keys.rotation_age(known, held, span, doubt),
        keys.rotation_after_incident(known, held, span, doubt),
        told.deprovision(known, span, doubt),
        told.notice_latency(known, components, span, doubt),
        told.audit_passed(known, span, doubt),
        holding.tier1_held_share(known, span, doubt),
        holding.returned(known, span, doubt),
        running.bom_age(components, span, doubt),
        running.bom_unknown(components, span, doubt),
        running.malicious_open(components, span, doubt),
        running.malicious_dwell(components, span, doubt),
    )
    return {series.measure: series for series in found}


def _days(series: Series, disputes: list[_Dispute], as_of_us: int) -> Iterator[dict[str, Any]]:
    mine = [one for one in disputes if one.measure == series.measure]
    for day in sorted(series.days):
        end_us = min((day + 1) * DAY_US, as_of_us)
        yield {
            "measure": series.measure,
            "grade": series.grade(day).value,
            "from": day_text(day),
            "to": moment(end_us),
            "recorded_at": moment(end_us),
            "seq": 0,
            "source": series.source,
            "samples": [_sample(one) for one in sorted(series.days[day], key=lambda one: (one.at_us, one.entries, one.note))],
            "disputed": _disputed(mine, day * DAY_US, end_us),
        }


def _papers(measure: str, papers: Iterable[Statement], disputes: list[_Dispute]) -> Iterator[dict[str, Any]]:
    mine = [one for one in disputes if one.measure == measure]
    for one in papers:
        if one.measure == measure:
            yield {
                "measure": measure,
                "grade": one.grade.value,
                "from": moment(one.from_us),
                "to": None if one.to_us is None else moment(one.to_us),
                "recorded_at": moment(one.recorded_us),
                "seq": 0,
                "source": one.source,
                "samples": [_sample(one.sample)],
                "disputed": _disputed(mine, one.from_us, one.to_us),
            }


def _sample(one: Sample) -> dict[str, Any]:
    value = list(one.value) if isinstance(one.value, tuple) else one.value
    told_: dict[str, Any] = {"value": value, "at": moment(one.at_us), "entries": list(one.entries)}
    if one.note:
        told_["note"] = one.note
    return told_


def _unknown(series: Series) -> Iterator[dict[str, Any]]:
    """The days that nobody can vouch for, in stretches with the same reason."""
    stretch: list[int] = []
    for day in [*sorted(series.unknown), None]:
        if stretch and (day is None or day != stretch[-1] + 1 or series.unknown[day] != series.unknown[stretch[0]]):
            yield {
                "measure": series.measure,
                "from": day_text(stretch[0]),
                "to": day_text(stretch[-1] + 1),
                "why": series.unknown[stretch[0]],
            }
            stretch = []
        if day is not None:
            stretch.append(day)


def _contradictions(papers: list[Statement], daily: dict[str, Series], components: Running) -> list[dict[str, Any]]:
    said = [one for one in papers if one.measure.startswith(DECLARED)]
    return [
        {
            "declared": {"measure": one.measure, **_sample(one.sample), "from": moment(one.from_us), "source": one.source},
            "measured": {"measure": measure, "grade": grade.value, **_sample(sample)},
        }
        for one, measure, sample, grade in contradictions(said, daily, components)
    ]


# --- disputes


class _Dispute:
    """One dispute: of a measure, over [from, to), by an entry; `over` if it was settled for the lab."""

    def __init__(self, one: Told, settled: str | None) -> None:
        self.measure: str = one.fields["measure"]
        self.from_us: int = one.fields["from_us"]
        self.to_us: int | None = one.fields["to_us"]
        self.entry, self.at_us = one.entry, one.at_us
        self.over = settled == STANDS


def _disputes(known: Known) -> Iterator[_Dispute]:
    settled = {one.fields["dispute"]: one.fields["outcome"] for one in known.of("fact.settle")}
    for one in known.of("fact.dispute"):
        yield _Dispute(one, settled.get(one.entry))


def _disputed(disputes: list[_Dispute], start_us: int, end_us: int | None) -> dict[str, Any] | None:
    for one in disputes:
        meets = (end_us is None or one.from_us < end_us) and (one.to_us is None or one.to_us > start_us)
        if meets and not one.over:
            return {"entry": one.entry, "since": moment(one.at_us)}
    return None


# --- words for times


@lru_cache(maxsize=8192)
def day_text(day: int) -> str:
    """The start of a numbered day, as RFC 3339 in UTC."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%dT00:00:00Z")


def moment(us: int) -> str:
    """A time as RFC 3339 in UTC, with microseconds where it has any."""
    day, rest = divmod(us, DAY_US)
    if rest == 0:
        return day_text(day)
    seconds, fraction = divmod(rest, 1_000_000)
    text = f"{day_text(day)[:11]}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}Z" if fraction else f"{text}Z"
