"""Fingerprints of text by winnowing (Schleimer, Wilkerson, Aiken: Winnowing, SIGMOD 2003), a few passes of numpy a byte.

A text is first brought to a normal form in which wrapping, case, comment signs, quotes and indentation leave nothing: case
folded, and only letters and digits kept. Of the hashes of all runs of K characters, the least of each WINDOW in a row is a
fingerprint. So two texts that share any run of K + WINDOW - 1 = RUN normalised characters share a fingerprint of it; the
hashes may collide, so whoever finds one compares the texts.

A character is a byte of the normal form's UTF-8: a letter outside ASCII counts two to four.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

K: Final = 32
WINDOW: Final = 64
RUN: Final = K + WINDOW - 1  # any shared run of so many normalised characters is found
BLOCK: Final = 1 << 16  # characters hashed at once: the working arrays stay in the processor's cache

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz0123456789"
_FOLD: Final = bytes(range(256)).lower()  # of bytes, only A to Z have a lower case
_NOT_ASCII: Final = bytes(range(128, 256))
_DROP: Final = bytes(c for c in range(128) if chr(c).lower().encode() not in {bytes([x]) for x in _LETTERS})
_DROP_BINARY: Final = _DROP + _NOT_ASCII
_NON_WORD: Final = re.compile(r"[^\w\x00-\x7f]+")

_STEP: Final = np.uint32(0x9E37_79B1)
_POWERS: Final = tuple(np.uint32(pow(0x9E37_79B1, 1 << i, 1 << 32)) for i in range(K.bit_length() - 1))


def normal(raw: bytes) -> bytes:
    """The normal form of a blob, whatever it holds: UTF-8, UTF-16 with its mark, Windows-1252, or bytes that are no text."""
    if raw.isascii():
        return raw.translate(_FOLD, _DROP)
    text = _decoded(raw)
    return raw.translate(_FOLD, _DROP_BINARY) if text is None else normal_text(text)


def normal_text(text: str) -> bytes:
    """The normal form of a text: NFKC, case folded, letters and digits only."""
    if text.isascii():
        return text.encode().translate(_FOLD, _DROP)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _NON_WORD.sub("", folded).encode("utf-8", "ignore").translate(_FOLD, _DROP)


def lines(raw: bytes) -> list[bytes]:
    """The normal form of each line of a blob, so that a place in the whole can be told as a line."""
    if not raw.isascii() and (text := _decoded(raw)) is not None:
        return [normal_text(line) for line in text.split("\n")]
    drop = _DROP if raw.isascii() else _DROP_BINARY
    return [line.translate(_FOLD, drop) for line in raw.split(b"\n")]


def _decoded(raw: bytes) -> str | None:
    """The text of a blob, or None for bytes that are none."""
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # A byte of zero is in no text of one byte a letter; such a blob is a program, a picture, an archive.
        return None if b"\0" in raw[:8192] else raw.decode("cp1252", "replace")


def hashes(form: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """A hash of each run of K characters; one for each place at which a run begins.

    Polynomial modulo 2^32, by doubling: the hash of 2n characters is made of two of n. Then mixed (murmur3's finaliser), so
    that the least of a window falls anywhere.
    """
    some = form.astype(np.uint32) + np.uint32(0x85)
    some *= _STEP
    some ^= some >> np.uint32(15)
    width = 1
    for power in _POWERS:
        wider = some[:-width] * power
        wider += some[width:]
        some = wider
        width *= 2
    some ^= some >> np.uint32(16)
    some *= np.uint32(0x85EB_CA6B)
    some ^= some >> np.uint32(13)
    some *= np.uint32(0xC2B2_AE35)
    some ^= some >> np.uint32(16)
    return some


def least(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The least of each WINDOW in a row."""
    some, width = values, 1
    while width < WINDOW:
        some = np.minimum(some[:-width], some[width:])
        width *= 2
    return some


def picked(form: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The fingerprints of a text and the places where their runs begin, in order. None of a text shorter than RUN.

    Where a window has its least value twice, both places are kept; the paper keeps the rightmost, and neither loses a
    shared run.
    """
    values: list[NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
    places: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for start in range(0, max(len(form) - RUN + 1, 0), BLOCK):
        some = hashes(form[start : start + BLOCK + RUN - 1])
        chosen = np.flatnonzero(_least_of_some_window(some, least(some)))
        values.append(some[chosen])
        places.append(chosen + start)
    # Blocks overlap by less than a window, so a place may be chosen in two of them.
    at, first = np.unique(np.concatenate(places), return_index=True)
    return np.concatenate(values)[first], at


def _least_of_some_window(values: NDArray[np.uint32], lowest: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether each value is the least of some window that holds it: the greatest of those windows' leasts equals it."""
    padded = np.zeros(len(values) + WINDOW - 1, dtype=np.uint32)
    padded[WINDOW - 1 : WINDOW - 1 + len(lowest)] = lowest
    some, width = padded, 1
    while width < WINDOW:
        some = np.maximum(some[:-width], some[width:])
        width *= 2
    chosen: NDArray[np.bool_] = some[: len(values)] == values
    return chosen
