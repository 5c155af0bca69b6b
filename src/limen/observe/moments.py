"""Times as logs write them, in microseconds since 1970 UTC: RFC 3339, and numbers of seconds, milliseconds and less."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from limen.observe.rows import US

_HOURS: Final[dict[str, int]] = {}  # the hour in text -> its microseconds; bounded below


def rfc3339(text: str) -> int:
    """A time as RFC 3339 writes it; digits beyond the microsecond are dropped. ValueError for anything else."""
    if len(text) == 20 and text[19] == "Z" and text[13] == ":" and text[16] == ":":  # noqa: PLR2004  the frequent form
        hour = _HOURS.get(text[:13])
        if hour is None:
            if len(_HOURS) > 100_000:  # noqa: PLR2004  bounds memory; it fills again
                _HOURS.clear()
            hour = _HOURS[text[:13]] = _slowly(f"{text[:13]}:00:00Z")
        minute, second = text[14:16], text[17:19]
        if minute.isdecimal() and second.isdecimal() and minute < "60" and second <= "60":
            return hour + (int(minute) * 60 + int(second)) * US
    return _slowly(text)


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
