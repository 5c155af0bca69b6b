"""The body of one upload, taken as it arrives: unwrapped, counted, and checked against every hash its headers gave.

Nothing is received before the operation asks, so a refused upload with `Expect: 100-continue` never sends its bytes, and
nothing is buffered beyond what the server hands over. Whoever consumes a Body keeps nothing unless `verified` returned.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.doors.s3.errors import BodyMismatch, MissingLength, TooLarge
from limen.formats import awschunked, checksums, s3xml, sigv4

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from limen.doors.s3.call import Call

MAX_OBJECT: Final = 5 << 30  # one PUT or one part, as in S3


class Body:
    """One request body. Iterate `chunks` to its end, then ask `verified`. `length` is that of the object itself.

    `stated` are the checksums to hold it against, by kind; those of the headers if None.
    """

    def __init__(self, call: Call, *, most: int = MAX_OBJECT, stated: Mapping[str, str] | None = None) -> None:
        headers, payload = call.headers, call.verified.payload
        self._receive = call.receive
        self.length = _length(call, most)
        self._seen = 0
        self._sha256 = None if payload == sigv4.UNSIGNED or payload in sigv4.STREAMING else hashlib.sha256()
        self._expected_sha256 = payload
        promised = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()]
        if promised and not payload.endswith("-TRAILER"):
            raise Invalid("x-amz-trailer", "goes only with a payload that x-amz-content-sha256 calls ...-TRAILER")
        kinds = {checksums.kind_of(name) for name in promised}
        self._checks = checksums.Checks(checksums.declared(headers) if stated is None else stated, later=frozenset(kinds))
        self._decoder: awschunked.Decoder | None = None
        if payload in sigv4.STREAMING:
            self._decoder = awschunked.Decoder(
                length=self.length,
                signer=None if payload == sigv4.STREAMING_UNSIGNED_TRAILER else call.verified.chunks,
                trailers=promised,
                sign_trailers=payload == sigv4.STREAMING_SIGNED_TRAILER,
            )
        elif "aws-chunked" in headers.get("content-encoding", ""):
            raise Invalid("content-encoding", "aws-chunked goes only with a streaming x-amz-content-sha256")
        self._trailers: dict[str, str] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The object's bytes as they come. Raises Truncated if the caller went away, BadChunk or ChunkMismatch."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise awschunked.Truncated("the connection closed before the body was complete")
            more = message.get("more_body", False)
            received: bytes = message.get("body", b"")
            for piece in self._decoder.feed(received) if self._decoder else ((received,) if received else ()):
                self._take(piece)
                yield piece
        if self._decoder is not None:
            self._trailers = {checksums.kind_of(name): value for name, value in self._decoder.finish().items()}

    def verified(self) -> dict[str, str]:
        """The checksums that were asked for, by kind, once everything that was stated about the body holds."""
        if self._seen != self.length:
            raise awschunked.Truncated(f"it has {self._seen} bytes, and {self.length} were announced")
        if self._sha256 is not None and not hmac.compare_digest(self._sha256.hexdigest(), self._expected_sha256):
            raise BodyMismatch("x-amz-content-sha256", "the body that arrived does not have the signed SHA-256")
        return self._checks.verified(self._trailers)

    def _take(self, piece: bytes) -> None:
        self._seen += len(piece)
        if self._seen > self.length:
            raise awschunked.BadChunk("the body is longer than it was announced to be")
        if self._sha256 is not None:
            self._sha256.update(piece)
        self._checks.update(piece)


async def document(call: Call, *, root: str, stated: Mapping[str, str] | None = None) -> s3xml.Element:
    """The small XML document that is this request's body, checked like any other body."""
    body = Body(call, most=s3xml.MAX_BYTES, stated=stated)
    raw = b"".join([piece async for piece in body.chunks()])
    body.verified()
    return s3xml.read(raw, root=root)


def _length(call: Call, most: int) -> int:
    """The object's length, said before the first byte."""
    streaming = call.verified.payload in sigv4.STREAMING
    name = "x-amz-decoded-content-length" if streaming else "content-length"
    text = call.headers.get(name)
    if text is None:
        raise MissingLength(name, "is missing; say the length of the body before sending it")
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(1 << 62)):
        raise Invalid(name, "must be a whole number")
    if int(text) > most:
        raise TooLarge(name, f"is {int(text)}; at most {most} bytes are taken here")
    return int(text)
