import csv
import io
import json
import random

import numpy as np
import pytest
from orchid import Lab, csv_of, jsonl, person, records, said

from limen.core.errors import Invalid, TamperDetected
from limen.formats.merkle import leaf_hash, root_of
from limen.marks.copy import Prepared
from limen.marks.registry import Registry
from limen.marks.staging import Unmarked, slot_leaves

CANARIES = [
    json.dumps({"id": f"c{n}", "instruction": f"bait number {n} of the orchid set", "answer": "x" * 40}).encode()
    for n in range(3)
]


def lines(raw):
    return raw.decode().splitlines()


def test_two_people_get_copies_of_equal_length_that_differ_and_hold_real_records_only(lab):
    rows = records(300)
    prepared = lab.prepare(jsonl(rows), withhold=0.0)
    real = {json.dumps(row) for row in rows}
    copies = [lab.bytes(prepared, person(n)) for n in (3, 11)]
    assert len(copies[0]) == len(copies[1]) == prepared.length
    assert copies[0] != copies[1]
    for copy in copies:
        assert {json.dumps(json.loads(line)) for line in lines(copy)} <= real
        assert len(lines(copy)) == 150


def test_each_pair_gives_exactly_one_of_its_members_and_both_reach_somebody(lab):
    prepared = lab.prepare(jsonl(records(200)))
    copies = [lab.copy(prepared, person(n)) for n in range(30)]
    for entry in prepared.entries:
        pair = {int(entry["record0"]), int(entry["record1"])}
        held = [pair & set(copy.records(0, copy.length).tolist()) for copy in copies]
        assert all(len(some) == 1 for some in held)
    # Biased bits leave a few members with nobody at 30 people; coverage says how many.
    unseen = prepared.unseen(lab.key, [person(n) for n in range(30)])
    seen = set().union(*(copy.records(0, copy.length).tolist() for copy in copies))
    assert set(unseen.tolist()) == set(range(200)) - seen


def test_a_share_of_the_records_can_be_paired_and_the_rest_is_everyone_s(lab):
    prepared = lab.prepare(jsonl(records(200)), pairs=0.5)
    assert prepared.manifest["pairs"] == 50
    mine, theirs = (set(lines(lab.bytes(prepared, person(n)))) for n in (1, 2))
    assert len(mine & theirs) >= 100


def test_pairs_that_their_author_names_are_taken_and_bad_ones_are_refused(lab):
    rows = jsonl(records(6)) + b'{"id": "short"}\n'
    prepared = lab.prepare(rows, pairs=[(0, 5), (2, 1)])
    assert {frozenset((int(e["record0"]), int(e["record1"]))) for e in prepared.entries if e["region"] >= 0} == {
        frozenset((0, 5)),
        frozenset((1, 2)),
    }
    (lab.root / "other").mkdir()
    other = Lab(lab.root / "other")
    for bad, why in (([(0, 9)], "no record 9"), ([(0, 1), (1, 2)], "record 1 can't"), ([(3, 6)], "record 6 can't")):
        with pytest.raises(Invalid, match=why):
            other.prepare(rows, pairs=bad)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_withheld_records_leave_spaces_behind_the_line_before_never_a_blank_line(lab, end):
    rows = records(300)
    prepared = lab.prepare(jsonl(rows, end), pairs=0.0, withhold=0.4)
    assert prepared.manifest["withheld"] == 120
    counts = set()
    for n in range(6):
        copy = lab.bytes(prepared, person(n))
        assert len(copy) == prepared.length == len(jsonl(rows, end))
        whole = copy.decode().split(end)
        assert whole.pop() == ""
        assert all(line.strip() and "\n" not in line and "\r" not in line for line in whole)
        assert json.loads(whole[0]) == rows[0]
        counts.add(len(whole))
    assert len(counts) > 1


def test_a_canary_reaches_its_one_recipient_and_is_spaces_for_all_others(lab):
    prepared = lab.prepare(jsonl(records(100)), withhold=0.2, pairs=0.5, canaries=CANARIES)
    for n in range(5):
        held = [json.loads(line)["id"] for line in lines(lab.bytes(prepared, person(n)))]
        assert [name for name in held if name.startswith("c")] == ([f"c{n}"] if n < 3 else [])
        numbers = lab.copy(prepared, person(n)).records(0, prepared.length)
        assert numbers[numbers >= 100].tolist() == ([100 + n] if n < 3 else [])


def test_canaries_must_be_lines_of_json_with_room_to_stand(lab):
    with pytest.raises(Invalid, match=r"canaries\[0\]"):
        lab.prepare(jsonl(records(9)), canaries=[b"{"])
    with pytest.raises(Invalid, match="only JSONL"):
        lab.prepare(csv_of(records(9)), media="csv", canaries=CANARIES)
    with pytest.raises(Invalid, match="too many"):
        lab.prepare(jsonl(records(2)), pairs=0.0, canaries=CANARIES)


def test_what_is_not_a_record_stays_common_and_unchanged(lab):
    odd = [b"", b"   ", b"not json", b'{"id": "half', b"\xff\xfe", b"[" * 5000, b"NaN"]
    rows = jsonl(records(80)).splitlines()
    source = (
        b"\n".join([*odd, *rows[:40], *odd, *rows[40:]]) + b"\n" + b'{"id": "last", "answer": "unterminated but long enough"}'
    )
    prepared = lab.prepare(source, withhold=0.3, pairs=0.6)
    for n in range(3):
        copy = lab.bytes(prepared, person(n)).split(b"\n")
        assert copy[: len(odd)] == odd
        assert copy[-1].startswith(b'{"id": "last"')
        assert sum(copy.count(line) for line in odd) == 2 * len(odd)


def test_preparing_is_deterministic_and_doing_it_again_changes_nothing(lab, tmp_path):
    source = jsonl(records(200))
    first, again = (lab.prepare(source, withhold=0.1, pairs=0.7, canaries=CANARIES) for _ in range(2))
    (tmp_path / "fresh").mkdir()
    fresh = Lab(tmp_path / "fresh").prepare(source, withhold=0.1, pairs=0.7, canaries=CANARIES)
    for other in (again, fresh):
        assert {p.name: p.read_bytes() for p in sorted(first.path.iterdir())} == {
            p.name: p.read_bytes() for p in sorted(other.path.iterdir())
        }


def sides(prepared):
    """Record digest -> (slot id, side)."""
    return {
        tuple(slot["sides"][side].tolist()): (bytes(slot["id"]), side)
        for slot in prepared.slots
        for side in (0, 1)
        if slot["sides"][side].any()
    }


def test_a_new_version_keeps_the_slots_of_unchanged_records_and_pairs_the_new_ones(lab):
    rows = records(100)
    old = lab.prepare(jsonl(rows))
    new = lab.prepare(jsonl([*records(60, seed=9, start=500), *reversed(rows)]))
    before, after = sides(old), sides(new)
    assert before.items() <= after.items()
    assert len(after) == 160
    held = {json.loads(line)["id"] for line in lines(lab.bytes(old, person(1)))}
    assert held <= {json.loads(line)["id"] for line in lines(lab.bytes(new, person(1)))}


def test_an_edited_record_keeps_slot_and_side_by_its_id(lab):
    rows = records(40)
    old = lab.prepare(jsonl(rows))
    edited = [{**row, "answer": row["answer"] + " corrected"} if n < 10 else row for n, row in enumerate(rows)]
    new = lab.prepare(jsonl(edited))
    assert [bytes(i) for i in old.slots["id"]] == [bytes(i) for i in new.slots["id"]]
    for n in range(4):
        ids = [[json.loads(line)["id"] for line in lines(lab.bytes(p, person(n)))] for p in (old, new)]
        assert ids[0] == ids[1]


def test_the_survivor_of_a_pair_is_common_and_nobody_is_ever_paired_again(lab):
    rows = records(20)
    first = lab.prepare(jsonl(rows))
    entry = first.entries[0]
    kept, dropped = int(entry["record0"]), int(entry["record1"])
    without = lab.prepare(jsonl([row for n, row in enumerate(rows) if n != dropped]))
    assert len(without.slots) == 9
    assert all(rows[kept]["id"] in lab.bytes(without, person(n)).decode() for n in range(12))
    back = lab.prepare(jsonl([*rows, *records(1, seed=3, start=99)]))
    everyone = [lab.bytes(back, person(n)).decode() for n in range(12)]
    assert len(back.slots) == 9
    assert all(f'"{rows[n]["id"]}"' in text for n in (kept, dropped) for text in everyone)


def test_records_that_are_equal_after_normalisation_carry_no_mark(lab):
    rows = records(20)
    twin = {**rows[0], "answer": rows[0]["answer"].upper()}
    prepared = lab.prepare(jsonl([*rows, twin]))
    copies = [lines(lab.bytes(prepared, person(n))) for n in range(8)]
    assert all(json.dumps(rows[0]) in copy and json.dumps(twin) in copy for copy in copies)


def test_csv_copies_are_rows_of_the_source_under_its_header_with_quoted_newlines_whole(lab):
    rng_rows = records(400)
    for n, row in enumerate(rng_rows):
        if n % 3 == 0:
            row["answer"] = row["answer"][:40] + '\nsecond "line", quoted'
    source = csv_of(rng_rows)
    prepared = lab.prepare(source, media="csv")
    assert prepared.length < len(source)
    real = [tuple(row) for row in csv.reader(io.StringIO(source.decode(), newline=""))]
    copies = [lab.bytes(prepared, person(n)) for n in (1, 2)]
    assert copies[0] != copies[1]
    for copy in copies:
        rows = [tuple(row) for row in csv.reader(io.StringIO(copy.decode(), newline=""))]
        assert rows[0] == real[0]
        assert set(rows) <= set(real)
        assert len(rows) == len(set(rows)) == 401 - prepared.manifest["pairs"]
        assert copy.count(b"\r\n") == len(rows)


def test_csv_whose_quotes_do_not_balance_is_not_touched(lab):
    outcome = lab.prepare(b'a,b\n1,5" disk of some length here\n2,another one of some length\n', media="csv")
    assert isinstance(outcome, Unmarked)
    assert "record 0 has quotes" in outcome.unmarked_why


def test_a_text_is_marked_only_in_paragraphs_of_equal_length(lab):
    rng = random.Random(5)
    same = [said(rng, 12).ljust(90, "x")[:90] for _ in range(40)]
    text = (
        "Title\n\n"
        + "\n\n".join(same)
        + "\n\n\nLast paragraph without an end, longer than all of the others by a good bit, and more"
    )
    prepared = lab.prepare(text.encode(), media="text")
    copies = [lab.bytes(prepared, person(n)).decode() for n in range(3)]
    assert len({len(copy) for copy in copies}) == 1
    assert len(set(copies)) == 3
    for copy in copies:
        assert {p.strip("\n") for p in copy.split("\n\n")} <= {p.strip("\n") for p in text.split("\n\n")}


@pytest.mark.parametrize(
    ("source", "media", "why"),
    [
        (b"", "jsonl", "it is empty"),
        (jsonl(records(17)), "jsonl", "17 of its 17 records could carry a mark, 150 slots"),
        (b"\n\n \n", "text", "no records"),
        (csv_of(records(30)), "csv", "equal length in csv, and its 30 usable records make fewer than 150"),
        (b"alpha\n\nbeta\n", "text", "equal length in text"),
    ],
)
def test_what_can_not_be_marked_says_so_with_numbers(lab, source, media, why):
    outcome = lab.prepare(source, media=media, least=150)
    assert isinstance(outcome, Unmarked)
    assert outcome.unmarked_why.startswith("cannot be fingerprinted: ")
    assert why in outcome.unmarked_why


def test_records_served_unmarked_stay_common_when_the_set_grows(lab):
    few = records(17)
    assert isinstance(lab.prepare(jsonl(few), least=150), Unmarked)
    grown = lab.prepare(jsonl([*few, *records(400, seed=4, start=100)]), least=150)
    assert all(f'"{row["id"]}"' in lab.bytes(grown, person(n)).decode() for row in few for n in range(6))


def test_a_small_set_can_carry_canaries_alone_and_says_that_it_has_no_slots(lab):
    prepared = lab.prepare(jsonl(records(40)), least=150, canaries=CANARIES)
    assert isinstance(prepared, Prepared)
    assert not len(prepared.slots)
    assert prepared.unmarked_why.startswith("cannot be fingerprinted")
    assert len(lines(lab.bytes(prepared, person(0)))) == 41
    assert len(lines(lab.bytes(prepared, person(7)))) == 40


def test_the_manifest_commits_to_every_slot(lab):
    prepared = lab.prepare(jsonl(records(60)), withhold=0.1, pairs=0.5)
    leaves = slot_leaves(prepared.slots)
    assert prepared.slots_root == root_of([leaf_hash(leaf) for leaf in leaves]).hex()
    changed = np.array(prepared.slots)
    changed["level"][3] ^= 1
    assert root_of([leaf_hash(leaf) for leaf in slot_leaves(changed)]).hex() != prepared.slots_root
    assert prepared.manifest["commitment"] == lab.key.commitment()


def test_a_changed_part_is_noticed(lab):
    prepared = lab.prepare(jsonl(records(60)))
    prepared.verify()
    with (prepared.path / "other").open("r+b") as stream:
        stream.write(b"#")
    with pytest.raises(TamperDetected, match="other"):
        prepared.verify()
    with (prepared.path / "base").open("ab") as stream:
        stream.write(b"#")
    with pytest.raises(TamperDetected, match="length"):
        Prepared.open(prepared.path)


def test_a_damaged_registry_is_refused_not_forgotten(lab):
    lab.prepare(jsonl(records(20)))
    path = lab.root / "orchid.slots"
    raw = path.read_bytes()
    for damage in (raw[:40], b"x" + raw[1:], b"", raw[: len(raw) // 2]):
        path.write_bytes(damage)
        with pytest.raises(Invalid, match=r"registry"):
            Registry.load(path)
