"""A log in a temporary directory, and stores that a test bends in one line."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time

import pytest

from limen.core import events
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from limen.ledger.sqlite import SqliteStore, SqliteWriter
from limen.verify.published import Published, verify

SIGNER = Signer("example.com/log", bytes(32))
_salts = itertools.count()


class World:
    """One data directory with a log in it; `open` gives the ledger for the length of a `with`."""

    def __init__(self, path):
        self.path = path
        self.signer = SIGNER
        self.now = time.time
        self.store = None
        self.deadline_s = 1.5
        self.guard = None

    @contextlib.asynccontextmanager
    async def open(self):
        ledger = Ledger.open(
            self.path,
            origin=self.signer.name,
            signer=self.signer,
            now=self.now,
            store=self.store,
            deadline_s=self.deadline_s,
            guard=self.guard() if self.guard else None,
        )
        try:
            yield ledger
        finally:
            await ledger.close()

    def run(self, scene):
        """Open the log, let the scene play, close it."""

        async def play():
            async with self.open() as ledger:
                return await scene(ledger)

        return asyncio.run(play())

    def fill(self, count):
        """A log of this many entries, published."""

        async def scene(ledger):
            await ledger.append_all([(entry(f"entry {ledger.head().size + i}"), None) for i in range(count)])
            await ledger.flush()

        self.run(scene)

    @property
    def log(self):
        return Published(self.path / "log")

    def edit(self, *statements):
        """Change rows behind the ledger's back, while it is closed."""
        with contextlib.closing(sqlite3.connect(self.path / "ledger.db")) as connection, connection:
            for statement in statements:
                assert connection.execute(statement).rowcount

    def store_of(self):
        """Another reader of the same database."""
        return SqliteStore(self.path / "ledger.db", SIGNER.name)

    def verify(self):
        return verify(self.log, self.signer.verifier)


def entry(name, kind="server.start", **fields):
    return events.encode(kind, 1_700_000_000_000_000, next(_salts).to_bytes(16, "big"), {"name": name, **fields})


class BentStore(SqliteStore):
    """A store whose writer's `append` is the test's own: bend(writer, proceed), where proceed() commits."""

    def __init__(self, path, bend):
        super().__init__(path / "ledger.db", SIGNER.name)
        self.bend = bend
        self.writers = []

    def writer(self):
        writer = BentWriter(self._path, self._origin)
        writer.store = self
        self.writers.append(writer)
        return writer


class BentWriter(SqliteWriter):
    def append(self, batch, *, after, head):
        def proceed():
            SqliteWriter.append(self, batch, after=after, head=head)

        if after is None:
            proceed()
        else:
            self.store.bend(self, proceed)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(scope="module")
def module_world():
    """The class itself, for a fixture of wider scope than `world`."""
    return World


@pytest.fixture
def bent(world):
    """`bent(function)`: a world whose commits go through the function."""

    def make(bend):
        world.store = BentStore(world.path, bend)
        return world

    return make


@pytest.fixture
def make_entry():
    return entry
