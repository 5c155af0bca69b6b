"""Brings alerts to one receiver, attempt after attempt, until it has them. One thread each: one that is down delays no other.

A delivery that fails is tried again after 1, 2, 4 … and at most 60 s, for ever; nobody is given up, for a receiver that was
down has missed nothing. What was never tried goes before what failed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

import structlog

from limen.watch.book import Book
from limen.watch.outgoing import Alert, Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.watch.book import Due
    from limen.watch.target import Target

log = structlog.get_logger("limen")

LONGEST_WAIT_S: Final = 60
LOOK_EVERY_S: Final = 5.0


class Courier:
    """The way to one receiver. `step` is called by its own thread, or by a test."""

    def __init__(
        self, target: Target, send: Callable[[Alert], None], *, book: Path, source: str, now_us: Callable[[], int]
    ) -> None:
        self.target = target
        self._send = send
        self._path = book
        self._source = source
        self._now_us = now_us
        self._failures = 0
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alert {target.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to bring."""
        self._news.set()

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stop.set()
        self._news.set()

    def join(self, timeout_s: float) -> None:
        """Wait for an attempt under way. Past the time it is left to the process's end: its number is written down."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def step(self, book: Book) -> bool:
        """Try the next delivery that is due; False if there is none."""
        due = book.due(self.target.name, self._now_us())
        if due is None:
            return False
        attempt = self._number(book, due)
        if attempt is None:
            return True
        try:
            self._send(self._alert(due, attempt))
        except Undelivered as e:
            self._failures += 1
            book.failed(due.uid, self.target.name, str(e))
            if self._failures == 1:
                log.warning("an alert did not arrive; it is tried again", target=self.target.name, why=str(e))
        else:
            self._failures = 0
            book.arrived(due.uid, self.target.name, self._now_us())
        return True

    def _number(self, book: Book, due: Due) -> int | None:
        """The attempt's number, on the disk before the attempt is made."""
        again_us = self._now_us() + wait_s(due.attempts + 1) * 1_000_000
        return book.begin(due, self.target.name, again_us=again_us)

    def _alert(self, due: Due, attempt: int) -> Alert:
        data = json.loads(due.raw)
        return Alert(due.uid, self._source, due.at_us, due.severity, data, attempt=attempt, again=due.again)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with Book(self._path) as book:
                    self._deliver(book)
            except (sqlite3.Error, OSError):
                log.exception("the alerts' book can't be used; tried again", target=self.target.name)
                self._stop.wait(LOOK_EVERY_S)

    def _deliver(self, book: Book) -> None:
        while not self._stop.is_set():
            self._news.clear()
            if self.step(book):
                if self._failures:
                    self._stop.wait(wait_s(self._failures))
                continue
            due_us = book.next_us(self.target.name)
            left_s = LOOK_EVERY_S if due_us is None else (due_us - self._now_us()) / 1_000_000
            self._news.wait(min(LOOK_EVERY_S, max(left_s, 0.01)))


def wait_s(attempts: int) -> int:
    """How long to wait after so many attempts in a row have failed."""
    return int(min(LONGEST_WAIT_S, 1 << min(attempts - 1, 10)))
