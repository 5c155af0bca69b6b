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
from limen.marks.book import DealtBook
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
        places = zip(slots["level"][mine].tolist(), slots["index"][mine].tolist(), strict=True)
        books[tier] = dict(zip(places, range(len(mine)), strict=True)), bits

    class Kept(DealtBook):
        def rows(self):
            place, _ = books[self.tier]
            return np.array([place[at] for at in zip(self.level.tolist(), self.index.tolist(), strict=True)], dtype=np.int64)

        def bits(self, copies):
            return books[self.tier][1][:, list(copies)][self.rows()]

        def ones(self, which, classes):
            out = np.zeros((classes, len(self.whose)), dtype=np.uint16)
            for row, number in zip(self.rows().tolist(), which.tolist(), strict=True):
                out[number] += books[self.tier][1][row, : len(self.whose)]
            return out.T

    monkeypatch.setattr(trace, "DealtBook", Kept)


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
    monkeypatch.setattr(trace, "log_priors", lambda whose, served: np.zeros(len(whose)))
    leaker, observed = next(leaks(world, 1, seed=2))
    result = trace.score(observed, people, keys={"orchid": KEY}, served=frozenset(), alpha=0.01)
    assert not {copy.recipient for copy in result.copies} <= {leaker.id}


def test_kept_bits_score_as_computed_ones_do(world, kept_bits, monkeypatch):
    _, people, _ = world
    leaker, observed = next(leaks(world, 1, seed=3))
    served = frozenset(p.copy_id for p in people)
    kept = trace.score(observed, people, keys={"orchid": KEY}, served=served)
    monkeypatch.undo()
    assert trace.score(observed, people, keys={"orchid": KEY}, served=served) == kept
    assert [found.recipient for found in kept.copies] == [leaker.id]
