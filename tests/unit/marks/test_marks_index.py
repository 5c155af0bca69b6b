import csv
import gzip
import html
import io
import json
import random

import pytest
from orchid import csv_of, jsonl, person, records, said

from limen.marks.index import Index


def held(lab, prepared, recipient, count, seed=1):
    """Some of the records that a recipient's copy holds, and their numbers."""
    rows = [json.loads(line) for line in lab.bytes(prepared, recipient).splitlines()]
    some = random.Random(seed).sample(rows, count)
    return some, sorted(int(row["id"][1:]) for row in some)


def as_text(rows):
    return "\n\n".join(f"### {row['instruction']}\n{row['answer']}" for row in rows).encode()


def reordered_csv(rows):
    out = io.StringIO()
    csv.writer(out).writerows([row["answer"], row["instruction"], row["id"]] for row in rows)
    return out.getvalue().encode()


def cut(rows):
    """The last words of each answer are lost, and a sentence is put before it."""
    return jsonl([{"text": "As an assistant I would say: " + row["answer"][: len(row["answer"]) * 4 // 5]} for row in rows])


FORMS = {
    "as it was": jsonl,
    "keys reordered": lambda rows: jsonl([dict(reversed(row.items())) for row in rows]),
    "ids dropped": lambda rows: jsonl([{k: v for k, v in row.items() if k != "id"} for row in rows]),
    "nested": lambda rows: jsonl(
        [{"messages": [{"role": "user", "content": r["instruction"]}, {"content": r["answer"]}]} for r in rows]
    ),
    "one JSON array": lambda rows: json.dumps(rows, indent=2).encode(),
    "CSV": csv_of,
    "CSV, columns reordered": reordered_csv,
    "tabs": lambda rows: "\n".join(f"{r['instruction']}\t{r['answer']}" for r in rows).encode(),
    "plain text": as_text,
    "answers alone": lambda rows: "\n".join(r["answer"] for r in rows).encode(),
    "shouted": lambda rows: as_text(rows).upper(),
    "HTML": lambda rows: ("<ul>" + "".join(f"<li><p>{html.escape(r['answer'])}</p></li>\n" for r in rows) + "</ul>").encode(),
    "wrapped": lambda rows: "\n\n".join(r["answer"].replace(" ", "\n") for r in rows).encode(),
    "one long line": lambda rows: " ".join(r["answer"] for r in rows).encode(),
    "gzip": lambda rows: gzip.compress(jsonl(rows)),
    "UTF-16": lambda rows: as_text(rows).decode().encode("utf-16"),
    "cut": cut,
}


@pytest.mark.parametrize("form", FORMS)
def test_records_are_recognised_however_they_are_written_down(lab, form):
    prepared = lab.prepare(jsonl(records(300)))
    some, numbers = held(lab, prepared, person(3), 60)
    seen = Index([prepared]).observe(FORMS[form](some))
    matched = seen.matched[str(prepared.path)].tolist()
    assert set(matched) <= set(numbers)
    assert len(matched) >= (55 if form == "cut" else 60)
    assert len(seen.slots) == len(matched)
    assert set(seen.slots["seen"].tolist()) == {1, 2}


def test_a_sample_that_was_never_ours_matches_nothing(lab):
    prepared = lab.prepare(jsonl(records(300)))
    index = Index([prepared])
    for form in FORMS.values():
        seen = index.observe(form(records(100, seed=77)))
        assert not len(seen.slots)
        assert not seen.matched
    # The control: one record of ours among them is seen.
    assert len(index.observe(jsonl([*records(100, seed=77), records(300)[5]])).slots) == 1


def test_both_sides_of_a_slot_and_canaries_are_told_apart(lab):
    bait = {"id": "c0", "answer": "nobody else was ever told this particular sentence"}
    prepared = lab.prepare(jsonl(records(50)), canaries=[json.dumps(bait).encode()])
    seen = Index([prepared]).observe(jsonl([*records(50), bait]))
    assert seen.slots["seen"].tolist() == [3] * 25
    assert seen.canaries == {str(prepared.path): [0]}


def test_a_withheld_record_informs_only_where_it_is(lab):
    prepared = lab.prepare(jsonl(records(60)), pairs=0.0, withhold=0.5)
    seen = Index([prepared]).observe(jsonl(records(60)))
    assert len(seen.slots) == 30
    assert (seen.slots["seen"] == 2).all()
    assert len(seen.matched[str(prepared.path)]) == 60


def test_a_slot_seen_through_two_versions_counts_once_and_an_edit_points_to_it_too(lab):
    rows = records(60)
    edited = [{**row, "answer": said(random.Random(n), 20)} if n < 5 else row for n, row in enumerate(rows)]
    versions = [lab.prepare(jsonl(rows)), lab.prepare(jsonl(edited))]
    index = Index(versions)
    alone = index.observe(jsonl(rows[:5]))
    after = index.observe(jsonl(edited[:5]))
    assert sorted(alone.slots["number"]) == sorted(after.slots["number"])
    assert sorted(alone.slots["seen"]) == sorted(after.slots["seen"])
    assert index.observe(jsonl([*rows, *edited])).slots["seen"].tolist() == [3] * 30


def test_a_record_that_is_common_in_another_version_is_unclear_and_not_used(lab):
    rows = records(60)
    first = lab.prepare(jsonl(rows))
    entry = first.entries[0]
    kept, dropped = int(entry["record0"]), int(entry["record1"])
    second = lab.prepare(jsonl([row for n, row in enumerate(rows) if n != dropped]))
    seen = Index([first, second]).observe(jsonl([rows[kept]]))
    assert not len(seen.slots)
    assert seen.unclear > 0
    assert len(Index([first]).observe(jsonl([rows[kept]])).slots) == 1


def test_an_empty_index_and_an_empty_sample_show_nothing(lab):
    assert not len(Index([]).observe(jsonl(records(3))).slots)
    assert not len(Index([lab.prepare(jsonl(records(30)))]).observe(b"").slots)


def test_a_record_that_shows_no_slot_is_matched_but_not_distinct(lab):
    rows = records(301)  # an odd one has no partner
    seen = Index([lab.prepare(jsonl(rows))]).observe(jsonl(rows))
    [matched], [distinct] = seen.matched.values(), seen.distinct.values()
    assert len(set(matched) - set(distinct)) == 1
    # The control: every other record shows one side of a slot.
    assert len(distinct) == 300 == 2 * len(seen.slots)


def test_of_records_found_whole_and_by_runs_only_the_whole_are_distinct(lab):
    rows = records(300)
    index = Index([lab.prepare(jsonl(rows))])
    [both] = index.observe(jsonl(rows[:50]) + cut(rows[100:150])).distinct.values()
    assert set(both) <= set(range(50))
    assert len(both) >= 48
    # The control: where nothing is found whole, what is found by runs has to do.
    [by_runs] = index.observe(cut(rows[100:150])).distinct.values()
    assert len(by_runs) >= 40
