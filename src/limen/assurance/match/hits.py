"""Advisories against bills of material, all at once or one by one: where a record and a component of a vendor's meet.

Both sides are derived files; they are joined in SQLite by package, and only what shares one is judged, each version of it once.
So the work grows with what vendors run, not with how many advisories there are nor how many BOMs there have been. All of it is
as known at a time, both in what was advised and in what was listed.

Components whose scope says that they were not installed are met too, and said to be so: `scope` is CycloneDX's word.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from limen.assurance.bom.values import Presence
from limen.assurance.match.act import Act, Strike
from limen.formats.osv import Affected, same
from limen.formats.purl import CONTAINER, Package, image_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from limen.assurance.bom.boms import Boms

# Ecosystem and name as listed, ecosystem as advised, revision, rule; components with version and digests.
_Row = tuple[str, str, str, int, str, "Sequence[tuple[int, str, str]]"]
REQUIRED: Final = "required"
_FURTHER: Final = ("", *Act)  # what a source may do by itself, the least first
_NOW: Final = 2**62  # later than anything: what is known now
# What stood at `:k`: rows are closed when what they say is not known any more.
_STANDS: Final = """
SELECT 1 FROM revision r JOIN standing s ON s.revision = r.id WHERE r.id = {revision} AND r.withdrawn_us IS NULL
    AND (r.malicious OR NOT :malicious) AND s.from_us <= :k AND (s.until_us IS NULL OR s.until_us > :k)
"""
# CROSS JOIN keeps SQLite to this order: from what vendors run to what is advised, never through all that is.
_ADVISED: Final = f"""
SELECT listed.id, listed.ecosystem, listed.name, advised.ecosystem, a.revision, a.rule
FROM boms.package listed
CROSS JOIN package advised ON advised.name = listed.name
    AND advised.base = substr(listed.ecosystem, 1, instr(listed.ecosystem || ':', ':') - 1)
CROSS JOIN affected a ON a.package = advised.id
WHERE EXISTS ({_STANDS.format(revision="a.revision")})
"""  # noqa: S608  a constant
_COMPONENTS: Final = """
SELECT c.package, c.id, c.version, c.digests FROM json_each(:packages) wanted
CROSS JOIN boms.component c ON c.package = wanted.value
"""
_RULES: Final = """
SELECT a.revision, a.rule, p.ecosystem AS advised, p.name FROM affected a JOIN package p ON p.id = a.package
WHERE a.revision IN (SELECT value FROM json_each(:revisions))
"""
_ECOSYSTEMS: Final = """
WITH RECURSIVE each(ecosystem) AS (
    SELECT min(ecosystem) FROM boms.package WHERE ecosystem >= :base
    UNION ALL
    SELECT (SELECT min(ecosystem) FROM boms.package WHERE ecosystem > each.ecosystem) FROM each
    WHERE each.ecosystem = :base OR each.ecosystem LIKE :base || ':%'
)
SELECT ecosystem FROM each WHERE ecosystem = :base OR ecosystem LIKE :base || ':%'
"""
_LISTED: Final = """
SELECT c.id, c.version, c.digests FROM boms.package p JOIN boms.component c ON c.package = p.id
WHERE p.ecosystem = :ecosystem AND p.name = :name
"""
_NAMED_ALIKE: Final = """
SELECT id FROM boms.component WHERE package IS NULL AND lower(name) IN (SELECT value FROM json_each(:names))
"""
_DIGESTS: Final = f"SELECT d.digest, d.revision FROM digest d WHERE EXISTS ({_STANDS.format(revision='d.revision')})"  # noqa: S608
_OWN_DIGESTS: Final = "SELECT digest, revision FROM digest WHERE revision IN (SELECT value FROM json_each(:revisions))"
_HASHED: Final = "SELECT id, digests FROM boms.component WHERE digests <> ''"
_KNOWN: Final = "p.received_us <= :k AND (p.superseded_us IS NULL OR p.superseded_us > :k)"
_WHERE: Final = f"""
SELECT p.component, p.vendor, p.scope, p.start_us, p.end_us, p.bom FROM json_each(:components) wanted
CROSS JOIN boms.presence p ON p.component = wanted.value WHERE {_KNOWN}
"""  # noqa: S608  a constant
_PRESENT: Final = f"""
SELECT p.vendor, k.ecosystem, k.name, c.version, c.purl, p.path, p.start_us, p.end_us, p.bom, c.digests, p.scope, c.name
FROM json_each(:components) wanted CROSS JOIN boms.presence p ON p.component = wanted.value
JOIN boms.component c ON c.id = p.component LEFT JOIN boms.package k ON k.id = c.package WHERE {_KNOWN}
"""  # noqa: S608  a constant
_NAMES: Final = """
SELECT c.id, k.ecosystem, k.name, c.version, coalesce(nullif(c.purl, ''), c.name) FROM json_each(:components) wanted
CROSS JOIN boms.component c ON c.id = wanted.value LEFT JOIN boms.package k ON k.id = c.package
"""
_FLOATED: Final = f"""
SELECT r.name, v.feed, h.image, h.tag, h.start_us, h.end_us FROM had h JOIN record r ON r.id = h.record
JOIN revision v ON v.record = h.record
WHERE h.stated AND h.tag <> '' AND h.until_us IS NULL AND EXISTS ({_STANDS.format(revision="v.id")})
"""  # noqa: S608  a constant
_LONE: Final = """
SELECT r.name FROM json_each(:ids) wanted CROSS JOIN record r ON r.name = wanted.value
WHERE NOT EXISTS (SELECT 1 FROM alias a WHERE a.other = r.id)
    AND NOT EXISTS (SELECT 1 FROM revision v JOIN alias a ON a.revision = v.id WHERE v.record = r.id)
"""
_REVISIONS: Final = """
SELECT r.id, record.name, r.feed, c.source, c.signed FROM revision r JOIN record ON record.id = r.record
LEFT JOIN carried c ON c.revision = r.id WHERE r.id IN (SELECT value FROM json_each(:revisions))
"""


class Readable(Protocol):
    """What gives a read-only view of a derived file."""

    def reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """A view that is up to date with the log."""


class Met(NamedTuple):
    """A revision of a record and a vendor's component, by their rows, where and when a BOM listed it.

    `said`: True if the record names it, None if that can't be said.
    """

    vendor: str
    component: int
    revision: int
    said: bool | None
    scope: str
    start_us: int
    end_us: int | None
    bom: int


class Told(NamedTuple):
    """`Met` with names; `feed`: the entry that brought the record. `may`: how far the sources that signed it go by themselves."""

    met: Met
    package: Package | None
    version: str
    purl: str
    id: str
    feed: int
    may: str


class Matching:
    """Questions to both derived files at once. From any thread. `sources`: how far what each signs may go by itself."""

    def __init__(self, boms: Boms, advisories: Readable, *, sources: Mapping[str, str] | None = None) -> None:
        self._boms = boms
        self._advisories = advisories
        self._sources = dict(sources or {})

    def all(self, *, malicious: bool = False, as_of_us: int | None = None) -> list[Met]:
        """Everything that meets; with `malicious`, only what records of malicious packages name."""
        asked = {"k": _NOW if as_of_us is None else as_of_us, "malicious": int(malicious)}
        with self._reading() as connection:
            advised = connection.execute(_ADVISED, asked).fetchall()
            components = _components(connection, {row[0] for row in advised})
            found = _judged((ecosystem, name, *rest, components.get(package, ())) for package, ecosystem, name, *rest in advised)
            _by_digest(connection, connection.execute(_DIGESTS, asked), found)
            return _met(connection, found, asked["k"])

    def of(self, revisions: Sequence[int], *, as_of_us: int | None = None) -> list[Met]:
        """What some revisions (their rows) meet, whether or not they stand."""
        k = _NOW if as_of_us is None else as_of_us
        with self._reading() as connection:
            found = _judged(_of(connection, revisions))
            _by_digest(connection, connection.execute(_OWN_DIGESTS, {"revisions": _json(revisions)}), found)
            return _met(connection, found, k)

    def told(self, found: Sequence[Met]) -> list[Told]:
        """The same with names, in their order."""
        with self._reading() as connection:
            components = {
                row[0]: row[1:] for row in connection.execute(_NAMES, {"components": _json({m.component for m in found})})
            }
            records = self._named(connection, {met.revision for met in found})
        answer = []
        for met in found:
            ecosystem, name, version, purl = components[met.component]
            package = None if ecosystem is None else Package(ecosystem, name)
            answer.append(Told(met, package, version, purl, *records[met.revision]))
        return answer

    def strikes(self) -> list[Strike]:
        """What records of malicious packages that stand name, by what is known now: one for each vendor, component and record.

        Images by a floating tag too, where a window says that it named the bad one. Nobody signs windows: nothing follows from
        one by itself.
        """
        found: dict[tuple[str, Package, str, str, str], Strike] = {}
        for told in self.told([met for met in self.all(malicious=True) if met.said and met.scope == REQUIRED]):
            package = told.package or Package("", told.purl)  # found by its digest alone
            names = (told.met.vendor, package, told.version, told.id, told.may)
            found[names] = Strike(*names[:3], told.met.bom, told.id, told.feed, told.may)
        for id_, feed, presence in self._floated():
            if presence.package is not None:
                names = (presence.vendor, presence.package, presence.version, id_, "")
                found[names] = Strike(*names[:3], presence.bom, id_, feed, "")
        return [found[names] for names in sorted(found)]

    def _floated(self) -> Iterator[tuple[str, int, Presence]]:
        """Images of a tag that began to run while a window says that it named what a malicious record is about."""
        with self._reading() as connection:
            windows = connection.execute(_FLOATED, {"k": _NOW, "malicious": 1}).fetchall()
        for id_, feed, image, tag, start_us, end_us in windows:
            named = image_of(image)
            for presences in self.listed([named[0]] if named else ()).values():
                for each in presences:
                    begun = start_us <= each.start_us < (_NOW if end_us is None else end_us)
                    if (
                        begun
                        and each.version == tag
                        and each.scope == REQUIRED
                        and not any(d.startswith("sha256:") for d in each.digests)
                    ):
                        yield id_, feed, each

    def newest(self) -> tuple[int, int]:
        """The newest entries of a feed or window and of a BOM: where neither is newer, nothing else meets. -1 for none."""
        with self._reading() as connection:
            [feed] = connection.execute(
                "SELECT max((SELECT coalesce(max(entry), -1) FROM feed), (SELECT coalesce(max(entry), -1) FROM had))"
            ).fetchone()
            [bom] = connection.execute("SELECT coalesce(max(entry), -1) FROM boms.bom").fetchone()
            return int(feed), int(bom)

    def lone(self, ids: Iterable[str]) -> set[str]:
        """Those of some ids that no record calls an alias of anything: each is a finding of its own."""
        with self._reading() as connection:
            return {name for (name,) in connection.execute(_LONE, {"ids": json.dumps(sorted(ids))})}

    def listed(
        self, packages: Iterable[Package], *, digests: Iterable[str] = (), as_of_us: int | None = None
    ) -> dict[str, list[Presence]]:
        """By vendor: its components of some packages, of no package but with such a name, or that have one of some digests."""
        wanted, hashes = sorted(packages), set(digests)
        with self._reading() as connection:
            alike = {"names": json.dumps(sorted({package.name.lower() for package in wanted}))}
            components = {row[0] for row in connection.execute(_NAMED_ALIKE, alike)}
            for package in wanted:
                for ecosystem in _ecosystems(connection, package.ecosystem):
                    names = {"ecosystem": ecosystem, "name": package.name}
                    components.update(row[0] for row in connection.execute(_LISTED, names))
            if hashes:
                rows = connection.execute(_HASHED)
                components.update(row[0] for row in rows if not hashes.isdisjoint(row[1].split(",")))
            found: dict[str, list[Presence]] = defaultdict(list)
            for row in _present(connection, components, _NOW if as_of_us is None else as_of_us):
                found[row[0]].append(_presence(row))
            return found

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Both files, up to date; rows as plain tuples, for there may be very many."""
        with self._boms.reading():
            pass  # it is up to date now
        with self._advisories.reading() as connection:
            connection.row_factory = None
            connection.execute("ATTACH DATABASE ? AS boms", (f"file:{self._boms.path}?mode=ro",))
            yield connection

    def _named(self, connection: sqlite3.Connection, revisions: Iterable[int]) -> dict[int, tuple[str, int, str]]:
        named: dict[int, tuple[str, int, str]] = {}
        for revision, name, feed, source, signed in connection.execute(_REVISIONS, {"revisions": _json(revisions)}):
            may = self._sources.get(source, "") if signed else ""
            before = named.get(revision, (name, feed, ""))
            named[revision] = name, feed, max(may, before[2], key=_FURTHER.index)
        return named


def _met(connection: sqlite3.Connection, found: dict[tuple[int, int], bool | None], k: int) -> list[Met]:
    by_component: dict[int, list[tuple[int, bool | None]]] = defaultdict(list)
    for (component, revision), said in found.items():
        by_component[component].append((revision, said))
    return [
        Met(vendor, component, revision, said, *when)
        for component, vendor, *when in connection.execute(_WHERE, {"components": _json(by_component), "k": k})
        for revision, said in by_component[component]
    ]


def _components(connection: sqlite3.Connection, packages: Iterable[int]) -> dict[int, list[tuple[int, str, str]]]:
    """By package: each component that any vendor ever had of it, with its version and digests."""
    found: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    for package, component, version, digests in connection.execute(_COMPONENTS, {"packages": _json(packages)}):
        found[package].append((component, version, digests))
    return found


def _judged(rows: Iterable[_Row]) -> dict[tuple[int, int], bool | None]:
    """(component, revision) -> what the revision says of it, where that is not *no*."""
    found: dict[tuple[int, int], bool | None] = {}
    for ecosystem, name, advised, revision, rule, components in rows:
        about = True if advised == ecosystem else same(advised, ecosystem)
        if about is False:
            continue
        holds = Affected.from_rule(Package(advised, name), rule).holder()
        for component, version, digests in components:
            said = holds(version)
            if said is None and ecosystem == CONTAINER and digests.startswith("sha256:"):
                said = holds(digests.partition(",")[0])
            if said is False:
                continue
            if about is None:
                said = None
            if said or (component, revision) not in found:
                found[component, revision] = said
    return found


def _of(connection: sqlite3.Connection, revisions: Sequence[int]) -> Iterator[_Row]:
    """What some revisions say, each with the components that they may be about."""
    for revision, rule, advised, name in connection.execute(_RULES, {"revisions": _json(revisions)}).fetchall():
        for ecosystem in _ecosystems(connection, advised):
            components = connection.execute(_LISTED, {"ecosystem": ecosystem, "name": name}).fetchall()
            yield ecosystem, name, advised, revision, rule, components


def _ecosystems(connection: sqlite3.Connection, advised: str) -> list[str]:
    """The ecosystems among the BOMs' that an advised one may be about: with its release, or without one."""
    rows = connection.execute(_ECOSYSTEMS, {"base": advised.partition(":")[0]})
    return [each for (each,) in rows if same(advised, each) is not False]


def _by_digest(
    connection: sqlite3.Connection, digests: Iterable[tuple[str, int]], found: dict[tuple[int, int], bool | None]
) -> None:
    """What carries a digest that a record names, whatever it is called."""
    advised: dict[str, list[int]] = defaultdict(list)
    for digest, revision in digests:
        advised[digest].append(revision)
    if not advised:
        return
    for component, mine in connection.execute(_HASHED):
        for digest in mine.split(","):
            for revision in advised.get(digest, ()):
                found[component, revision] = True


def _present(connection: sqlite3.Connection, components: Iterable[int], k: int) -> sqlite3.Cursor:
    return connection.execute(_PRESENT, {"components": _json(components), "k": k})


def _presence(row: tuple[Any, ...]) -> Presence:
    vendor, ecosystem, name, version, purl, path, start_us, end_us, bom, digests, scope, stated = row
    package = None if ecosystem is None else Package(ecosystem, name)
    hashes = tuple(digests.split(",")) if digests else ()
    return Presence(vendor, package, version, purl, path, start_us, end_us, bom, hashes, scope, stated)


def _json(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, sorted(numbers)))}]"
