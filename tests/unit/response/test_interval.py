import math
from fractions import Fraction

import pytest

from limen.response.interval import clopper_pearson


@pytest.mark.parametrize(("right", "n"), [(0, 5), (1, 5), (5, 5), (17, 20), (40, 50), (199, 200)])
def test_the_bounds_are_where_the_exact_tails_are_a_fortieth(right, n):
    def tail(share, some):
        p = Fraction(share)
        return float(sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in some))

    low, high = clopper_pearson(right, n)
    assert low == 0 if right == 0 else tail(low, range(right, n + 1)) == pytest.approx(0.025, rel=1e-6)
    assert high == 1 if right == n else tail(high, range(right + 1)) == pytest.approx(0.025, rel=1e-6)


def test_published_bounds_are_met():
    """Rule of three's exact form, 1 - 0.025^(1/n), and a textbook's 4 of 10: 0.1216 to 0.7376 (Agresti, Coull 1998)."""
    assert clopper_pearson(0, 30)[1] == pytest.approx(1 - 0.025 ** (1 / 30))
    assert clopper_pearson(4, 10) == pytest.approx((0.1216, 0.7376), abs=5e-5)


def test_of_nothing_nothing_can_be_said():
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(RuntimeError):
        clopper_pearson(3, 2)


def test_it_covers_at_least_nineteen_times_in_twenty_whatever_the_share():
    for n in (6, 15):
        bounds = [clopper_pearson(k, n) for k in range(n + 1)]
        for share in (0.03, 0.3, 0.5, 0.71, 0.9, 0.99):
            held = sum(
                math.comb(n, k) * share**k * (1 - share) ** (n - k)
                for k, (low, high) in enumerate(bounds)
                if low <= share <= high
            )
            assert held >= 0.95
