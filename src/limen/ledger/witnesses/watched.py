"""Where a log stands with its witnesses: what is known of each, whether their quorum stands; and where it has none."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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

    def close(self, *, timeout_s: float) -> None:
        """Nothing to end."""
