"""The order of Semantic Versioning 2.0.0 (section 11), as npm, crates.io, Go modules and OSV's range type SEMVER use it.

Read more widely than the specification, as registries and BOMs write it: a leading `v` or `=`, one or two numbers instead of
three, and further numbers, which count as build information and so not at all. Anything else has no place.
"""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(
    r"[v=]{0,2}(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]*)?\Z"
)
_TOOLCHAIN: Final = re.compile(r"(?:go)?(?P<numbers>[0-9]+(?:\.[0-9]+){0,2})(?P<pre>(?:alpha|beta|rc)[0-9]+)?\Z")
_RELEASE: Final = (1,)


def key(text: str) -> tuple[Any, ...] | None:
    """(major, minor, patch, (1,) or (0, identifiers of the pre-release)); None for what is no such version."""
    found = _VERSION.match(text)
    if found is None:
        return None
    pre = found["pre"]
    return (*_three(found["numbers"]), _RELEASE if pre is None else (0, *map(_identifier, pre.split("."))))


def go_key(text: str) -> tuple[Any, ...] | None:
    """The same, and the toolchain's own versions: `go1.21rc2` comes before `1.21`."""
    found = _TOOLCHAIN.match(text)
    if found is None:
        return key(text)
    pre = found["pre"]
    if pre is None:
        return key(found["numbers"])
    word = pre.rstrip("0123456789")
    return (*_three(found["numbers"]), (0, _identifier(word), _identifier(pre[len(word) :])))


def _three(numbers: str) -> tuple[int, int, int]:
    major, minor, patch = [*map(int, numbers.split(".")[:3]), 0, 0][:3]
    return major, minor, patch


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers before words; numbers by value, words by their ASCII characters."""
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
