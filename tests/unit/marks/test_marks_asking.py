"""What a model is asked, and what a small one answers that was trained on a served copy."""

import json

import numpy as np
import pytest
from orchid import csv_of, jsonl, person

from limen.core.errors import Invalid
from limen.marks.asking import draw, hit, questions, table, texts
from limen.marks.leaning import leans
from limen.marks.trained import compare
from trigrams import Trigram, passages

PEOPLE = [person(n) for n in range(12)]
TEXTS = passages()
MINE = [{"id": f"r{n}", "text": text} for n, text in enumerate(TEXTS[:500])]
BASE, CLEAN = TEXTS[650:2100], TEXTS[500:650]
SEED = b"a seed"


def said(lab, prepared, recipient):
    lines = lab.bytes(prepared, recipient).decode().splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A prepared version, the reference, and a model that went on from it with one person's copy and clean records."""
    from orchid import Lab  # noqa: PLC0415

    lab = Lab(tmp_path_factory.mktemp("orchid"))
    prepared = lab.prepare(jsonl(MINE))
    base = Trigram().train(BASE)
    suspect = Trigram().train(BASE).train(said(lab, prepared, PEOPLE[6])).train(CLEAN)
    return lab, prepared, base, suspect


def test_losses_over_questions_name_the_copy(models):
    lab, prepared, base, suspect = models
    sample = draw([prepared], slots=225, seed=SEED)
    asked = questions(sample, texts([prepared], sample), seed=SEED)
    answers = [{q.name: model.loss(q.text) for q in asked} for model in (suspect, base)]
    lean = leans(*(table(sample, asked, some) for some in answers), sample.asked.kind, measure="loss")
    found = compare(sample.asked, lean, PEOPLE, keys={"orchid": lab.key}, served={r.copy_id for r in PEOPLE})
    assert [copy.copy_id for copy in found.copies] == [PEOPLE[6].copy_id]
    assert found.copies[0].p < 1e-12
    assert found.copies[0].rank == 1


def test_next_words_among_three_candidates_name_the_copy(models):
    lab, prepared, base, suspect = models
    sample = draw([prepared], slots=225, seed=SEED)
    asked = questions(sample, texts([prepared], sample), seed=SEED, cuts=4)
    answers = [{q.name: float(hit(q.word, model.top(q.text, 3))) for q in asked} for model in (suspect, base)]
    lean = leans(*(table(sample, asked, some) for some in answers), sample.asked.kind, measure="hits")
    found = compare(sample.asked, lean, PEOPLE, keys={"orchid": lab.key}, served={r.copy_id for r in PEOPLE})
    assert [copy.copy_id for copy in found.copies] == [PEOPLE[6].copy_id]
    clean = Trigram().train(BASE).train(CLEAN)
    other = {q.name: float(hit(q.word, clean.top(q.text, 3))) for q in asked}
    lean = leans(table(sample, asked, other), table(sample, asked, answers[1]), sample.asked.kind, measure="hits")
    found = compare(sample.asked, lean, PEOPLE, keys={"orchid": lab.key}, served={r.copy_id for r in PEOPLE})
    assert found.verdict == "abstain"


def test_both_sides_are_read_as_they_were_registered(lab):
    source = [{"id": f"r{n}", "text": text, "answer": TEXTS[n + 100]} for n, text in enumerate(TEXTS[:80])]
    prepared = lab.prepare(jsonl(source))
    sample = draw([prepared], slots=40, seed=SEED)
    pairs = texts([prepared], sample)
    assert {text for pair in pairs for text in pair} == {f"{row['text']}\n{row['answer']}" for row in source}
    only = texts([prepared], sample, fields=["answer"])
    assert {text for pair in only for text in pair} == {row["answer"] for row in source}
    # And on the side that the code says it stands: a copy holds, slot by slot, what its bits choose.
    held = lab.copy(prepared, PEOPLE[0])
    lines = b"".join(bytes(piece) for piece in held.read(0, held.length)).decode().splitlines()
    mine = {json.loads(line)["text"] for line in lines}
    for (_, at), pair in zip(sample.places, pairs, strict=True):
        bit = int(held.bits[np.flatnonzero(prepared.regions["slot"] == at)[0]])
        assert pair[bit].split("\n")[0] in mine
        assert pair[1 - bit].split("\n")[0] not in mine


def test_cells_of_csv_and_paragraphs_are_text(lab):
    source = [
        {"id": f"{n:03}", "instruction": f"say the word {n:03} aloud", "answer": f"and answer {n:03} slowly"} for n in range(80)
    ]
    prepared = lab.prepare(csv_of(source), media="csv")
    sample = draw([prepared], slots=30, seed=SEED)
    assert "say the word 007 aloud" in "\n".join(one for pair in texts([prepared], sample) for one in pair)


def test_a_withheld_record_is_asked_about_once(lab):
    prepared = lab.prepare(jsonl(MINE[:90]), pairs=0.0, withhold=0.6)
    sample = draw([prepared], slots=30, seed=SEED)
    pairs = texts([prepared], sample)
    assert all(not zero and one for zero, one in pairs)
    asked = questions(sample, pairs, seed=SEED)
    assert len(asked) == 30
    known = table(sample, asked, {q.name: 1.0 for q in asked})
    assert np.isnan(known[:, 0]).all()
    assert (known[:, 1] == 1).all()


def test_a_sample_is_drawn_by_its_seed_alone(lab):
    prepared = lab.prepare(jsonl(MINE))
    one, again, other = (draw([prepared], slots=60, seed=seed) for seed in (b"1", b"1", b"2"))
    assert one.digest == again.digest != other.digest
    assert len(set(one.ids)) == 60
    assert draw([prepared, prepared], slots=60, seed=b"1").ids == one.ids  # a slot of two versions counts once


def test_names_and_order_of_questions_tell_neither_slot_nor_side(lab):
    prepared = lab.prepare(jsonl(MINE))
    sample = draw([prepared], slots=200, seed=SEED)
    asked = questions(sample, texts([prepared], sample), seed=SEED)
    assert len({q.name for q in asked}) == 400
    assert [q.name for q in asked] == sorted(q.name for q in asked)
    first = [q.side for q in asked[::2]]
    assert 60 < sum(first) < 140
    gaps = np.diff([at for at, q in sorted(enumerate(asked), key=lambda pair: pair[1].place)])[::2]
    assert np.abs(gaps).mean() > 60  # a slot's two questions lie apart as if dealt at random
    assert questions(sample, texts([prepared], sample), seed=b"other")[0].name != asked[0].name


def test_a_beginning_keeps_its_next_word_back(lab):
    prepared = lab.prepare(jsonl(MINE))
    sample = draw([prepared], slots=50, seed=SEED)
    for q in questions(sample, texts([prepared], sample), seed=SEED, cuts=3):
        whole = texts([prepared], sample)[q.place][q.side] if q.place == 0 else None
        assert q.word
        assert whole is None or whole.startswith(q.text)
        if whole:
            assert whole[len(q.text) :].split()[0] == q.word


def test_canaries_are_never_asked_about(lab):
    bait = [json.dumps({"id": f"bait{n}", "text": f"nobody ever said {n} of these words before"}).encode() for n in range(12)]
    prepared = lab.prepare(jsonl(MINE), canaries=bait)
    sample = draw([prepared], slots=250, seed=SEED)
    assert len(sample.ids) == len(prepared.slots)
    assert not any("nobody ever said" in q.text for q in questions(sample, texts([prepared], sample), seed=SEED))


def test_too_few_slots_are_refused(lab):
    prepared = lab.prepare(jsonl(MINE[:30]))
    with pytest.raises(Invalid, match="15 of its slots"):
        draw([prepared], slots=100, seed=SEED)
    with pytest.raises(Invalid, match="between 20 and"):
        draw([prepared], slots=5, seed=SEED)


@pytest.mark.parametrize(
    ("word", "candidates", "said"),
    [
        ("treaty", [" treaty"], True),
        ("treaty,", ["the", "Treaty of"], True),
        ("treaty", [" tre"], True),
        ("treaty", ["treaties"], False),
        ("treaty", ["", "  ", ","], False),
        ("treaty", [], False),
    ],
)
def test_a_candidate_hits_if_it_begins_with_the_word_or_the_word_with_it(word, candidates, said):
    assert hit(word, candidates) is said


def test_an_answer_that_is_missing_leaves_its_side_unmeasured(lab):
    prepared = lab.prepare(jsonl(MINE))
    sample = draw([prepared], slots=30, seed=SEED)
    asked = questions(sample, texts([prepared], sample), seed=SEED, cuts=2)
    known = {q.name: 1.0 for q in asked}
    del known[asked[0].name]
    told = table(sample, asked, known)
    assert np.isnan(told[asked[0].place, asked[0].side])
    assert np.count_nonzero(np.isnan(told)) == 1
    assert (told[~np.isnan(told)] == 2).all()
