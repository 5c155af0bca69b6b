"""Small HTTP listeners beside the gateway, or on their own: the published log, a witness, a mirror.

uvicorn under each. The address is taken before anything else starts, so that one that is in use is an error that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn

from limen.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

# What one of these answers fits into memory many times over; who opens more connections than this waits, or hears 503.
MAX_AT_ONCE: Final = 256


class Unsignalled(uvicorn.Server):
    """A server that leaves the process's signals to the one that owns them.

    uvicorn's own raises a signal again once it has served: the process would end before it has closed anything.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are somebody else's."""
        yield


def log_without_values() -> None:
    """Log tracebacks as lines of code only: the values of their variables are people's, or keys."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # of that moment: a test may have put another there
    )


def bound(listen: str) -> socket.socket:
    """A listening socket on HOST:PORT; port 0 takes a free one. Invalid or Conflict says what is wrong with the address."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise Invalid("listen", f"{listen!a} is not HOST:PORT")
    host = host.strip("[]")
    # The protocol is named because accepted connections inherit it, and asyncio turns Nagle's delay off only for those
    # that say TCP: without it each answer waits 40 ms for an acknowledgement.
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        listening.listen(128)
    except (OSError, OverflowError) as e:
        listening.close()
        raise Conflict(f"can't listen on {listen}: {e}") from e
    return listening


def address(listening: socket.socket) -> str:
    """Where it listens, as HOST:PORT."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.asynccontextmanager
async def beside(app: Any, listening: socket.socket) -> AsyncIterator[None]:
    """Serve an application on a socket for the length of a `with`, without touching the process's signals."""
    server = Unsignalled(_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def until_stopped(app: Any, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve an application on a socket until SIGTERM or SIGINT."""

    async def run() -> None:
        ready()
        await uvicorn.Server(_config(app)).serve(sockets=[listening])

    asyncio.run(run())


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_AT_ONCE,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
