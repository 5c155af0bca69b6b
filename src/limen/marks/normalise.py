"""What stays of a text when it is copied, pasted, re-serialised and prettified: the form in which records are compared.

Entities are decoded (twice, for text escaped twice), then Unicode NFKC and case folding (as the running Python knows Unicode),
then tags and link targets go, then whatever is not a letter or digit becomes one space. Entities come before tags so that
`&lt;b&gt;` and `<b>` end alike. `tests/unit/marks/plainly.py` says the same a step at a time: digests of the form are part of
limen-code/1, and stand in registries and indexes.

Texts go together, parted by a control character, through tables and masks over all of their bytes: a microsecond of Python for
each word would be most of the time. A text's form does not depend on its neighbours.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

MIN_TEXT: Final = 24  # bytes of normalised text below which a match says nothing
_PERSON: Final = b"limen text v1"
BETWEEN: Final = "\x1e"  # parts texts that are normalised together; a control character that no text keeps
_AT_ONCE: Final = 1 << 18  # characters normalised together: what they become fits the processor's cache
_REFERENCE: Final = re.compile(r"&(?:#[0-9A-Za-z]+|[A-Za-z][0-9A-Za-z]{0,63});?")
_SHORT: Final = 32  # characters of a reference worth keeping
_TAG: Final = re.compile(r"</?[a-z!][^<>\n\x1e]{0,300}>")
_LINK: Final = re.compile(r"\]\([^()\s\x1e]{0,2000}\)")
_BYTE_TABLE: Final = bytes(
    c if chr(c).isdigit() or chr(c).islower() or c == ord(BETWEEN) else c + 32 if chr(c).isupper() else 32 for c in range(128)
) + bytes(32 if c == fold.GAP else c for c in range(128, 256))
_LEFT_OVER: Final = bytes([fold.GAP, fold.FILL])


def normalise(text: str) -> str:
    """The comparable form of one text; normalising again changes nothing."""
    return normalise_all([text])[0].decode()


def normalise_all(texts: Sequence[str]) -> list[bytes]:
    """The comparable forms of many texts, as UTF-8. Far faster than one by one."""
    out: list[bytes] = []
    for first, last in batches(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))):
        out += _forms(texts[first:last])
    return out


def batches(lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Texts of these lengths in stretches [first, last) that are best normalised together."""
    group = np.cumsum(lengths) // _AT_ONCE
    cuts = [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(lengths)]
    return [pair for pair in pairwise(cuts) if pair[0] < pair[1]]


def digest(form: bytes) -> bytes:
    """The 128-bit name of a normalised text (BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(form, digest_size=16, person=_PERSON).digest()


def digests(forms: Iterable[bytes]) -> bytes:
    """The names of many normalised texts, one after the other."""
    copy = hashlib.blake2b(digest_size=16, person=_PERSON).copy  # setting one up costs more than to hash a short text
    out: list[bytes] = []
    for form in forms:
        state = copy()
        state.update(form)
        out.append(state.digest())
    return b"".join(out)


def _forms(texts: Sequence[str]) -> list[bytes]:
    joined = BETWEEN.join(texts)
    if joined.count(BETWEEN) != len(texts) - 1:
        joined = BETWEEN.join(text.replace(BETWEEN, " ") for text in texts)
    return forms_in(joined.encode("utf-8", "replace"))


def forms_in(raw: bytes) -> list[bytes]:
    """The forms of texts that BETWEEN parts: UTF-8."""
    if b"&" in raw:
        raw = _decoded(_decoded(raw.decode())).encode()
    if not raw.isascii():
        raw = _folded(raw)
    if b"<" in raw or b"]" in raw:
        raw = _without_markup(raw)
    words = np.frombuffer(raw.translate(_BYTE_TABLE), dtype=np.uint8)
    # Of a stretch of spaces only the last stays, and only before a word; then one is left, at most, before the first word.
    kept = words != ord(" ")
    kept[:-1] |= words[1:] > ord(" ")
    kept &= words != fold.FILL
    return list(map(bytes.lstrip, words[kept].tobytes().split(BETWEEN.encode())))


def _decoded(text: str) -> str:
    """As `html.unescape` does; each reference is worked out once. No name in HTML has anything but letters and digits."""
    return _REFERENCE.sub(_meaning, text)


def _meaning(found: re.Match[str]) -> str:
    reference = found[0]
    if len(reference) <= _SHORT:
        return _unescaped(reference)
    try:
        return html.unescape(reference)
    except ValueError:  # more digits than Python reads; such a number is past the last code point, or a nuisance
        return "\ufffd"


_unescaped = lru_cache(maxsize=4096)(html.unescape)


def _folded(raw: bytes) -> bytes:
    """Fold texts; those that have slow code points once more after NFKC, which leaves few; and what still has, by definition.

    NFKC again changes nothing, so a text folds as its NFKC does.
    """
    again: tuple[Callable[[str], str], ...] = (partial(unicodedata.normalize, "NFKC"), fold.folded)
    for way in again:
        quick, slow = fold.fold(raw)
        if not len(slow):
            return quick
        ends = np.flatnonzero(np.frombuffer(raw, dtype=np.uint8) == ord(BETWEEN))
        numbers = np.unique(np.searchsorted(ends, slow)).tolist()
        parts = raw.split(BETWEEN.encode())
        some = way(BETWEEN.join(parts[number].decode() for number in numbers)).encode()
        for number, part in zip(numbers, some.split(BETWEEN.encode()), strict=True):
            parts[number] = part
        raw = BETWEEN.encode().join(parts)
    return fold.fold(raw)[0]


def _without_markup(raw: bytes) -> bytes:
    """Tags and link targets go, counted in characters as they were before anything was left over."""
    if not raw.isascii():
        raw = raw.translate(None, _LEFT_OVER)
    text = raw.lower().decode()
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "](" in text:
        text = _LINK.sub(" ", text)
    return text.encode()
