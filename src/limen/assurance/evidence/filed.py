"""What the log says was filed, decided, exported and drawn about each vendor: one row an entry. Derived; may be deleted.

It holds what stands in the entries and nothing else: no blob is read, so nothing in it can be wrong about a document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.events import canonical
from limen.derived import Derived
from limen.filing import time_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from limen.derived import Log

_SUBJECT: Final = "vendor/"


class FiledFold:
    """The rows."""

    name = "evidence"
    version = 2
    schema = """
        CREATE TABLE filed (
            entry INTEGER PRIMARY KEY, kind TEXT NOT NULL, vendor TEXT NOT NULL, at_us INTEGER NOT NULL, fields TEXT NOT NULL
        ) STRICT;
        CREATE INDEX filed_by_vendor ON filed (vendor, kind, entry)
    """
    kinds: Sequence[str] = (
        "evidence.",
        "audit.",
        "contract.set",
        "waiver.",
        "gate.run",
        "bom.add",
        "vex.add",
        "advisory.feed",
        "advisory.window",
        "advisory.action",
        "fact.",
        "notice.add",
        "rotation.add",
        "static.",
        "restrict.",
        "pause.",
        "vendor.",
    )

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """One entry: its vendor, if it names one as `vendor` or as its subject."""
        subject = str(entry.get("subject", ""))
        vendor = entry.get("vendor") or (subject.removeprefix(_SUBJECT) if subject.startswith(_SUBJECT) else "")
        row = {"entry": index, "kind": entry["kind"], "vendor": vendor, "at": time_of(entry), "fields": canonical(entry).decode()}
        connection.execute(
            "INSERT INTO filed (entry, kind, vendor, at_us, fields) VALUES (:entry, :kind, :vendor, :at, :fields)", row
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One entry that was filed, decided, exported or drawn."""

    entry: int
    kind: str
    vendor: str
    at_us: int
    fields: dict[str, Any]


class Filed:
    """The rows, to be asked. From any thread; each question reads the disk."""

    def __init__(self, data: Path, log: Log, *, origin: str) -> None:
        self._derived = Derived(data, log, FiledFold(), origin=origin)

    def rows(self, kinds: Sequence[str], vendor: str | None = None, *, below: int | None = None) -> list[Row]:
        """The entries of these kinds (of one vendor, if given) with an index below a log's size, in order."""
        query = "SELECT * FROM filed WHERE kind IN (SELECT value FROM json_each(:kinds)) AND entry < :below"
        values: dict[str, Any] = {"kinds": json.dumps(list(kinds)), "below": 1 << 62 if below is None else below}
        if vendor is not None:
            query += " AND vendor = :vendor"
            values["vendor"] = vendor
        with self._derived.reading() as connection:
            found = connection.execute(query + " ORDER BY entry", values).fetchall()
        return [Row(r["entry"], r["kind"], r["vendor"], r["at_us"], json.loads(r["fields"])) for r in found]

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()
