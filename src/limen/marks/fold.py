"""Unicode NFKC, case folding and NFKC again, of UTF-8 by table: exactly what `unicodedata` and `str.casefold` give, faster.

Almost every code point folds by itself, whatever stands around it: where a normalised text may always be cut before it, and
before what its case folding begins with (Unicode Standard Annex 15, section 9: a starter that no composition ends with). Such
a one is looked up in a table, and written over itself if it changes and the result isn't longer. The rest, combining marks
and conjoining Hangul and what grows, is *slow*: the texts that hold any are folded as the definition says, `folded`.

The table holds what the running Python's Unicode says of each code point that was met, worked out when it is first met; so
nothing here depends on a version of Unicode. Letters of ASCII keep their case: whatever comes next lowers them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP: Final = 0xFE  # bytes that UTF-8 never has: left over behind something that is no word
FILL: Final = 0xFF  # the same behind a part of a word
_UNKNOWN, _STAYS, _CHANGES, _SLOW = range(4)
_POINTS: Final = 0x110000
_TWO, _THREE, _FOUR = 0xC0, 0xE0, 0xF0  # the least first byte of sequences of two, three and four
_OTHER_SPACE: Final = re.compile(r"[^\S\x00-\x7f]")
_OTHER_NON_WORD: Final = re.compile(r"[^\w\x00-\x7f]")


def folded(text: str) -> str:
    """The definition. What is outside ASCII and no letter or digit becomes a space or question mark, one for one."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _OTHER_NON_WORD.sub("?", _OTHER_SPACE.sub(" ", text))


def fold(raw: bytes) -> tuple[bytes, NDArray[np.int64]]:
    """Fold UTF-8 where it stands, with GAP and FILL for what became shorter; and where the slow code points are."""
    before = np.frombuffer(raw, dtype=np.uint8)
    first = np.flatnonzero(before >= _TWO)
    points = _points(before, first)
    kinds, written = _table()
    kind = kinds[points]
    if not kind.all():
        for point in np.unique(points[kind == _UNKNOWN]).tolist():
            kinds[point], written[point] = _learnt(point)
        kind = kinds[points]
    changes = np.flatnonzero(kind == _CHANGES)
    if len(changes):
        after = before.copy()
        at, new = first[changes], written[points[changes]]
        for byte, least in enumerate((_TWO, _TWO, _THREE, _FOUR)):
            if byte > 1:
                longer = before[at] >= least
                at, new = at[longer], new[longer]
            after[at + byte] = new >> np.uint32(8 * byte) & np.uint32(255)
        raw = after.tobytes()
    return raw, first[kind == _SLOW]


def _points(text: NDArray[np.uint8], first: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The code points whose sequences begin at `first` (RFC 3629)."""
    lead = text[first]
    points = (lead & np.uint8(31)).astype(np.uint32) << np.uint32(6) | text[first + 1] & np.uint8(63)
    for least, bits, more in ((_THREE, 15, 2), (_FOUR, 7, 3)):
        longer = np.flatnonzero(lead >= least)
        if not len(longer):
            break
        some = (lead[longer] & np.uint8(bits)).astype(np.uint32)
        for byte in range(1, more + 1):
            some = some << np.uint32(6) | text[first[longer] + byte] & np.uint8(63)
        points[longer] = some
    return points


@cache
def _table() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """What is known of each code point: its kind, and the bytes of what it becomes, the first lowest."""
    return np.zeros(_POINTS, dtype=np.uint8), np.zeros(_POINTS, dtype=np.uint32)


def _learnt(point: int) -> tuple[int, int]:
    sign = chr(point)
    was, becomes = sign.encode(), folded(sign)
    new = becomes.encode()
    if len(new) > len(was) or not (_begins(sign) and _begins(unicodedata.normalize("NFKC", sign).casefold())):
        return _SLOW, 0
    if new == was:
        return _STAYS, 0
    ends_word = becomes[-1].isalnum() or not becomes[-1].isascii()
    new += bytes([FILL if ends_word else GAP]) * (len(was) - len(new))
    return _CHANGES, int.from_bytes(new, "little")


def _begins(text: str) -> bool:
    """Whether a normalised text may be cut before this one, whatever it follows."""
    first = unicodedata.normalize("NFKD", text)[:1]
    return bool(first) and not unicodedata.combining(first) and first not in _seconds()


@cache
def _seconds() -> frozenset[str]:
    """Every code point that something before it may be composed with."""
    pairs = (unicodedata.decomposition(chr(point)).split() for point in range(_POINTS))
    canonical = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and "<" not in pair[0]}  # noqa: PLR2004  a pair
    jamo = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # vowels, and consonants that end
    return frozenset(canonical | jamo)
