"""Where a log lies, for the commands that read one: its published files, whom to trust, and its database if it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from limen.cli.link import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.verify.published import Published, Trust

F = TypeVar("F", bound="Callable[..., Any]")


def trust_options(command: F) -> F:
    """Give a command `--vkey` and `--policy`."""
    vkey = click.option(
        "--vkey",
        help="The log's key as you were given it, or a file that holds it. Without it and --policy: the one beside the log.",
    )
    policy = click.option(
        "--policy", type=click.Path(path_type=Path), help="Whom to trust: a C2SP tlog-policy, with witnesses and a quorum."
    )
    return vkey(policy(command))


def _tell_alarm(path: Path) -> None:
    """Whoever reads a log over which an alarm stands is told so: what follows may verify, and be too short."""
    if not (path / "alarm.json").exists():
        return
    from limen.ledger.rollback.guard import read_alarm

    standing = read_alarm(path)
    if standing is not None:
        say(f"limen: AN ALARM STANDS, and nothing is signed: {standing['why']} (docs/restore.md)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log lies. `verifier` is the log's own key, `trust` that key or the policy that names it."""

    log: Published
    trust: Trust
    verifier: Verifier
    key_given: bool
    database: Path | None

    @classmethod
    def find(cls, path: Path, *, policy: Path | None = None, vkey: str | None = None) -> Place:
        """The log in a data directory, or in a published directory itself. NotFound if there is none."""
        from limen.verify.answer import published_root, trusted
        from limen.verify.published import Published

        _tell_alarm(path)
        root = published_root(path)
        log = Published(root)
        given = trusted(policy, vkey)
        trust = log.verifier() if given is None else given
        verifier = log.key(trust)
        database = path / "ledger.db"
        return cls(log, trust, verifier, given is not None, database if root != path and database.exists() else None)

    def head(self) -> Checkpoint:
        """The newest checkpoint: the database's, else the published one. Verified."""
        if self.database is None:
            return self.log.checkpoint(self.trust)
        from limen.ledger.repair.fsck import stored_head

        return stored_head(self.database, self.verifier).checkpoint

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Entries as they are stored, unverified."""
        if self.database is None:
            return self.log.entries(start, end)
        from limen.ledger.stored import look

        return look(self.database.parent, self.verifier.name).entries(start, end)

    @property
    def whose(self) -> str:
        """What people should know of a key that nobody gave."""
        return "" if self.key_given else " (the key beside the log: compare it with the one you were given)"
