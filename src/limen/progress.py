"""What a long verb says of how far it is, to whoever asked for the answer.

The control socket sends it as a line before the answer; a command that runs the verb in its own process prints it. A verb
says it from any thread that it started with `asyncio.to_thread`, and nobody need listen.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTENER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("limen progress", default=None)


def say(text: str) -> None:
    """Say how far the work is, in one line; lost if nobody listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(text)


@contextmanager
def heard(listener: Callable[[str], None] | None) -> Iterator[None]:
    """Have `listener` told, from any thread, what is said by work that begins in this block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
