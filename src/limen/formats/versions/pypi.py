"""The order of Python packages' versions: PEP 440, read by `packaging`; older texts by the rule of setuptools before it (2014).

A legacy version sorts below every version of PEP 440, as pip had it. A key is (1, …) or, for a legacy text, (0, …).
"""

from __future__ import annotations

import re
from typing import Any, Final

from packaging.version import InvalidVersion, Version

# Nothing else was ever uploaded; placeholders that tools write in a version's place (`<unknown>`, `*`, `${version}`) fall out.
_LEGACY: Final = re.compile(r"[0-9A-Za-z._+!-]+\Z")
_PIECES: Final = re.compile(r"([0-9]+|[a-z]+|\.|-)")
_SAME: Final = {"pre": "c", "preview": "c", "-": "final-", "rc": "c", "dev": "@"}
_LOW: Final = (-1,)
_HIGH: Final = (1,)


def key(text: str) -> tuple[Any, ...] | None:
    """(1, PEP 440's own sort key), or (0, pieces) of a legacy version; None for what is neither."""
    try:
        return (1, *_ordered(Version(text)))
    except InvalidVersion:
        return (0, _legacy(text)) if _LEGACY.match(text) else None


def is_legacy(placed: tuple[Any, ...]) -> bool:
    """Whether a key is that of a version outside PEP 440."""
    return bool(placed[0] == 0)


def public(text: str) -> str:
    """The version without its local label (PEP 440, "local version identifiers"); the text itself if it has none."""
    return text.partition("+")[0]


def _ordered(version: Version) -> tuple[Any, ...]:
    """PEP 440, "summary of permitted suffixes and relative ordering", as a tuple."""
    release = version.release
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    pre: tuple[Any, ...] = (0, *version.pre) if version.pre else _HIGH
    if version.pre is None and version.post is None and version.dev is not None:
        pre = _LOW  # 1.0.dev1 is before 1.0a1
    post = _LOW if version.post is None else (0, version.post)
    dev = _HIGH if version.dev is None else (0, version.dev)
    local: tuple[Any, ...] = _LOW
    if version.local is not None:
        local = (0, *((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in version.local.split(".")))
    return version.epoch, release, pre, post, dev, local


def _legacy(text: str) -> tuple[str, ...]:
    parts: list[str] = []
    for piece in _PIECES.split(text.lower()):
        part = _SAME.get(piece, piece)
        if not part or part == ".":
            continue
        part = part.zfill(8) if part[0].isdecimal() else f"*{part}"
        if part.startswith("*"):
            if part < "*final":
                while parts and parts[-1] == "*final-":
                    parts.pop()
            while parts and parts[-1] == "00000000":
                parts.pop()
        parts.append(part)
    return (*parts, "*final")
