"""Which database holds the log of a data directory. Only this module and those below it in `ledger` know.

Who owns the directory takes `stored`; who looks at it, or at a copy, takes `look`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limen.ledger.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from limen.ledger.store import Reading, Store

DATABASE = "ledger.db"


def stored(data: Path, origin: str) -> Store:
    """The log of a data directory, for its owner. Opens nothing yet."""
    return SqliteStore(data / DATABASE, origin)


def look(data: Path, origin: str) -> Reading:
    """The log of a data directory, perhaps a copy, perhaps in use by another process; leaves nothing beside it."""
    return SqliteStore.to_look_at(data / DATABASE, origin)
