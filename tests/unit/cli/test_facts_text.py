"""How facts are told to a person: durations in units of time, the worst sample first of several."""

import pytest

from limen.cli.facts import duration, value_text, worst_of


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0.000 s"),
        (55_286, "0.055 s"),
        (59_999_999, "59.999 s"),
        (60_000_000, "1 min 0 s"),
        (3_599_842_013, "59 min 59 s"),
        (3_600_000_000, "1 h 0 min"),
        (7 * 86_400_000_000 + 3_600_000_000, "7 d 1 h"),
    ],
)
def test_a_duration_is_told_in_two_units(us, text):
    assert duration(us) == text


def test_only_measures_of_time_are_told_as_time():
    told = [value_text(value, name) for name, value in (("revoke_us", 60_000_000), ("static_keys", 2), ("named_share", [1, 2]))]
    assert [*told, value_text(True), value_text(False), value_text("5.00")] == ["1 min 0 s", "2", "1/2", "yes", "no", "5.00"]


def sample(value, at):
    return {"value": value, "at": at}


def test_the_worst_is_the_largest_or_the_smallest_as_the_measure_says_and_the_first_of_equals():
    assert worst_of("revoke_us", [sample(1, "a"), sample(9, "b"), sample(9, "c")])["at"] == "b"
    assert worst_of("named_share", [sample([3, 3], "a"), sample([2, 3], "b"), sample([66, 100], "c")])["at"] == "c"
    assert worst_of("log_complete", [sample(True, "a"), sample(False, "b")])["at"] == "b"
    assert worst_of("insurance", [sample("10.00", "a"), sample("9.99", "b")])["at"] == "b"
    assert worst_of("revoke_us", []) is None
