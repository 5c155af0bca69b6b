"""Figures over observations, added up by whom the mapping puts them down to, and by place. DuckDB does the counting.

Two questions: who is there at all, with how many observations; then the figures of those whom a report is about. Nothing
is left out: every observation in the window is of exactly one identity, and each of these is somebody's, the lab's, or an
unknown principal. Sessions are told apart only where a rule looks at them, and moments only where a rule begins or ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.observe.globs import head, literal
from limen.observe.who import folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.observe.depot import Depot
    from limen.observe.who import Attribution, Who

READS: Final = ("read", "download", "clone", "fetch")  # what hands content over
WRITES: Final = ("write", "delete", "push")
LOOKS: Final = ("head", "list")
COUNTS: Final = ("observations", "reads", "bytes", "bytes_untold", "writes", "looks", "changes", "denied", "failed")
SESSION_PATTERNS: Final = 64  # with more principals whose rules look at sessions, all sessions are told apart


@dataclass(frozen=True, slots=True)
class Reach:
    """What of the observations is asked about: by the log's own clock, microseconds, half-open; for each source its own.

    Every source has one.
    """

    windows: dict[str, tuple[int, int]]

    @property
    def widest(self) -> tuple[int, int]:
        """From the earliest beginning to the latest end."""
        return min(start for start, _ in self.windows.values()), max(end for _, end in self.windows.values())


@dataclass(frozen=True, slots=True)
class Figures:
    """What some observations add up to. `bytes_untold`: reads whose log does not say how much they handed over."""

    observations: int = 0
    reads: int = 0
    bytes: int = 0
    bytes_untold: int = 0
    writes: int = 0
    looks: int = 0
    changes: int = 0
    denied: int = 0
    failed: int = 0
    first_us: int = 0
    last_us: int = 0

    def to_json(self) -> dict[str, int]:
        """As a JSON value."""
        return {name: getattr(self, name) for name in (*COUNTS, "first_us", "last_us")}


_Key = tuple[str, str, int]  # principal, session or "" where no rule looks at it, and which stretch between rules' times


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal, in one session where rules look at it, between two times of rules; and whom it is put down to."""

    key: _Key
    attribution: Attribution
    observations: int

    @property
    def principal(self) -> str:
        """As the log names it."""
        return self.key[0]


@dataclass(frozen=True, slots=True)
class Line:
    """What one row of a report did in one place: an asset's id where the mapping has one, else bucket, repository or mount.

    `objects`: how many different ones were handed over; `resources` names them, if that was asked.
    """

    row: str
    place: str
    objects: int
    figures: Figures
    resources: tuple[str, ...] = ()


class Gathered:
    """Everybody who is in a window, and the figures of whomever a report is about."""

    def __init__(self, depot: Depot, who: Who, reach: Reach) -> None:
        self._depot = depot
        self._columns = c = _Columns(who, reach)
        table = depot.ask(
            f"""
            SELECT principal, {c.session} AS session, {c.cut} AS cut, count(*) AS observations
            FROM observation WHERE {c.window} GROUP BY ALL ORDER BY ALL
            """,  # noqa: S608  made of fixed words and of names of parameters
            **c.given(c.window, c.session),
        )
        self.identities = tuple(
            Identity((principal, session, cut), who.of(principal, session, c.moment(cut)), observations)
            for principal, session, cut, observations in zip(*(column.to_pylist() for column in table.columns), strict=True)
        )

    def lines(self, rows: Mapping[Identity, str], *, resources: bool = False) -> list[Line]:
        """The figures of some identities, added up by the row that each belongs to and by place."""
        names = sorted(set(rows.values()))
        if not rows:
            return []
        c, done, read = self._columns, "outcome = 'ok'", f"outcome = 'ok' AND action IN {READS}"
        listed = ", list_sort(list(resource) FILTER (reads > 0)) AS resources" if resources else ""
        table = self._depot.ask(
            f"""
            WITH asked AS (
              SELECT unnest($principals::VARCHAR[]) AS principal, unnest($sessions::VARCHAR[]) AS session,
                     unnest($cuts::INTEGER[]) AS cut, unnest($numbers::INTEGER[]) AS number
            ), seen AS (
              SELECT principal, {c.session} AS session, {c.cut} AS cut, resource, action, outcome, bytes, at_us
              FROM observation WHERE {c.window} AND principal IN (SELECT unnest($only::VARCHAR[]))
            ), each AS (
              SELECT number, resource,
                count(*) AS observations,
                count(*) FILTER ({read}) AS reads,
                coalesce(sum(bytes) FILTER ({read}), 0)::BIGINT AS bytes,
                count(*) FILTER ({read} AND bytes IS NULL) AS bytes_untold,
                count(*) FILTER ({done} AND action IN {WRITES}) AS writes,
                count(*) FILTER ({done} AND action IN {LOOKS}) AS looks,
                count(*) FILTER ({done} AND action = 'admin') AS changes,
                count(*) FILTER (outcome = 'denied') AS denied,
                count(*) FILTER (outcome = 'failed') AS failed,
                min(at_us) AS first_us, max(at_us) AS last_us
              FROM seen JOIN asked USING (principal, session, cut) GROUP BY number, resource
            )
            SELECT number, {c.place} AS place, count(*) FILTER (reads > 0) AS objects{listed},
              {", ".join(f"sum({name})::BIGINT AS {name}" for name in COUNTS)},
              min(first_us) AS first_us, max(last_us) AS last_us
            FROM each GROUP BY number, place ORDER BY number, place
            """,  # noqa: S608  as above
            **c.parameters,
            **_asked(rows, names),
        )
        lines = []
        for told in table.to_pylist():
            row, place, objects = names[told.pop("number")], told.pop("place"), told.pop("objects")
            found = tuple(told.pop("resources", None) or ())
            lines.append(Line(row, place, objects, Figures(**told), found))
        return lines


def _asked(rows: Mapping[Identity, str], names: list[str]) -> dict[str, object]:
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "principals": [one.key[0] for one in rows],
        "sessions": [one.key[1] for one in rows],
        "cuts": [one.key[2] for one in rows],
        "numbers": [numbers[name] for name in rows.values()],
        "only": sorted({one.principal for one in rows}),
    }


class _Columns:
    """The SQL of what a group is told apart by, and its parameters."""

    def __init__(self, who: Who, reach: Reach) -> None:
        self.parameters: dict[str, object] = {}
        self._cuts = sorted({moment for rule in who.rules for moment in (rule.from_us, rule.until_us) if moment is not None})
        self.window = self._window(reach)
        self.session = self._session(who)
        self.cut = self._cut()
        self.place = self._place(who)

    def moment(self, cut: int) -> int:
        """A moment in that stretch between rules' times."""
        return self._cuts[cut - 1] if cut else (self._cuts[0] - 1 if self._cuts else 0)

    def _window(self, reach: Reach) -> str:
        if not reach.windows:
            return "false"
        start, end = reach.widest
        found = f"at_us >= {start} AND at_us < {end}"
        if len(reach.windows) > 1 and len(set(reach.windows.values())) > 1:
            each = (f"(source = {self._put(s)} AND at_us >= {a} AND at_us < {b})" for s, (a, b) in sorted(reach.windows.items()))
            found += f" AND ({' OR '.join(each)})"
        return found

    def _session(self, who: Who) -> str:
        patterns = {folded(rule.principal) for rule in who.rules if rule.session != "*"}
        if not patterns:
            return "''"
        if len(patterns) > SESSION_PATTERNS:
            return "session"
        looked_at = " OR ".join(self._matches("principal", pattern) for pattern in sorted(patterns))
        return f"CASE WHEN {looked_at} THEN session ELSE '' END"

    def _cut(self) -> str:
        if not self._cuts:
            return "0"
        arms = " ".join(f"WHEN at_us < {moment} THEN {i}" for i, moment in enumerate(self._cuts))
        return f"CASE {arms} ELSE {len(self._cuts)} END"

    def _place(self, who: Who) -> str:
        container = (
            "CASE WHEN starts_with(resource, 's3://') THEN 's3://' || split_part(resource, '/', 3)"
            " WHEN starts_with(resource, 'github:') THEN lower(resource) ELSE split_part(resource, '/', 1) END"
        )
        if not who.places:
            return container
        arms = (f"WHEN {self._matches('resource', p.resource)} THEN {self._put(p.asset)}" for p in who.places)
        return f"CASE {' '.join(arms)} ELSE {container} END"

    def _matches(self, column: str, pattern: str) -> str:
        """A pattern of the mapping as a condition."""
        if folded("github:") == folded(pattern)[:7]:
            column, pattern = f"lower({column})", folded(pattern)
        if literal(pattern):
            return f"{column} = {self._put(pattern)}"
        if pattern == head(pattern) + "*":
            return f"starts_with({column}, {self._put(head(pattern))})"
        return f"{column} LIKE {self._put(_like(pattern))} ESCAPE '!'"

    def given(self, *texts: str) -> dict[str, object]:
        """The parameters that these texts name."""
        named = set(re.findall(r"\$(p\d+)", " ".join(texts)))
        return {name: value for name, value in self.parameters.items() if name in named}

    def _put(self, value: str) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"


def _like(pattern: str) -> str:
    """A pattern in SQL's words."""
    words = {"*": "%", "?": "_", "%": "!%", "_": "!_", "!": "!!"}
    return "".join(words.get(c, c) for c in pattern)


def label(attribution: Attribution) -> str:
    """A person's id; several with `|` between; `vendor:NAME`; `lab`; empty for an unknown principal."""
    if attribution.people:
        return "|".join(attribution.people)
    return f"vendor:{attribution.vendor}" if attribution.vendor else "lab" if attribution.lab else ""
