"""Where imports lie in a data directory, and what columns their rows have. Imports nothing heavy: the gateway knows this, too.

observed/entry=N/manifest.json                    an import that counts; N is its entry in the ledger
observed/entry=N/day=YYYY-MM-DD/part.parquet      a day of it, UTC
observed/staging/NAME/ready/...                   one that does not count yet
observed/staging/NAME/committing                  one that is about to be entered, or has just been
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "observed"
PREFIX: Final = "entry="
STAGING: Final = "staging"
READY: Final = "ready"
COMMITTING: Final = "committing"

# name -> type in SQL; what stands in the files
COLUMNS: Final[dict[str, str]] = {
    "source": "VARCHAR",
    "kind": "VARCHAR",
    "id": "BLOB",
    "at_us": "BIGINT",
    "principal": "VARCHAR",
    "session": "VARCHAR",
    "credential": "VARCHAR",
    "action": "VARCHAR",
    "resource": "VARCHAR",
    "bytes": "BIGINT",
    "outcome": "VARCHAR",
    "network": "VARCHAR",
    "detail": "VARCHAR",
}
VIEWED: Final[dict[str, str]] = {**COLUMNS, "entry": "BIGINT", "day": "DATE"}  # the last two are the folders' names


def place_of(root: Path, entry: int) -> Path:
    """Where the import of an entry lies once it counts."""
    return root / f"{PREFIX}{entry}"
