"""Cases: samples of one leak that add up, as the log tells them. One row an entry, in a derived file that may be deleted.

A case's *looks* are its scored samples, in order. Each look is two entries: `trace.sample` with the sample's digest, before
anything is scored, and `trace.result` with the digest of the look's document (`response.look`), which holds the slots
observed and everything that was said. A sample that was logged and never scored is told too. A trace without a case is a
case of one look, called `sample-` and its entry's number.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.core.events import canonical
from limen.derived import Derived
from limen.filing import time_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from limen.derived import Log

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALONE: Final = re.compile(r"sample-[0-9]+")


def named(name: str) -> str:
    """A name that a case may be given; it stands in the log, where it can't be taken back."""
    if not _NAME.fullmatch(name) or _ALONE.fullmatch(name):
        raise Invalid("--case", f"{name!a} is no case's name: small letters, digits and ._- , 64 at most, not sample-NUMBER")
    return name


@dataclass(frozen=True, slots=True)
class Entered:
    """One entry about a case."""

    entry: int
    at_us: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LookTaken:
    """One scored sample: what was logged before, and after."""

    number: int
    sample: Entered
    result: Entered

    @property
    def digest(self) -> str:
        """The sample's."""
        return str(self.sample.fields["digest"])


@dataclass(frozen=True, slots=True)
class Case:
    """What the log says of one case. `unscored`: samples that were logged and have no result."""

    name: str
    looks: tuple[LookTaken, ...] = ()
    unscored: tuple[Entered, ...] = ()
    reviews: tuple[Entered, ...] = ()

    def of(self, digest: str) -> LookTaken | None:
        """The look that scored the sample with this digest, if one did."""
        return next((look for look in self.looks if look.digest == digest), None)

    def openings(self) -> dict[str, int]:
        """Pseudonyms whose names a second human has opened in this case, each with the entry that says so."""
        return {review.fields["who"]: review.entry for review in self.reviews if review.fields["outcome"] == "open"}


class CaseFold:
    """The rows: everything about traces, and the entries that commit to mark keys."""

    name = "cases"
    version = 1
    schema = """
        CREATE TABLE told (
            entry INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, at_us INTEGER NOT NULL, fields TEXT NOT NULL
        ) STRICT;
        CREATE INDEX told_by_name ON told (name, entry)
    """
    kinds: Sequence[str] = ("trace.", "case.", "key.commit")

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """One entry, under the case that it is about, or the asset whose key it commits to."""
        match entry["kind"]:
            case "trace.sample":
                name = entry.get("case") or f"sample-{index}"
            case "trace.result":
                of = connection.execute("SELECT name FROM told WHERE entry = :of", {"of": entry["sample"]}).fetchone()
                name = of["name"]
            case "key.commit":
                name = entry["asset"]
            case _:
                name = entry["case"]
        row = {"entry": index, "kind": entry["kind"], "name": name, "at": time_of(entry), "fields": canonical(entry).decode()}
        connection.execute("INSERT INTO told (entry, kind, name, at_us, fields) VALUES (:entry, :kind, :name, :at, :fields)", row)


@dataclass(slots=True)
class Cases:
    """The cases, to be asked from any thread. `alone` belongs to the event loop."""

    _derived: Derived
    _under_way: dict[str, asyncio.Lock] = field(default_factory=dict)  # a case's looks are taken one after the other

    @classmethod
    def of(cls, data: Path, log: Log, *, origin: str) -> Cases:
        """Over the derived file of a data directory; nothing is opened yet."""
        return cls(Derived(data, log, CaseFold(), origin=origin))

    def case(self, name: str) -> Case:
        """One case; NotFound if nothing was ever traced under this name."""
        found = self.find(name)
        if not (found.looks or found.unscored):
            raise NotFound(f"case {name}; `limen case list` shows those there are")
        return found

    def find(self, name: str) -> Case:
        """The same, but an empty case for a name that is new."""
        query = "SELECT * FROM told WHERE name = :name AND kind != 'key.commit' ORDER BY entry"
        with self._derived.reading() as connection:
            return _case(name, connection.execute(query, {"name": name}).fetchall())

    def all(self) -> list[Case]:
        """Every case, in the order of their first samples."""
        with self._derived.reading() as connection:
            rows = connection.execute("SELECT * FROM told WHERE kind != 'key.commit' ORDER BY entry").fetchall()
        by_name: dict[str, list[sqlite3.Row]] = {}
        for row in rows:
            by_name.setdefault(row["name"], []).append(row)
        return [_case(name, some) for name, some in by_name.items()]

    def commits(self) -> dict[tuple[str, int], Entered]:
        """By asset and version: the entry that committed to its mark key before the first serve."""
        with self._derived.reading() as connection:
            rows = connection.execute("SELECT * FROM told WHERE kind = 'key.commit' ORDER BY entry").fetchall()
        found: dict[tuple[str, int], Entered] = {}
        for row in rows:
            entered = _entered(row)
            found[entered.fields["asset"], entered.fields["version"]] = entered  # a crash may have left an earlier one
        return found

    def logged(self, digest: str) -> list[int]:
        """The entries that logged a sample with this digest, in order."""
        query = "SELECT entry FROM told WHERE kind = 'trace.sample' AND json_extract(fields, '$.digest') = :digest ORDER BY entry"
        with self._derived.reading() as connection:
            return [row["entry"] for row in connection.execute(query, {"digest": digest})]

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Nobody else takes a look at this case meanwhile: two samples must not both be look 2."""
        async with self._under_way.setdefault(name, asyncio.Lock()):
            yield

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()


def _case(name: str, rows: Sequence[sqlite3.Row]) -> Case:
    samples: dict[int, Entered] = {}
    looks: list[LookTaken] = []
    reviews: list[Entered] = []
    for row in rows:
        entered = _entered(row)
        match row["kind"]:
            case "trace.sample":
                samples[entered.entry] = entered
            case "trace.result":
                sample = samples.pop(entered.fields["sample"])
                looks.append(LookTaken(len(looks) + 1, sample, entered))
            case "case.review":
                reviews.append(entered)
    return Case(name, tuple(looks), tuple(samples.values()), tuple(reviews))


def _entered(row: sqlite3.Row) -> Entered:
    return Entered(row["entry"], row["at_us"], json.loads(row["fields"]))
