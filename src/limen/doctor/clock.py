"""The clock: what the kernel knows of it, whether it runs evenly, and what the log and others' clocks say.

Sources: adjtimex(2) of Linux for whether the clock is kept; RFC 9110 §6.6.1 for `Date`. Signatures bear 15 minutes of
skew (Signature Version 4), identity tokens 60 seconds (docs/formats/sts.md).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.doctor.lines import broken, ok, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.doctor.lines import Line

PART: Final = "clock"
UNSYNCHRONISED: Final = 0x40  # STA_UNSYNC
TOKENS_BEAR_S: Final = 60
NOTICED_S: Final = 5.0
STEP_S: Final = 0.5
SET_IT: Final = "set the clock, and keep it by NTP (chrony, systemd-timesyncd)"


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kernel says: whether something keeps the clock, and how far off it may be."""

    synchronised: bool
    at_most_off_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """The wall clock and the steady clock, read together; seconds."""

    wall: float
    steady: float


def kernel() -> Kept | None:
    """Ask the kernel, changing nothing. None where it can't be asked."""
    state = _Timex()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return None
    return Kept(not state.status & UNSYNCHRONISED, state.maxerror / 1e6) if answer >= 0 else None


def look(kept: Kept | None, first: Moment, then: Moment, *, last_entry_at: float | None) -> Iterator[Line]:
    """What can be known without asking anybody."""
    if kept is None:
        yield unknown(PART, "the kernel does not say whether something keeps this clock", "look at `timedatectl` on the host")
    elif kept.synchronised:
        yield ok(PART, f"kept by a time service; at most {kept.at_most_off_s:.3f} s off, says the kernel")
    else:
        yield warning(PART, "no time service keeps this clock: every time in the log is only as good as it is", SET_IT)
    stepped = (then.wall - first.wall) - (then.steady - first.steady)
    if abs(stepped) > STEP_S:
        yield broken(PART, f"it was set by {stepped:+.1f} s while we looked: order and durations in the log suffer", SET_IT)
    if last_entry_at is None:
        return
    behind = last_entry_at - then.wall
    if behind > NOTICED_S:
        yield broken(PART, f"{_span(behind)} behind the log's newest entry: it, or the clock at that time, is wrong", SET_IT)
    else:
        yield ok(PART, f"not before the log's newest entry, {_span(-behind)} ago")


def beside(who: str, theirs: float, *, ours: float, give_s: float) -> Line:
    """Our clock beside somebody else's; `give_s` is what can't be told apart (the answer's way, whole seconds)."""
    off = ours - theirs
    if abs(off) <= NOTICED_S + give_s:
        return ok(PART, f"agrees with {who} to {abs(off) + give_s:.0f} s")
    says = f"{_span(abs(off))} {'ahead of' if off > 0 else 'behind'} {who}"
    if abs(off) > TOKENS_BEAR_S + give_s:
        return broken(PART, f"{says}: identity tokens will be refused", SET_IT)
    return warning(PART, says, SET_IT)


def _span(seconds: float) -> str:
    for length, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {name}"
    return f"{max(seconds, 0):.0f} s"
