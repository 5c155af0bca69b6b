"""The HTTP/1.1 protocol under every door: uvicorn's, with a way to close a connection at once.

ASGI shows an application no transport. A pause must cut a stalled reader too, so each request's scope carries
`extensions["limen.abort"]`: a call that discards what was not sent and resets the connection. The send buffer is kept
small (256 KiB) and lingering is off, so that what the kernel still holds at a cut is bounded and is not delivered late.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

SEND_BUFFER = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # l_onoff, l_linger


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, whose requests can be cut."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Bound the kernel's send buffer before anything is sent."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER // 2)  # Linux doubles it
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_headers_complete(self) -> None:
        """Put the cut into the request's scope before the application is started."""
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions["limen.abort"] = self.cut
        super().on_headers_complete()

    def cut(self) -> None:
        """Reset the connection: nothing that is still buffered here or in the kernel is delivered."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
