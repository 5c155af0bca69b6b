"""Answers what is known of advisories, now or as of an earlier time: of ids, of packages, of windows, of vendors' statements.

Every question takes `as_of_us`: only what the log had taken in by then has a part in the answer. None means everything. Each
question first reads what was committed since the last one; call it from a thread that may wait for that.

Piece by piece the tables are described in `fold`; who joins them with others' opens them with `reading`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.advisories import feed
from limen.assurance.advisories.fold import AdvisoriesFold
from limen.assurance.advisories.values import (
    ALWAYS,
    Advised,
    Carrier,
    Feed,
    Finding,
    Quarantined,
    Revision,
    Stated,
    Window,
    Windows,
)
from limen.core.errors import Invalid, NotFound
from limen.derived import Derived
from limen.formats.osv import Advisory, Affected
from limen.formats.purl import Package
from limen.formats.vex import Statement

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from limen.derived import Log

_STANDS: Final = "(s.from_us <= :k AND (s.until_us IS NULL OR s.until_us > :k))"
_GROUP: Final = f"""
WITH RECURSIVE grouped (record) AS (
    SELECT id FROM record WHERE name = :name
    UNION
    SELECT a.other FROM grouped g JOIN standing s ON s.record = g.record AND {_STANDS} JOIN alias a ON a.revision = s.revision
    UNION
    SELECT s.record FROM grouped g JOIN alias a ON a.other = g.record JOIN standing s ON s.revision = a.revision AND {_STANDS}
)
SELECT r.id, r.name FROM grouped g JOIN record r ON r.id = g.record ORDER BY r.name
"""  # noqa: S608  its parts are constants
_REVISIONS: Final = f"""
SELECT v.*, r.name, EXISTS (SELECT 1 FROM standing s WHERE s.revision = v.id AND {_STANDS}) AS stands
FROM revision v JOIN record r ON r.id = v.record WHERE v.record = :record AND v.received_us <= :k ORDER BY v.number
"""  # noqa: S608  its parts are constants
_CARRIED: Final = """
SELECT c.source, c.signed, c.feed FROM carried c JOIN feed f ON f.entry = c.feed
WHERE c.revision = :revision AND f.received_us <= :k ORDER BY c.feed
"""
_ADVISED: Final = f"""
SELECT DISTINCT v.*, r.name, 1 AS stands, p.name AS package, p.ecosystem, a.number AS place, a.rule
FROM package p JOIN affected a ON a.package = p.id JOIN revision v ON v.id = a.revision
JOIN record r ON r.id = v.record JOIN standing s ON s.revision = v.id
WHERE p.name = :name AND p.base = :base AND {_STANDS} ORDER BY r.name, v.number, a.number
"""  # noqa: S608  its parts are constants
_WINDOWS: Final = """
SELECT s.*, r.name FROM had s JOIN record r ON r.id = s.record
WHERE s.record = :record AND s.stated AND s.from_us <= :k AND (s.until_us IS NULL OR s.until_us > :k) ORDER BY s.entry
"""
_STATED: Final = """
SELECT DISTINCT t.entry, t.number, t.vendor, t.stated, d.received_us FROM statement t JOIN document d ON d.entry = t.entry
WHERE t.vendor = coalesce(:vendor, t.vendor) AND d.received_us <= :k ORDER BY t.entry, t.number
"""
_QUARANTINED: Final = "SELECT feed, number, name, why FROM quarantine WHERE feed = coalesce(:feed, feed) ORDER BY feed, number"
_FRESH: Final = "SELECT v.id, r.name FROM revision v JOIN record r ON r.id = v.record WHERE v.feed = :entry ORDER BY v.id"


class Advisories:
    """The questions, of one data directory. `path` says where a digest's bytes lie. From any thread."""

    def __init__(self, data: Path, log: Log, path: Callable[[str], Path], *, origin: str) -> None:
        self._path = path
        self._derived = Derived(data, log, AdvisoriesFold(path), origin=origin)

    @property
    def place(self) -> Path:
        """The file, for whoever joins its tables with others'. Read it after `catch_up`."""
        return self._derived.path

    def catch_up(self) -> int:
        """Take in what was committed since; returns the index of the first entry that was not read."""
        return self._derived.catch_up()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only view of the tables as they are now, caught up."""
        with self._derived.reading() as connection:
            yield connection

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()

    # --- ids

    def finding(self, name: str, as_of_us: int | None = None) -> Finding:
        """The finding that an id belongs to; NotFound if no record of it was known."""
        with self.reading() as connection:
            return _finding(connection, name, _known(as_of_us))

    def revisions(self, name: str, as_of_us: int | None = None) -> tuple[Revision, ...]:
        """Every revision of every record of the finding that an id belongs to, by arrival; NotFound likewise."""
        k = _known(as_of_us)
        with self.reading() as connection:
            found = [each for record, _ in _group(connection, name, k) for each in _revisions(connection, record, k)]
        if not found:
            raise _unknown(name)
        return tuple(sorted(found, key=lambda each: each.row))

    def names(self, ids: Iterable[str], as_of_us: int | None = None) -> dict[str, str]:
        """The name of the finding that each id belongs to; an id that is not known is its own."""
        k = _known(as_of_us)
        answer: dict[str, str] = {}
        with self.reading() as connection:
            for name in ids:
                if name not in answer:
                    group = _group(connection, name, k)
                    recorded = [other for record, other in group if _is_recorded(connection, record, k)]
                    first = _first(recorded) if recorded else name
                    answer.update(dict.fromkeys([other for _, other in group], first))
                    answer[name] = first
        return answer

    def brought(self, entry: int) -> tuple[str, ...]:
        """The ids of the records of which a feed brought a revision that nobody had brought before."""
        with self.reading() as connection:
            return tuple(dict.fromkeys(row["name"] for row in connection.execute(_FRESH, {"entry": entry})))

    def raw(self, revision: Revision) -> bytes:
        """The record's bytes, as they came; NotFound or Invalid if the feed's blob does not hold them any more."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT v.offset, v.length, v.crc, f.digest FROM revision v JOIN feed f ON f.entry = v.feed WHERE v.id = :row",
                {"row": revision.row},
            ).fetchone()
        return feed.read(self._path(row["digest"]), row["offset"], row["length"], row["crc"])

    def advisory(self, revision: Revision) -> Advisory:
        """The record, read."""
        return Advisory.read(self.raw(revision))

    # --- packages

    def by_package(self, package: Package, as_of_us: int | None = None) -> tuple[Advised, ...]:
        """What standing revisions say of a package, in any release of its ecosystem; withdrawn ones too."""
        base = package.ecosystem.partition(":")[0]
        k = _known(as_of_us)
        with self.reading() as connection:
            rows = connection.execute(_ADVISED, {"name": package.name, "base": base, "k": k}).fetchall()
            return tuple(
                Advised(_revision(connection, row, k), Affected.from_rule(Package(row["ecosystem"], row["package"]), row["rule"]))
                for row in rows
            )

    # --- windows

    def windows(self, name: str, as_of_us: int | None = None) -> Windows:
        """When what an id names could be had, by all sources that were known."""
        k = _known(as_of_us)
        with self.reading() as connection:
            rows = [row for record, _ in _group(connection, name, k) for row in connection.execute(_WINDOWS, _at(record, k))]
        rows.sort(key=lambda row: row["entry"])
        return Windows(
            tuple(
                Window(
                    entry=row["entry"],
                    id=row["name"],
                    channel=row["channel"],
                    source=row["source"],
                    start_us=row["start_us"],
                    end_us=row["end_us"],
                    ecosystem=row["ecosystem"],
                    image=row["image"],
                    tag=row["tag"],
                )
                for row in rows
            )
        )

    # --- statements

    def vex(self, vendor: str | None = None, as_of_us: int | None = None) -> tuple[Stated, ...]:
        """What one vendor states, or all do, the oldest first. Declared: it decides nothing about a malicious package."""
        with self.reading() as connection:
            rows = connection.execute(_STATED, {"vendor": vendor, "k": _known(as_of_us)}).fetchall()
        read = [(row, Statement.from_json(json.loads(row["stated"]))) for row in rows]
        newest = {
            (row["vendor"], name, product): (row["entry"], row["number"])
            for row, statement in read
            for name in statement.names
            for product in statement.products
        }
        return tuple(
            Stated(
                entry=row["entry"],
                vendor=row["vendor"],
                received_us=row["received_us"],
                statement=statement,
                newest=any(
                    newest[row["vendor"], name, product] == (row["entry"], row["number"])
                    for name in statement.names
                    for product in statement.products
                ),
            )
            for row, statement in read
        )

    # --- feeds

    def feeds(self, as_of_us: int | None = None) -> tuple[Feed, ...]:
        """Every feed, the oldest first."""
        with self.reading() as connection:
            rows = connection.execute("SELECT * FROM feed WHERE received_us <= :k ORDER BY entry", {"k": _known(as_of_us)})
            return tuple(_feed(row) for row in rows)

    def feed(self, entry: int) -> Feed:
        """One feed; NotFound if the entry is none."""
        with self.reading() as connection:
            row = connection.execute("SELECT * FROM feed WHERE entry = :entry", {"entry": entry}).fetchone()
        if row is None:
            raise NotFound(f"an advisory feed at entry {entry}")
        return _feed(row)

    def entered(self, digest: str, source: str, *, signed: bool) -> Feed | None:
        """The feed with these bytes from this source, if it was entered already, and was signed no less than this time."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT * FROM feed WHERE digest = :digest AND source = :source AND signed >= :signed ORDER BY entry LIMIT 1",
                {"digest": digest, "source": source, "signed": int(signed)},
            ).fetchone()
        return None if row is None else _feed(row)

    def quarantined(self, entry: int | None = None) -> tuple[Quarantined, ...]:
        """What is no record, of one feed or of all, and why."""
        with self.reading() as connection:
            return tuple(Quarantined(*row) for row in connection.execute(_QUARANTINED, {"feed": entry}))

    def quarantined_raw(self, entry: int, number: int) -> bytes:
        """The bytes of a piece that is no record; NotFound if there is none."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT q.offset, q.length, q.crc, f.digest FROM quarantine q JOIN feed f ON f.entry = q.feed"
                " WHERE q.feed = :entry AND q.number = :number",
                {"entry": entry, "number": number},
            ).fetchone()
        if row is None:
            raise NotFound(f"piece {number} of feed {entry} in quarantine")
        path = self._path(row["digest"])
        with suppress(Invalid):  # what can't be inflated is shown as it lies there
            return feed.read(path, row["offset"], row["length"], row["crc"])
        return feed.read(path, row["offset"], row["length"], None)

    def census(self) -> dict[str, int]:
        """How much there is of each."""
        counted = {
            "records": "SELECT count(DISTINCT record) FROM revision",
            "revisions": "SELECT count(*) FROM revision",
            "packages": "SELECT count(*) FROM package",
            "feeds": "SELECT count(*) FROM feed",
            "quarantined": "SELECT count(*) FROM quarantine",
        }
        with self.reading() as connection:
            return {name: int(connection.execute(question).fetchone()[0]) for name, question in counted.items()}


def _known(as_of_us: int | None) -> int:
    return ALWAYS if as_of_us is None else as_of_us


def _at(record: int, k: int) -> dict[str, int]:
    return {"record": record, "k": k}


def _unknown(name: str) -> NotFound:
    return NotFound(f"an advisory {name}; import a feed that holds it with `limen advisory import`")


def _first(names: Iterable[str]) -> str:
    """The one that a finding is called by: OpenSSF's ids before others, and the alphabet's first."""
    return min(names, key=lambda name: (not name.startswith("MAL-"), name))


def _group(connection: sqlite3.Connection, name: str, k: int) -> list[tuple[int, str]]:
    return [(row["id"], row["name"]) for row in connection.execute(_GROUP, {"name": name, "k": k})]


def _is_recorded(connection: sqlite3.Connection, record: int, k: int) -> bool:
    question = "SELECT 1 FROM revision WHERE record = :record AND received_us <= :k LIMIT 1"
    return connection.execute(question, _at(record, k)).fetchone() is not None


def _finding(connection: sqlite3.Connection, name: str, k: int) -> Finding:
    group = _group(connection, name, k)
    standing = [each for record, _ in group for each in _revisions(connection, record, k) if each.standing]
    if not standing:
        raise _unknown(name)
    ids = tuple(other for _, other in group)
    return Finding(_first(each.id for each in standing), ids, tuple(standing))


def _revisions(connection: sqlite3.Connection, record: int, k: int) -> list[Revision]:
    return [_revision(connection, row, k) for row in connection.execute(_REVISIONS, _at(record, k)).fetchall()]


def _revision(connection: sqlite3.Connection, row: sqlite3.Row, k: int) -> Revision:
    carriers = connection.execute(_CARRIED, {"revision": row["id"], "k": k})
    return Revision(
        row=row["id"],
        id=row["name"],
        number=row["number"],
        entry=row["feed"],
        digest=row["digest"].hex(),
        received_us=row["received_us"],
        modified_us=row["modified_us"],
        published_us=row["published_us"],
        withdrawn_us=row["withdrawn_us"],
        malicious=bool(row["malicious"]),
        summary=row["summary"],
        standing=bool(row["stands"]),
        carriers=tuple(Carrier(each["source"], bool(each["signed"]), each["feed"]) for each in carriers),
    )


def _feed(row: Any) -> Feed:
    return Feed(**{**dict(row), "signed": bool(row["signed"])})
