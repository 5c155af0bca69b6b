"""The same questions to other systems' logs, a day at a time, when an import has brought them. Grade: observed, and late.

An import is judged once, by its own rows and those of the imports before it, so that the same imports always give the same
findings. An actor is a principal with its session's name; peers are the actors of the same source. Findings call an actor by a
keyed digest: a login or a role's name may be a person's, and an alert leaves the house. `actor` says on the spot who it is.

Other systems' grants, quotas and canaries are not known here; what they log of denials, volumes, clones, networks and hours is.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from limen.core.types import Grade
from limen.watch import past
from limen.watch import rules as r
from limen.watch.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limen.observe.depot import Depot

US: Final = 1_000_000
LOOKED_AT: Final = "limen/observed/actor\n"

# One row an actor and a day; `…_before` without what the import itself brought.
_DAYS: Final = """
SELECT source, principal, session, epoch_us(day::TIMESTAMP) // 86400000000 AS day,
    coalesce(sum(bytes) FILTER (WHERE action IN ('read', 'download') AND outcome = 'ok'), 0)::BIGINT AS bytes,
    coalesce(sum(bytes) FILTER (WHERE action IN ('read', 'download') AND outcome = 'ok' AND entry < $entry), 0)::BIGINT
        AS bytes_before,
    count(*) FILTER (WHERE action = 'read' AND outcome = 'ok') AS reads,
    count(*) FILTER (WHERE action = 'read' AND outcome = 'ok' AND entry < $entry) AS reads_before,
    count(*) FILTER (WHERE outcome <> 'ok') AS misses,
    count(*) FILTER (WHERE outcome <> 'ok' AND entry < $entry) AS misses_before,
    count(*) FILTER (WHERE action IN ('head', 'list')) AS looks,
    count(*) FILTER (WHERE action IN ('head', 'list') AND entry < $entry) AS looks_before,
    bit_or(1::BIGINT << (at_us // 3600000000 % 24)) AS hours,
    bit_or(CASE WHEN entry < $entry THEN 1::BIGINT << (at_us // 3600000000 % 24) ELSE 0 END) AS hours_before,
    max(at_us) FILTER (WHERE entry = $entry) AS newest_us
FROM observation
WHERE entry <= $entry AND day BETWEEN $first::DATE AND $last::DATE
GROUP BY ALL
ORDER BY day, source, principal, session
"""
_CLONES: Final = """
WITH first AS (
    SELECT source, principal, session, resource, min(day) AS day, min(day) FILTER (WHERE entry < $entry) AS before,
        min(at_us) AS at_us
    FROM observation
    WHERE entry <= $entry AND day BETWEEN $first::DATE AND $last::DATE AND action IN ('clone', 'download') AND outcome = 'ok'
    GROUP BY ALL
)
SELECT source, principal, session, epoch_us(day::TIMESTAMP) // 86400000000 AS day, count(*) AS clones,
    count(*) FILTER (WHERE before = day) AS clones_before, max(at_us) AS newest_us
FROM first GROUP BY ALL ORDER BY day, source, principal, session
"""
# Not from one table that both sides share: that would be laid down whole, in memory.
_DENIED: Final = """
SELECT no.source, no.principal, no.session, epoch_us(yes.day::TIMESTAMP) // 86400000000 AS day,
    count(DISTINCT yes.resource) AS resources, max(yes.at_us) AS newest_us
FROM (
    SELECT source, principal, session, resource, at_us, entry FROM observation
    WHERE entry <= $entry AND day BETWEEN $late::DATE AND $last::DATE AND action IN ('read', 'head') AND outcome = 'denied'
) AS no JOIN (
    SELECT source, principal, session, resource, at_us, entry, day FROM observation
    WHERE entry <= $entry AND day BETWEEN $late::DATE AND $last::DATE AND action = 'read' AND outcome = 'ok'
) AS yes USING (source, principal, session, resource)
WHERE yes.at_us > no.at_us AND yes.at_us <= no.at_us + $denied_us AND (no.entry = $entry OR yes.entry = $entry)
GROUP BY ALL ORDER BY day, source, principal, session
"""
_NETWORKS: Final = """
SELECT source, principal, network, epoch_us(day::TIMESTAMP) // 86400000000 AS day,
    min(at_us) AS first_us, bool_or(entry < $entry) AS before
FROM observation
WHERE entry <= $entry AND day BETWEEN $first::DATE AND $last::DATE AND network <> ''
GROUP BY ALL ORDER BY first_us, source, principal, network
"""
_SPAN: Final = "SELECT min(day)::VARCHAR AS first, max(day)::VARCHAR AS last FROM observation WHERE entry = $entry"
_SHIFTED: Final = "SELECT ($day::DATE - $days::INTEGER)::VARCHAR AS day"
_ACTORS: Final = "SELECT DISTINCT principal, session FROM observation"

Actor = tuple[str, str, str]  # source, principal, session


class _Case(NamedTuple):
    """Whom and which day a finding is about, and the newest moment that the import adds to it."""

    entry: int
    actor: Actor
    day: int
    at_us: int


@dataclass(frozen=True, slots=True)
class _Days:
    """What each actor of the imports did on each day; the last days are the import's own."""

    by_actor: dict[Actor, dict[int, dict[str, Any]]]
    by_source: dict[str, list[Actor]]
    _by_day: dict[tuple[str, str], dict[int, list[int]]] = field(default_factory=dict)
    _usual: dict[tuple[str, str, int], int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]]) -> _Days:
        by_actor: dict[Actor, dict[int, dict[str, Any]]] = defaultdict(dict)
        by_source: dict[str, list[Actor]] = defaultdict(list)
        for row in rows:
            actor = row["source"], row["principal"], row["session"]
            if actor not in by_actor:
                by_source[actor[0]].append(actor)
            by_actor[actor][row["day"]] = row
        return cls(by_actor, by_source)

    def usual(self, source: str, of: str, day: int, rules: r.Rules) -> int | None:
        """What 95 of 100 days of a source's actors stay at or below; reckoned once."""
        if (source, of) not in self._by_day:
            by_day = self._by_day[source, of] = defaultdict(list)
            for actor in self.by_source[source]:
                for each, figure in self.counts(actor, of).items():
                    by_day[each].append(figure)
        if (source, of, day) not in self._usual:
            recent = ({d: n} for d, some in self._by_day[source, of].items() for n in some)
            self._usual[source, of, day] = past.usual(recent, day, rules)
        return self._usual[source, of, day]

    def counts(self, actor: Actor, of: str) -> dict[int, int]:
        """One figure by day, where it is not nothing."""
        return {day: row[of] for day, row in self.by_actor[actor].items() if row.get(of)}

    def is_settled(self, actor: Actor, day: int, rules: r.Rules) -> bool:
        """Whether there is enough past, and a week of it, to say which hours are usual."""
        return self.active(actor, day) >= rules.own_days and min(self.by_actor[actor]) <= day - past.WEEK

    def active(self, actor: Actor, day: int) -> int:
        """On how many days before this one it did anything."""
        return sum(1 for d in self.by_actor.get(actor, ()) if d < day)


class Observed:
    """Judges imports. `key` makes the digests that findings call actors by."""

    def __init__(self, depot: Depot, key: bytes, rules: r.Rules) -> None:
        self._depot = depot
        self._key = key
        self._rules = rules

    def imports(self) -> list[int]:
        """The entries of the imports that count, in the log's order."""
        return [each.entry for each in self._depot.imports()]

    def judge(self, entry: int, at_us: int) -> list[Finding]:
        """What one import brings to light; `at_us` is the time of its entry. Invalid if the extra `query` is missing."""
        span = self._depot.ask(_SPAN, entry=entry).to_pylist()[0]
        if span["first"] is None:
            return []  # it brought nothing new
        first = self._shifted(span["first"], self._rules.past_days)
        asked = {"entry": entry, "first": first, "last": span["last"]}
        days = _Days.of(self._depot.ask(_DAYS, **asked).to_pylist())
        found = [
            *self._volumes(days, entry),
            *self._hours(days, entry),
            *self._clones(days, self._depot.ask(_CLONES, **asked).to_pylist(), entry),
            *self._networks(self._depot.ask(_NETWORKS, **asked).to_pylist(), entry),
            *self._denied(entry, span),
        ]
        return [self._late(finding, at_us) for finding in found if finding.rule not in self._rules.mute]

    def actor(self, digest: str) -> dict[str, str]:
        """Who a finding's digest stands for; empty if no import names them any more."""
        for row in self._depot.ask(_ACTORS).to_pylist():
            if self._digest(row["principal"], row["session"]) == digest:
                return {"principal": row["principal"], "session": row["session"]}
        return {}

    def _shifted(self, day: str, days: int) -> str:
        return str(self._depot.ask(_SHIFTED, day=day, days=days).to_pylist()[0]["day"])

    # --- the rules

    def _volumes(self, days: _Days, entry: int) -> Iterator[Finding]:
        rules = self._rules
        for actor, by_day in days.by_actor.items():
            for day, row in by_day.items():
                if row["newest_us"] is None:
                    continue
                figures = self._beyond(days, actor, day, "bytes", floor=rules.bulk_floor_bytes)
                if figures is None and not row["bytes"]:
                    figures = self._beyond(days, actor, day, "reads", floor=rules.observed_reads)
                if figures is not None:
                    yield self._say(r.BULK, r.Severity.MEDIUM, _Case(entry, actor, day, row["newest_us"]), figures)
                figures = self._beyond(days, actor, day, "misses", floor=rules.observed_misses)
                if figures is None and row["reads"] * 10 < row["looks"]:
                    figures = self._beyond(days, actor, day, "looks", floor=rules.observed_looks)
                if figures is not None:
                    yield self._say(r.ENUMERATION, r.Severity.MEDIUM, _Case(entry, actor, day, row["newest_us"]), figures)

    def _beyond(self, days: _Days, actor: Actor, day: int, of: str, *, floor: int) -> dict[str, int] | None:
        """The figures of a day that goes beyond everything before; None if it does not, did already, or can't be said."""
        now, before = days.by_actor[actor][day][of], days.by_actor[actor][day][f"{of}_before"]
        if now <= floor:
            return None
        mine, factor = days.counts(actor, of), self._rules.bulk_factor
        recent = {d: n for d, n in mine.items() if d >= day - self._rules.past_days}
        own = past.own_most(recent, day, self._rules, active=days.active(actor, day))
        if own is not None and now <= own * factor:
            return None
        peers = days.usual(actor[0], of, day, self._rules)
        if own is None and peers is None:
            return None
        bar = max(floor, factor * max(own or 0, peers or 0))
        if now <= bar or before > bar:
            return None
        known = {name: n for name, n in (("own_most", own), ("peers_usual", peers)) if n is not None}
        return {of: now, **known}

    def _clones(self, days: _Days, rows: list[dict[str, Any]], entry: int) -> Iterator[Finding]:
        """Repositories that somebody cloned for the first time: several on a day, and more than on other days."""
        firsts: dict[Actor, dict[int, dict[str, Any]]] = defaultdict(dict)
        for row in rows:
            firsts[row["source"], row["principal"], row["session"]][row["day"]] = row
        for actor, by_day in firsts.items():
            for day, row in by_day.items():
                own = max((each["clones"] for d, each in by_day.items() if d < day), default=0)
                enough = days.active(actor, day) >= self._rules.own_days or len(days.by_source[actor[0]]) > 1
                bar = max(self._rules.observed_clones, own + 1)
                if enough and row["clones_before"] < bar <= row["clones"]:
                    figures = {"repositories": row["clones"], "own_most": own}
                    yield self._say(r.CLONE, r.Severity.HIGH, _Case(entry, actor, day, row["newest_us"]), figures)

    def _denied(self, entry: int, span: dict[str, Any]) -> Iterator[Finding]:
        late = self._shifted(span["first"], 1 + self._rules.denied_s // r.DAY_S)
        asked = {"entry": entry, "late": late, "last": self._shifted(span["last"], -1 - self._rules.denied_s // r.DAY_S)}
        for row in self._depot.ask(_DENIED, **asked, denied_us=self._rules.denied_s * US).to_pylist():
            actor = row["source"], row["principal"], row["session"]
            figures = {"resources": row["resources"]}
            yield self._say(r.DENIED, r.Severity.MEDIUM, _Case(entry, actor, row["day"], row["newest_us"]), figures)

    def _hours(self, days: _Days, entry: int) -> Iterator[Finding]:
        rules = self._rules
        usual: dict[tuple[str, int], dict[Actor, int]] = {}
        for actor, by_day in days.by_actor.items():
            for day, row in by_day.items():
                if row["newest_us"] is None or not days.is_settled(actor, day, rules):
                    continue
                where = actor[0], day
                if where not in usual:
                    usual[where] = {other: self._usual(days, other, day) for other in days.by_source[actor[0]]}
                odd = _outside(_week(row["hours"] & ~row["hours_before"], day), usual[where][actor], rules.hours_around)
                others = [mask for other, mask in usual[where].items() if other != actor] if odd else []
                if any(_few(bit, others, rules.hours_around) for bit in range(2 * past.HOURS) if odd >> bit & 1):
                    yield self._say(r.HOURS, r.Severity.LOW, _Case(entry, actor, day, row["newest_us"]), {})

    def _usual(self, days: _Days, actor: Actor, day: int) -> int:
        """The hours of an actor's past."""
        oldest = day - self._rules.past_days
        return past.union(_week(row["hours"], d) for d, row in days.by_actor[actor].items() if oldest <= d < day)

    def _networks(self, rows: list[dict[str, Any]], entry: int) -> Iterator[Finding]:
        """Networks that nobody of a source used before: by principal, for a session's name may be new every time."""
        rules = self._rules
        known: dict[tuple[str, str], int] = {}  # (source, network) -> newest day
        days: dict[tuple[str, str], set[int]] = defaultdict(set)
        said: set[tuple[str, str, int]] = set()
        for row in rows:
            who, place, day = (row["source"], row["principal"]), (row["source"], row["network"]), row["day"]
            enough = sum(1 for d in days[who] if day - rules.past_days <= d < day) >= rules.network_days
            if known.get(place, -1) < day - rules.past_days and enough and not row["before"] and (*who, day) not in said:
                said.add((*who, day))
                yield self._say(r.NETWORK, r.Severity.LOW, _Case(entry, (*who, ""), day, row["first_us"]), {})
            known[place] = max(day, known.get(place, -1))
            days[who].add(day)

    # --- saying it

    def _digest(self, principal: str, session: str) -> str:
        return "o-" + hmac.digest(self._key, f"{LOOKED_AT}{principal}\n{session}".encode(), "sha256").hex()[:20]

    def _say(self, rule: str, severity: r.Severity, case: _Case, figures: dict[str, int]) -> Finding:
        source, principal, session = case.actor
        subject = {"who": self._digest(principal, session), "source": source, "day": _date(case.day)}
        return Finding(rule, severity, case.at_us, (case.entry,), subject, figures, Grade.OBSERVED)

    def _late(self, finding: Finding, at_us: int) -> Finding:
        """With how long after the act it came to limen."""
        figures = {**finding.figures, "delay_s": max(0, (at_us - finding.at_us) // US)}
        return replace(finding, figures=figures)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * r.DAY_S, UTC).strftime("%Y-%m-%d")


def _week(hours: int, day: int) -> int:
    """A day's 24 bits where its kind of day has them."""
    return hours << past.HOURS if past.hour_bit(day * r.DAY_US) >= past.HOURS else hours


def _outside(mask: int, usual: int, hours: int) -> int:
    """The bits of a mask that have no usual one around them."""
    return sum(1 << bit for bit in range(2 * past.HOURS) if mask >> bit & 1 and not past.around(bit, hours) & usual)


def _few(bit: int, others: list[int], hours: int) -> bool:
    """Whether fewer than two others were ever there around that hour."""
    near = past.around(bit, hours)
    return sum(1 for mask in others if mask & near) <= 1
