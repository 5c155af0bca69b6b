"""The order of Debian package versions: Debian Policy 4.7, section 5.6.12; deb-version(7)."""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(r"(?:(?P<epoch>[0-9]+):)?(?P<upstream>[0-9][0-9A-Za-z.+:~-]*?)(?:-(?P<revision>[0-9A-Za-z.+~]+))?\Z")
_PARTS: Final = re.compile(r"([^0-9]*)([0-9]*)")
_END: Final = ((0,), 0)


def key(text: str) -> tuple[Any, ...] | None:
    """(epoch, upstream version, revision); None for what does not begin with a digit or has characters that no version has."""
    found = _VERSION.match(text)
    if found is None:
        return None
    return int(found["epoch"] or 0), _parts(found["upstream"]), _parts(found["revision"] or "")


def _parts(text: str) -> tuple[Any, ...]:
    """Turns of non-digits and digits. The end sorts after a tilde and before anything else; a missing number is 0."""
    found = [(_letters(word), int(number or 0)) for word, number in _PARTS.findall(text or "0") if word or number]
    return (*found, _END)


def _letters(word: str) -> tuple[int, ...]:
    """Letters before other characters, `~` before even the end of a part."""
    return (*(-1 if each == "~" else ord(each) if each.isalpha() else ord(each) + 256 for each in word), 0)
