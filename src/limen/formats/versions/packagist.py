"""The order of Composer packages' versions: `version_compare` of the PHP manual, without a leading `v`.

A `#`, which PHP takes for any number, has no place: it equals numbers that differ.
"""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION: Final = re.compile(r"[vV]?(?=.*[0-9])[0-9A-Za-z._+~-]+\Z")
_BRANCH: Final = re.compile(r"dev-[0-9A-Za-z._/+-]+\Z")
_PARTS: Final = re.compile(r"[0-9]+|[A-Za-z]+")
_RANKS: Final = {"dev": 1, "alpha": 2, "a": 2, "beta": 3, "b": 3, "RC": 4, "rc": 4, "pl": 6, "p": 6}
_NUMBER: Final = 5
_END: Final = (_NUMBER, -1)


def key(text: str) -> tuple[Any, ...] | None:
    """Parts as a tuple; None for what has no number in it and is no branch."""
    if not (_VERSION.match(text) or _BRANCH.match(text)):
        return None
    text = text[1:] if text[0] in "vV" and len(text) > 1 and text[1].isdecimal() else text
    return (*map(_part, _PARTS.findall(text)), _END)


def _part(text: str) -> tuple[int, int]:
    """A word that PHP does not know comes before all that it knows; all such words are alike."""
    return (_NUMBER, int(text)) if text.isdecimal() else (_RANKS.get(text, 0), 0)
