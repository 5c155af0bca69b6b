"""What was where, at any time, as known at any time, equals what a plain reading of all BOMs says.

BOMs arrive in any order of their effective times, some at the same one, some with the clock set back between them.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import boms
from limen.assurance.bom import history

US = 1_000_000
NAMES = ("a", "b", "c")
FILED = st.lists(
    st.tuples(st.sampled_from(("v", "w")), st.integers(1, 6), st.integers(1, 9), st.frozensets(st.sampled_from(NAMES))),
    min_size=1,
    max_size=9,
)


def moment(second):
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(filed):
    """The log of these BOMs: (vendor, effective, received, names)."""
    log = boms.Log()
    for vendor, effective, received, names in filed:
        log.file(vendor, boms.bom([boms.component(name) for name in sorted(names)], moment(effective)), at=received * US)
    return log


def plainly(filed, vendor, at, known):
    """What the newest BOM in effect at `at` says, of those received by `known`."""
    of = [
        (min(effective, received), received, index, names)
        for index, (whose, effective, received, names) in enumerate(filed)
        if whose == vendor and received <= known and min(effective, received) <= at
    ]
    return max(of)[3] if of else frozenset()


def agrees(filed, data):
    asked = told(filed).boms(data)
    for known in [*range(10), None]:
        presences = asked.presences(as_of_us=None if known is None else known * US)
        for vendor in ("v", "w"):
            for at in range(10):
                there = [
                    p.name
                    for p in presences
                    if p.vendor == vendor and p.start_us <= at * US and (p.end_us is None or at * US < p.end_us)
                ]
                if len(set(there)) != len(there) or set(there) != plainly(filed, vendor, at, 99 if known is None else known):
                    return False
    asked.close()
    return True


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILED)
def test_presence_at_any_time_as_known_at_any_time_is_what_the_boms_say(filed):
    with tempfile.TemporaryDirectory() as data:
        assert agrees(filed, Path(data))


LATE = [("v", 2, 2, frozenset("ab")), ("v", 6, 6, frozenset("ab")), ("v", 4, 8, frozenset("bc"))]
SET_BACK = [("v", 2, 5, frozenset("ab")), ("v", 2, 3, frozenset("c"))]


@pytest.mark.parametrize(("filed", "part"), [(LATE, "_taking"), (SET_BACK, "_retell")])
def test_that_check_sees_a_history_that_ignores_order(filed, part, tmp_path, monkeypatch):
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    assert agrees(filed, tmp_path / "whole")
    if part == "_taking":
        taking = history._taking
        monkeypatch.setattr(history, "_taking", lambda *of: replace(taking(*of), next_us=None, next_bom=None))
    else:
        monkeypatch.setattr(history.History, "_retell", lambda self, connection, vendor: None)
    assert not agrees(filed, tmp_path / "broken")
