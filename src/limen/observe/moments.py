"""Times as logs write them, in microseconds since 1970 UTC: RFC 3339, and numbers of seconds, milliseconds and less."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from limen.observe.rows import US

_HOURS: Final[dict[str, int]] = {}  # an hour in text, such as `2026-04-01T09`, in microseconds
_MINUTES: Final = {f":{minute:02}": minute * 60 * US for minute in range(60)}
_SECONDS: Final = {f":{second:02}Z": second * US for second in range(60)}


def rfc3339(text: str) -> int:
    """A time as RFC 3339 writes it; digits beyond the microsecond are dropped. ValueError for anything else."""
    try:  # the frequent form, `2026-04-01T09:30:00Z`
        return _HOURS[text[:13]] + _MINUTES[text[13:16]] + _SECONDS[text[16:]]
    except KeyError:
        at_us = _slowly(text)
    if text[13:14] == ":" and len(_HOURS) < 100_000:  # noqa: PLR2004  bounds memory
        _HOURS[text[:13]] = _slowly(f"{text[:13]}:00:00Z")
    return at_us


_DIGITS: Final = re.compile(r"-?\d+(?:\.\d+)?\Z")
_SIZES: Final = {"s": US, "ms": 1000, "us": 1}


def number(value: float, unit: str = "") -> int:
    """A count of seconds (`s`), `ms`, `us` or `ns` since 1970; without a unit, by its size, which fits the years 1973 to 5138."""
    if not unit:
        size = abs(value)
        unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"  # noqa: PLR2004  those years
    if unit == "ns":
        return int(value) // 1000
    return int(value * _SIZES[unit])


def any_form(value: object) -> int:
    """RFC 3339, or a number by its size, also as text. ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    if not isinstance(value, str):
        raise ValueError("is no time")  # noqa: TRY004  one error for whatever is no time
    return number(float(value)) if _DIGITS.match(value) else rfc3339(value)


def _slowly(text: str) -> int:
    head, dot, tail = text.partition(".")
    if dot:  # the standard library takes six digits at most
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * US + since.microseconds
