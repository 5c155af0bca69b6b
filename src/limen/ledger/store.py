"""What the ledger asks of a database; each method says what is durable, and what may be repeated, when it returns.

A store keeps bytes and one head; it hashes nothing and signs nothing. `Ledger.open` takes any store that keeps these
promises. A test that hands in one that breaks them (a writer that returns before its data is on disk) is the negative
control of every crash test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limen.core.types import Checkpoint
    from limen.formats.merkle import Frontier
    from limen.ledger.sealed import Seal

HEAD_BYTES: Final = 17


@dataclass(frozen=True, slots=True)
class Head:
    """The newest state of the log: its signed checkpoint, and what is needed to append to it.

    `low_water`: every intent below this index has its outcome. `committed_at`: when, in seconds; never runs backwards.
    """

    checkpoint: Checkpoint
    frontier: Frontier
    low_water: int = 0
    committed_at: int = 0

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self.checkpoint.size


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that become durable together. `sides` are side records by index and class; most entries have none.

    A side record does not begin with a zero byte: that is how a store may mark one that was deleted.
    """

    start: int
    entries: Sequence[bytes]
    sides: Sequence[tuple[int, str, bytes]] = ()


class Writer(Protocol):
    """The one writing connection. Owned by one thread at a time."""

    def head(self) -> Head | None:
        """The newest durable head, or None for a log that has none yet. TamperDetected if it contradicts the rows."""

    def append(self, batch: Batch, *, after: Head | None, head: Head) -> None:
        """Replace the head `after` by `head` and store the batch, all or nothing; durable on return.

        Conflict if the stored head is not `after`: nothing was written. LedgerUnavailable means *unknown*: the batch may
        be stored or not, so the caller must open a new writer and read the head before it appends again. Not idempotent.
        """

    def delete_sides(self, sides: Sequence[tuple[int, str]]) -> None:
        """Delete side records by index and class, and overwrite what they were. Durable on return. Idempotent."""

    def seal(self, seals: Sequence[Seal]) -> None:
        """Let the rows of sealed bundles go, and keep their roots instead. Durable on return.

        Conflict if they are not the next ones, or no row would be left above them: nothing was changed.
        """

    def forget(self) -> bool:
        """Give up every older state of a page that is kept for recovery; False while a reader needs one. Idempotent."""

    def close(self) -> None:
        """Give the connection back; never raises. Idempotent."""


class Reading(Protocol):
    """One log as whoever only looks sees it: from any thread, nothing older than the last commit that had returned.

    LedgerUnavailable if the database can't be reached now, TamperDetected if it contradicts itself. Nothing is changed, so
    everything may be repeated. There is no reading of hashes: tiles hold them, and are made from the entries.
    """

    def head(self) -> Head | None:
        """The newest durable head, or None, as whoever does not write sees it. Any thread."""

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Committed entries with start <= index < end, in order; ends early where they do. Any thread."""

    def sides(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """Side records of entries with start <= index < end, by index and class, in order. Any thread."""

    def side_heads(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """The same, but only the first HEAD_BYTES of each record: enough to tell whose it is. Any thread."""

    def sealed(self) -> int:
        """Entries below this index are no rows any more, but sealed bundles; `entries` reads them alike. Any thread."""

    def first_since(self, at: int) -> int | None:
        """The first index that was committed at `at` (seconds) or later, or None. Any thread."""


class Store(Reading, Protocol):
    """A database that holds one log, for its one owner. LedgerUnavailable if it can't be reached now."""

    def create(self) -> None:
        """Make the tables if there are none; idempotent, and durable with the first append."""

    def writer(self) -> Writer:
        """Open the writing connection; what it then reads is durable. Never creates a missing database."""

    def put_sealed(self, number: int, entries: Sequence[bytes]) -> Seal:
        """Write a bundle where sealed ones lie, durable on return; its rows stay until `seal`. Idempotent."""
