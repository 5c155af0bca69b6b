"""Where adopted bytes rest: somebody's bucket or directory, read in place, never written, never copied.

What was adopted is known by the ETag that the place said at that time (a directory's: inode, time of change, length). Every
read carries it, so an object that changed is refused and not served; what arrives is counted against the range that was
asked for, so a place that lies about lengths is cut off and not believed. Nothing of an object whose first chunk is not
here has left: refusals come before the first byte, and a failure in between ends the connection.

Owned by the event loop's thread, but for `seen`, which blocks.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from limen.core.errors import Invalid, UpstreamChanged, UpstreamUnavailable
from limen.objectstore import SCHEME, Account, first_line, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from obstore.store import S3Store

    from limen.core.types import Upstream

CHUNK: Final = 1 << 20
FILE_SCHEME: Final = "file://"
DEADLINE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One object as its place lists it. `url` is whole; `path` is below the prefix that was listed."""

    url: str
    path: str
    length: int
    etag: str


@dataclass(frozen=True, slots=True)
class Opening:
    """How objects below a URL are reached: with which account, and how long each step may take."""

    url: str
    account: Account | None
    deadline_s: float = DEADLINE_S


class Rest(Protocol):
    """One kind of place. Errors are UpstreamUnavailable and UpstreamChanged, in words that name the object."""

    def seen(self) -> Iterator[Seen]:
        """Every object below, in no order. Blocking."""

    def read(self, rests: Upstream, length: int, start: int, end: int) -> AsyncGenerator[bytes]:
        """Bytes [start, end) of what was adopted with that ETag and length, in chunks of about a megabyte."""


class Upstreams:
    """The places that adopted assets rest in. The first opening whose URL begins an object's URL is used for it."""

    def __init__(self, openings: Iterable[Opening] = (), *, otherwise: Account | None = None) -> None:
        self._openings = tuple(openings)
        self._otherwise = otherwise
        self._buckets: dict[tuple[str, str], S3Store] = {}

    def seen(self, url: str) -> list[Seen]:
        """What there is below a URL, by path. Invalid for a URL of no known kind. Blocking."""
        return sorted(self._rest(url).seen(), key=lambda one: one.path)

    async def read(self, rests: Upstream, length: int, start: int, end: int) -> AsyncGenerator[bytes]:
        """Bytes [start, end) of an adopted object, which has `length`; all of them, or an error after a prefix.

        UpstreamChanged: it is no longer what was adopted. UpstreamUnavailable: it can't be had whole, for now.
        """
        left = end - start
        async for chunk in self._rest(rests.url).read(rests, length, start, end):
            left -= len(chunk)
            if left < 0:
                raise UpstreamUnavailable(f"{rests.url} sends more than the {end - start} bytes asked for")
            yield chunk
        if left:
            raise UpstreamUnavailable(f"{rests.url} ended {left} bytes short")

    def _rest(self, url: str) -> Rest:
        if url.startswith(FILE_SCHEME):
            return Folder(url)
        bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not bucket:
            raise Invalid("url", f"{url!r} is neither s3://BUCKET/PREFIX nor a directory")
        opening = next((o for o in self._openings if _below(url, o.url)), Opening(url, self._otherwise))
        if opening.account is None:
            raise UpstreamUnavailable(
                f"{url} needs keys: none are in the environment", next_step="set them (docs/adopt.md), and start again"
            )
        key = (opening.url if opening in self._openings else "", bucket)
        if key not in self._buckets:
            deadline = timedelta(seconds=opening.deadline_s)
            self._buckets[key] = opened(bucket, "", opening.account, deadline=deadline, whole=False)
        return Bucket(self._buckets[key], bucket, prefix, opening.deadline_s)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects of S3-compatible storage."""

    store: S3Store
    bucket: str
    prefix: str
    deadline_s: float

    def seen(self) -> Iterator[Seen]:
        """Every object below the prefix; a key that ends in a slash and holds nothing is somebody's folder, and no object."""
        try:
            for page in obstore.list(self.store, self.prefix or None):
                for found in page:
                    key = found["path"]
                    below = key[len(self.prefix) :].lstrip("/") if self.prefix != key else key.rpartition("/")[2]
                    if below and not (key.endswith("/") and not found["size"]):
                        yield Seen(f"{SCHEME}{self.bucket}/{key}", below, found["size"], found["e_tag"] or "")
        except (BaseError, OSError) as e:
            raise self._unavailable(f"{SCHEME}{self.bucket}/{self.prefix} can't be listed", e) from e

    async def read(self, rests: Upstream, length: int, start: int, end: int) -> AsyncGenerator[bytes]:
        """A conditional ranged GET. What the answer says of itself must be what was adopted."""
        try:
            async with asyncio.timeout(self.deadline_s):
                if start == end:
                    meta = await obstore.head_async(self.store, self.prefix)
                    stream = None
                else:
                    options: obstore.GetOptions = {"range": (start, end), "if_match": rests.etag}
                    got = await obstore.get_async(self.store, self.prefix, options=options)
                    meta, stream = got.meta, got.stream(min_chunk_size=CHUNK)
            if meta["e_tag"] != rests.etag or meta["size"] != length:
                raise UpstreamChanged(rests.url)
            while stream is not None:
                async with asyncio.timeout(self.deadline_s):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                yield chunk
        except (PreconditionError, NotFoundError, FileNotFoundError) as e:
            raise UpstreamChanged(rests.url) from e
        except (BaseError, OSError) as e:
            raise self._unavailable(f"{rests.url} can't be read", e) from e

    def _unavailable(self, what: str, error: Exception) -> UpstreamUnavailable:
        if isinstance(error, TimeoutError):
            return UpstreamUnavailable(f"{what}: nothing came within {self.deadline_s:g} seconds")
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            return UpstreamUnavailable(f"{what}: its keys are refused: {first_line(error)}")
        return UpstreamUnavailable(f"{what}: {first_line(error)}")


@dataclass(frozen=True, slots=True)
class Folder:
    """Files of a directory of this machine, or one of them. Symbolic links are not followed, nor adopted."""

    url: str

    def seen(self) -> Iterator[Seen]:
        """Every regular file below that is not hidden."""
        root = self.url.removeprefix(FILE_SCHEME)
        try:
            for folder, folders, names in os.walk(root, onerror=_raise):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in names:
                    place = os.path.join(folder, name)  # noqa: PTH118  as os.walk tells them
                    found = os.stat(place, follow_symlinks=False)  # noqa: PTH116
                    if stat.S_ISREG(found.st_mode) and not name.startswith("."):
                        yield Seen(f"{FILE_SCHEME}{place}", os.path.relpath(place, root), found.st_size, etag_of(found))
        except OSError as e:
            raise UpstreamUnavailable(f"{root} can't be listed: {e.strerror}") from e

    async def read(self, rests: Upstream, length: int, start: int, end: int) -> AsyncGenerator[bytes]:
        """Read through one descriptor. Each chunk is handed on after the file was looked at again: a torn one never is."""
        place = rests.url.removeprefix(FILE_SCHEME)
        try:
            handle = await asyncio.to_thread(os.open, place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as e:
            raise UpstreamChanged(rests.url) from e
        try:
            for at in [*range(start, end, CHUNK)] or [start]:
                chunk, found = await asyncio.to_thread(_piece, handle, min(CHUNK, end - at), at)
                if etag_of(found) != rests.etag or found.st_size != length:
                    raise UpstreamChanged(rests.url)
                if chunk:
                    yield chunk
        except OSError as e:
            raise UpstreamUnavailable(f"{rests.url} can't be read: {e.strerror}") from e
        finally:
            os.close(handle)


def etag_of(found: os.stat_result) -> str:
    """What tells one state of a file from another: inode, time of the last change to its bytes, length."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _piece(handle: int, length: int, at: int) -> tuple[bytes, os.stat_result]:
    return os.pread(handle, length, at), os.fstat(handle)


def _below(url: str, opening: str) -> bool:
    return url == opening or url.startswith(f"{opening.rstrip('/')}/")


def _raise(error: OSError) -> None:
    raise error
