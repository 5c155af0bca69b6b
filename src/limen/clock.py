"""The wall clock, read in one place; and the story's clock, in development mode only.

SigV4, tokens and durations use real time. A demonstration may tell a story that spans weeks: entries then carry
`story_at` beside the real `at`, and windows of days (quotas, reports) use it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Real time, and the story's time if one is told. `read` gives seconds since 1970; tests pass their own."""

    def __init__(self, *, development: bool, read: Callable[[], float] = time.time) -> None:
        self._development = development
        self._read = read
        self._story_offset_us: int | None = None

    def now(self) -> int:
        """Whole seconds since 1970, UTC."""
        return int(self._read())

    def now_us(self) -> int:
        """Microseconds since 1970, UTC: what entries carry as `at`."""
        return int(self._read() * 1_000_000)

    def story_us(self) -> int | None:
        """The story's microseconds since 1970, or None when no story is told."""
        return None if self._story_offset_us is None else self.now_us() + self._story_offset_us

    def day_at(self) -> int:
        """The seconds by which windows of days are counted: the story's if one is told."""
        story = self.story_us()
        return self.now() if story is None else story // 1_000_000

    def tell(self, story_at_us: int) -> None:
        """Set the story's time; it runs on from there. Refused outside development mode."""
        if not self._development:
            raise Invalid("story_at", "a story clock needs a server in development mode")
        self._story_offset_us = story_at_us - self.now_us()
