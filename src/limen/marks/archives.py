"""Archives as streams of bytes: gzip (RFC 1952), bzip2, xz, zstd, tar (POSIX.1-2001 pax), front to back, in bounded memory.

Python's `tarfile` reads as much into memory as a header asks for, and resolves names; here a tar is walked header by header, a
name is only a label, and no header is larger than a mebibyte. Damage is `Damaged`, or what the decompressor raises.
"""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int], bytes]

_BLOCK: Final = 512
_LARGEST_HEADER: Final = 1 << 20
_LARGEST_DIRECTORY: Final = 1 << 26
_XZ_MEMORY: Final = 1 << 28
_AT_ONCE: Final = 1 << 16
_ELSEWHERE: Final = 0xFFFF_FFFF  # in a zip: the number stands in the zip64 record
_ABOUT_THE_NEXT: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_NOT_READ: Final = {
    tarfile.LNKTYPE: "is a link: not followed",
    tarfile.SYMTYPE: "is a symbolic link: not followed",
    tarfile.CHRTYPE: "is a device, no regular file",
    tarfile.BLKTYPE: "is a device, no regular file",
    tarfile.FIFOTYPE: "is a fifo, no regular file",
}


class Damaged(Exception):
    """An archive that can't be read on, and why."""


class Source:
    """Bytes from front to back, whose beginning can be looked at first. `anywhere`: the same, if it can be read from anywhere."""

    def __init__(self, read: Read, anywhere: BinaryIO | None = None) -> None:
        self._read = read
        self._ahead = b""
        self.anywhere = anywhere

    def peek(self, size: int) -> bytes:
        """The next bytes, as many as there are up to `size`; they stay to be read."""
        while len(self._ahead) < size:
            more = self._read(size - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """At most `size` of the next bytes; empty at the end only."""
        if self._ahead:
            out, self._ahead = self._ahead[:size], self._ahead[size:]
            return out
        return self._read(size)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes:
        """At most `max_length` more bytes."""


class Gzip:
    """One gzip member, as `bz2.BZ2Decompressor` is one of bzip2."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether all that was given is used."""
        return not self._inflate.unconsumed_tail and not self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` more bytes."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max(0, max_length))


def xz() -> lzma.LZMADecompressor:
    """A decompressor of one xz stream, in bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def inflated(read: Read, member: Callable[[], _Decompressor]) -> Read:
    """What one member after the other unpacks to. Zeros after the last one are padding; EOFError if it is cut short."""
    state = member()

    def inflate(size: int) -> bytes:
        nonlocal state
        while True:
            if state.eof:
                following = state.unused_data.lstrip(b"\0")
                while not following:
                    raw = read(_AT_ONCE)
                    if not raw:
                        return b""
                    following = raw.lstrip(b"\0")
                state = member()
                out = state.decompress(following, size)
            elif state.needs_input:
                raw = read(_AT_ONCE)
                if not raw:
                    raise EOFError("it is cut short")
                out = state.decompress(raw, size)
            else:
                out = state.decompress(b"", size)
            if out:
                return out

    return inflate


def zstd(read: Read) -> Read:
    """What zstd unpacks to, by Arrow's codec, which keeps to windows of 128 MiB."""
    stream = pa.CompressedInputStream(pa.PythonFile(_Readable(read), mode="r"), "zstd")

    def inflate(size: int) -> bytes:
        return bytes(stream.read(size))

    return inflate


class _Readable:
    """What Arrow asks of a Python stream."""

    closed = False

    def __init__(self, read: Read) -> None:
        self.read = read

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a tar: its bytes, which must be read before the next member is; or why it has none for us."""

    name: str
    read: Read
    why: str = ""


def is_tar(head: bytes) -> bool:
    """Whether a part that begins like this is a tar: its first header's checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members_of(read: Read) -> Iterator[Member]:
    """The members of a tar, in order; directories are passed over."""
    said = _Said()
    while (header := _exactly(read, _BLOCK)).strip(b"\0"):
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as e:
            raise Damaged(str(e)) from e
        if info.type in _ABOUT_THE_NEXT:
            if info.size > _LARGEST_HEADER:
                raise Damaged(f"it has a header of {info.size} bytes")
            said.take(info.type, _exactly(read, info.size))
            _exactly(read, -info.size % _BLOCK)
            continue
        if said.sparse or info.type == tarfile.GNUTYPE_SPARSE:
            raise Damaged("it has sparse members: unpack it, then trace that")
        name, length = said.name or info.name, info.size if said.size is None else said.size
        said = _Said()
        if info.type in _NOT_READ:
            yield Member(name, _nothing, _NOT_READ[info.type])
        elif info.type != tarfile.DIRTYPE:
            body = _Body(read, length)
            yield Member(name, body.read)
            while body.read(_AT_ONCE):
                pass
            _exactly(read, -length % _BLOCK)


@dataclass(slots=True)
class _Said:
    """What extended headers say of the member that follows them."""

    name: str = ""
    size: int | None = None
    sparse: bool = False

    def take(self, kind: bytes, body: bytes) -> None:
        if kind == tarfile.GNUTYPE_LONGNAME:
            self.name = body.rstrip(b"\0").decode("utf-8", "replace")
        elif kind in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}:
            named = dict(_pax(body))
            self.name = named.get("path", self.name)
            self.size = int(named["size"]) if re.fullmatch("[0-9]{1,18}", named.get("size", "")) else self.size
            self.sparse = any(name.startswith("GNU.sparse") for name in named)


class _Body:
    def __init__(self, read: Read, length: int) -> None:
        self._read = read
        self._left = length

    def read(self, size: int) -> bytes:
        """At most `size` of what is left; EOFError if there is less than the header says."""
        if not self._left:
            return b""
        got = self._read(min(size, self._left))
        if not got:
            raise EOFError("it is cut short")
        self._left -= len(got)
        return got


def _nothing(_: int) -> bytes:
    return b""


def _exactly(read: Read, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        got = read(size)
        if not got:
            raise EOFError("it is cut short")
        parts.append(got)
        size -= len(got)
    return b"".join(parts)


def _pax(records: bytes) -> Iterator[tuple[str, str]]:
    """The records of a pax header: length, space, keyword, =, value, newline."""
    while records:
        digits, _, _ = records[:20].partition(b" ")
        if not digits.isdigit() or not len(digits) < int(digits) <= len(records):
            return
        keyword, _, value = records[len(digits) + 1 : int(digits) - 1].partition(b"=")
        yield keyword.decode("utf-8", "replace"), value.decode("utf-8", "replace")
        records = records[int(digits) :]


def check_directory(stream: BinaryIO) -> None:
    """Damaged if a zip's directory of members is too large to be held, as its end says (PKWARE APPNOTE 4.3.14, 4.3.16)."""
    end = stream.seek(0, 2)
    stream.seek(max(0, end - _AT_ONCE - 22))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    size = struct.unpack_from("<I", tail, at + 12)[0] if 0 <= at <= len(tail) - 22 else 0
    zip64 = tail.rfind(b"PK\x06\x06")
    if 0 <= zip64 <= len(tail) - 56:
        size = max(size if size != _ELSEWHERE else 0, struct.unpack_from("<Q", tail, zip64 + 40)[0])
    if size > _LARGEST_DIRECTORY:
        raise Damaged(f"its directory has {size} bytes: unpack it, then trace that")
    stream.seek(0)
