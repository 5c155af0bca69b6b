import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from orchid import Lab, jsonl, person, records

from limen.marks import decoder as dec
from limen.marks import trace
from limen.marks.book import DealtBook
from limen.marks.classes import Shown
from limen.marks.code import BIASES, PERSON, codebook
from limen.marks.index import OBSERVED, Index, Observed
from limen.marks.keys import MarkKey

STAFF = [person(n, vendor) for vendor in ("quillwork", "lexara", "tessel") for n in range(12)]
SERVED = frozenset(p.copy_id for p in STAFF)
Q03, Q11 = STAFF[3], STAFF[11]


@pytest.fixture(scope="module")
def orchid(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("orchid"))
    return lab, lab.prepare(jsonl(records(4000)))


def rows_of(orchid, recipient):
    lab, prepared = orchid
    return [json.loads(line) for line in lab.bytes(prepared, recipient).splitlines()]


def traced(orchid, leak, people=STAFF, served=SERVED, **options):
    lab, prepared = orchid
    return trace.score(Index([prepared]).observe(leak), people, keys={"orchid": lab.key}, served=served, **options)


def shown(count, seen, seed=1):
    """Slots as the code deals them, with symbols given by hand."""
    rng = np.random.default_rng(seed)
    slots = np.zeros(count, dtype=OBSERVED)
    slots["number"] = slots["index"] = np.arange(count)
    slots["level"] = rng.integers(0, 4, count)
    slots["seen"] = seen
    return slots


def test_a_sample_of_one_copy_names_that_copy_alone(orchid):
    leak = random.Random(1).sample(rows_of(orchid, Q03), 150)
    result = traced(orchid, jsonl(leak))
    assert result.verdict == "named"
    assert [copy.recipient for copy in result.copies] == ["quillwork/q03"]
    assert result.copies[0].vendor == "quillwork"
    assert result.copies[0].agree == result.copies[0].slots == result.slots_person
    assert result.copies[0].p < result.copies[0].q <= 1e-9
    assert result.copies[0].attack == result.attack == "one copy"
    assert result.slots_matched == 150 == result.slots_person + result.slots_vendor
    assert result.second_best is not None
    assert result.second_best.q > 1e-9
    assert result.power[1] > 0.99
    assert {v.recipient for v in result.vendors} <= {"quillwork"}


def test_two_copies_mixed_disjoint_shuffled_and_folded_name_both_and_nobody_else(orchid):
    rng = random.Random(2)
    mine = rng.sample(rows_of(orchid, Q03), 500)
    taken = {row["id"] for row in mine}
    theirs = rng.sample([row for row in rows_of(orchid, Q11) if row["id"] not in taken], 500)
    leak = [*mine, *theirs]
    rng.shuffle(leak)
    result = traced(orchid, jsonl(leak).lower())
    assert {copy.recipient for copy in result.copies} == {"quillwork/q03", "quillwork/q11"}
    assert {firm.recipient for firm in result.vendors} == {"quillwork"}


def test_text_that_was_never_ours_is_none(orchid):
    result = traced(orchid, jsonl(records(500, seed=99)))
    assert (result.verdict, result.slots_matched, result.copies, result.vendors) == ("none", 0, (), ())
    assert result.slots_needed > 80


def test_ten_records_abstain_and_say_how_many_would_do(orchid):
    result = traced(orchid, jsonl(rows_of(orchid, Q03)[:10]))
    assert (result.verdict, result.copies, result.slots_matched) == ("abstain", (), 10)
    assert 100 < result.slots_needed < 170
    enough = random.Random(3).sample(rows_of(orchid, Q03), result.slots_needed)
    assert traced(orchid, jsonl(enough)).verdict == "named"


def test_the_copy_of_somebody_who_had_no_access_is_still_found_but_needs_more(orchid):
    leak = jsonl(random.Random(4).sample(rows_of(orchid, Q03), 180))
    among, outside = traced(orchid, leak), traced(orchid, leak, served=SERVED - {Q03.copy_id})
    assert [c.recipient for c in outside.copies] == ["quillwork/q03"]
    assert outside.copies[0].q > among.copies[0].q


def test_a_whole_vendor_s_merged_copies_name_the_vendor(orchid):
    rng = random.Random(5)
    rows = {row["id"]: row for n in range(12) for row in rows_of(orchid, STAFF[n])}
    # One of each slot's sides that anybody at the vendor had, at random: twelve colluders.
    result = traced(orchid, jsonl(rng.sample(sorted(rows.values(), key=lambda r: r["id"]), 1500)))
    assert {firm.recipient for firm in result.vendors} == {"quillwork"}
    assert {copy.vendor for copy in result.copies} <= {"quillwork"}


def test_a_sample_with_withheld_records_is_traced_by_those_that_are_there(tmp_path):
    lab = Lab(tmp_path)
    world = lab, lab.prepare(jsonl(records(3000)), pairs=0.0, withhold=0.8)
    result = traced(world, jsonl(rows_of(world, Q03)))
    assert [copy.recipient for copy in result.copies] == ["quillwork/q03"]


def test_canaries_are_reported_as_evidence_and_never_as_the_verdict(tmp_path):
    lab = Lab(tmp_path)
    bait = {"id": "c3", "answer": "a sentence that was told to the fourth recipient only"}
    filler = [json.dumps({"id": f"c{n}", "answer": f"filler canary of some length, number {n}"}).encode() for n in range(3)]
    prepared = lab.prepare(jsonl(records(400)), canaries=[*filler, json.dumps(bait).encode()])
    result = traced((lab, prepared), jsonl([bait]), people=STAFF[:12])
    assert result.verdict == "abstain"
    assert [(c["canary"], c["recipients"]) for c in result.canaries] == [(3, ["quillwork/q03"])]


def test_a_leak_of_a_version_under_a_new_key_is_traced_though_the_old_key_knows_its_records(tmp_path, orchid):
    old_lab, old = orchid
    lab = Lab(tmp_path, key=MarkKey("orchid-2", b"n" * 32, b"s" * 32))
    new = lab.prepare(jsonl(records(4000)))
    leak = jsonl(random.Random(6).sample(rows_of((lab, new), Q11), 400))
    keys = {"orchid": old_lab.key, "orchid-2": lab.key}
    for versions in ([old, new], [new, old], [new]):
        result = trace.score(Index(versions).observe(leak), STAFF, keys=keys, served=SERVED)
        assert [copy.recipient for copy in result.copies] == ["quillwork/q11"]


def test_the_result_is_json_with_the_sentence_that_every_report_carries(orchid):
    result = json.loads(json.dumps(traced(orchid, jsonl(rows_of(orchid, Q03)[:200])).to_json(), allow_nan=False))
    assert result["verdict"] == "named"
    assert {"p", "q", "log10_e", "slots", "vendor"} <= result["copies"][0].keys()
    assert "not the probability of innocence" in result["meaning"]
    assert result["bank"] == dec.BANK


# --- the theorem


def every_class(held=0):
    rows = [(level, symbol, k) for level in range(4) for symbol in range(4) for k in range(held + 1)]
    level, symbol, known = np.array(rows).T
    count = np.random.default_rng(1).integers(1, 40, len(rows))
    return dec.Classes(BIASES[level], symbol, known, np.zeros(len(rows), dtype=np.int64), count)


@pytest.mark.parametrize("found", [0, 1, 2, 5, 9])
def test_no_decoder_lets_an_innocent_copy_gain_in_any_class(found):
    classes = every_class(found)
    decoders = dec.bank(classes, found=found, threshold=33.0)
    assert math.isclose(sum(d.share for d in decoders), 1.0)
    for d in decoders:
        mean = classes.bias * np.exp(d.one) + (1 - classes.bias) * np.exp(d.zero)
        assert np.allclose(mean, 1.0, atol=1e-12), d.name


def classes_of(slots):
    symbol = dec.symbols(slots["kind"], slots["seen"])
    return Shown(BIASES[slots["level"]], symbol, slots["key"].astype(np.int64)).classes(np.zeros(len(slots), dtype=np.int64))


def evalues(slots, bits):
    """The e-value of each column of bits (slots x copies)."""
    classes, which = classes_of(slots)
    decoders = dec.bank(classes, found=0, threshold=8.0)
    ones = np.stack([bits[which == number].sum(axis=0, dtype=np.uint32) for number in range(len(classes.count))])
    scores = ones.T @ np.stack([d.one - d.zero for d in decoders], axis=1) + [classes.count @ d.zero for d in decoders]
    return np.exp(dec.log_evalues(decoders, scores))


def dealt(slots, count=100_000):
    key = MarkKey("k", b"\7" * 32, b"s" * 32)
    return codebook(key, PERSON, [f"innocent-{n}" for n in range(count)], levels=slots["level"], indexes=slots["index"])


def over_many(slots, bits):
    """The mean e-value, and how far from 1 chance would take it (one standard error)."""
    e = evalues(slots, bits)
    return e.mean(), e.std() / math.sqrt(len(e))


PATTERNS = {
    "majority": lambda slots, _: np.where(BIASES[slots["level"]] > 0.5, 2, 1),
    "minority": lambda slots, _: np.where(BIASES[slots["level"]] > 0.5, 1, 2),
    "all ones": lambda *_: 2,
    "all zeros": lambda *_: 1,
    "both": lambda *_: 3,
    "random": lambda slots, rng: rng.integers(1, 4, len(slots)),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_e_value_of_an_innocent_copy_has_mean_one_over_every_codeword(pattern):
    slots = shown(12, 1)
    slots["seen"] = PATTERNS[pattern](slots, np.random.default_rng(3))
    every = (np.arange(1 << 12)[None, :] >> np.arange(12)[:, None] & 1).astype(np.uint8)
    p = BIASES[slots["level"]][:, None]
    chance = np.where(every == 1, p, 1 - p).prod(axis=0)
    assert math.isclose(float(chance @ evalues(slots, every)), 1.0, rel_tol=1e-9)


def one_slot_a_level(pattern):
    slots = shown(4, 1)
    slots["level"] = np.arange(4)
    slots["seen"] = PATTERNS[pattern](slots, np.random.default_rng(3))
    return slots


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_e_values_of_innocent_copies_that_the_code_deals_average_one(pattern):
    mean, error = over_many(one_slot_a_level(pattern), dealt(one_slot_a_level(pattern)))
    assert abs(mean - 1) <= 5 * error + 1e-9


def test_bits_that_were_revealed_to_whoever_shaped_the_leak_break_the_bound_and_it_shows():
    # The same measurement on copies whose bits the leak was made from.
    slots = one_slot_a_level("random")
    mean, error = over_many(slots, np.repeat((slots["seen"] == 2).astype(np.uint8)[:, None], 100_000, axis=1))
    assert abs(mean - 1) > 5 * error + 0.1


def test_bits_that_are_not_dealt_by_the_code_break_the_bound_and_it_shows():
    slots = one_slot_a_level("minority")
    mean, error = over_many(slots, np.random.default_rng(5).integers(0, 2, (4, 100_000)).astype(np.uint8))
    assert abs(mean - 1) > 5 * error + 0.1


def test_the_chernoff_bound_holds_and_is_not_idle():
    slots = shown(60, np.random.default_rng(6).integers(1, 3, 60))
    classes, which = classes_of(slots)
    decoders = dec.bank(classes, found=0, threshold=33.0)
    ones = dealt_book(slots, 100_000).ones(which, len(classes.count))
    for d in decoders:
        scores = ones @ (d.one - d.zero) + float(classes.count @ d.zero)
        for share in (0.1, 0.01, 0.001):
            a = float(np.quantile(scores, 1 - share))
            bound = dec.chernoff(d, classes, a)
            assert share * 0.8 < bound < max(40 * share, 0.2) or bound == 1.0


def dealt_book(slots, count):
    whose = [f"innocent-{n}" for n in range(count)]
    secrets = {"k": MarkKey("k", b"\7" * 32, b"s" * 32)}
    return DealtBook(PERSON, whose, ("k",), secrets, slots["key"].astype(np.int64), slots["level"], slots["index"])


def test_ones_are_counted_from_keystreams_as_the_codebook_deals_them():
    rng = np.random.default_rng(9)
    slots = shown(700, rng.integers(1, 4, 700))
    slots["index"] = np.sort(rng.choice(5000, 700, replace=False))
    classes, which = classes_of(slots)
    book = dealt_book(slots, 300)
    bits = codebook(book.secrets["k"], PERSON, book.whose, levels=slots["level"], indexes=slots["index"])
    for number, counted in enumerate(book.ones(which, len(classes.count)).T):
        assert (counted == bits[which == number].sum(axis=0)).all()
    assert (book.bits([0, 299]) == bits[:, [0, 299]]).all()


def test_priors_never_sum_to_more_than_one():
    names = [f"c{n}" for n in range(100)]
    for served in (set(), {"c1"}, set(names[:50]), set(names)):
        assert np.exp(trace.log_priors(names, served)).sum() <= 1 + 1e-12


def test_what_one_copy_s_owner_was_dealt_never_moves_another_copy_s_score():
    slots = shown(40, np.random.default_rng(7).integers(1, 3, 40))
    observed = Observed(("k",), slots)
    keys = {"k": MarkKey("k", b"\7" * 32, b"s" * 32)}
    people = [person(n) for n in range(30)]
    changed = [*people[:-1], replace(person(99), copy_id="another")]
    one, other = (trace.score(observed, some, keys=keys, served=frozenset()) for some in (people, changed))
    assert one.second_best is not None
    assert other.second_best is not None
    if one.second_best.recipient == other.second_best.recipient:
        assert one.second_best.log10_e == other.second_best.log10_e
