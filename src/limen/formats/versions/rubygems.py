"""The order of RubyGems versions, as `Gem::Version` documents it: a segment with a letter makes a pre-release."""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(r"[0-9]+(?:\.[0-9A-Za-z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z")
_LOOSE: Final = re.compile(r"[0-9]+[A-Za-z][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)*\Z")  # 1beta
_SEGMENTS: Final = re.compile(r"[0-9]+|[A-Za-z]+")
# A missing segment counts as 0. Zeros that a word follows at last sort before the end, those that a number follows after it.
_WORD, _ZERO_TO_WORD, _END, _ZERO_TO_NUMBER, _NUMBER = range(5)


def key(text: str) -> tuple[Any, ...] | None:
    """Segments as a tuple; None for what is no gem's version."""
    if not (_VERSION.match(text) or _LOOSE.match(text)):
        return None
    segments = _SEGMENTS.findall(text.replace("-", ".pre."))
    first = next((place for place, each in enumerate(segments) if not each.isdecimal()), len(segments))
    segments = _without_zeros(segments[:first]) + _without_zeros(segments[first:])
    ordered: list[tuple[int, int, str]] = []
    to_word = False
    for each in reversed(segments):
        if not each.isdecimal():
            to_word = True
            ordered.append((_WORD, 0, each))
        elif int(each):
            to_word = False
            ordered.append((_NUMBER, int(each), ""))
        else:
            ordered.append((_ZERO_TO_WORD if to_word else _ZERO_TO_NUMBER, 0, ""))
    return (*reversed(ordered), (_END, 0, ""))


def _without_zeros(segments: list[str]) -> list[str]:
    while segments and segments[-1].isdecimal() and not int(segments[-1]):
        segments = segments[:-1]
    return segments
