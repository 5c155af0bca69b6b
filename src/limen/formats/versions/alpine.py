"""The order of Alpine package versions: the grammar of apk-package(5), `1.2.3b_rc1_p2~hash-r4`, and apk-tools 2's comparison.

What apk itself calls invalid has no place here.
"""

from __future__ import annotations

import re
from typing import Any, Final

_SUFFIXES: Final = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}
_VERSION: Final = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)"
    r"(?P<suffixes>(?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)(?P<hash>(?:~[0-9a-f]+)?)(?:-r(?P<build>[0-9]*))?\Z"
)
_SUFFIX: Final = re.compile(r"_([a-z]+)([0-9]*)")


def key(text: str) -> tuple[Any, ...] | None:
    """(numbers, letter, suffixes, build); None for what apk's grammar does not hold."""
    found = _VERSION.match(text)
    if found is None or found["hash"]:  # apk compares hashes for equality alone
        return None
    first, *others = found["numbers"].split(".")
    suffixes = [(_SUFFIXES[word], int(number or 0)) for word, number in _SUFFIX.findall(found["suffixes"])]
    return (int(first), *map(_number, others)), found["letter"], (*suffixes, (0, 0)), int(found["build"] or 0)


def _number(text: str) -> tuple[int, int, str]:
    """After the first, a number that begins with 0 is compared as a fraction: 1.05 comes before 1.1."""
    return (0, 0, text) if text[0] == "0" else (1, int(text), "")
