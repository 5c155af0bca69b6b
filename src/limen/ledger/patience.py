"""Refuses whoever has waited too long for a commit.

One timer an event loop, however many wait: a timer each would cost more than hashing the entry.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from limen.core.errors import LedgerUnavailable

if TYPE_CHECKING:
    import asyncio


class Patience:
    """The deadlines of one event loop, all equally far away; used on that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        self._loop = loop
        self._deadline_s = deadline_s
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()  # in the order of their deadlines
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Refuse the future once the deadline has passed; the entry may land all the same: the log may claim too much."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((self._loop.time() + self._deadline_s, future))
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline_s, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, future = self._waiting.popleft()
            if not future.done():
                why = f"no commit within {self._deadline_s} s"
                future.set_exception(LedgerUnavailable(why, next_step="look at the disk of the data directory"))
        self._timer = self._loop.call_at(self._waiting[0][0], self._look) if self._waiting else None
