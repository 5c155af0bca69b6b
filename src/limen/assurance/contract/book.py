"""Which contracts and waivers were in force, as far as the log knew at a given time; and the runs of the gate.

`Contracts` answers from a derived file, so that none of it is the truth: the log is. A contract set again under its own id is
amended as a whole, from its beginning. In force is the one whose days hold the moment; before the first begins, the next one;
after the last has ended, that one. Waivers stand in the contract's JSON form when it is judged: they are part of what was asked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import NotFound, TamperDetected
from limen.derived import Derived
from limen.filing import time_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from limen.derived import Log

ADMISSION: Final = "onboarding"  # what a waiver names that admits a vendor before its gate has passed
_SCHEMA: Final = """
CREATE TABLE contract (
    entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, vendor TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
    form TEXT NOT NULL, starts TEXT NOT NULL, ends TEXT NOT NULL
) STRICT;
CREATE TABLE waiver (
    entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, vendor TEXT NOT NULL, contract TEXT NOT NULL, clause TEXT NOT NULL,
    starts TEXT NOT NULL, until TEXT NOT NULL, signed_by TEXT NOT NULL, shown TEXT NOT NULL
) STRICT;
CREATE TABLE waiver_end (entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, waiver INTEGER NOT NULL, until TEXT NOT NULL) STRICT;
CREATE TABLE run (
    entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, vendor TEXT NOT NULL, purpose TEXT NOT NULL, contract INTEGER NOT NULL,
    form TEXT NOT NULL, facts TEXT NOT NULL, verdict TEXT NOT NULL, as_of TEXT NOT NULL, outcome TEXT NOT NULL, decision TEXT
) STRICT
"""
_TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {  # what of an entry of each kind stands in which table
    "contract.set": ("contract", ("vendor", "contract", "digest", "form", "starts", "ends")),
    "waiver.add": ("waiver", ("vendor", "contract", "clause", "starts", "until", "acting", "shown")),
    "waiver.end": ("waiver_end", ("waiver", "until")),
    "gate.run": ("run", ("vendor", "purpose", "contract", "form", "facts", "digest", "as_of", "outcome", "decision")),
}
_EVER: Final = 2**62


class _Fold:
    """The entries about contracts as rows, one for one."""

    name = "contracts"
    version = 1
    schema = _SCHEMA
    kinds: Sequence[str] = tuple(_TABLES)

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """One row, of what the entry itself says."""
        table, names = _TABLES[entry["kind"]]
        values = (index, time_of(entry), *(entry[name] for name in names))
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608  our own words


@dataclass(frozen=True, slots=True)
class Set:
    """A contract as it was filed: `digest` of its YAML, `form` of its JSON form without waivers."""

    entry: int
    at_us: int
    vendor: str
    id: str
    digest: str
    form: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class Waiver:
    """A clause that somebody waived, for days [starts, until); `until` is where it was ended, if it was."""

    entry: int
    at_us: int
    vendor: str
    contract: str
    clause: str
    starts: str
    until: str
    signed_by: str
    shown: str
    ended: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the gate: what it judged by, and what came of it."""

    entry: int
    at_us: int
    vendor: str
    purpose: str
    contract: int
    form: str
    facts: str
    verdict: str
    as_of: str
    outcome: str
    decision: str | None


class Contracts:
    """The contracts of all vendors. May be asked from any thread; reads the disk."""

    def __init__(self, data: Path, log: Log, read: Callable[[str], bytes], *, origin: str) -> None:
        self._derived = Derived(data, log, _Fold(), origin=origin)
        self._read = read

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()

    def sets(self, vendor: str | None = None, as_of_us: int | None = None) -> list[Set]:
        """Every contract that was filed, amendments too, in the log's order."""
        query = "SELECT * FROM contract WHERE at_us <= :known AND (:vendor IS NULL OR vendor = :vendor) ORDER BY entry"
        with self._derived.reading() as connection:
            return [Set(*row) for row in connection.execute(query, _asked(vendor, as_of_us))]

    def waivers(self, vendor: str | None = None, as_of_us: int | None = None) -> list[Waiver]:
        """Every waiver, ended and expired ones too, in the log's order."""
        query = """
            SELECT w.entry, w.at_us, vendor, contract, clause, starts, min(w.until, ifnull(min(e.until), w.until)),
                signed_by, shown, min(e.entry)
            FROM waiver w LEFT JOIN waiver_end e ON e.waiver = w.entry AND e.at_us <= :known
            WHERE w.at_us <= :known AND (:vendor IS NULL OR vendor = :vendor) GROUP BY w.entry ORDER BY w.entry
        """
        with self._derived.reading() as connection:
            return [Waiver(*row) for row in connection.execute(query, _asked(vendor, as_of_us))]

    def runs(self, vendor: str | None = None, as_of_us: int | None = None) -> list[Run]:
        """Every run of the gate, in the log's order."""
        query = "SELECT * FROM run WHERE at_us <= :known AND (:vendor IS NULL OR vendor = :vendor) ORDER BY entry"
        with self._derived.reading() as connection:
            return [Run(*row) for row in connection.execute(query, _asked(vendor, as_of_us))]

    def run(self, entry: int) -> Run:
        """The run of one entry; NotFound if that is none."""
        found = next((run for run in self.runs() if run.entry == entry), None)
        if found is None:
            raise NotFound(f"a run of the gate at entry {entry}")
        return found

    def in_force(self, vendor: str, as_of_us: int, *, id_: str | None = None) -> Set:
        """The contract that a vendor is judged by at a moment; NotFound if none was known then."""
        newest = {one.id: one for one in self.sets(vendor, as_of_us) if id_ is None or one.id == id_}
        if not newest:
            named = f" with the id {id_}" if id_ else ""
            raise NotFound(f"a contract of {vendor}{named}; set one with `limen contract set`")
        day = last_day(as_of_us)
        holding = [one for one in newest.values() if one.starts <= day < one.ends]
        if holding:
            return max(holding, key=lambda one: one.entry)
        coming = [one for one in newest.values() if one.starts > day]
        return min(coming, key=lambda one: one.starts) if coming else max(newest.values(), key=lambda one: one.ends)

    def form(self, contract: Set, as_of_us: int) -> dict[str, Any]:
        """The contract as it is judged: its JSON form with the waivers of its clauses that were known at a moment."""
        raw = self.blob(contract.form, contract.entry)
        form: dict[str, Any] = json.loads(raw)
        waivers = [
            {"clause": one.clause, "from": one.starts, "until": one.until, "signed_by": one.signed_by, "entry": one.entry}
            for one in self.waivers(contract.vendor, as_of_us)
            if one.contract == contract.id and one.clause != ADMISSION and one.starts < one.until
        ]
        return {**form, "entry": contract.entry, "document": contract.digest, "waivers": waivers}

    def blob(self, name: str, entry: int) -> bytes:
        """Bytes that an entry names; TamperDetected if they are not what it says."""
        try:
            raw = self._read(name)
        except (NotFound, OSError) as e:
            raise TamperDetected(f"the bytes that entry {entry} names are gone ({name[:16]})", index=entry) from e
        if digest_of(raw) != name:
            raise TamperDetected(f"the bytes that entry {entry} names are not those that were filed", index=entry)
        return raw


def digest_of(raw: bytes) -> str:
    """SHA-256 in hex of bytes: for a canonical form the same as `verdict.digest` of its value."""
    return hashlib.sha256(raw).hexdigest()


def last_day(at_us: int) -> str:
    """The last UTC day that has begun before a moment: at 00:00 sharp the day before."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us - 1)).date().isoformat()


def day_us(day: str) -> int:
    """The moment at which a day begins."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * 86_400_000_000


def _asked(vendor: str | None, as_of_us: int | None) -> dict[str, object]:
    return {"vendor": vendor, "known": _EVER if as_of_us is None else as_of_us}
