"""Reads the members of a zip one by one, without holding its directory in memory: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.

A feed of 300,000 advisories comes as one zip. Python's own reader keeps an object for each member; this one keeps none, and
inflates no member further than its caller allows. What it can't read of a member is said in that member's place; what it
can't read of the archive is Invalid.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: Final = struct.Struct("<4s4H2LH")  # 4.3.16
_LOCATOR: Final = struct.Struct("<4sLQL")  # 4.3.15
_END64: Final = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_HEADER: Final = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL: Final = struct.Struct("<4s5H3L2H")  # 4.3.7
_LONGEST_END: Final = _END.size + 0xFFFF
_WIDE: Final = 0xFFFFFFFF
_SLACK: Final = 1 << 16  # by which packed bytes may be more than what they hold
STORED: Final = 0
DEFLATED: Final = 8


class Resting:
    """The bytes of an open file, read when a slice of them is asked for: a feed may be larger than memory."""

    def __init__(self, descriptor: int, length: int) -> None:
        self._descriptor = descriptor
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, wanted: slice) -> bytes:
        start, end, _ = wanted.indices(self._length)
        return os.pread(self._descriptor, max(0, end - start), start)


class Member(NamedTuple):
    """One member: its name, and where its bytes begin, how many they are as they lie there, and how they are packed."""

    name: str
    offset: int
    length: int
    method: int
    crc: int
    bad: str = ""  # why it can't be read


def members(archive: Resting) -> Iterator[Member]:
    """Each member that is a file, in the archive's order. Invalid if there is no directory, or once it breaks off."""
    at, count = _directory(archive)
    for _ in range(count):
        header = _unpacked(_HEADER, archive, at, b"PK\x01\x02")
        _, _, _, flags, method, _, _, crc, packed, _, named, extra, comment, _, _, _, local = header
        start = at + _HEADER.size
        name = archive[start : start + named].decode("utf-8", "replace")
        packed, local = _wide(archive[start + named : start + named + extra], header, packed, local)
        at = start + named + extra + comment
        if not name.endswith("/"):
            yield _member(archive, Member(name, local, packed, method, crc), flags)


def inflated(archive: Resting, member: Member, *, most: int) -> bytes:
    """A member's bytes; Invalid if they are more than `most`, or not those that were packed."""
    packed = archive[member.offset : member.offset + min(member.length, most + _SLACK)]
    if member.method == STORED:
        if len(packed) > most:
            raise Invalid("record", f"has {len(packed)} bytes, more than {most}")
        raw = packed
    else:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            raw = inflating.decompress(packed, most + 1)
        except zlib.error as e:
            raise Invalid("record", f"can't be inflated: {e}") from e
        if len(raw) > most:
            raise Invalid("record", f"has more than {most} bytes")
        if not inflating.eof:
            raise Invalid("record", "breaks off in the archive")
    if zlib.crc32(raw) != member.crc:
        raise Invalid("record", "is not what was packed: its checksum differs")
    return raw


def _directory(archive: Resting) -> tuple[int, int]:
    """Where the directory begins, and how many members it names."""
    tail = archive[max(0, len(archive) - _LONGEST_END) :]
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        raise Invalid("zip", "has no directory at its end; it may have been cut off")
    end = len(archive) - len(tail) + found
    _, _, _, _, count, _, start, _ = _END.unpack_from(tail, found)
    locator = archive[max(0, end - _LOCATOR.size) : end]
    if len(locator) == _LOCATOR.size and locator[:4] == b"PK\x06\x07":
        _, _, at, _ = _LOCATOR.unpack(locator)
        wide = _unpacked(_END64, archive, at, b"PK\x06\x06")
        count, start = wide[7], wide[9]
    return start, count


def _member(archive: Resting, member: Member, flags: int) -> Member:
    """The member with its bytes' own place, which its local header says; or why it can't be read."""
    if flags & 1:
        return member._replace(bad="is encrypted")
    if member.method not in {STORED, DEFLATED}:
        return member._replace(bad=f"is packed by method {member.method}, which is not read here")
    try:
        local = _unpacked(_LOCAL, archive, member.offset, b"PK\x03\x04")
    except Invalid as e:
        return member._replace(bad=e.why)
    offset = member.offset + _LOCAL.size + local[9] + local[10]
    if offset + member.length > len(archive):
        return member._replace(bad="breaks off in the archive")
    return member._replace(offset=offset)


def _wide(extra: bytes, header: tuple[int, ...], packed: int, local: int) -> tuple[int, int]:
    """Length and place from the ZIP64 field, where the header has no room for them (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            places = [extra[at + 4 + n : at + 12 + n] for n in range(0, size - 7, 8)]
            values = iter([int.from_bytes(each, "little") for each in places])
            if header[9] == _WIDE:
                next(values, None)
            packed = next(values, packed) if packed == _WIDE else packed
            local = next(values, local) if local == _WIDE else local
        at += 4 + size
    return packed, local


def _unpacked(form: struct.Struct, archive: Resting, at: int, magic: bytes) -> tuple[int, ...]:
    found = archive[at : at + form.size]
    if len(found) < form.size or found[:4] != magic:
        raise Invalid("zip", f"is damaged: at byte {at} there is not what its directory says")
    return form.unpack(found)
