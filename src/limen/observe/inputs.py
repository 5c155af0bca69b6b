"""Where logs lie: a file, a directory tree, a prefix of S3-compatible storage; plain or gzip (RFC 1952). Read once, streamed.

A damaged input gives every byte before the damage and then says what is wrong; nothing here raises for it. Memory is
bounded whatever an input holds.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError

from limen.core.errors import Invalid
from limen.objectstore import SCHEME, first_line, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limen.objectstore import Account

CHUNK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_DEADLINE: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Input:
    """One log. `name` is what reports and manifests call it; `length` is that of its bytes as they lie."""

    name: str
    length: int
    open: Callable[[], Iterator[bytes]]


class Feed:
    """An input's bytes after decompression, chunk by chunk, with the digest of what was read. Owned by one thread."""

    def __init__(self, source: Input, *, hash_content: bool = False, heard: Callable[[int], None] = lambda _: None) -> None:
        """`hash_content`: whether `content_digest` will be asked for. `heard` is told the length read, chunk by chunk."""
        self.name = source.name
        self.length = 0  # of the bytes as they lie
        self.offset = 0  # of what was given so far, after decompression
        self.damage: str = ""  # why the bytes end before their time
        self._source = source
        self._heard = heard
        self._sha256 = hashlib.sha256()
        self._content = hashlib.sha256() if hash_content else None

    @property
    def content_digest(self) -> str:
        """SHA-256 of the bytes after decompression, if it was asked for."""
        return self._content.hexdigest() if self._content else ""

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes as they lie; final when `chunks` has ended."""
        return self._sha256.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, at most 1 MiB at a time, up to the end or to what is damaged."""
        raw = self._raw()
        first = next(raw, b"")
        while len(first) < len(_GZIP) and (more := next(raw, b"")):
            first += more
        plain = self._gunzipped(first, raw) if first.startswith(_GZIP) else _sliced(first, raw)
        for chunk in plain:
            if self._content:
                self._content.update(chunk)
            yield chunk
            self.offset += len(chunk)

    def _raw(self) -> Iterator[bytes]:
        try:
            for chunk in self._source.open():
                self._sha256.update(chunk)
                self.length += len(chunk)
                self._heard(self.length)
                yield chunk
        except (OSError, BaseError) as e:
            self.damage = f"can't be read any further: {first_line(e) or type(e).__name__}"

    def _gunzipped(self, first: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        """All members of a gzip stream."""
        inflating = zlib.decompressobj(wbits=31)
        pending = first
        while True:
            try:
                plain = inflating.decompress(pending, CHUNK)
            except zlib.error as e:
                self.damage = self.damage or f"its gzip stream is damaged: {e}"
                for _ in raw:  # so that the digest is of all of it
                    pass
                return
            if plain:
                yield plain
            if inflating.eof:
                pending = inflating.unused_data or next(raw, b"")
                while pending and not pending.strip(b"\0"):  # padding may follow the last member
                    pending = next(raw, b"")
                if not pending:
                    return
                inflating = zlib.decompressobj(wbits=31)
                continue
            pending = inflating.unconsumed_tail or next(raw, b"")
            if not pending:
                self.damage = self.damage or "its gzip stream ends before its end"
                return


def _sliced(first: bytes, raw: Iterable[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from raw


def find(places: Iterable[str], account: Account | None) -> Iterator[Input]:
    """Every input below the places named, in the order of their names. Invalid for a place that is not there."""
    for place in places:
        if place.startswith(SCHEME):
            yield from _in_bucket(place, account)
        else:
            yield from _below(Path(place))


def _below(path: Path) -> Iterator[Input]:
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                found = Path(folder) / name
                if not name.startswith(".") and found.is_file():
                    yield _file(found, (path.resolve().name / found.relative_to(path)).as_posix())
    elif path.exists():
        yield _file(path, path.name)
    else:
        raise Invalid("PATH", f"{path} is not there; name a file, a directory or s3://BUCKET/PREFIX")


def _file(path: Path, name: str) -> Input:
    def chunks() -> Iterator[bytes]:
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    return Input(name, path.stat().st_size, chunks)


def _in_bucket(url: str, account: Account | None) -> Iterator[Input]:
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise Invalid("PATH", f"{url} is not s3://BUCKET/PREFIX")
    if account is None:
        raise Invalid("PATH", f"{url} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
    store = opened(bucket, "", account, deadline=_DEADLINE, whole=False)
    try:
        listed = sorted((meta["path"], meta["size"]) for page in obstore.list(store, prefix or None) for meta in page)
    except (OSError, BaseError) as e:
        raise Invalid("PATH", f"{url} can't be listed: {first_line(e)}") from e

    def opener(path: str) -> Callable[[], Iterator[bytes]]:
        return lambda: (bytes(chunk) for chunk in obstore.get(store, path).stream(min_chunk_size=CHUNK))

    for path, size in listed:
        if size:
            yield Input(f"{SCHEME}{bucket}/{path}", size, opener(path))
