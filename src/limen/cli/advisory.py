"""`limen advisory`: the table of what can be done about advisories. Each command is in the module that the table names."""

from __future__ import annotations

from typing import Final

import click

from limen.cli import Lazy

# command -> (module, one line of help), as in limen.cli.COMMANDS
ADVISORY: Final[dict[str, tuple[str, str]]] = {
    "import": ("limen.cli.advisories", "take in OSV records: a file, a directory, a zip, or standard input"),
    "list": ("limen.cli.advisories", "the feeds, what is in quarantine, and what names a package"),
    "show": ("limen.cli.advisories", "one finding: its ids, every revision, what each names"),
    "affected": ("limen.cli.affected", "which vendors ran what it names: yes, no, or cannot say; with the grounds"),
    "rematch": ("limen.cli.affected", "hold all advisories against all vendors again"),
    "policy": ("limen.cli.affected", "what a malicious component at a vendor leads to"),
    "actions": ("limen.cli.affected", "what followed, and what waits for whom"),
    "approve": ("limen.cli.affected", "say yes to an action that waits"),
    "decline": ("limen.cli.affected", "say no to it"),
    "window": ("limen.cli.advisories", "when a bad package could be had, by whose word; state it"),
    "vex": ("limen.cli.advisories", "what a vendor states about vulnerabilities in its products; file it"),
}


@click.group(cls=Lazy, table=ADVISORY)
def advisory() -> None:
    """What is known to be bad, with every revision of it, and what follows from it."""
