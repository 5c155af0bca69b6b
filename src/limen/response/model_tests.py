"""Model tests, as the log tells them: what was registered, what was asked of whom, and what came of it. docs/model-test.md.

A test is its `model.test.registered` entry: suspect, reference, slots and method, before any loss is looked at. What leaves
for the models is an entry (`model.test.asked`), so are the answers' digests before they are scored (`model.test.answers`),
and what they said (`model.test.result`). One set of answers counts: another is another test, with its part of alpha.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Conflict, Invalid, NotFound
from limen.core.events import canonical
from limen.derived import Derived
from limen.filing import time_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from limen.derived import Log

REGISTERED: Final = "model.test.registered"
ASKED: Final = "model.test.asked"
ANSWERED: Final = "model.test.answers"
RESULT: Final = "model.test.result"


@dataclass(frozen=True, slots=True)
class Step:
    """One entry about a test."""

    entry: int
    kind: str
    at_us: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelTest:
    """One registered test, and what followed."""

    registered: Step
    steps: tuple[Step, ...] = ()

    @property
    def number(self) -> int:
        """Its entry, by which it is called."""
        return self.registered.entry

    @property
    def fields(self) -> dict[str, Any]:
        """What was registered."""
        return self.registered.fields

    def last(self, kind: str) -> Step | None:
        """The newest step of a kind, if there was one."""
        return next((step for step in reversed(self.steps) if step.kind == kind), None)


class ModelTestFold:
    """The rows."""

    name = "model-tests"
    version = 1
    schema = """
        CREATE TABLE step (
            entry INTEGER PRIMARY KEY, test INTEGER NOT NULL, kind TEXT NOT NULL, at_us INTEGER NOT NULL, fields TEXT NOT NULL
        ) STRICT;
        CREATE INDEX step_by_test ON step (test, entry)
    """
    kinds: Sequence[str] = ("model.test.",)

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """One entry, under its test."""
        test = index if entry["kind"] == REGISTERED else entry["test"]
        row = {"entry": index, "test": test, "kind": entry["kind"], "at": time_of(entry), "fields": canonical(entry).decode()}
        connection.execute("INSERT INTO step (entry, test, kind, at_us, fields) VALUES (:entry, :test, :kind, :at, :fields)", row)


@dataclass(slots=True)
class ModelTests:
    """The tests, to be asked from any thread. `alone` is used on the event loop: a case's places are given one by one."""

    _derived: Derived
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, data: Path, log: Log, *, origin: str) -> ModelTests:
        """Over the derived file of a data directory; nothing is opened yet."""
        return cls(Derived(data, log, ModelTestFold(), origin=origin))

    def test(self, number: int) -> ModelTest:
        """One test, by its entry; NotFound if that registered none."""
        found = [test for test in self._read("WHERE test = :test", {"test": number}) if test.number == number]
        if not found:
            raise NotFound(f"model test {number}; `limen model list` shows those there are")
        return found[0]

    def all(self) -> list[ModelTest]:
        """Every test, in the order of registration."""
        return self._read("", {})

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        self._derived.close()

    def _read(self, where: str, values: dict[str, Any]) -> list[ModelTest]:
        with self._derived.reading() as connection:
            rows = connection.execute(f"SELECT * FROM step {where} ORDER BY entry", values).fetchall()  # noqa: S608  our own words
        steps: dict[int, list[Step]] = {}
        for row in rows:
            steps.setdefault(row["test"], []).append(Step(row["entry"], row["kind"], row["at_us"], json.loads(row["fields"])))
        return [ModelTest(first, tuple(rest)) for first, *rest in steps.values()]


def room(tests: Sequence[ModelTest], case: str, *, models: int | None, alpha: str | None) -> tuple[int, str]:
    """How many tests a case has room for, and its alpha: what its first test fixed. Conflict if it is full.

    Invalid if a later test asks for another number or alpha than the first: then the bound would not be one.
    """
    mine = [test for test in tests if test.fields["case"] == case]
    if not mine:
        return (1 if models is None else models), ("1e-09" if alpha is None else alpha)
    first = mine[0].fields
    if models is not None and models != first["models"]:
        raise Invalid("--models", f"case {case} has room for {first['models']}, fixed by its first test (entry {mine[0].number})")
    if alpha is not None and float(alpha) != float(first["alpha"]):
        raise Invalid("--alpha", f"is {first['alpha']} in case {case}, fixed by its first test (entry {mine[0].number})")
    if len(mine) >= first["models"]:
        raise Conflict(
            f"case {case} has room for {first['models']} tests and has as many; a suspect more needs a case of its own,"
            " with --models for all that may follow"
        )
    return first["models"], first["alpha"]
