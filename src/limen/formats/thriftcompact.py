"""Thrift's compact protocol, as far as Parquet's metadata needs it: structs as they are, without an IDL.

A struct is a dict of field id -> (type, value), in the order read; a list is (type of its elements, values). What is decoded and
encoded again is the same in meaning, fields that nobody here knows included. Specification: Apache Thrift,
doc/specs/thrift-compact-protocol.md. Pure.
"""

from __future__ import annotations

import struct
from typing import Any, Final

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
Struct = dict[int, tuple[int, Any]]
EXTENSION: Final = b"\x08\xfe\xff\x03"  # a binary field, numbered 32767: skipped by who doesn't know it
_DEEPEST: Final = 64
_SHORT: Final = 15
_LONGEST: Final = 10  # bytes of a 64-bit number


def decode(raw: bytes | memoryview, at: int = 0) -> tuple[Struct, int]:
    """The struct that begins at `at`, and where it ends. ValueError for what is none."""
    try:
        return _Reader(bytes(raw), at).whole()
    except (IndexError, struct.error) as e:
        raise ValueError("ends within a Thrift struct") from e


def encode(fields: Struct) -> bytes:
    """A struct as bytes."""
    out = bytearray()
    _struct(fields, out)
    return bytes(out)


def padding(length: int, mark: bytes) -> bytes:
    """An extension field of exactly `length` bytes, at least 5, that repeats a mark; it goes before a struct's last byte.

    Where no shortest number fits, the field's own length is written with a leading zero group, as readers of varints allow.
    """
    for width in range(1, 4):
        inside = length - len(EXTENSION) - width
        if 0 <= inside < 1 << 7 * width:
            groups = [inside >> 7 * n & 0x7F | (0x80 if n + 1 < width else 0) for n in range(width)]
            return EXTENSION + bytes(groups) + (mark * (inside // len(mark) + 1))[:inside]
    raise RuntimeError(f"no extension field is {length} bytes long")


class _Reader:
    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at = raw, at

    def whole(self) -> tuple[Struct, int]:
        return self.struct(_DEEPEST), self.at

    def varint(self) -> int:
        value = 0
        for shift in range(0, 7 * _LONGEST, 7):
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  the last group
                return value
        raise ValueError("a number has more than 64 bits")

    def zigzag(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def struct(self, depth: int) -> Struct:
        if not depth:
            raise ValueError("is nested too deeply")
        fields: Struct = {}
        number = 0
        while head := self.raw[self.at]:
            self.at += 1
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            fields[number] = (kind, kind == TRUE if kind <= FALSE else self.value(kind, depth))
        self.at += 1
        return fields

    def value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:  # an element of a list: a byte, and a truth value is one
                self.at += 1
                return self.raw[self.at - 1]
            case 4 | 5 | 6:
                return self.zigzag()
            case 7:
                self.at += 8
                return struct.unpack_from("<d", self.raw, self.at - 8)[0]
            case 8:
                size = self.varint()
                if self.at + size > len(self.raw):
                    raise ValueError("ends within a text")
                self.at += size
                return self.raw[self.at - size : self.at]
            case 9 | 10:
                return self.list(depth)
            case 12:
                return self.struct(depth - 1)
        raise ValueError(f"has a value of type {kind}, which is not read here")

    def list(self, depth: int) -> tuple[int, list[Any]]:
        head = self.raw[self.at]
        self.at += 1
        size = head >> 4 if head >> 4 < _SHORT else self.varint()
        if size > len(self.raw):
            raise ValueError("has a list longer than itself")
        return head & 15, [self.value(head & 15, depth) for _ in range(size)]


def _varint(value: int, out: bytearray) -> None:
    while value > 0x7F:  # noqa: PLR2004  more groups follow
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _zigzag(value: int, out: bytearray) -> None:
    _varint(2 * value if value >= 0 else -2 * value - 1, out)


def _struct(fields: Struct, out: bytearray) -> None:
    last = 0
    for number in sorted(fields):
        kind, value = fields[number]
        if kind <= FALSE:
            kind = TRUE if value else FALSE
        if 0 < number - last <= _SHORT:
            out.append(number - last << 4 | kind)
        else:
            out.append(kind)
            _zigzag(number, out)
        if kind > FALSE:
            _value(kind, value, out)
        last = number
    out.append(0)


def _value(kind: int, value: Any, out: bytearray) -> None:
    match kind:
        case 1 | 2 | 3:
            out.append(value)
        case 4 | 5 | 6:
            _zigzag(value, out)
        case 7:
            out += struct.pack("<d", value)
        case 8:
            _varint(len(value), out)
            out += value
        case 9 | 10:
            element, values = value
            out.append(min(len(values), _SHORT) << 4 | element)
            if len(values) >= _SHORT:
                _varint(len(values), out)
            for one in values:
                _value(element, one, out)
        case 12:
            _struct(value, out)
        case _:
            raise RuntimeError(f"a value of type {kind} is not written here")
