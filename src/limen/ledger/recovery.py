"""What a crash left open: intents under which something may have left or come in, and whose outcome is not in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limen.core.errors import Invalid, TamperDetected
from limen.core.events import decode
from limen.core.types import Action

if TYPE_CHECKING:
    from limen.ledger.ledger import Ledger

CARRIES_BYTES = frozenset({200, 206})


def missing_outcomes(ledger: Ledger) -> list[int]:
    """The indexes of intents that need an outcome and have none, in order. Reads from the low water on; changes nothing.

    Reads need one if their span was to leave (status 200 or 206), writes always; HEAD, LIST, 304 and the like never do.
    TamperDetected names an entry from there on that can't be read.
    """
    open_intents: dict[int, None] = {}
    for index, raw in ledger.entries(ledger.low_water()):
        if b'"kind":"access.' not in raw:
            continue
        try:
            entry = decode(raw)
        except Invalid as e:
            raise TamperDetected(f"entry {index} is not an entry: {e}", index=index) from e
        if entry["kind"] == "access.intent" and needs_outcome(entry):
            open_intents[index] = None
        elif entry["kind"] == "access.outcome":
            open_intents.pop(entry.get("of", -1), None)
    return list(open_intents)


def needs_outcome(intent: dict[str, Any]) -> bool:
    """Whether bytes could pass under this intent, so that how many did is worth an entry."""
    if intent.get("action") == Action.WRITE or "run" in intent:
        return True
    return "span" in intent and intent.get("status") in CARRIES_BYTES
