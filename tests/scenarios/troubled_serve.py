"""`limen` over a ledger whose disk can be put into trouble while it runs: troubled_serve.py FILE ARGUMENTS…

What FILE holds at a commit is what befalls it: nothing, `hang SECONDS` (the commit is late), `close` (the database
handle is gone, as after an I/O error), or, as a negative control, `lie` (nothing is written, and nobody is told).
Everything else is the gateway as it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from limen import server
from limen.cli import main
from limen.ledger.ledger import Ledger
from limen.ledger.sqlite import SqliteStore, SqliteWriter

TROUBLE = Path(sys.argv.pop(1))


class TroubledWriter(SqliteWriter):
    def append(self, batch, *, after, head):
        match TROUBLE.read_text().split():
            case ["hang", seconds]:
                time.sleep(float(seconds))
            case ["close"]:
                self._connection.close()
            case ["lie"]:
                return
        super().append(batch, after=after, head=head)


class TroubledStore(SqliteStore):
    def writer(self):
        return TroubledWriter(self._path, self._origin)


class TroubledLedger(Ledger):
    @classmethod
    def open(cls, directory, *, origin, **more):
        return super().open(directory, origin=origin, store=TroubledStore(directory / "ledger.db", origin), **more)


if __name__ == "__main__":
    server.Ledger = TroubledLedger
    sys.exit(main())
