"""The order of NuGet package versions: "Package versioning" of NuGet's reference; SemVer 2.0.0 with a fourth number.

Pre-release identifiers are compared without case.
"""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(
    r"v?(?P<numbers>[0-9]+(?:\.[0-9]+){0,3})(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]*)?\Z"
)


def key(text: str) -> tuple[Any, ...] | None:
    """(four numbers, (1,) or (0, identifiers of the pre-release)); None for what is no such version."""
    found = _VERSION.match(text)
    if found is None:
        return None
    numbers = [*map(int, found["numbers"].split(".")), 0, 0, 0][:4]
    pre = found["pre"]
    return (*numbers, (1,) if pre is None else (0, *map(_identifier, pre.lower().split("."))))


def _identifier(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
