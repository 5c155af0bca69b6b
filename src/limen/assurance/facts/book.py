"""`Facts`: what an open gateway can say of its vendors. Built by `server`; may be asked from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from limen.assurance.facts import known
from limen.assurance.facts.document import document
from limen.assurance.facts.fold import FactsFold
from limen.assurance.facts.running import Running
from limen.core.errors import NotFound
from limen.derived import Derived

if TYPE_CHECKING:
    from pathlib import Path

    from limen.assurance.facts.known import Known, Log


class Components(Protocol):
    """What is read of bills of material and advisories."""

    def running(self, vendor: str, as_of_us: int, *, upto: int) -> Running:
        """What is known of a vendor's components as of a moment, by a log of so many entries. Reads the disk."""


class Facts:
    """The facts of every vendor, from the log and what is made of it."""

    def __init__(self, data: Path, log: Log, components: Components | None = None, *, origin: str) -> None:
        self._log = log
        self._components = components
        self._origin = origin
        self._derived = Derived(data, log, FactsFold(), origin=origin)

    def document(self, vendor: str, as_of_us: int, from_us: int | None = None) -> dict[str, Any]:
        """The facts document of one vendor as of a moment: `core.events.canonical` gives its bytes. Reads the disk.

        NotFound for a vendor that was not entered by then.
        """
        upto = self._derived.catch_up()
        found = self.known(vendor, as_of_us)
        running = Running() if self._components is None else self._components.running(vendor, as_of_us, upto=upto)
        return document(found, running, origin=self._origin, from_us=from_us)

    def known(self, vendor: str, as_of_us: int) -> Known:
        """The rows behind it; NotFound for a vendor that was not entered by then."""
        with self._derived.reading() as connection:
            found = known.read(connection, self._log, vendor, as_of_us)
        if found is None:
            raise NotFound(f"vendor {vendor}")
        return found

    def vendors(self, as_of_us: int) -> list[str]:
        """Every vendor that was entered by a moment."""
        with self._derived.reading() as connection:
            return known.vendors(connection, as_of_us)

    def catch_up(self) -> int:
        """Take in what was committed since; returns the index of the first entry that was not read."""
        return self._derived.catch_up()

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()
