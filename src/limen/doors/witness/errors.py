"""One table from limen's errors to HTTP statuses, looked up by MRO. What the protocol itself refuses is not an error here.

A 5xx tells the log to come again: nothing was cosigned, or nothing that anybody heard of.
"""

from __future__ import annotations

from typing import Final

from limen.core import errors as core

INTERNAL: Final = 500
TABLE: Final[dict[type[core.LimenError], int]] = {
    core.Invalid: 400,
    core.NotFound: 404,
    core.LedgerUnavailable: 503,
    core.LimenError: INTERNAL,
}


def status_of(error: core.LimenError) -> int:
    """The status of the nearest kind in the table."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
