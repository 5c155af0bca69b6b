"""One table from limen's errors to HTTP statuses, looked up by MRO."""

from __future__ import annotations

from typing import Final

from limen.core import errors as core

INTERNAL: Final = 500
TABLE: Final[dict[type[core.LimenError], int]] = {
    core.NotFound: 404,
    core.Invalid: INTERNAL,  # no path that gets this far is bad input: it is a tile that does not read
    core.LedgerUnavailable: 503,
    core.LimenError: INTERNAL,
}


def status_of(error: core.LimenError) -> int:
    """The status of the nearest kind in the table."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
