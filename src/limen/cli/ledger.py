"""`limen ledger`: the table of what can be done with the log. Each command is in the module that the table names.

A command that reads works on a data directory, served or not, and on a copy of the published directory alone (`DATA/log`):
what a verifier needs is the files and the log's key. Those take no lock and ask no gateway.
"""

from __future__ import annotations

from typing import Final

import click

from limen.cli import Lazy

# command -> (module, one line of help), as in limen.cli.COMMANDS
LEDGER: Final[dict[str, tuple[str, str]]] = {
    "head": ("limen.cli.ledger_read", "print the newest signed checkpoint"),
    "tail": ("limen.cli.ledger_read", "print the newest entries"),
    "verify": ("limen.cli.ledger_proofs", "check a log (directory or server), or a proof file under a policy"),
    "prove": ("limen.cli.ledger_proofs", "print a proof that an entry is in the log"),
    "check-receipt": ("limen.cli.epochs", "hold a receipt against the log"),
    "new-epoch": ("limen.cli.epochs", "go on under a new name after entries were lost for good"),
    "disclose": ("limen.cli.privacy", "take one class of an entry's detail out, with its proof"),
    "witnesses": ("limen.cli.ledger_witnesses", "who cosigns this log, and whether their quorum stands"),
    "fsck": ("limen.cli.ledger_care", "examine everything that holds the log; mend what can be mended"),
    "export": ("limen.cli.ledger_care", "write the published log into a directory"),
    "seal": ("limen.cli.ledger_care", "move older entries out of the database, into sealed bundles"),
    "places": ("limen.cli.ledger_care", "where the log is published, and how far"),
    "consistency": ("limen.cli.ledger_proofs", "print a proof that the log continues an older checkpoint"),
}


@click.group(cls=Lazy, table=LEDGER)
def ledger() -> None:
    """Read and verify the log of every access."""
