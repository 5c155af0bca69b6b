"""A process whose writes and syncs are traced: a ledger on a small scale.

    ledger_workload.py DIRECTORY full|off|normal|no-checkpoint [whole]

With `whole` it goes through most of what can happen to a log, and closes it, before it opens it and appends single entries.
It says on standard output, one line each, what it has sworn to: `acknowledged INDEX LEAF-HASH`, `side INDEX`, `deleted INDEX`.
Controls: `off` and `normal` are SQLite's settings of that name, `no-checkpoint` opens without moving the write-ahead log
into the database first. Pages are few and rounds are short, so that the log is moved, cut and synced many times.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from ledger_appender import SIGNER, entry, open_log, side_record

from limen.core.errors import LedgerUnavailable
from limen.ledger import sqlite
from limen.ledger.publication import publisher
from limen.ledger.sqlite import SqliteStore, SqliteWriter

publisher.SYNC_EVERY = 6
sqlite.WAL_PAGES = 10


class Control(SqliteWriter):
    setting: str

    def _prepare(self):
        super()._prepare()
        self._connection.execute(f"PRAGMA synchronous = {self.setting}")


class WithoutCheckpoint(SqliteWriter):
    def _prepare(self):
        self._connection.execute("PRAGMA synchronous = FULL")


class ControlStore(SqliteStore):
    mode: str

    def create(self):
        if self.mode != "no-checkpoint" or not self._path.exists():  # SQLite moves the log when the last connection closes
            super().create()

    def writer(self):
        kind = WithoutCheckpoint if self.mode == "no-checkpoint" else type("Set", (Control,), {"setting": self.mode})
        return kind(self._path, self._origin)


def say(*words):
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


async def append(ledger, count, *, side):
    entries = [(entry(side=side, number=number), side_record() if side else None) for number in range(count)]
    receipts = await ledger.append_all(entries)
    for receipt in receipts:
        say("acknowledged", receipt.index, receipt.leaf_hash.hex())
        if side:
            say("side", receipt.index)
    return receipts


async def begin(ledger):
    """Single entries and long batches, past the first full tiles; details deleted; the log closed in order."""
    for number in range(4):
        await append(ledger, 1, side=number % 2 == 0)
    await ledger.flush()
    kept = await append(ledger, 40, side=True)
    for count in (200, 150, 1):
        await append(ledger, count, side=False)
        await ledger.flush()
    gone = [receipt.index for receipt in kept[:30]]
    for index in gone:
        say("deleting", index)
    await ledger.delete_sides([(index, "network") for index in gone])
    for index in gone:
        say("deleted", index)
    await append(ledger, 3, side=False)


async def go_on(ledger):
    """As after a restart; a commit that fails is tried again by whoever wanted it."""
    for _ in range(8):
        with contextlib.suppress(LedgerUnavailable):
            await append(ledger, 1, side=True)
    await ledger.flush()


async def main(directory, mode, *words):
    store = None
    if mode != "full":
        store = ControlStore(directory / "ledger.db", SIGNER.name)
        store.mode = mode
    if words == ("whole",):
        ledger = open_log(directory, store=store)
        await begin(ledger)
        await ledger.close()
    await go_on(open_log(directory, store=store))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
    os._exit(0)  # without closing the log
