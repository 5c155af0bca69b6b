"""`limen` with parts of it taken out or bent, for the ledger's negative controls: bent_serve.py PART[,PART] FILE ARGUMENTS…

PART is `guard` (nothing is held against the log at start), `lock` (anybody may open the directory), `swap` (the head is
replaced without a look at what it was, rows too), or `whole` (nothing is taken out). What FILE holds at a commit is what
befalls it: nothing, `stop` (the process is stopped inside the transaction), `lost` (the commit lands, and its answer is
lost). Everything else is the gateway as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from limen import directory, server
from limen.cli import main
from limen.core.errors import LedgerUnavailable
from limen.ledger import sqlite
from limen.ledger.ledger import Ledger
from limen.ledger.rollback.guard import Unguarded
from limen.ledger.sqlite import SqliteStore, SqliteWriter

PARTS = sys.argv.pop(1).split(",")
TROUBLE = Path(sys.argv.pop(1))


class BentWriter(SqliteWriter):
    def append(self, batch, *, after, head):
        super().append(batch, after=after, head=head)
        if batch.entries and TROUBLE.read_text() == "lost":
            TROUBLE.write_text("")
            raise LedgerUnavailable("the answer was lost")

    def _swap_head(self, after, head):
        super()._swap_head(after, head)
        if TROUBLE.read_text() == "stop":
            TROUBLE.write_text("stopped")
            os.kill(os.getpid(), signal.SIGSTOP)


class BentStore(SqliteStore):
    def writer(self):
        return BentWriter(self._path, self._origin)


class BentLedger(Ledger):
    @classmethod
    def open(cls, data, *, origin, **more):
        return super().open(data, origin=origin, store=BentStore(data / "ledger.db", origin), **more)


def take_out(part):
    match part:
        case "guard":
            directory.guard = lambda *_, **__: Unguarded()
        case "lock":
            server.take_lock = lambda _data: os.open(os.devnull, os.O_RDONLY)
        case "swap":
            sqlite._NEXT_HEAD = sqlite._NEXT_HEAD.replace("AND size = ? AND root = ?", "AND ? IS NOT NULL AND ? IS NOT NULL")
            sqlite._ADD_ENTRIES = {
                rows: each.replace("INSERT", "INSERT OR REPLACE") for rows, each in sqlite._ADD_ENTRIES.items()
            }
            sqlite._ADD_SIDE = sqlite._ADD_SIDE.replace("INSERT", "INSERT OR REPLACE")


if __name__ == "__main__":
    server.Ledger = BentLedger
    for name in PARTS:
        take_out(name)
    sys.exit(main())
