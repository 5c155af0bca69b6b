"""Counts what each person took in one UTC day, exactly, and refuses what would go over.

A reservation is made before the intent is written and covers the whole span; what was not handed over is credited back.
A day is 86,400 s of the `now` passed in. Counters are of one day at a time: when the clock enters a later day they
start anew, and a clock that is set back stays in the latest day seen, so that stepping it back frees nothing.

Kept in memory and owned by one thread; `load` rebuilds the day from the ledger at start-up.
"""

from __future__ import annotations

from datetime import UTC, datetime

from limen.core.errors import OverQuota

DAY_S = 86_400


class Quota:
    """Bytes taken today, by (holder, asset)."""

    def __init__(self) -> None:
        self._day = -1
        self._taken: dict[tuple[str, str], int] = {}

    def reserve(self, holder: str, asset: str, limit: int | None, nbytes: int, *, now: int) -> None:
        """Charge `nbytes`, or raise OverQuota and charge nothing. A `limit` of None only counts."""
        _check(nbytes)
        self._enter(now)
        taken = self._taken.get((holder, asset), 0)
        if limit is not None and taken + nbytes > limit:
            resets = datetime.fromtimestamp((self._day + 1) * DAY_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise OverQuota(
                f"the export quota of {asset} is {limit} bytes a day; {taken} are taken, so {nbytes} more don't fit; "
                f"it opens again at {resets}",
                resets=resets,
            )
        self._taken[holder, asset] = taken + nbytes

    def credit(self, holder: str, asset: str, nbytes: int, *, reserved_at: int) -> None:
        """Give back bytes that were reserved at `reserved_at` and not handed over. A day that is past is not reopened."""
        _check(nbytes)
        if reserved_at // DAY_S < self._day:
            return
        taken = self._taken.get((holder, asset), 0)
        if nbytes > taken:
            raise RuntimeError(f"credit of {nbytes} bytes, only {taken} are reserved")
        self._taken[holder, asset] = taken - nbytes

    def load(self, holder: str, asset: str, nbytes: int, *, now: int) -> None:
        """Count bytes that the ledger says were taken at `now`, whatever the limit. Of an earlier day: nothing."""
        _check(nbytes)
        if now // DAY_S < self._day:
            return
        self._enter(now)
        self._taken[holder, asset] = self._taken.get((holder, asset), 0) + nbytes

    def taken(self, holder: str, asset: str, *, now: int) -> int:
        """The bytes charged today."""
        return self._taken.get((holder, asset), 0) if now // DAY_S <= self._day else 0

    def day(self) -> tuple[int, dict[tuple[str, str], int]]:
        """The latest day seen, in days since 1970 (-1 before the first), and the bytes charged on it by (holder, asset)."""
        return self._day, dict(self._taken)

    def _enter(self, now: int) -> None:
        day = now // DAY_S
        if day > self._day:
            self._day = day
            self._taken.clear()


def _check(nbytes: int) -> None:
    if nbytes < 0:
        raise RuntimeError(f"{nbytes} bytes")
