"""Answers from the vendors' BOMs: what was where, for which times they speak, what they leave unsaid, and their own bytes.

Every question takes `as_of_us`: only BOMs received up to then count (None: all). No answer depends on when it is asked: a
coverage may reach into the future, and whoever has a clock cuts it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.assurance.bom.history import History
from limen.assurance.bom.services import PROVIDER, Binding, Disclosing, service
from limen.assurance.bom.values import MAX_AGE_US, Bom, Coverage, Presence
from limen.core.errors import NotFound, TamperDetected
from limen.derived import Derived
from limen.formats.purl import Package

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from limen.assurance.bom.values import Service
    from limen.derived import Log
    from limen.formats.cyclonedx import Document

_KNOWN: Final = "p.received_us <= :known AND (p.superseded_us IS NULL OR p.superseded_us > :known)"
_PRESENCES: Final = """
SELECT p.vendor, k.ecosystem, k.name, c.version, c.purl, p.path, p.start_us, p.end_us, p.bom, c.digests, p.scope, c.name
FROM presence p JOIN component c ON c.id = p.component LEFT JOIN package k ON k.id = c.package
"""
_COUNTING: Final = """
SELECT entry, services FROM bom WHERE vendor = :vendor AND quarantined = '' AND received_us <= :known
ORDER BY effective_us, received_us, entry
"""
_DECLARED: Final = """
SELECT d.name FROM declared d JOIN bom b ON b.entry = d.bom WHERE d.vendor = :vendor AND b.received_us <= :known
"""
_SAID: Final = """
SELECT s.classification, s.class FROM binding s JOIN bom b ON b.entry = s.bom
WHERE s.vendor = :vendor AND b.received_us <= :known ORDER BY s.bom, s.rowid
"""
_EVER: Final = 2**63 - 1  # later than anything that was received


@dataclass(frozen=True, slots=True)
class Standing:
    """How a vendor stands with its BOMs at a time: `state` is the worst of what `why` says, `bom` the entry that speaks.

    `state`: `none` (there never was one that counts), `stale` (the last one is too old to speak for that time), `incomplete`
    (it speaks, but absence can't be said) or `good`. `since_us`: when the last one's own time was; None if there is none.
    """

    vendor: str
    state: str
    why: str
    bom: int | None = None
    since_us: int | None = None


class Boms:
    """The vendors' BOMs. Questions may be asked from any thread; each reads the disk."""

    def __init__(self, data: Path, log: Log, read: Callable[[str], bytes], *, origin: str) -> None:
        self._history = History(read)
        self._derived = Derived(data, log, self._history, origin=origin)
        self._read = read

    @property
    def path(self) -> Path:
        """The SQLite file, for whoever attaches it; `history` says what its tables mean. Ask `reading` first: it catches up."""
        return self._derived.path

    def expect(self, digest: str, document: Document) -> None:
        """A BOM is about to be entered whose bytes have this digest and were just read to this document."""
        self._history.expect(digest, document)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A view of the tables, up to date with the log, that does not change while it is open."""
        with self._derived.reading() as connection:
            yield connection

    def close(self) -> None:
        """Close the file."""
        self._derived.close()

    def vendors(self, as_of_us: int | None = None) -> tuple[str, ...]:
        """The vendors of whom any BOM was received, those in quarantine too; sorted."""
        with self.reading() as connection:
            query = "SELECT DISTINCT vendor FROM bom WHERE received_us <= :known ORDER BY vendor"
            return tuple(row["vendor"] for row in connection.execute(query, {"known": _known(as_of_us)}))

    def presences(
        self, vendor: str | None = None, as_of_us: int | None = None, *, package: Package | None = None
    ) -> list[Presence]:
        """What was where, by vendor and time; of one vendor or one package, if given.

        Two hundred thousand of them weigh some 150 MB: whoever needs all reads the tables (`reading`).
        """
        query, values = _PRESENCES, dict[str, object](known=_known(as_of_us))
        conditions = ["p.superseded_us IS NULL" if as_of_us is None else _KNOWN]
        if vendor is not None:
            conditions.append("p.vendor = :vendor")
            values["vendor"] = vendor
        if package is not None:
            conditions.append("k.ecosystem = :ecosystem AND k.name = :name")
            values |= {"ecosystem": package.ecosystem, "name": package.name}
        query += f" WHERE {' AND '.join(conditions)} ORDER BY p.vendor, p.start_us, c.purl, c.name, p.path, p.id"
        with self.reading() as connection:
            return [_presence(row) for row in connection.execute(query, values)]

    def revisions(self, vendor: str | None = None, as_of_us: int | None = None) -> list[Bom]:
        """Every BOM received, those in quarantine too, in the order of their entries; of one vendor, if given."""
        query = "SELECT * FROM bom WHERE received_us <= :known AND (:vendor IS NULL OR vendor = :vendor) ORDER BY entry"
        with self.reading() as connection:
            return [_bom(row) for row in connection.execute(query, {"known": _known(as_of_us), "vendor": vendor})]

    def coverage(self, vendor: str, as_of_us: int | None = None, *, max_age_us: int = MAX_AGE_US) -> list[Coverage]:
        """For which times the vendor's BOMs speak, and whether they are complete; sorted, none overlapping another.

        A BOM in quarantine speaks for nothing. But from its effective time to that of the next BOM that counts, the one
        before it can't be called complete: something has changed that nobody can read.
        """
        return coverage_of(self.revisions(vendor, as_of_us), max_age_us=max_age_us)

    def standing(self, vendor: str, at_us: int, as_of_us: int | None = None, *, max_age_us: int = MAX_AGE_US) -> Standing:
        """How the vendor stands with its BOMs at one moment."""
        revisions = self.revisions(vendor, as_of_us)
        counting = [bom for bom in revisions if not bom.quarantined and bom.effective_us <= at_us]
        if not counting:
            why = f"there is no BOM of {vendor}"
            if revisions:
                why = f"the BOM of entry {revisions[-1].entry} does not count: {revisions[-1].quarantined or 'it came later'}"
            return Standing(vendor, "none", why)
        last = max(counting, key=lambda bom: (bom.effective_us, bom.received_us, bom.entry))
        covering = next((c for c in coverage_of(revisions, max_age_us=max_age_us) if c.start_us <= at_us < c.end_us), None)
        if covering is None:
            return Standing(vendor, "stale", "the last BOM is too old to speak for this time", last.entry, last.effective_us)
        if not covering.complete:
            return Standing(vendor, "incomplete", covering.why, last.entry, last.effective_us)
        return Standing(vendor, "good", "", last.entry, last.effective_us)

    def raw(self, entry: int) -> bytes:
        """A BOM's bytes as they came. NotFound if the entry files none; TamperDetected if they rest changed."""
        digest = self.digest(entry)
        raw = self._read(digest)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise TamperDetected(f"the bytes of the BOM of entry {entry} are not those that were filed", index=entry)
        return raw

    def digest(self, entry: int) -> str:
        """The digest of the BOM that an entry files; NotFound if it files none."""
        with self.reading() as connection:
            row = connection.execute("SELECT digest FROM bom WHERE entry = :entry", {"entry": entry}).fetchone()
        if row is None:
            raise NotFound(f"BOM of entry {entry}")
        return str(row["digest"])

    def services(
        self,
        vendor: str,
        as_of_us: int | None = None,
        *,
        classes: Iterable[str],
        assets: Mapping[str, str],
        entry: int | None = None,
    ) -> list[Service]:
        """The services of a vendor's newest BOM (or of that entry's), their data bound to asset classes.

        `classes` are the names of the lab's asset classes, `assets` maps the ids of its assets to their classes. `services`
        says how data is bound, and which providers count as undisclosed.
        """
        values = {"vendor": vendor, "known": _known(as_of_us)}
        with self.reading() as connection:
            rows = connection.execute(_COUNTING, values).fetchall()
            declared = [row["name"] for row in connection.execute(_DECLARED, values)]
            said = [(row["classification"], row["class"]) for row in connection.execute(_SAID, values)]
        of = next((row for row in reversed(rows) if entry in {None, row["entry"]}), None)
        if of is None:
            return []
        earlier = rows[: rows.index(of)]
        disclosing = Disclosing.of(
            vendor, declared, [found[PROVIDER] for row in earlier for found in json.loads(row["services"])], first=not earlier
        )
        binding = Binding.of(classes, assets, said)
        return [service(vendor, of["entry"], found, disclosing, binding) for found in json.loads(of["services"])]


def coverage_of(revisions: list[Bom], *, max_age_us: int = MAX_AGE_US) -> list[Coverage]:
    """The coverage that one vendor's BOMs give, as `Boms.coverage` says."""
    found: list[Coverage] = []
    ordered = sorted(revisions, key=lambda bom: (bom.effective_us, bom.received_us, bom.entry))
    speaking: Bom | None = None
    unread = ""
    for i, bom in enumerate(ordered):
        if bom.quarantined:
            unread = f"a later BOM (entry {bom.entry}) can't be read, so what changed is not known"
        else:
            speaking, unread = bom, ""
        if speaking is None:
            continue
        end = speaking.effective_us + max_age_us
        if i + 1 < len(ordered):
            end = min(end, ordered[i + 1].effective_us)
        if bom.effective_us < end:
            complete = speaking.complete and not unread
            found.append(Coverage(speaking.vendor, bom.effective_us, end, complete, speaking.entry, unread or speaking.why))
    return found


def _presence(row: sqlite3.Row) -> Presence:
    package = None if row[1] is None else Package(row[1], row[2])
    digests = tuple(row[9].split(",")) if row[9] else ()
    return Presence(row[0], package, row[3], row[4], row[5], row[6], row[7], row[8], digests, row[10], row[11])


def _bom(row: sqlite3.Row) -> Bom:
    return Bom(
        entry=row["entry"],
        vendor=row["vendor"],
        digest=row["digest"],
        length=row["length"],
        serial=row["serial"],
        version=row["version"],
        spec=row["spec"],
        effective_us=row["effective_us"],
        received_us=row["received_us"],
        components=row["components"],
        unnamed=row["unnamed"],
        complete=bool(row["complete"]),
        why=row["why"],
        gaps=tuple(json.loads(row["gaps"])),
        quarantined=row["quarantined"],
    )


def _known(as_of_us: int | None) -> int:
    return _EVER if as_of_us is None else as_of_us
