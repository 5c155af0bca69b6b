"""The HTTP/1.1 protocol under every door: uvicorn's, with a way to close a connection at once.

ASGI shows an application no transport. A pause must cut a stalled reader too, so each request's scope carries
`extensions["limen.abort"]`: a call that discards what was not sent and resets the connection. The send buffer is kept
small (256 KiB) and lingering is off, so that what the kernel still holds at a cut is bounded and is not delivered late.

A response's head waits for the first bytes of its body: one write to the kernel, and one segment, instead of two.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

SEND_BUFFER = 256 * 1024
JOINED_AT_MOST = 64 * 1024  # a longer body is not copied for the sake of its head
_CONTINUE = b"HTTP/1.1 100 "
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
        if self.scope["method"] != "HEAD":  # whose answer has no body to wait for
            self.cycle.transport = HeadWithBody(self.transport)  # type: ignore[assignment]

    def cut(self) -> None:
        """Reset the connection: nothing that is still buffered here or in the kernel is delivered."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


class HeadWithBody:
    """One response's transport: keeps the head back until the body's first write, or the close."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; the first of a response goes with the second."""
        if self._head is not None:
            head, self._head = self._head, None
            if len(data) <= JOINED_AT_MOST:
                data = b"".join((head, data))
            else:
                self._transport.write(head)
        elif not self._begun and data[: len(_CONTINUE)] != _CONTINUE:
            self._begun, self._head = True, bytes(data)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what was kept back, then close."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()
