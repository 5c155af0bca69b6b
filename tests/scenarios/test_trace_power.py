"""A hundred leaks of 180 records, each from one of 100,000 copies: who is named, and is it ever somebody else?

Everything is real (preparing, serving, reading the sample, scoring) but that the recipients' bits are computed once and
kept, where a trace would compute them each time.
"""

import json
import random

import numpy as np
import pytest

from limen.core.types import Recipient
from limen.marks import trace
from limen.marks.code import PERSON, VENDOR, codebook, copy_id
from limen.marks.copy import copy_of
from limen.marks.index import Index
from limen.marks.keys import MarkKey
from limen.marks.prepare import prepare

PEOPLE, LEAKS, RECORDS = 100_000, 100, 180
KEY = MarkKey("orchid", b"p" * 32, b"s" * 32)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    rng = random.Random(11)
    words = ["".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3)) for _ in range(2000)]
    rows = [
        {"id": n, "prompt": " ".join(rng.choices(words, k=8)), "answer": " ".join(rng.choices(words, k=16))} for n in range(800)
    ]
    root = tmp_path_factory.mktemp("power")
    (root / "orchid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepared = prepare(root / "orchid.jsonl", media="jsonl", key=KEY, registry=root / "slots", out=root / "out")
    people = [Recipient(f"v{n % 40:02}/p{n}", f"v{n % 40:02}", f"copy-{n}", f"firm-{n % 40}") for n in range(PEOPLE)]
    return prepared, people, Index([prepared])


@pytest.fixture
def kept_bits(world, monkeypatch):
    """Bits of everybody for every slot, computed once."""
    prepared, people, _ = world
    slots = prepared.slots
    books = {}
    for tier in (PERSON, VENDOR):
        mine = np.flatnonzero(slots["tier"] == tier)
        whose = list(dict.fromkeys(copy_id(p, tier) for p in people))
        bits = codebook(KEY, tier, whose, levels=slots["level"][mine], indexes=slots["index"][mine])
        place = dict(zip(slots["number"][mine].tolist(), range(len(mine)), strict=True))
        parts = [np.packbits(bits[:, at : at + trace._AT_ONCE], axis=1) for at in range(0, len(whose), trace._AT_ONCE)]
        books[tier] = place, parts

    class Kept(trace._Bits):
        def __init__(self, observed, shown, tier, whose, keys):
            place, parts = books[tier]
            rows = [place[number] for number in shown["number"].tolist()]
            self.whose, self._shown = whose, shown
            self._packed = [part[rows] for part in parts]

    monkeypatch.setattr(trace, "_Bits", Kept)


def leaks(world, count, seed):
    prepared, people, index = world
    rng = random.Random(seed)
    for _ in range(count):
        leaker = rng.choice(people)
        copy = copy_of(prepared, leaker, key=KEY, version_id="orchid@1")
        lines = b"".join(copy.read(0, copy.length)).splitlines(keepends=True)
        yield leaker, index.observe(b"".join(rng.sample(lines, RECORDS)))


def test_of_a_hundred_single_leaks_ninety_nine_are_named_and_nobody_innocent_ever_is(world, kept_bits):
    _, people, _ = world
    served = frozenset(p.copy_id for p in people)
    named = 0
    for leaker, observed in leaks(world, LEAKS, seed=1):
        result = trace.score(observed, people, keys={"orchid": KEY}, served=served)
        assert {copy.recipient for copy in result.copies} <= {leaker.id}
        assert {firm.recipient for firm in result.vendors} <= {leaker.vendor}
        assert all(copy.q <= trace.ALPHA for copy in result.copies)
        named += bool(result.copies)
    assert named >= 99


def test_the_check_for_innocents_notices_a_trace_that_forgets_to_correct_for_how_many_it_compares(world, kept_bits, monkeypatch):
    _, people, _ = world
    monkeypatch.setattr(trace, "_log_priors", lambda whose, served: np.zeros(len(whose)))
    leaker, observed = next(leaks(world, 1, seed=2))
    result = trace.score(observed, people, keys={"orchid": KEY}, served=frozenset(), alpha=0.01)
    assert not {copy.recipient for copy in result.copies} <= {leaker.id}


def test_kept_bits_score_as_computed_ones_do(world, kept_bits, monkeypatch):
    _, people, _ = world
    some = people[: trace._AT_ONCE]
    leaker, observed = next(leaks(world, 1, seed=3))
    served = frozenset(p.copy_id for p in some)
    kept = trace._search(observed, PERSON, [p.copy_id for p in people], keys={"orchid": KEY}, served=served, alpha=1e-9)
    monkeypatch.undo()
    computed = trace._search(observed, PERSON, [p.copy_id for p in people], keys={"orchid": KEY}, served=served, alpha=1e-9)
    assert kept == computed
    assert [found.copy_id for found in kept.found] == [leaker.copy_id]
