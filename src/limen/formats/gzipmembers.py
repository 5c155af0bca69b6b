"""Gzip members of a chosen length (RFC 1952, RFC 1951): a gzip stream is members one after the other, whoever made them.

A member can be made longer without saying more: between its last block of text and the end, deflate may have any number of
empty blocks, and an inflater passes them over. So no field of the header is needed, which some readers refuse (DuckDB takes
no FEXTRA), and a member says nothing of when or where it was made. Pure.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflate, no flags, no time, no level said, no system said
_LAST: Final = b"\x03\0"  # an empty block of fixed codes, marked as the last
# What is 5, 6 and 7 bytes long and says nothing: an empty stored block, alone, behind one and behind two empty fixed ones.
_EMPTY: Final = (b"\0\0\0\xff\xff", b"\x02\0\0\0\xff\xff", b"\x02\x08\0\0\0\xff\xff")
_LEAST: Final = len(_EMPTY[0])
_MORE: Final = len(_EMPTY) - 1


@dataclass(frozen=True, slots=True)
class Member:
    """A member before its length is chosen: header and text as `head`, and what ends it."""

    head: bytes
    tail: bytes

    def __len__(self) -> int:
        """Its least length."""
        return len(self.head) + len(self.tail)

    def padded(self, length: int) -> bytes:
        """The member at exactly this length, one that `length_for` gave."""
        return self.head + _padding(length - len(self)) + self.tail


def member(content: bytes) -> Member:
    """Compress some text by itself; it ends at a byte's edge, so that empty blocks can follow."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH)
    ends = zlib.crc32(content).to_bytes(4, "little") + (len(content) & 0xFFFF_FFFF).to_bytes(4, "little")
    return Member(_HEADER + body, _LAST + ends)


def length_for(*members: Member) -> int:
    """The least length that all of these can have."""
    length = max(map(len, members))
    while not all(_can_fill(length - len(one)) for one in members):
        length += 1
    return length


def _can_fill(gap: int) -> bool:
    blocks, rest = divmod(gap, _LEAST)
    return gap == 0 or (blocks > 0 and rest <= _MORE * blocks)


def _padding(gap: int) -> bytes:
    if not _can_fill(gap):
        raise RuntimeError(f"no empty blocks are {gap} bytes long together")
    blocks, rest = divmod(gap, _LEAST)
    longest, left = divmod(rest, _MORE)
    some = [_EMPTY[_MORE]] * longest + ([_EMPTY[left]] if left else [])
    return b"".join(some) + _EMPTY[0] * (blocks - len(some))
