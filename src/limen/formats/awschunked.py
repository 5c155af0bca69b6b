"""The `aws-chunked` content encoding, decoded as it arrives: signed, signed with trailers, and unsigned with trailers.

Follows "Signature calculations for the authorization header: transferring payload in multiple chunks" and its trailing-
headers variant, Amazon S3 API reference (2006-03-01). Nothing is buffered beyond one header line: chunk data is handed on
as it comes, and its signature is checked when the chunk ends, so the caller must discard what it took when `feed` or
`finish` raises. A blank line before the trailers is allowed, as real signers differ there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from limen.core.errors import BadCredential, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limen.formats.sigv4 import ChunkSigner

MAX_LINE: Final = 512
MAX_CHUNK: Final = 5 << 30  # some signers send a whole object as one chunk; it streams through all the same
MAX_TRAILERS: Final = 8

_HEADER = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?\Z")
_TRAILER = re.compile(rb"([a-z0-9-]{1,64}):[ \t]*([\x21-\x7e]{0,256})[ \t]*\Z")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


class BadChunk(Invalid):
    """A body that is not aws-chunked, or whose chunks do not add up to what its headers said."""

    def __init__(self, why: str) -> None:
        super().__init__("body", why)


class Truncated(Invalid):
    """A body that ended before its last chunk and trailers."""

    def __init__(self, why: str) -> None:
        super().__init__("body", why)


class ChunkMismatch(BadCredential):
    """A chunk or trailer whose signature is not the one due; nothing of the body may be kept."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the signature of {what} does not match", step="sigv4.chunk")


class _State(Enum):
    HEADER = auto()
    DATA = auto()
    AFTER_DATA = auto()
    TRAILERS = auto()
    DONE = auto()


class Decoder:
    """One body being decoded. Feed it what arrives, in any cuts; `finish` once at the end.

    `length` is x-amz-decoded-content-length. `signer` is None for unsigned chunks. `trailers` are the names that
    x-amz-trailer promised: each must come, and no other.
    """

    def __init__(
        self, *, length: int, signer: ChunkSigner | None, trailers: Iterable[str] = (), sign_trailers: bool = False
    ) -> None:
        self._left = length
        self._signer = signer
        self._previous = signer.seed if signer else ""
        self._due = {name.lower() for name in trailers}
        if sign_trailers:
            self._due.add(_TRAILER_SIGNATURE)
        if len(self._due) > MAX_TRAILERS:
            raise BadChunk(f"at most {MAX_TRAILERS} trailers are accepted")
        self._sign_trailers = sign_trailers
        self._trailers: dict[str, str] = {}
        self._state = _State.HEADER
        self._line = bytearray()
        self._chunk_left = 0
        self._chunk_signature = ""
        self._chunk_hash = hashlib.sha256()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The decoded pieces of what was received, without copying where a piece is the whole.

        Raises BadChunk, or ChunkMismatch when a signature fails.
        """
        at, end = 0, len(received)
        while at < end:
            if self._state is _State.DATA:
                piece = received[at : at + self._chunk_left]
                at += len(piece)
                self._chunk_left -= len(piece)
                if self._signer is not None:
                    self._chunk_hash.update(piece)
                if not self._chunk_left:
                    self._end_chunk()
                    self._state = _State.AFTER_DATA
                yield piece
            else:
                stop = received.find(b"\n", at, at + MAX_LINE)
                self._line += received[at : stop + 1 if stop >= 0 else min(end, at + MAX_LINE)]
                if len(self._line) > MAX_LINE:
                    raise BadChunk(f"a chunk header or trailer is longer than {MAX_LINE} bytes")
                if stop < 0:
                    at = min(end, at + MAX_LINE)
                    continue
                at = stop + 1
                line = bytes(self._line).rstrip(b"\r\n")
                self._line.clear()
                self._take_line(line)

    def finish(self) -> dict[str, str]:
        """The trailers, once the body has ended. Raises Truncated if it ended early, ChunkMismatch for a bad signature."""
        if self._state is _State.TRAILERS:  # some signers leave out the last line's end, or the blank line after it
            self._take_line(bytes(self._line).rstrip(b"\r\n"))
            self._line.clear()
            if not self._due:
                self._state = _State.DONE
        if self._state is not _State.DONE or self._line.strip(b"\r\n"):
            raise Truncated("it ended before its last chunk and trailers")
        return self._trailers

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.HEADER:
            self._begin_chunk(line)
        elif self._state is _State.AFTER_DATA:
            if line:
                raise BadChunk("a chunk is longer than its header says")
            self._state = _State.HEADER
        elif self._state is _State.TRAILERS:
            self._take_trailer(line)
        elif line:
            raise BadChunk("something follows the last chunk")

    def _begin_chunk(self, line: bytes) -> None:
        match = _HEADER.match(line)
        if match is None:
            raise BadChunk("a chunk header must read SIZE or SIZE;chunk-signature=SIGNATURE")
        size, signature = int(match[1], 16), (match[2] or b"").decode()
        if self._signer is not None and not signature:
            raise BadChunk("a chunk has no signature, and x-amz-content-sha256 says that it has")
        if size > MAX_CHUNK:
            raise BadChunk(f"a chunk is larger than {MAX_CHUNK} bytes")
        if size > self._left:
            raise BadChunk("the chunks hold more than x-amz-decoded-content-length says")
        self._left -= size
        self._chunk_left, self._chunk_signature = size, signature
        self._chunk_hash = hashlib.sha256()
        if size:
            self._state = _State.DATA
            return
        if self._left:
            raise BadChunk("the chunks hold less than x-amz-decoded-content-length says")
        self._end_chunk()
        self._state = _State.TRAILERS

    def _end_chunk(self) -> None:
        if self._signer is None:
            return
        expected = self._signer.chunk(self._previous, self._chunk_hash.hexdigest())
        if not hmac.compare_digest(expected, self._chunk_signature):
            raise ChunkMismatch("a chunk")
        self._previous = expected

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            if not self._due:
                self._state = _State.DONE
            return
        match = _TRAILER.match(line.lower() if b":" not in line else line[: line.index(b":")].lower() + line[line.index(b":") :])
        if match is None:
            raise BadChunk("a trailer must read name:value")
        name, value = match[1].decode(), match[2].decode()
        if name not in self._due:
            raise BadChunk(f"the trailer {name!r} was not announced by x-amz-trailer, or came twice")
        if name == _TRAILER_SIGNATURE and len(self._due) > 1:
            raise BadChunk("the trailers' signature came before the trailers")
        self._due.discard(name)
        if name != _TRAILER_SIGNATURE:
            self._trailers[name] = value
            return
        canonical = "".join(f"{key}:{text}\n" for key, text in sorted(self._trailers.items())).encode()
        if self._signer is None or not hmac.compare_digest(self._signer.trailer(self._previous, canonical), value):
            raise ChunkMismatch("the trailers")
