"""What a look at something gives: lines, each a state, what was seen, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands with one thing. Unknown is an answer of its own, and never counts as well."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    UNKNOWN = "cannot say"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at. `tampered`: stored bytes are not what was signed."""

    part: str
    state: State
    says: str
    step: str = ""
    tampered: bool = False


def ok(part: str, says: str) -> Line:
    """It is as it should be."""
    return Line(part, State.OK, says)


def warning(part: str, says: str, step: str) -> Line:
    """It works, and somebody should know this."""
    return Line(part, State.WARNING, says, step)


def broken(part: str, says: str, step: str, *, tampered: bool = False) -> Line:
    """It does not work, or not safely."""
    return Line(part, State.BROKEN, says, step, tampered)


def unknown(part: str, says: str, step: str) -> Line:
    """Nobody here can tell."""
    return Line(part, State.UNKNOWN, says, step)
