"""A process to be killed: appends from many tasks and writes each acknowledged index and leaf hash to standard output.

    ledger_appender.py DIRECTORY honest|early

`early` is the negative control: a store that returns from `append` before COMMIT.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from pathlib import Path

from limen.core import events
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from limen.ledger.sqlite import SqliteStore, SqliteWriter

SIGNER = Signer("example.com/log", bytes(32))
TASKS = 32
HELD_BACK = 4


class EarlyWriter(SqliteWriter):
    """Says "done" at once, and commits each batch only when a few more have come."""

    def __init__(self, *args):
        super().__init__(*args)
        self.held = deque()

    def append(self, batch, *, after, head):
        self.held.append((batch, after, head))
        if len(self.held) > HELD_BACK:
            batch, after, head = self.held.popleft()
            super().append(batch, after=after, head=head)


class EarlyStore(SqliteStore):
    def writer(self):
        return EarlyWriter(self._path, self._origin)


async def append_for_ever(ledger, name):
    for number in range(1 << 40):
        raw = events.encode("server.start", time.time_ns() // 1000, os.urandom(16), {"task": name, "number": number})
        receipt = await ledger.append(raw, b"side" if number % 3 == 0 else None)
        os.write(1, f"{receipt.index} {receipt.leaf_hash.hex()}\n".encode())


async def main(directory, store):
    ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=time.time, store=store)
    await asyncio.gather(*(append_for_ever(ledger, name) for name in range(TASKS)))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    asyncio.run(main(where, EarlyStore(where / "ledger.db", SIGNER.name) if sys.argv[2] == "early" else None))
