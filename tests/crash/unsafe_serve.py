"""`limen` over a ledger that gives receipts before COMMIT: the negative control of test_server_kill.

The last batches are always still held back, so whatever was served by them can't be in the log that a kill leaves.
"""

from __future__ import annotations

import sys

from ledger_appender import EarlyStore

from limen import server
from limen.cli import main
from limen.core.errors import LedgerUnavailable
from limen.ledger.ledger import Ledger


class QuietStore(EarlyStore):
    """Whoever reads what is held back (the publisher) is told to come again, as it would be told by a slow disk."""

    def entries(self, start, end):
        if end > self.head().checkpoint.size:
            raise LedgerUnavailable("held back")
        return super().entries(start, end)


class UnsafeLedger(Ledger):
    @classmethod
    def open(cls, directory, *, origin, **more):
        return super().open(directory, origin=origin, store=QuietStore(directory / "ledger.db", origin), **more)


if __name__ == "__main__":
    server.Ledger = UnsafeLedger
    sys.exit(main())
