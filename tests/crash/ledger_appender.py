"""Processes to be killed. A nursery imports limen once and forks an appender per line read, so that a kill costs little.

    ledger_appender.py DIRECTORY ACKNOWLEDGEMENTS READY

Commands on standard input, answers on standard output: `honest` or `early` forks an appender and answers its process id;
`reap` waits for it and answers how it ended. An appender writes each acknowledgement (index, leaf hash and the receipt's
signed checkpoint) to the pipe ACKNOWLEDGEMENTS as soon as it has it, and one byte to the pipe READY at its first one.

`early` is the negative control: a store that returns from `append` before COMMIT.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections import deque
from pathlib import Path

from limen.core import events
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from limen.ledger.rollback.guard import Guard
from limen.ledger.scribe import SIDE_VERSION
from limen.ledger.sqlite import SqliteStore, SqliteWriter
from limen.verify.published import Published

SIGNER = Signer("example.com/log", bytes(32))
TASKS = 16
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


def entry(*, side=False, **details):
    """An entry that nobody has written before; one with a side record commits to it."""
    details |= {"commit": {"network": os.urandom(32).hex()}} if side else {}
    return events.encode("server.start", time.time_ns() // 1000, os.urandom(16), details)


def side_record():
    """As long and as opaque as a sealed one; nobody opens it here."""
    return {"network": bytes([SIDE_VERSION]) + os.urandom(80)}


def open_log(directory, *, store=None, deadline_s=10.0):
    """Open the log as a server does: with its guard, which must not cry wolf after a crash."""
    guard = Guard(directory, SIGNER.verifier, logs=[Published(directory / "log")], elsewhere=None, now=time.time)
    return Ledger.open(
        directory, origin=SIGNER.name, signer=SIGNER, now=time.time, store=store, guard=guard, deadline_s=deadline_s
    )


def acknowledgement(receipt, *, side):
    """One line of less than PIPE_BUF bytes: it arrives whole or not at all."""
    signed = base64.b64encode(receipt.checkpoint.note).decode()
    return f"{receipt.index} {receipt.leaf_hash.hex()} {signed} {'with-side' if side else 'bare'}\n".encode()


async def append_for_ever(ledger, name, *, acknowledgements, ready):
    for number in range(1 << 40):
        side = number % 3 == 0
        receipt = await ledger.append(entry(side=side, task=name, number=number), side_record() if side else None)
        os.write(acknowledgements, acknowledgement(receipt, side=side))
        if number == name == 0:
            os.write(ready, b".")


async def flood(directory, store, **pipes):
    ledger = open_log(directory, store=store)
    await asyncio.gather(*(append_for_ever(ledger, name, **pipes) for name in range(TASKS)))


def born(directory, command, **pipes):
    """Fork an appender; only the nursery returns."""
    child = os.fork()
    if child:
        return child
    try:
        asyncio.run(flood(directory, EarlyStore(directory / "ledger.db", SIGNER.name) if command == "early" else None, **pipes))
    finally:
        os._exit(1)


def nurse(directory, **pipes):
    child = 0
    for line in sys.stdin:
        command = line.strip()
        if command == "reap":
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            answer = child = born(directory, command, **pipes)
        print(answer, flush=True)


if __name__ == "__main__":
    nurse(Path(sys.argv[1]), acknowledgements=int(sys.argv[2]), ready=int(sys.argv[3]))
