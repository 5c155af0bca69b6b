"""Figures over observations, added up by whom the mapping puts them down to, and by place. DuckDB does the counting.

Two questions: who is there at all, with how many observations; then the figures of those whom a report is about. Nothing
is left out: every observation in the window is of exactly one identity, and each of these is somebody's, the lab's, or an
unknown principal. Sessions are told apart only where a rule looks at them, and moments only where a rule begins or ends.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from limen.observe.globs import head, literal
from limen.observe.rows import DAY_US, US
from limen.observe.who import folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from limen.observe.depot import Depot
    from limen.observe.who import Attribution, Who

READS: Final = ("read", "download", "clone", "fetch")  # what hands content over
WRITES: Final = ("write", "delete", "push")
LOOKS: Final = ("head", "list")
COUNTS: Final = ("observations", "reads", "bytes", "bytes_untold", "writes", "looks", "changes", "denied", "failed")
SLICES: Final = (1, 16, 256)  # of the objects, until they fit into memory


@dataclass(frozen=True, slots=True)
class Reach:
    """What of the observations is asked about: by the log's own clock, microseconds, half-open; every source has its own.

    `first_us` and `last_us` bound all that was imported: a window beyond them needs no condition.
    """

    windows: dict[str, tuple[int, int]]
    first_us: int
    last_us: int


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

    def joined(self, other: Figures) -> Figures:
        """Both together."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Figures(**sums, first_us=min(self.first_us, other.first_us), last_us=max(self.last_us, other.last_us))

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
        found: list[tuple[_Key, int]] = []
        closer: list[str] = []
        # By principal alone the files answer at once; only the few that rules look at closer are asked about again.
        everybody = f"SELECT principal, count(*) FROM observation WHERE {c.window} GROUP BY ALL"  # noqa: S608  made of fixed words
        for principal, count in _asked(depot, everybody, c.bound):
            if who.looks_closer(principal):
                closer.append(principal)
            else:
                found.append(((principal, "", 0), count))
        if closer:
            sql = f"""
                SELECT principal, session, {c.cut}, count(*) FROM observation
                WHERE {c.window} AND principal IN (SELECT unnest($closer::VARCHAR[])) GROUP BY ALL
            """  # noqa: S608  made of fixed words and of names of parameters
            found += (
                ((principal, session, cut), count)
                for principal, session, cut, count in _asked(depot, sql, c.bound, closer=closer)
            )
        self._closer = frozenset(closer)
        self.identities = tuple(Identity(key, who.of(key[0], key[1], c.moment(key[2])), count) for key, count in sorted(found))

    def lines(self, rows: Mapping[Identity, str], *, resources: bool = False) -> list[Line]:
        """The figures of some identities, added up by the row that each belongs to and by place."""
        if not rows:
            return []
        names = sorted(set(rows.values()))
        numbers = {name: number for number, name in enumerate(names)}
        sums: dict[tuple[int, str], Figures] = {}
        for name, place, told in self._sums(rows):
            row = numbers[name], place
            figures = _figures(*told)
            sums[row] = sums[row].joined(figures) if row in sums else figures
        seen, asked = self._seen(rows, numbers)
        objects = self._objects(seen, asked, "list(resource)" if resources else "count(*)")
        lines = []
        for (number, place), figures in sorted(sums.items()):
            found = objects.get((number, place), [])
            count = len(found) if resources else sum(found)
            lines.append(Line(names[number], place, count, figures, tuple(sorted(found)) if resources else ()))
        return lines

    def _sums(self, rows: Mapping[Identity, str]) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
        """What adds up, in small groups: the row of each, its place, and its figures."""
        c = self._columns
        by_key = {one.key: row for one, row in rows.items()}
        for closer, session, cut in ((False, "''", "0"), (True, "session", c.cut)):
            only = sorted({one.principal for one in rows if (one.principal in self._closer) == closer})
            sql = f"""
                SELECT principal, {session}, {cut}, {c.place}, action, outcome,
                  count(*), coalesce(sum(bytes), 0)::BIGINT, count(bytes), min(at_us), max(at_us)
                FROM observation WHERE {c.window} AND principal IN (SELECT unnest($only::VARCHAR[])) GROUP BY ALL
            """  # noqa: S608  as above
            for principal, of, stretch, place, *told in _asked(self._depot, sql, c.parameters, only=only) if only else ():
                if (row := by_key.get((principal, of, stretch))) is not None:
                    yield row, place, tuple(told)

    def _objects(self, seen: str, asked: Mapping[str, object], what: str) -> dict[tuple[int, str], list[Any]]:
        """What was handed over, each object once: a row's and place's names, or counts to be added up.

        Where they are too many for the memory that is given, they are asked for in slices, no object in two of them.
        """
        from duckdb import OutOfMemoryException  # noqa: PLC0415  an extra, and loaded by now

        for slices in SLICES:
            found: dict[tuple[int, str], list[Any]] = defaultdict(list)
            try:
                for part in range(slices):
                    sql = f"""
                        {seen}, handed AS (
                          SELECT DISTINCT number, resource FROM seen WHERE {slices} = 1 OR hash(resource) % {slices} = {part}
                        ) SELECT number, {self._columns.place} AS place, {what} FROM handed GROUP BY number, place
                    """  # noqa: S608  as above
                    for number, place, some in _asked(self._depot, sql, self._columns.parameters, **asked):
                        found[number, place] += some if isinstance(some, list) else [some]
            except OutOfMemoryException:
                if slices == SLICES[-1]:
                    raise
            else:
                return found
        raise RuntimeError("no slices")

    def _seen(self, rows: Mapping[Identity, str], numbers: Mapping[str, int]) -> tuple[str, dict[str, object]]:
        """What the rows were handed as a common table, `seen`, each with the number of its row; and its parameters."""
        c, parts, asked = self._columns, [], dict[str, object]()
        columns = "number, resource"
        for name, on, closer in (
            ("plain", "told.principal = o.principal", False),
            ("near", f"told.principal = o.principal AND told.session = o.session AND told.cut = ({c.cut})", True),
        ):
            some = {one: numbers[row] for one, row in rows.items() if (one.principal in self._closer) == closer}
            if not some:
                continue
            given = zip(*((*one.key, number) for one, number in some.items()), strict=True)
            asked |= dict(zip((f"{name}_{i}" for i in range(4)), map(list, given), strict=True))
            asked[f"{name}_only"] = sorted({one.principal for one in some})
            parts.append(
                f"""
                SELECT {columns} FROM observation AS o JOIN (
                  SELECT unnest(${name}_0::VARCHAR[]) AS principal, unnest(${name}_1::VARCHAR[]) AS session,
                         unnest(${name}_2::INTEGER[]) AS cut, unnest(${name}_3::INTEGER[]) AS number
                ) AS told ON {on}
                WHERE {c.window} AND outcome = 'ok' AND action IN {READS}
                  AND o.principal IN (SELECT unnest(${name}_only::VARCHAR[]))
                """  # noqa: S608  as above
            )
        return f"WITH seen AS ({' UNION ALL '.join(parts)})", asked


def _asked(depot: Depot, sql: str, bound: Mapping[str, object], **more: object) -> Iterator[tuple[Any, ...]]:
    """The answer's rows."""
    named = {name: value for name, value in {**bound, **more}.items() if re.search(rf"\${name}\b", sql)}
    table = depot.ask(sql, **named)
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _figures(  # noqa: PLR0917  a row of the answer
    action: str, outcome: str, count: int, length: int, told: int, first_us: int, last_us: int
) -> Figures:
    """The figures of observations of one action and outcome."""
    base = Figures(observations=count, first_us=first_us, last_us=last_us)
    if outcome != "ok":
        return replace(base, denied=count) if outcome == "denied" else replace(base, failed=count)
    if action in READS:
        return replace(base, reads=count, bytes=length, bytes_untold=count - told)
    if action in WRITES:
        return replace(base, writes=count)
    return replace(base, looks=count) if action in LOOKS else replace(base, changes=count)


class _Columns:
    """The SQL of what a group is told apart by, and its parameters."""

    def __init__(self, who: Who, reach: Reach) -> None:
        self.parameters: dict[str, object] = {}
        self._cuts = sorted({moment for rule in who.rules for moment in (rule.from_us, rule.until_us) if moment is not None})
        self.window = self._window(reach)
        self.bound = dict(self.parameters)  # what `window` names
        self.cut = self._cut()
        self.place = self._place(who)

    def moment(self, cut: int) -> int:
        """A moment in that stretch between rules' times."""
        return self._cuts[cut - 1] if cut else (self._cuts[0] - 1 if self._cuts else 0)

    def _window(self, reach: Reach) -> str:
        conditions = {source: _between(*window, reach) for source, window in reach.windows.items()}
        if not conditions:
            return "false"
        if len(set(conditions.values())) == 1:
            return next(iter(conditions.values()))
        start, end = min(w[0] for w in reach.windows.values()), max(w[1] for w in reach.windows.values())
        each = (f"(source = {self._put(source)} AND {found})" for source, found in sorted(conditions.items()))
        return f"{_between(start, end, reach)} AND ({' OR '.join(each)})"

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

    def _put(self, value: str) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"


def _between(start_us: int, end_us: int, reach: Reach) -> str:
    """A window as a condition, by whole days where it can be: they spare the reading of times, and of other days."""
    found = []
    if start_us > reach.first_us:
        found.append(f"day >= {_day(start_us)}")
        if start_us % DAY_US:
            found.append(f"at_us >= {start_us}")
    if end_us <= reach.last_us:
        found.append(f"day {'<=' if end_us % DAY_US else '<'} {_day(end_us)}")
        if end_us % DAY_US:
            found.append(f"at_us < {end_us}")
    return " AND ".join(found) or "true"


def _day(at_us: int) -> str:
    return f"DATE '{datetime.fromtimestamp(at_us // US, UTC):%Y-%m-%d}'"


def _like(pattern: str) -> str:
    """A pattern in SQL's words."""
    words = {"*": "%", "?": "_", "%": "!%", "_": "!_", "!": "!!"}
    return "".join(words.get(c, c) for c in pattern)


def label(attribution: Attribution) -> str:
    """A person's id; several with `|` between; `vendor:NAME`; `lab`; empty for an unknown principal."""
    if attribution.people:
        return "|".join(attribution.people)
    return f"vendor:{attribution.vendor}" if attribution.vendor else "lab" if attribution.lab else ""
