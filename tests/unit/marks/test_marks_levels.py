"""Tables of bias levels: Nuida and others' points, and copies and traces under a key that names another table."""

import hashlib

import numpy as np
import pytest
from numpy.polynomial import legendre
from orchid import Lab, jsonl, person, records

from limen.marks import code, trace
from limen.marks.index import Index
from limen.marks.keys import MarkKey
from limen.marks.levels import CUT_UNITS, LEVELS, NUIDA8, NUIDA16, Levels

EIGHT = MarkKey("orchid", b"k" * 32, b"s" * 32)
SIXTEEN = MarkKey("orchid~2", b"n" * 32, b"s" * 32, "nuida16")


def points(nodes):
    """The distribution by its definition: roots of the Legendre polynomial L on (0, 1), weights (p(1-p))^(-3/2) / L'(p)^2."""
    polynomial = [0] * nodes + [1]
    roots = np.sort(legendre.legroots(polynomial))
    p, slope = (1 + roots) / 2, 2 * legendre.legval(roots, legendre.legder(polynomial))
    weight = (p * (1 - p)) ** -1.5 / slope**2
    return p, weight / weight.sum()


@pytest.mark.parametrize(("table", "units"), [(NUIDA8, 1 / 20_000), (NUIDA16, 1 / CUT_UNITS)])
def test_a_table_is_the_discrete_distribution_for_its_number_of_colluders_rounded(table, units):
    p, weight = points(len(table))
    assert (table.thresholds == np.round(256 * p)).all()
    assert np.abs(np.cumsum(table.shares) - np.cumsum(weight)).max() <= units
    assert table.biases.tolist() == (1 - table.biases[::-1]).tolist()


def test_bits_and_slots_follow_the_table_of_the_key():
    drawn = np.array([code.draw(SIXTEEN, n.to_bytes(16, "big")) for n in range(12_000)])
    assert np.abs(np.bincount(drawn[:, 1], minlength=8) / 12_000 - NUIDA16.shares).max() < 0.015
    levels, indexes = np.repeat(np.arange(8, dtype=np.uint8), 300), np.tile(np.arange(300, dtype=np.uint32), 8)
    book = code.codebook(SIXTEEN, code.PERSON, [f"c{n}" for n in range(100)], levels=levels, indexes=indexes)
    for level, bias in enumerate(NUIDA16.biases):
        assert abs(book[levels == level].mean() - bias) < 5 * (bias * (1 - bias) / 30_000) ** 0.5
    one = code.codeword(SIXTEEN, person(3), tiers=np.zeros(2400, dtype=np.uint8), levels=levels, indexes=indexes)
    mine = code.codebook(SIXTEEN, code.PERSON, [person(3).copy_id], levels=levels, indexes=indexes)[:, 0]
    assert (one == mine).all()


def test_a_key_keeps_its_table_on_disk_and_one_that_names_none_has_four_levels(tmp_path):
    SIXTEEN.save(tmp_path / "a.key")
    assert MarkKey.load(tmp_path / "a.key") == SIXTEEN
    old = '{"id": "orchid", "code": "limen-code/1", "secret": "' + "6b" * 32 + '", "salt": "' + "73" * 32 + '"}'
    (tmp_path / "old.key").write_text(old)
    (tmp_path / "old.key").chmod(0o600)
    assert MarkKey.load(tmp_path / "old.key") == EIGHT
    assert EIGHT.table is LEVELS["nuida8"]


def test_what_a_key_of_four_levels_serves_has_not_changed(tmp_path):
    """Digests of a copy and of the slots' root as the first release made them."""
    prepared = Lab(tmp_path, key=EIGHT).prepare(jsonl(records(400)))
    copy = code.codeword(
        EIGHT, person(3), tiers=prepared.slots["tier"], levels=prepared.slots["level"], indexes=prepared.slots["index"]
    )
    assert hashlib.sha256(np.packbits(copy).tobytes()).hexdigest()[:16] == "eedf35e8433a0f5c"
    assert prepared.slots_root[:16] == "4bc0d0aaea7dd180"


def leaked(lab, prepared, who, count):
    copy = lab.copy(prepared, who)
    return b"".join(copy.read(0, copy.length)).splitlines(keepends=True)[:count]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """One source under two keys with different tables."""
    labs = [Lab(tmp_path_factory.mktemp(key.levels), key=key) for key in (EIGHT, SIXTEEN)]
    return labs, [lab.prepare(jsonl(records(900, seed=5))) for lab in labs]


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)], ids=["nuida8", "nuida16", "both, mixed"])
def test_a_leak_names_its_copy_under_either_table_and_under_both_at_once(two, which):
    labs, prepared = two
    index = Index(prepared)
    share = 900 // len(which)
    sample = b"".join(line for n in which for line in leaked(labs[n], prepared[n], person(3), share))
    people = [person(n) for n in range(300)]
    observed = index.observe(sample)
    keys = {key.id: key for key in (EIGHT, SIXTEEN)}
    found = trace.score(observed, people, keys=keys, served={p.copy_id for p in people})
    assert [copy.recipient for copy in found.copies] == [person(3).id]
    assert {observed.keys[n] for n in set(observed.slots["key"].tolist())} == set(keys)


def test_the_check_notices_a_trace_that_reads_one_table_with_the_other(two, monkeypatch):
    labs, prepared = two
    sample = b"".join(leaked(labs[1], prepared[1], person(3), 900))
    people = [person(n) for n in range(300)]
    observed = Index(prepared[1:]).observe(sample)
    monkeypatch.setitem(LEVELS, "nuida16", Levels("nuida16", NUIDA16.of_256[::-1], NUIDA16.cut))
    found = trace.score(observed, people, keys={SIXTEEN.id: SIXTEEN}, served={p.copy_id for p in people})
    assert not found.copies
