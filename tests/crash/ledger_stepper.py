"""Processes whose system calls are failed, one at a time: a nursery that imports limen once and forks a stepper per line read.

    ledger_stepper.py

Each line names a directory, a socket where its asker listens, and `honest` or a negative control: a `careless` store says
"done" whatever became of the commit, a `blind` one does not look whether the log is still as it left it.

The stepper obeys one command a line and answers in lines of JSON: `open` the log there, `append` one entry and `flush` it to
what is published and noted, `close`. An acknowledgement is sent at once, so that it counts even if publishing fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

from ledger_appender import SIGNER, entry, open_log, side_record

from limen.core.errors import LedgerUnavailable, LimenError
from limen.ledger.publication import publisher
from limen.ledger.rollback import guard
from limen.ledger.sqlite import SqliteStore, SqliteWriter

DEADLINE_S = 10.0
publisher.RETRY_S = guard.RETRY_S = guard.PACE_S = 0.02  # how soon they try again decides nothing but how long this takes


class CarelessWriter(SqliteWriter):
    def append(self, batch, **heads):
        with contextlib.suppress(LedgerUnavailable):
            super().append(batch, **heads)


class BlindWriter(SqliteWriter):
    def append(self, batch, *, after, head):
        stored = after and self.head()
        for table in ("entry", "side"):
            self._connection.execute(f"DELETE FROM {table} WHERE idx >= :start", {"start": batch.start})
        super().append(batch, after=stored, head=head)


class ControlStore(SqliteStore):
    kind: type[SqliteWriter]

    def writer(self):
        return self.kind(self._path, self._origin)


def store_of(directory, mode):
    kinds = {"honest": SqliteWriter, "careless": CarelessWriter, "blind": BlindWriter}
    store = ControlStore(directory / "ledger.db", SIGNER.name)
    store.kind = kinds[mode]
    return store


class Stepper:
    """One log, and whoever asks for each step of it."""

    def __init__(self, directory, asker, store):
        self.directory, self.asker, self.store = directory, asker, store
        self.loop = asyncio.new_event_loop()
        self.ledger = None

    def answer(self, **said):
        self.asker.sendall(json.dumps(said).encode() + b"\n")

    def run(self):
        self.answer(threads={"main": threading.get_native_id()})
        for line in self.asker.makefile():
            command = line.strip()
            try:
                self.loop.run_until_complete(getattr(self, command)())
                if command == "append":
                    self.await_note()
                self.answer(done=command)
            except LimenError as e:
                self.answer(refused=command, why=str(e))

    async def open(self):
        self.ledger = open_log(self.directory, deadline_s=DEADLINE_S, store=self.store)
        threads = {thread.name.removeprefix("limen-"): thread.native_id for thread in threading.enumerate()}
        self.answer(threads={name: threads[name] for name in ("sequencer", "publisher", "high-water")})

    async def append(self):
        receipt = await self.ledger.append(entry(side=True), side_record())
        self.answer(index=receipt.index, leaf=receipt.leaf_hash.hex())
        await self.ledger.flush()

    def await_note(self):
        """Until the high-water note has come as far as the log, or can't: then it holds nothing up."""
        guard, size = self.ledger._guard, self.ledger.head().size
        while guard._thread.is_alive() and not all(place.error or (place.size or 0) >= size for place in guard.progress()):
            time.sleep(0.001)

    async def close(self):
        await self.ledger.close()


def born(directory, address, mode):
    """Fork a stepper; only the nursery returns."""
    if child := os.fork():
        return child
    status = 1
    try:
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(address)
            Stepper(Path(directory), asker, store_of(Path(directory), mode)).run()
            status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)  # what it does not expect, it does not survive: whoever leads it sees that it ended with 1


if __name__ == "__main__":
    for command in sys.stdin:
        _, ended = os.waitpid(born(*command.split()), 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)
