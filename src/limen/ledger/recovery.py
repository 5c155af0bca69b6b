"""Which intents ask for an outcome: those under which something may leave or come in, so that a crash must not hide it."""

from __future__ import annotations

from typing import Any

from limen.core.types import Action

OPENS_BYTES = frozenset({200, 206})


def needs_outcome(intent: dict[str, Any]) -> bool:
    """Whether bytes could pass under this intent, so that how many did is worth an entry.

    Reads need one if their span was to leave (status 200 or 206), writes always; HEAD, LIST, 304 and the like never do.
    """
    if intent.get("action") == Action.WRITE or "run" in intent:
        return True
    return "span" in intent and intent.get("status") in OPENS_BYTES
