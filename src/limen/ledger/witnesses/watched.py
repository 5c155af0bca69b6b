"""Where a log stands with its witnesses: what is known of each, whether their quorum stands; and where it has none."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from limen.core.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.core.errors import TamperDetected
    from limen.ledger.store import Head

WHO_FAILS: Final = "`limen ledger witnesses` says which of them fails"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one witness: the largest tree of ours that it cosigned, when by its clock, and what fails now."""

    name: str
    key: str
    url: str
    size: int | None = None
    at: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Whether the quorum stands: the newest round reached it. `size`: the largest tree that it ever cosigned here."""

    quorum: str
    stands: bool
    size: int | None
    published: int | None
    witnesses: tuple[Standing, ...]


class Stretch(NamedTuple):
    """How the quorum cosigned since the last time that this was asked. Seconds before now, by a clock that only goes on.

    `since_s`: the cosignature from which it speaks (the last that the stretch before told of); `last_s`: the newest one, of
    `size` entries; `longest_s`: the longest time between two of them.
    """

    size: int
    since_s: float
    last_s: float
    longest_s: float


class Stood:
    """Notes when the quorum stood. Guarded by its owner."""

    def __init__(self) -> None:
        self._size = 0
        self._since = self._last = -1.0
        self._longest = 0.0
        self._news = False

    def note(self, size: int, now_s: float) -> None:
        """The quorum has cosigned a tree of this size."""
        if self._last < 0:
            self._since = now_s
        else:
            self._longest = max(self._longest, now_s - self._last)
        self._size, self._last, self._news = size, now_s, True

    def take(self, now_s: float) -> Stretch | None:
        """What was noted since the last time; None if nothing was."""
        if not self._news:
            return None
        found = Stretch(self._size, now_s - self._since, now_s - self._last, self._longest)
        self._since, self._longest, self._news = self._last, 0.0, False
        return found


class Unwitnessed:
    """In the place of Cosigning where no policy names a witness."""

    def look(self) -> None:
        """There is nobody to ask."""

    def start(
        self, *, stop: Callable[[TamperDetected], None], bring: Callable[[bytes, int], None], give_up: Callable[[int], None]
    ) -> None:
        """Nothing to begin."""

    def published(self, head: Head) -> None:
        """Nobody is told."""

    def reached(self, size: int) -> Future[None]:
        """Never: nobody can be waited for."""
        future: Future[None] = Future()
        future.set_exception(
            LedgerUnavailable(f"no witness can cosign {size} entries", next_step="set ledger.policy in limen.toml")
        )
        return future

    def state(self) -> State:
        """No quorum, and nobody in it."""
        return State(quorum="", stands=False, size=None, published=None, witnesses=())

    def stretch(self) -> Stretch | None:
        """Nobody has cosigned."""
        return None

    def close(self, *, timeout_s: float) -> None:
        """Nothing to end."""
