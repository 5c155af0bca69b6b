"""A look's book as the code deals it: ones counted from keystreams as they are made, and no codeword kept.

Counter blocks that hold a shown slot are encrypted, copy by copy (code version limen-code/1); bytes are compared with the
slots' thresholds, packed to bits, masked by class and counted, a few copies at once so that all of it stays in the cache.
A small look's bits are kept for the search's further rounds; a large one's are made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from limen.marks.code import BLOCK, codebook, copy_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.marks.keys import MarkKey

AT_ONCE: Final = 1 << 20  # keystream bytes worked on at once
KEPT: Final = 1 << 27  # bytes of packed bits that a book may keep


@dataclass(frozen=True)
class DealtBook:
    """Who holds what: slots as four equally long arrays (all of one tier), copies by id, keys in the order `key` counts them."""

    tier: int
    whose: Sequence[str]
    keys: tuple[str, ...]
    secrets: Mapping[str, MarkKey]
    key: NDArray[np.int64]
    level: NDArray[np.uint8]
    index: NDArray[np.uint32]

    def bits(self, copies: Sequence[int]) -> NDArray[np.uint8]:
        """(slots x copies) bits of a few copies."""
        out = np.zeros((len(self.level), len(copies)), dtype=np.uint8)
        some = [self.whose[j] for j in copies]
        for number, name in enumerate(self.keys):
            mine = self.key == number
            if some and mine.any():
                levels, indexes = self.level[mine], self.index[mine]
                out[mine] = codebook(self.secrets[name], self.tier, some, levels=levels, indexes=indexes)
        return out

    def ones(self, which: NDArray[np.int64], classes: int) -> NDArray[np.uint32]:
        """(all copies x classes): how many ones each copy holds in each class, given each slot's class."""
        out = np.zeros((len(self.whose), classes), dtype=np.uint32)
        for mine, streams in self._streams:
            masks = streams.masks(which[mine])
            for start, held in streams.held():
                for number, span, mask in masks:
                    counted = np.bitwise_count(held[:, span] & mask).sum(axis=1, dtype=np.uint32)
                    out[start : start + len(held), number] += counted
        return out

    @cached_property
    def _streams(self) -> list[tuple[NDArray[np.bool_], _Streams]]:
        """By key: which slots are its own, and the copies' streams over them."""
        out = []
        for number, name in enumerate(self.keys):
            mine = self.key == number
            if mine.any():
                secret, levels = self.secrets[name], self.level[mine]
                keys = [copy_key(secret, self.tier, one) for one in self.whose]
                out.append((mine, _Streams.of(keys, levels, self.index[mine], secret.table.thresholds[levels])))
        return out


@dataclass(slots=True)
class _Streams:
    """Copies' AES keys, the counter blocks to encrypt, where each slot's byte is in them, and each byte's threshold."""

    keys: list[bytes]
    blocks: bytes
    at: NDArray[np.int64]
    threshold: NDArray[np.uint8]
    kept: list[tuple[int, NDArray[np.uint64]]] = field(default_factory=list)

    @classmethod
    def of(cls, keys: list[bytes], level: NDArray[np.uint8], index: NDArray[np.uint32], below: NDArray[np.uint8]) -> _Streams:
        """Plan the streams; a byte that no slot asked for has threshold 0 and never counts."""
        place = level.astype(np.int64) << 32 | index.astype(np.int64) // BLOCK
        where, block_of = np.unique(place, return_inverse=True)
        # Whole 64-bit words of bits: four blocks each. What is added is encrypted in vain.
        where = np.concatenate([where, np.full(-len(where) % 4, where[-1])])
        counters = np.zeros((len(where), BLOCK), dtype=np.uint8)
        counters[:, 0] = where >> 32
        counters[:, 8:] = (where & 0xFFFF_FFFF).astype(">u8").view(np.uint8).reshape(-1, 8)
        at = block_of.reshape(-1) * BLOCK + index % BLOCK
        threshold = np.zeros(len(where) * BLOCK, dtype=np.uint8)
        threshold[at] = below
        return cls(keys, counters.tobytes(), at, threshold)

    def masks(self, which: NDArray[np.int64]) -> list[tuple[int, slice, NDArray[np.uint64]]]:
        """Each class's bits within the packed words. A class lies within one level, so its mask spans few of them."""
        out = []
        for number in np.unique(which).tolist():
            mask = np.zeros(len(self.threshold), dtype=np.uint8)
            mask[self.at[which == number]] = 1
            words = np.packbits(mask).view(np.uint64)
            used = np.flatnonzero(words)
            span = slice(int(used[0]), int(used[-1]) + 1)
            out.append((number, span, words[span]))
        return out

    def held(self) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Copies' bits in packed words, a batch at a time, with the number of the batch's first copy."""
        if self.kept:
            yield from self.kept
            return
        made: list[tuple[int, NDArray[np.uint64]]] = []
        keep = len(self.keys) * len(self.blocks) // 8 <= KEPT
        length = len(self.blocks)
        batch = max(1, AT_ONCE // length)
        raw = bytearray(batch * length + BLOCK)  # the last copy's room to spare, which `update_into` asks for
        view, stream = memoryview(raw), np.frombuffer(raw, dtype=np.uint8)[: batch * length].reshape(batch, length)
        # Counter mode is this cipher applied to counter blocks; ECB here only means "each block by itself".
        ecb = modes.ECB()  # noqa: S305  each block is a distinct counter
        for start in range(0, len(self.keys), batch):
            some = self.keys[start : start + batch]
            for row, key in enumerate(some):
                Cipher(algorithms.AES(key), ecb).encryptor().update_into(self.blocks, view[row * length :])
            packed = np.packbits(stream[: len(some)] < self.threshold, axis=1).view(np.uint64)
            if keep:
                made.append((start, packed))
            yield start, packed
        self.kept = made  # only once it is whole
