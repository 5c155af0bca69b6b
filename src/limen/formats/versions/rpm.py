"""The order of RPM package versions, `epoch:version-release`: rpm-version(7), as rpm 4.15 and later compare."""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(r"(?:(?P<epoch>[0-9]+):)?(?P<version>[0-9A-Za-z._+~^]+)(?:-(?P<release>[0-9A-Za-z._+~^]+))?\Z")
_SEGMENTS: Final = re.compile(r"~|\^|[0-9]+|[A-Za-z]+")
_TILDE, _END, _CARET = (0,), (1,), (2,)


def key(text: str) -> tuple[Any, ...] | None:
    """(epoch, version, release); None for characters that no such version has."""
    found = _VERSION.match(text)
    if found is None:
        return None
    return int(found["epoch"] or 0), _segments(found["version"]), _segments(found["release"] or "")


def _segments(text: str) -> tuple[Any, ...]:
    """`~` before the end, the end before `^`, then letters, then numbers. Other characters only separate."""
    return (*map(_segment, _SEGMENTS.findall(text)), _END)


def _segment(text: str) -> tuple[Any, ...]:
    if text == "~":
        return _TILDE
    if text == "^":
        return _CARET
    return (4, int(text)) if text.isdecimal() else (3, text)
