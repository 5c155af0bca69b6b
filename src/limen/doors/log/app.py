"""The published log over HTTP, read only: checkpoint, tiles, bundles, key. C2SP tlog-tiles v0.1.

A path is taken apart and put together again from numbers, so nothing can be named that is not a part of a log; what lies
beside the log in the data directory has no name here. A partial tile that has gone is cut from a wider one.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import structlog

from limen.core.errors import LimenError, NotFound
from limen.doors.log.errors import INTERNAL, status_of
from limen.formats import tiles
from limen.verify.published import CHECKPOINT, VKEY, Published

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

MAX_LEVEL: Final = 63
_TILE: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_TEXT: Final = "text/plain; charset=utf-8"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FOR_A_MOMENT: Final = "public, max-age=1"

log = structlog.get_logger("limen.log")


class LogDoor:
    """The ASGI application of one published log. `prefix` is the path under which it lies, empty or beginning with a slash."""

    def __init__(self, root: Path, *, prefix: str = "") -> None:
        self._root = root
        self._log = Published(root)
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        del receive  # no request has a body that matters
        if scope["type"] != "http":
            return
        try:
            status, headers, body = await self._answer(scope["method"], scope["raw_path"].partition(b"?")[0])
        except LimenError as error:
            status, headers, body = status_of(error), [], f"{type(error).__name__}\n".encode()
        except Exception:
            log.exception("a request failed")
            status, headers, body = INTERNAL, [], b"the log can't be read\n"
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, method: str, raw_path: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if method not in {"GET", "HEAD"}:
            return 405, [(b"allow", b"GET, HEAD"), (b"content-type", _TEXT.encode())], b"GET and HEAD only\n"
        # The path as it came, undecoded: a percent sign is in no path of a log.
        path = raw_path.decode("latin-1")
        if not path.startswith(f"{self._prefix}/"):
            raise NotFound("a path of the log")
        path = path[len(self._prefix) + 1 :]
        body = await asyncio.to_thread(self._read, path)
        kind, keep = (_TEXT, _FOR_A_MOMENT) if path in {CHECKPOINT, VKEY} else ("application/octet-stream", _FOR_GOOD)
        return 200, [(b"content-type", kind.encode()), (b"cache-control", keep.encode())], body

    def _read(self, path: str) -> bytes:
        if path in {CHECKPOINT, VKEY}:
            try:
                return (self._root / path).read_bytes()
            except FileNotFoundError as e:
                raise NotFound(path) from e
        found = _TILE.fullmatch(path)
        if found is None:
            raise NotFound("a path of the log")
        level, groups, partial = found.groups()
        width = int(partial or tiles.WIDTH)
        index = int(groups.replace("x", "").replace("/", ""))
        kind = None if level == "entries" else int(level)
        # Only the one spelling of each tile; `.p/256` and leading groups of zeros are no paths of a log.
        if (kind or 0) > MAX_LEVEL or (partial and width >= tiles.WIDTH) or tiles.path(kind, index, width) != path:
            raise NotFound("a path of the log")
        if kind is None:
            return tiles.encode_bundle(self._log.bundle(index, width))
        return tiles.encode_tile(self._log.tile(kind, index, width))
