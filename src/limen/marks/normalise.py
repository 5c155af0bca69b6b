"""What stays of a text when it is copied, pasted, re-serialised and prettified: the form in which records are compared.

Entities are decoded (twice, for text escaped twice), then Unicode NFKC and case folding (Unicode 15 as in the running
Python), then tags and link targets go, then whatever is not a letter or digit becomes one space. Entities come before
tags so that `&lt;b&gt;` and `<b>` end alike. ASCII text, nearly all of ours, takes a byte-table path that is several
times faster; both paths give the same bytes, and a property test holds them to it.

`fingerprints` gives position-independent hashes of runs of `RUN` words, for records that come back cut, joined or
partly rewritten (MinHash after Broder 1997).
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MIN_TEXT: Final = 24  # bytes of normalised text below which a match says nothing
RUN: Final = 7  # words in a run
SKETCH: Final = 12  # runs kept of a record, at most
_BETWEEN: Final = "\x1e"  # parts texts that are normalised together; a control character that no text keeps
_SOME_TEXT: Final = 1 << 20
_TAG: Final = re.compile(r"</?[a-z!][^<>\n\x1e]{0,300}>")
_LINK: Final = re.compile(r"\]\([^()\s\x1e]{0,2000}\)")
_NON_WORD: Final = re.compile(r"[^\w\x00-\x7f]+")
_BYTE_TABLE: Final = bytes(
    c if chr(c).isdigit() or chr(c).islower() or c == ord(_BETWEEN) else c + 32 if chr(c).isupper() else 32 for c in range(128)
) + bytes(range(128, 256))


def normalise(text: str) -> str:
    """The comparable form of one text; normalising again changes nothing."""
    return normalise_all([text])[0].decode()


def normalise_all(texts: Sequence[str]) -> list[bytes]:
    """The comparable forms of many texts, as UTF-8. Far faster than one by one."""
    out = [b""] * len(texts)
    ascii_only: list[int] = []
    other: list[int] = []
    for number, text in enumerate(texts):
        (ascii_only if text.isascii() else other).append(number)
    for numbers in (ascii_only, other):
        for some in _groups(texts, numbers):
            for number, form in zip(some, _forms([texts[n] for n in some]), strict=True):
                out[number] = form
    return out


def digest(form: bytes) -> bytes:
    """The 128-bit name of a normalised text (BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(form, digest_size=16, person=b"limen text v1").digest()


def runs(forms: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all runs of RUN words of each text, and which text each is of. A run never spans two texts."""
    hashes: list[NDArray[np.uint64]] = []
    owners: list[NDArray[np.int64]] = []
    some: list[bytes] = []
    size = first = 0
    for number, form in enumerate([*forms, None]):
        if form is None or (some and size + len(form) >= _SOME_TEXT):
            got, of = _runs(some)
            hashes.append(got)
            owners.append(of + first)
            some, size, first = [], 0, number
        if form is not None:
            some.append(form[: _SOME_TEXT - 1])  # a longer text is known by its first million bytes
            size += len(some[-1]) + 1
    return np.concatenate(hashes), np.concatenate(owners)


def fingerprints(forms: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """At most SKETCH distinct runs of each text, the same ones whatever surrounds them; and which text each is of.

    For each of SKETCH odd multipliers, the run whose product is least; a multiplier can be undone, so the run itself
    is kept.
    """
    hashes, owners = runs(forms)
    if not len(hashes):
        return hashes, owners
    starts = np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]]))
    sketch = np.empty((len(starts), SKETCH), dtype=np.uint64)
    for column in range(SKETCH):
        factor = pow(0x9E37_79B9_7F4A_7C15, 2 * column + 1, 1 << 64)
        least = np.minimum.reduceat(hashes * np.uint64(factor), starts)
        sketch[:, column] = least * np.uint64(pow(factor, -1, 1 << 64))
    sketch.sort(axis=1)
    distinct = np.ones(sketch.shape, dtype=np.bool_)
    distinct[:, 1:] = sketch[:, 1:] != sketch[:, :-1]
    return sketch[distinct], np.repeat(owners[starts], distinct.sum(axis=1))


def _groups(texts: Sequence[str], numbers: Iterable[int]) -> Iterable[list[int]]:
    some: list[int] = []
    size = 0
    for number in numbers:
        some.append(number)
        size += len(texts[number])
        if size >= _SOME_TEXT:
            yield some
            some, size = [], 0
    if some:
        yield some


def _forms(texts: list[str]) -> list[bytes]:
    """The texts are all ASCII, or all not."""
    joined = _BETWEEN.join(texts)
    if joined.count(_BETWEEN) != len(texts) - 1:
        joined = _BETWEEN.join(text.replace(_BETWEEN, " ") for text in texts)
    for _ in range(2):
        if "&" in joined:
            joined = html.unescape(joined)
    if joined.isascii():
        lowered = joined.lower()
    else:
        lowered = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", joined).casefold())
    if "<" in lowered:
        lowered = _TAG.sub(" ", lowered)
    if "](" in lowered:
        lowered = _LINK.sub(" ", lowered)
    words = lowered.encode("utf-8", "replace").translate(_BYTE_TABLE)
    if not lowered.isascii():
        words = _NON_WORD.sub(" ", words.decode()).encode()
    return [b" ".join(part.split()) for part in words.split(_BETWEEN.encode())]


def _runs(forms: list[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Polynomial hashes modulo 2^64 by prefix sums, finished by splitmix64: a few passes of numpy over the bytes."""
    joined = b" ".join(forms)
    text = np.frombuffer(joined, dtype=np.uint8)
    if not len(text):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    power, inverse = _powers(1 << max(0, len(text) - 1).bit_length())
    prefix = np.zeros(len(text) + 1, dtype=np.uint64)
    np.cumsum((text.astype(np.uint64) + np.uint64(1)) * power[: len(text)], out=prefix[1:])
    space = text == ord(" ")
    starts = np.flatnonzero(~space & np.concatenate([[True], space[:-1]]))
    ends = np.flatnonzero(~space & np.concatenate([space[1:], [True]])) + 1
    bounds = np.cumsum([len(form) + 1 for form in forms])
    owner = np.searchsorted(bounds, starts, side="right")
    if len(starts) < RUN:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    whole = owner[: 1 - RUN] == owner[RUN - 1 :]
    begin, end = starts[: 1 - RUN][whole], ends[RUN - 1 :][whole]
    mixed = (prefix[end] - prefix[begin]) * inverse[begin]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31)), owner[: 1 - RUN][whole]


@cache
def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """r^i and r^-i modulo 2^64, for i below `size`."""
    base = 0xD6E8_FEB8_6659_FD93
    ones = np.ones(max(size, 1), dtype=np.uint64)
    power, inverse = ones.copy(), ones.copy()
    power[1:] = base
    inverse[1:] = pow(base, -1, 1 << 64)
    return np.multiply.accumulate(power), np.multiply.accumulate(inverse)
