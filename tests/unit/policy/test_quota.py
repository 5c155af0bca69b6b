"""The day's bytes are counted exactly: never over the limit, nothing lost, nothing freed by a clock."""

from __future__ import annotations

import random

import pytest

from limen.core.errors import OverQuota
from limen.policy.quota import DAY_S, Quota

DAY = 20_543 * DAY_S
KEY = ("p-1", "orchid-sft")


def test_the_last_byte_fits_and_one_more_does_not():
    quota = Quota()
    quota.reserve(*KEY, 100, 60, now=DAY)
    quota.reserve(*KEY, 100, 40, now=DAY)
    with pytest.raises(OverQuota) as refused:
        quota.reserve(*KEY, 100, 1, now=DAY)
    assert refused.value.resets == "2026-04-01T00:00:00Z"
    assert "100 are taken, so 1 more don't fit" in refused.value.reason
    assert quota.taken(*KEY, now=DAY) == 100


def test_a_refused_reservation_charges_nothing():
    quota = Quota()
    with pytest.raises(OverQuota):
        quota.reserve(*KEY, 100, 101, now=DAY)
    quota.reserve(*KEY, 100, 100, now=DAY)


def test_each_person_and_asset_has_a_count_of_its_own():
    quota = Quota()
    for holder in ("p-1", "p-2"):
        for asset in ("a", "b"):
            quota.reserve(holder, asset, 10, 10, now=DAY)


def test_what_was_not_handed_over_comes_back():
    quota = Quota()
    quota.reserve(*KEY, 100, 100, now=DAY)
    quota.credit(*KEY, 30, reserved_at=DAY)
    quota.reserve(*KEY, 100, 30, now=DAY)
    with pytest.raises(OverQuota):
        quota.reserve(*KEY, 100, 1, now=DAY)


def test_a_new_day_starts_anew_and_yesterdays_credit_does_not_reach_into_it():
    quota = Quota()
    quota.reserve(*KEY, 100, 100, now=DAY + DAY_S - 1)
    quota.reserve(*KEY, 100, 50, now=DAY + DAY_S)
    quota.credit(*KEY, 100, reserved_at=DAY + DAY_S - 1)
    assert quota.taken(*KEY, now=DAY + DAY_S) == 50


def test_a_clock_that_is_set_back_frees_nothing():
    quota = Quota()
    quota.reserve(*KEY, 100, 100, now=DAY + DAY_S)
    with pytest.raises(OverQuota):
        quota.reserve(*KEY, 100, 1, now=DAY)


def test_no_limit_still_counts():
    quota = Quota()
    quota.reserve(*KEY, None, 10**15, now=DAY)
    assert quota.taken(*KEY, now=DAY) == 10**15


def test_loading_counts_what_the_ledger_says_even_over_the_limit():
    quota = Quota()
    quota.load(*KEY, 500, now=DAY)
    quota.load(*KEY, 7, now=DAY - 1)
    assert quota.taken(*KEY, now=DAY) == 500
    with pytest.raises(OverQuota):
        quota.reserve(*KEY, 100, 0 + 1, now=DAY)


def test_our_own_mistakes_are_not_a_callers():
    quota = Quota()
    with pytest.raises(RuntimeError):
        quota.reserve(*KEY, 100, -1, now=DAY)
    with pytest.raises(RuntimeError, match="only 0 are reserved"):
        quota.credit(*KEY, 1, reserved_at=DAY)


class Plain:
    """The plain model: every reservation kept, and added up again for each question."""

    def __init__(self):
        self.kept = []
        self.day = 0

    def taken(self, holder, asset, now):
        if now // DAY_S > self.day:
            return 0
        return sum(n for h, a, d, n in self.kept if (h, a, d) == (holder, asset, self.day))

    def reserve(self, holder, asset, limit, nbytes, now):
        self.day = max(self.day, now // DAY_S)
        if self.taken(holder, asset, now) + nbytes > limit:
            return False
        self.kept.append((holder, asset, self.day, nbytes))
        return True


class Leaky(Quota):
    """The control: forgets the day it is in."""

    def credit(self, holder, asset, nbytes, *, reserved_at):
        self._taken[holder, asset] = max(0, self._taken.get((holder, asset), 0) - nbytes)


def _agrees(quota, seed):
    rng, plain, now, open_ = random.Random(seed), Plain(), DAY, []
    for _ in range(300):
        now += rng.choice([0, 1, 60, 3600, 30_000, -500])
        holder, asset = rng.choice("pq"), rng.choice("ab")
        if rng.random() < 0.3 and open_:
            was_at, day, holder, asset, nbytes = open_.pop(rng.randrange(len(open_)))
            back = rng.randint(0, nbytes)
            quota.credit(holder, asset, back, reserved_at=was_at)
            plain.kept.append((holder, asset, day, -back))
        else:
            nbytes = rng.choice([0, 1, 100, 999, 1000, 1001])
            allowed = plain.reserve(holder, asset, 1000, nbytes, now)
            try:
                quota.reserve(holder, asset, 1000, nbytes, now=now)
            except OverQuota:
                if allowed:
                    return False
            else:
                if not allowed:
                    return False
                open_.append((max(now, plain.day * DAY_S), plain.day, holder, asset, nbytes))
        if any(quota.taken(h, a, now=now) != plain.taken(h, a, now) for h in "pq" for a in "ab"):
            return False
    return True


def test_it_agrees_with_adding_everything_up_again():
    assert all(_agrees(Quota(), seed) for seed in range(60))


def test_control_a_counter_that_credits_into_the_wrong_day_does_not():
    assert not all(_agrees(Leaky(), seed) for seed in range(60))
