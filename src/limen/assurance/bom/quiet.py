"""Keeps the garbage collector still while a large document is read.

Nothing of it is garbage before it was read, and nothing in it refers back: the collector would walk all of it again and again,
at a third of the whole cost. It is process-wide, so what other threads drop in rings meanwhile waits some milliseconds longer.
"""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def collector_still() -> Iterator[None]:
    """No collection until this ends. Whoever found it still leaves it so: it is some other reader's to start again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
