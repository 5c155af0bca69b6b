"""The log's name in its epochs: `example.com/log`, then `example.com/log/epoch-1`, and so on.

A log whose newest entries are lost can't go on under its name: whoever saw the lost ones would see a fork. It goes on
under a new name, at the same indexes, with the same key. Pure.
"""

from __future__ import annotations

import re
from typing import Final

_EPOCH: Final = re.compile(r"(.+)/epoch-([1-9][0-9]{0,5})")


def name(base: str, epoch: int) -> str:
    """The origin of an epoch; that of epoch 0 is the base itself."""
    return f"{base}/epoch-{epoch}" if epoch else base


def split(origin: str) -> tuple[str, int]:
    """The base name and the epoch that an origin stands for."""
    found = _EPOCH.fullmatch(origin)
    return (found[1], int(found[2])) if found else (origin, 0)
