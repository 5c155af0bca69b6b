"""The control socket: `DATA/control.sock`, readable by its owner only. The CLI's verbs reach a running gateway here.

One JSON object a line each way: `{"verb", "args"}`, answered by `{"ok": …}` or `{"error": {"kind", …}}`; with `"progress": true`
lines `{"progress": "…"}` may come before the answer. When no gateway runs, the CLI opens the data directory itself and calls
the same verbs (`limen.cli.link`), so there is one set of them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from limen import progress, verbs
from limen.core.errors import Invalid, LimenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.server import Gateway

log = structlog.get_logger("limen")
MAX_REQUEST = 64 << 20


class _Request(msgspec.Struct):
    """One line that the CLI sends."""

    verb: str
    args: dict[str, Any]
    progress: bool = False


class ControlSocket:
    """Listens for verbs beside the doors, on the same event loop."""

    def __init__(self, server: asyncio.AbstractServer, path: Path) -> None:
        self._server = server
        self._path = path

    @classmethod
    async def listen(cls, gateway: Gateway, path: Path) -> ControlSocket:
        """Open the socket; only the owner of the data directory may connect."""
        path.unlink(missing_ok=True)  # noqa: ASYNC240  once, at start

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = msgspec.json.decode(await reader.readuntil(b"\n"), type=_Request)
            except (msgspec.DecodeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
                answer = _error(Invalid("control socket", f"not a request ({e})"))
            else:
                with progress.heard(_teller(writer) if request.progress else None):
                    answer = await answer_to(gateway, request.verb, request.args, by=_peer(writer))
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
            writer.close()

        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(converse, path, limit=MAX_REQUEST)
        finally:
            os.umask(before)
        return cls(server, path)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        self._server.close()
        self._path.unlink(missing_ok=True)


async def answer_to(gateway: Gateway, verb: str, args: dict[str, Any], *, by: str) -> dict[str, Any]:
    """Run one verb; a LimenError becomes `error`, with what the CLI needs to choose words and exit code."""
    if verb not in verbs.VERBS:
        return _error(Invalid("verb", f"{verb!r} is unknown to the gateway that runs; is it of this command's version?"))
    try:
        return {"ok": await verbs.VERBS[verb](gateway, args, by)}
    except LimenError as e:
        return _error(e)
    except Exception:
        log.exception("a verb failed", verb=verb)
        return _error(LimenError(f"{verb} failed in a way that limen does not know; the gateway's own log says how"))


def _teller(writer: asyncio.StreamWriter) -> Callable[[str], None]:
    """What sends a line of progress, from whatever thread. One that nobody reads any more is lost."""
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        loop.call_soon_threadsafe(writer.write, msgspec.json.encode({"progress": text}) + b"\n")

    return tell


def _error(error: LimenError) -> dict[str, Any]:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return {"error": {"kind": kinds[0], "kinds": kinds, "message": str(error), "hint": getattr(error, "next_step", "")}}


def _peer(writer: asyncio.StreamWriter) -> str:
    """Who asks: the account at the other end of the socket, as the kernel tells it."""
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return f"uid:{struct.unpack('3i', credentials)[1]}"
