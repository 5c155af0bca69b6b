"""What lies in a part of a sample: its text, unpacked as it is read, within limits that no part can make larger.

Nothing is ever written to the disk and no name in an archive is used as a path. What is damaged, encrypted, too deep or a
bomb is read as far as it goes, and said in `unread` with the reason; so is what is no text.
"""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from limen.marks import archives
from limen.marks.archives import Damaged, Source
from limen.marks.pieces import HEAD, Pieces, encoding_of, pieces_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAMED: Final = 1000  # so many are told by name
_LONGEST_NAME: Final = 400
_HELD: Final = 1 << 26  # bytes of a part inside another that are held in memory, if it can't be read from front to back
_DEEPEST: Final = 8  # layers: a .tar.gz has two
_DAMAGE: Final = (Damaged, EOFError, OSError, zlib.error, lzma.LZMAError)
# What `zipfile` raises: also for names that are no text, methods it doesn't know and passwords it isn't given.
_ZIP_DAMAGE: Final = (*_DAMAGE, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError)
_MAGIC: Final = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "Parquet"),
    (b"ARROW1\0\0", "Arrow"),
    (b"\xff\xff\xff\xff", "Arrow stream"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a sample is read: bytes in all, unpacked, and how far one part may unpack.

    A part may unpack to `ratio` times its own size, and to `least` bytes in any case.
    """

    total: int = 1 << 36
    ratio: int = 250
    least: int = 1 << 26


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that was not read, or not to its end, and why."""

    name: str
    why: str


def kind_of(head: bytes) -> str:
    """What a part that begins like this is: empty, text, binary, or a container by name."""
    if not head:
        return "empty"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if archives.is_tar(head):
        return "tar"
    return "text" if encoding_of(head) else "binary"


def said(name: str) -> str:
    """A name as it may be shown: no control characters, no half characters, not too long."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[: _LONGEST_NAME + 1])
    return shown if len(name) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"


class _Stop(Exception):
    """The rest of a plain part is left out, for this reason."""


@dataclass(slots=True)
class Unpacking:
    """Reads parts, one after the other; what was read so far, and what was left out."""

    limits: Limits
    unread: list[Unread] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    _more: int = 0  # left out beyond those named
    _room: int = 0  # bytes that the part in hand may still unpack to

    def pieces(self, name: str, stream: BinaryIO, length: int) -> Iterator[Pieces]:
        """The pieces of one part of this length, which can be read from anywhere."""
        if self.bytes_read >= self.limits.total and length:
            self.leave_out(name, self._beyond())
            return
        self._room = max(self.limits.least, self.limits.ratio * length)
        try:
            yield from self._any(name, Source(self._metered(stream.read, packed=False), stream), 0)
        except _Stop as e:
            self.leave_out(name, str(e))

    def leave_out(self, name: str, why: str) -> None:
        """Note that something is not read. Only so many are named; the rest are counted."""
        if len(self.unread) < _NAMED:
            self.unread.append(Unread(said(name), why))
        else:
            self._more += 1

    def left_out(self) -> tuple[Unread, ...]:
        """All that was left out."""
        more = (Unread(f"{self._more} more", "too many to be named"),) if self._more else ()
        return (*self.unread, *more)

    def _any(self, name: str, source: Source, depth: int) -> Iterator[Pieces]:
        """What is in a source of any kind; damage ends it and is noted, the reason to stop goes on up."""
        kind = "text"
        try:
            head = source.peek(HEAD)
            kind = kind_of(head)
            self.kinds[kind] += 1
            if depth >= _DEEPEST and kind not in {"text", "binary", "empty"}:
                self.leave_out(name, f"is packed more than {_DEEPEST} times over: unpack it, then trace that")
                return
            yield from self._of(kind, name, source, depth)
        except _DAMAGE as e:
            what = "can't be read on" if kind in {"text", "binary"} else f"can't be read on as {kind}"
            self.leave_out(name, f"{what}: {said(str(e) or type(e).__name__)}")

    def _of(self, kind: str, name: str, source: Source, depth: int) -> Iterator[Pieces]:
        match kind:
            case "empty":
                return
            case "binary":
                self.leave_out(name, "is no text, and of no kind that is known here")
            case "zip":
                yield from self._zip(name, self._whole(source), depth)
            case "tar":
                yield from self._tar(name, source, depth)
            case "gzip" | "bzip2" | "xz" | "zstd":
                inner = Source(self._metered(_told(kind, _INFLATE[kind](source.read))))
                yield from self._any(_without_ending(name), inner, depth + 1)
            case "Parquet" | "Arrow" | "Arrow stream":
                from limen.marks import tabular  # noqa: PLC0415  Arrow's readers, for those who have such a sample

                for records in tabular.records_in(kind, self._whole(source), self._charge):
                    yield Pieces(records)
            case _:
                yield from self._text(source)

    def _text(self, source: Source) -> Iterator[Pieces]:
        """A text, to its end or to where it can't be read on: what came before counts."""
        ended: list[Exception] = []

        def read(size: int) -> bytes:
            try:
                return b"" if ended else source.read(size)
            except (_Stop, *_DAMAGE) as e:
                ended.append(e)
                return b""

        yield from pieces_in(read, encoding_of(source.peek(HEAD)) or "utf-8")
        if ended:
            raise ended[0]

    def _zip(self, name: str, stream: BinaryIO, depth: int) -> Iterator[Pieces]:
        archives.check_directory(stream)
        try:
            archive = zipfile.ZipFile(stream)
        except _ZIP_DAMAGE as e:
            raise Damaged(str(e)) from e
        for member in archive.infolist():
            inside = f"{name}!{member.filename}"
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                self.leave_out(inside, "is encrypted: unpack it with its password, then trace that")
            elif stat.S_ISLNK(member.external_attr >> 16):
                self.leave_out(inside, "is a symbolic link: not followed")
            else:
                yield from self._any(inside, Source(self._metered(_member(archive, member))), depth + 1)

    def _tar(self, name: str, source: Source, depth: int) -> Iterator[Pieces]:
        for member in archives.members_of(source.read):
            inside = f"{name}!{member.name}"
            if member.why:
                self.leave_out(inside, member.why)
            else:
                yield from self._any(inside, Source(self._metered(member.read)), depth + 1)

    def _whole(self, source: Source) -> BinaryIO:
        """A source as a stream that can be read from anywhere; one inside another is held in memory if it isn't large."""
        if source.anywhere is not None:
            source.anywhere.seek(0)
            return source.anywhere
        held = io.BytesIO()
        while chunk := source.read(1 << 20):
            held.write(chunk)
            if held.tell() > _HELD:
                raise Damaged(f"it is larger than {_HELD >> 20} MiB inside another: unpack it, then trace that")
        held.seek(0)
        return held

    def _metered(self, read: Callable[[int], bytes], *, packed: bool = True) -> Callable[[int], bytes]:
        """A read whose bytes are counted against the limits."""

        def metered(size: int) -> bytes:
            got = read(size)
            self._charge(len(got), packed=packed)
            return got

        return metered

    def _charge(self, size: int, *, packed: bool = True) -> None:
        """Count bytes against the limits."""
        self.bytes_read += size
        if self.bytes_read > self.limits.total:
            raise _Stop(self._beyond())
        if packed:
            self._room -= size
            if self._room < 0:
                raise _Stop(
                    f"unpacks to more than {self.limits.ratio} times its size, as a bomb does: the rest was not read; if it"
                    " is none, unpack it and trace that"
                )

    def _beyond(self) -> str:
        return f"is beyond the limit of {self.limits.total} bytes a sample: trace the rest by itself"


def _told(kind: str, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A read whose failures say what failed."""

    def told(size: int) -> bytes:
        try:
            return read(size)
        except _DAMAGE as e:
            raise Damaged(f"damaged {kind}: {e}") from e

    return told


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[int], bytes]:
    """A zip's member, opened when it is first read; what `zipfile` raises is Damaged."""
    opened: list[IO[bytes]] = []

    def read(size: int) -> bytes:
        try:
            if not opened:
                opened.append(archive.open(member))
            return opened[0].read(size)
        except _ZIP_DAMAGE as e:
            raise Damaged(str(e) or type(e).__name__) from e

    return read


_INFLATE: Final[dict[str, Callable[[Callable[[int], bytes]], Callable[[int], bytes]]]] = {
    "gzip": lambda read: archives.inflated(read, archives.Gzip),
    "bzip2": lambda read: archives.inflated(read, bz2.BZ2Decompressor),
    "xz": lambda read: archives.inflated(read, archives.xz),
    "zstd": archives.zstd,
}
_ENDINGS: Final = (".gz", ".bz2", ".xz", ".zst", ".gzip")


def _without_ending(name: str) -> str:
    return next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)
