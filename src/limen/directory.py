"""A data directory at rest: who owns it, its keys, its log and what guards it. For the gateway and for the commands beside it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from limen.core.errors import Conflict, Invalid
from limen.durable import write_atomically
from limen.formats.note import Signer
from limen.ledger.ledger import PUBLISHED
from limen.ledger.rollback.guard import Guard
from limen.ledger.stored import DATABASE, stored
from limen.verify.published import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from limen.config import Config
    from limen.formats.note import Verifier
    from limen.ledger.store import Store

KEY_BYTES = 32


def take_lock(data: Path) -> int:
    """Own the directory until the descriptor is closed. Conflict if another process does."""
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(handle)
        raise Conflict(f"another process owns {data}; stop it, or let it finish, then try again") from e
    return handle


@contextmanager
def owned(data: Path) -> Iterator[None]:
    """Own the directory for the length of a `with`. Conflict if another process does."""
    handle = take_lock(data)
    try:
        yield
    finally:
        os.close(handle)


def secret(data: Path, name: str) -> bytes:
    """A 32-byte secret of the directory, readable by its owner only; made at first start.

    Invalid if it is missing beside a log: with a new one nothing old would verify, so none is made.
    """
    path = data / "keys" / name
    if not path.exists():
        if (data / DATABASE).exists():
            raise Invalid(str(path), "is missing, and the log is there; put the keys back from where you keep them")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(path, os.urandom(KEY_BYTES))
        path.chmod(0o600)
    return path.read_bytes()


def signer(config: Config) -> Signer:
    """The log's key under the log's name of this epoch."""
    return Signer(config.ledger.origin, secret(config.data, "log.key"))


def store(config: Config, *, origin: str = "") -> Store:
    """The log's database, under its name of this epoch or another."""
    return stored(config.data, origin or config.ledger.origin)


def guard(config: Config, verifier: Verifier, *, now: Callable[[], float]) -> Guard:
    """What the log must not contradict, as this directory and its configuration know it."""
    return Guard(
        config.data,
        verifier,
        logs=[Published(config.data / PUBLISHED)],
        elsewhere=config.data / config.ledger.high_water if config.ledger.high_water else None,
        now=now,
    )
