"""A consistent copy of a SQLite database, in use or not, by SQLite's own backup interface. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from limen.core.errors import Invalid, TamperDetected

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def copy_database(source: Path, target: Path) -> None:
    """Copy the committed state of one moment; writers go on meanwhile. The target is new, and its owner's alone.

    Durable on return. Invalid if it can't be read or written, TamperDetected if the source is damaged.
    """
    # Without a write-ahead log nobody has it open: then reading must leave nothing beside it.
    mode = "mode=ro" if source.with_name(source.name + "-wal").exists() else "mode=ro&immutable=1"
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            contextlib.closing(sqlite3.connect(f"file:{quote(str(source))}?{mode}", uri=True, timeout=10.0)) as one,
            contextlib.closing(sqlite3.connect(target)) as other,
        ):
            one.backup(other)
    except (sqlite3.Error, OSError) as e:
        if getattr(e, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise TamperDetected(
                f"{source} is damaged: {e}", next_step="look at `limen ledger fsck`; restore an older backup"
            ) from e
        raise Invalid(str(target), f"{source.name} can't be copied: {e}") from e
