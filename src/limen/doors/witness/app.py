"""Two requests, and no others: POST <prefix>/add-checkpoint, GET <prefix>/<hex sha256(origin)>/checkpoint. C2SP tlog-witness.

There is no credential: a log's signature on its checkpoint is the only one that counts. The body is bounded in bytes and
in time before anything reads it. What is decided, and recorded, is the witness's (`ledger.witness`).
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from limen.core.errors import LimenError
from limen.doors.witness.errors import INTERNAL, status_of
from limen.formats import witness as codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from limen.ledger.witnesses.witness import Answer

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

# 63 hashes and a note of some thirty ML-DSA-44 signatures.
MAX_BODY: Final = 128 << 10
BODY_S: Final = 10.0
_SHOWN: Final = re.compile(r"[0-9a-f]{64}/checkpoint")
_TEXT: Final = "text/plain; charset=utf-8"

log = structlog.get_logger("limen.witness")


class Answers(Protocol):
    """Who stands behind this door. Both methods block, may be called from any thread, and raise LimenErrors."""

    def add_checkpoint(self, raw: bytes, now: int) -> Answer:
        """The answer to one request; whatever it says is on disk."""

    def shown(self, path: str) -> bytes | None:
        """The newest checkpoint that was cosigned, by its path below the prefix."""


class WitnessDoor:
    """The ASGI application of one witness. `prefix` is the path of both its prefixes, empty or beginning with a slash."""

    def __init__(self, witness: Answers, *, now: Callable[[], float], prefix: str = "") -> None:
        self._witness = witness
        self._now = now
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            status, content_type, body = await self._answer(scope, receive)
        except LimenError as error:
            log.warning("not answered", why=str(error))
            status, content_type, body = status_of(error), _TEXT, b"try again later\n"
        except Exception:
            log.exception("a request failed")
            status, content_type, body = INTERNAL, _TEXT, b"the witness failed\n"
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        headers.append((b"cache-control", b"no-store"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[int, str, bytes]:
        method, path = scope["method"], scope["path"]
        if not path.startswith(f"{self._prefix}/"):
            return 404, _TEXT, b"nothing is here\n"
        path = path[len(self._prefix) + 1 :]
        if path == codec.ADD_CHECKPOINT:
            if method != "POST":
                return 405, _TEXT, b"POST a checkpoint\n"
            return await self._add(receive)
        if not _SHOWN.fullmatch(path):
            return 404, _TEXT, b"nothing is here\n"
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, b"GET only\n"
        shown = await asyncio.to_thread(self._witness.shown, path)
        return (200, _TEXT, shown) if shown else (404, _TEXT, b"no checkpoint of this log was cosigned here\n")

    async def _add(self, receive: Receive) -> tuple[int, str, bytes]:
        try:
            async with asyncio.timeout(BODY_S):
                raw = await _body(receive)
        except TimeoutError:
            return 408, _TEXT, b"the request did not come in time\n"
        if raw is None:
            return 413, _TEXT, f"a request has at most {MAX_BODY} bytes\n".encode()
        answer = await asyncio.to_thread(self._witness.add_checkpoint, raw, int(self._now()))
        if answer.status >= 400 and answer.status != 409:  # noqa: PLR2004  a 409 is how a log learns where it stands
            log.info("refused", status=answer.status, why=answer.body.decode(errors="replace").strip())
        return answer.status, answer.content_type, answer.body


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None as soon as it is too long."""
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(found)  # gone; what is here will not read as a request
        found += message.get("body", b"")
        if len(found) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(found)
