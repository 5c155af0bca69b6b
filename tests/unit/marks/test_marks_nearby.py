import random

import numpy as np
import pytest
from orchid import WORDS, jsonl, records, said

from limen.marks import nearby
from limen.marks import normalise as n
from limen.marks.index import Index


def edited(rows, how, seed=3):
    rng = random.Random(seed)
    return [{"text": how(f"{row['instruction']} {row['answer']}".split(), rng)} for row in rows]


def deleted(share):
    return lambda words, rng: " ".join(word for word in words if rng.random() >= share)


def half(words, rng):
    at = rng.randrange(len(words) - len(words) // 2)
    return " ".join(words[at : at + len(words) // 2])


def other_words(words, rng):
    return " ".join(rng.choice(WORDS) if rng.random() < 0.2 else word for word in words)


def two_moved(words, _):
    return " ".join(words[len(words) // 2 :] + words[: len(words) // 2])


EDITS = {
    "35 in 100 words deleted": (deleted(0.35), 0.8),
    "half of each": (half, 0.97),
    "every fifth word another": (other_words, 0.95),
    "halves exchanged": (two_moved, 0.99),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("form", [jsonl, lambda rows: "\n".join(row["text"] for row in rows).encode()], ids=["JSONL", "lines"])
def test_edited_records_are_recognised(lab, edit, form):
    rows = records(600)
    prepared = lab.prepare(jsonl(rows))
    how, least = EDITS[edit]
    seen = Index([prepared]).observe(form(edited(rows[:200], how)))
    matched = seen.matched[str(prepared.path)]
    assert len(matched) >= least * 200
    assert (matched < 200).all()
    # The control: others' records, edited alike, show nothing.
    assert not Index([prepared]).observe(form(edited(records(200, seed=9), how))).matched


def test_a_text_that_two_records_explain_alike_is_dropped(lab):
    rows = records(40)
    prepared = lab.prepare(jsonl(rows))
    index = Index([prepared])
    one, other = (row["answer"].split() for row in rows[:2])
    mixed = [word for at in range(0, 12, 4) for word in (*one[at : at + 4], *other[at : at + 4])]
    assert not index.observe(jsonl([{"text": " ".join(mixed)}])).matched
    # The control: without one of them, the other is seen.
    for words, number in ((one, 0), (other, 1)):
        alone = [word if word in words else "elsewhere" for word in mixed]
        [matched] = index.observe(jsonl([{"text": " ".join(alone)}])).matched.values()
        assert matched.tolist() == [number]


def test_one_phrase_is_no_record_however_often_it_is_said(lab):
    rows = records(40)
    prepared = lab.prepare(jsonl(rows))
    phrase = rows[0]["answer"].split()[:3]
    often = " and then they said ".join([" ".join(phrase)] * 20)
    assert not Index([prepared]).observe(jsonl([{"text": often}])).matched
    # The control: three phrases of it are.
    words = rows[0]["answer"].split()
    said_once = " and then they said ".join(" ".join(words[at : at + 3]) for at in (0, 4, 8))
    assert Index([prepared]).observe(jsonl([{"text": said_once}])).matched


def test_of_two_versions_the_clearly_nearer_one_counts(lab):
    rows = records(60)
    changed = [
        {**row, "id": f"new-{row['id']}", "answer": half(row["answer"].split(), random.Random(n))} for n, row in enumerate(rows)
    ]
    first = lab.prepare(jsonl(rows))
    second = lab.prepare(jsonl(changed))
    leak = edited([{**row, "instruction": ""} for row in rows[:20]], deleted(0.1))
    both = Index([first, second]).observe(jsonl(leak))
    assert set(both.matched) == {str(first.path)}
    # The control: the second alone would be found.
    assert Index([second]).observe(jsonl(leak)).matched


def as_of_old(prepared, rows):
    """Make a version's tables what they were before runs had three words: of seven, a dozen of each field at most."""
    (prepared.path / "run_words.npy").unlink()
    fields = n.normalise_all([row[name] for row in rows for name in ("instruction", "answer")])
    found = nearby.runs(fields, words=7)
    hashes, first = np.unique(found.hashes, return_index=True)
    stretches, stretch = np.unique(found.owners[first], return_inverse=True)
    columns = {
        "runs": hashes,
        "run_stretch": stretch,
        "own_runs": np.bincount(stretch),
        "stretch_record": stretches // 2,
    }
    for name, column in columns.items():
        np.save(prepared.path / f"{name}.npy", column)


def test_versions_with_runs_of_seven_words_are_read_as_before(lab):
    rows = records(100)
    prepared = lab.prepare(jsonl(rows))
    as_of_old(prepared, rows)
    index = Index([prepared])
    cut = edited([{**row, "instruction": ""} for row in rows[:30]], lambda words, _: " ".join(words[: len(words) * 4 // 5]))
    [matched] = index.observe(jsonl(cut)).matched.values()
    assert set(matched.tolist()) <= set(range(30))
    assert len(matched) >= 25
    # The control: runs of seven are not in what was edited more.
    assert len(index.observe(jsonl(edited(rows[:30], deleted(0.35)))).slots) <= 3


def test_hashes_of_runs_are_what_stands_in_tables_on_disk():
    text = "nobody else was ever told this particular sentence about the \u00e9t\u00e9".encode()
    assert nearby.runs([text], words=7).hashes[:3].tolist() == [17082311001213291568, 7274385936647462397, 15475051794722955507]
    assert nearby.runs([text]).hashes[:3].tolist() == [3939389051613114698, 6092704810212703881, 3717206788346641326]


def test_runs_drawn_do_not_depend_on_what_surrounds_a_text():
    rng = random.Random(6)
    texts = [said(rng, 120).encode() for _ in range(30)]
    drawn = nearby.drawn([[text] for text in texts])
    assert np.bincount(drawn.record).max() == nearby.DRAWN
    for number in (0, 17, 29):
        alone = nearby.drawn([[texts[number]]])
        assert alone.hashes.tolist() == drawn.hashes[drawn.record == number].tolist()
        among = nearby.runs([b"before " * 9 + texts[number] + b" after" * 9])
        assert set(alone.hashes.tolist()) <= set(among.hashes.tolist())


def test_runs_kept_are_those_that_fewest_share_and_none_that_many_do():
    rng = random.Random(7)
    shared, common = said(rng, 18).encode(), said(rng, 18).encode()
    mine = [said(rng, 18).encode() for _ in range(8)]
    records = [[text, common, *([shared] if number < nearby.SHARED else [])] for number, text in enumerate(mine)]
    known = nearby.kept([nearby.drawn(records[:3]), nearby.drawn(records[3:])])
    assert (np.diff(known.hashes.astype(object)) >= 0).all()
    for number, text in enumerate(mine):
        held = set(known.hashes[known.stretch == number].tolist())
        assert len(held) == known.own[number] <= nearby.KEPT
        assert held >= set(nearby.drawn([[text]]).hashes.tolist()) & set(nearby.drawn([records[number]]).hashes.tolist())
        assert not held & set(nearby.runs([common]).hashes.tolist())
        assert bool(held & set(nearby.runs([shared]).hashes.tolist())) == (number < nearby.SHARED)
        assert known.size[number] == sum(len(field.split()) for field in records[number])


def test_a_class_that_is_found_is_not_its_methods_too(lab):
    rows = records(40)
    inner = [{"id": f"inner-{n}", "answer": row["answer"]} for n, row in enumerate(rows[:10])]
    outer = [
        {"id": f"outer-{n}", "answer": f"{row['instruction']} {row['answer']} {rows[n + 20]['answer']}"}
        for n, row in enumerate(rows[:10])
    ]
    prepared = lab.prepare(jsonl([*inner, *outer, *rows[30:]]))
    leak = edited([{**row, "instruction": ""} for row in outer], deleted(0.1))
    for form in (jsonl(leak), "\n\n".join(row["text"] for row in leak).encode()):
        [matched] = Index([prepared]).observe(form).matched.values()
        assert matched.tolist() == list(range(10, 20))
    # The control: leaked by itself, what is inside is found.
    [matched] = (
        Index([prepared]).observe(jsonl(edited([{**row, "instruction": ""} for row in inner], deleted(0.1)))).matched.values()
    )
    assert set(matched.tolist()) <= set(range(10))
    assert len(matched) >= 8


def test_a_run_never_spans_two_texts_and_short_texts_have_none():
    assert not len(nearby.runs([b"a b", b"d e", b"", b"g h"]).hashes)
    found = nearby.runs([b"", b"a b c", b"a b c d"])
    assert found.owners.tolist() == [1, 2, 2]
    assert found.hashes[0] == found.hashes[1] != found.hashes[2]


def test_long_texts_are_cut_into_groups_without_losing_their_owner():
    rng = random.Random(8)
    texts = [said(rng, 60_000).encode() for _ in range(3)]
    found = nearby.runs(texts)
    assert np.unique(found.owners).tolist() == [0, 1, 2]
    assert (np.diff(found.places) > 0).all()


def test_where_no_spaces_are_written_characters_are_words(lab):
    rng = random.Random(5)
    rows = [{"id": str(n), "text": "".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(60))} for n in range(60)]
    prepared = lab.prepare(jsonl(rows))
    leak = [{"text": "".join(sign for sign in row["text"] if rng.random() > 0.2)} for row in rows[:20]]
    [matched] = Index([prepared]).observe(jsonl(leak)).matched.values()
    assert matched.tolist() == list(range(20))
    # The control: read as words between spaces, each is one word.
    assert not len(nearby.runs([rows[0]["text"].encode()], words=nearby.OLD_RUN).hashes)
