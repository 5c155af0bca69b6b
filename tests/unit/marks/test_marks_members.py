"""Gzip shards: slots are members. What the tests of plain shards say holds for them too."""

import csv
import gzip
import hashlib
import io
import json
import random

import numpy as np
import pytest
from orchid import csv_of, jsonl, person, records

from limen.core.errors import Invalid
from limen.marks.copy import Prepared
from limen.marks.index import Index
from limen.marks.members import unpack
from limen.marks.registry import COMMON, Registry
from limen.marks.staging import Unmarked
from limen.marks.trace import score

ROWS = records(600)


def packed(content):
    return gzip.compress(content[: len(content) // 3]) + gzip.compress(content[len(content) // 3 :])


@pytest.fixture
def prepared(lab):
    return lab.prepare(packed(jsonl(ROWS)), media="jsonl.gz")


def texts(paragraphs):
    return "\n\n".join(row["answer"] for row in paragraphs).encode() + b"\n"


@pytest.mark.parametrize("media", ["jsonl.gz", "csv.gz", "text.gz"])
def test_everybody_s_copy_has_one_length_and_holds_one_side_of_each_slot(lab, media):
    source = {"jsonl.gz": jsonl(ROWS), "csv.gz": csv_of(ROWS), "text.gz": texts(ROWS)}[media]
    prepared = lab.prepare(packed(source), media=media, pairs=0.8)
    assert len(prepared.slots) >= 200
    held = []
    for n in range(6):
        raw = lab.bytes(prepared, person(n))
        assert len(raw) == prepared.length
        content = gzip.decompress(raw).decode()
        copy = lab.copy(prepared, person(n))
        mine = copy.records(0, copy.length).tolist()
        if media == "jsonl.gz":
            assert sorted(json.loads(line)["id"] for line in content.splitlines()) == sorted(ROWS[r]["id"] for r in mine)
        elif media == "csv.gz":
            rows = list(csv.reader(io.StringIO(content, newline="")))
            assert rows[0] == ["id", "instruction", "answer"]
            assert sorted(row[0] for row in rows[1:]) == sorted(ROWS[r]["id"] for r in mine)
        else:
            assert sorted(filter(None, content.split("\n\n"))) != []
        refs = np.load(prepared.path / "refs.npy")[mine]
        assert len(np.unique(refs[refs >= 0] >> 1)) == len(np.unique(refs[refs >= 0])) == len(prepared.slots)
        held.append(frozenset(mine))
    assert len(set(held)) == 6


def test_the_checksum_the_etag_and_the_bytes_are_the_same_after_a_restart(lab, prepared):
    copy, again = lab.copy(prepared, person(3)), lab.copy(Prepared.open(prepared.path), person(3))
    whole = b"".join(copy.read(0, copy.length))
    assert b"".join(again.read(0, again.length, 1000)) == whole
    assert (copy.etag, copy.crc64nvme) == (again.etag, again.crc64nvme)
    assert lab.bytes(prepared, person(4)) != whole


def test_a_range_touches_the_records_of_the_members_it_meets(lab, prepared):
    copy = lab.copy(prepared, person(2))
    whole = b"".join(copy.read(0, copy.length))
    numbers = {row["id"]: number for number, row in enumerate(ROWS)}
    rng = random.Random(4)
    # The members by their own bytes: nothing but a gzip reader says where one ends.
    members, at = [], 0
    while at < len(whole):
        inflate = gzip.zlib.decompressobj(wbits=31)
        content = inflate.decompress(whole[at:])
        end = len(whole) - len(inflate.unused_data)
        members.append((at, end, [numbers[json.loads(line)["id"]] for line in content.splitlines()]))
        at = end
    for _ in range(200):
        start = rng.randrange(copy.length)
        end = min(copy.length, start + rng.choice([1, 50, 400, 9000]))
        met = sorted(n for a, b, some in members if a < end and b > start for n in some)
        touched = copy.records(start, end).tolist()
        assert set(touched) <= set(met)
        # What is met and not touched lies where only a member's padding was.
        inner = [n for a, b, some in members if a < end and b > start and (start <= a < end) for n in some]
        assert set(inner) <= set(touched)


def test_a_leak_of_any_record_shows_its_slot_and_both_sides_show_two_copies(lab, prepared):
    index = Index([prepared])
    mine = [json.loads(line) for line in gzip.decompress(lab.bytes(prepared, person(1))).splitlines()]
    theirs = [json.loads(line) for line in gzip.decompress(lab.bytes(prepared, person(2))).splitlines()]
    one = index.observe(jsonl(mine[:7]))
    assert 1 <= len(one.slots) <= 7
    assert set(one.slots["seen"].tolist()) <= {1, 2}
    assert len(index.observe(jsonl(mine)).slots) == len(prepared.slots)
    both = index.observe(jsonl([*mine, *theirs]))
    assert 3 in both.slots["seen"].tolist()
    # The control: what is of no copy shows nothing.
    assert len(index.observe(jsonl(records(50, seed=99))).slots) == 0


def test_a_leak_is_known_packed_and_by_half_of_each_record(lab, prepared):
    index = Index([prepared])
    raw = lab.bytes(prepared, person(1))
    assert len(index.observe(raw).slots) == len(prepared.slots)
    rows = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    halves = "\n".join(" ".join(row["answer"].split()[: len(row["answer"].split()) * 3 // 4]) for row in rows).encode()
    assert len(index.observe(halves).slots) >= 0.8 * len(prepared.slots)


def test_a_leaked_packed_copy_names_its_recipient(lab, prepared):
    people = [person(n, vendor=f"v{n % 20}") for n in range(300)]
    leak = lab.bytes(prepared, people[11])
    found = score(Index([prepared]).observe(leak), people, keys={"orchid": lab.key}, served=set(), alpha=1e-9)
    assert (found.verdict, [copy.recipient for copy in found.copies]) == ("named", [people[11].id])


def test_a_later_version_keeps_slot_and_side_and_a_side_may_shrink(lab, prepared):
    gone = {0, 5, 17}
    later = [row for n, row in enumerate(ROWS) if n not in gone]
    later[40] = {**later[40], "answer": later[40]["answer"] + " edited"}
    again = lab.prepare(packed(jsonl([*later, *records(80, seed=5, start=9000)])), media="jsonl.gz")
    before, after = np.load(prepared.path / "refs.npy"), np.load(again.path / "refs.npy")
    kept = [n for n in range(len(ROWS)) if n not in gone]
    old = np.where(before[kept] >= 0, 2 * prepared.slots["number"][before[kept] >> 1] + (before[kept] & 1), COMMON)
    now = after[: len(kept)]
    new = np.where(now >= 0, 2 * again.slots["number"][now >> 1] + (now & 1), COMMON)
    same = old == new
    ended = Registry.load(lab.root / "orchid.slots").slots["retired"][old[~same] >> 1]
    assert ended.all()
    assert np.count_nonzero(~same) <= 3
    assert len(again.slots) > len(prepared.slots) - 3
    assert len({lab.copy(again, person(n)).length for n in range(4)}) == 1


def test_packed_and_plain_shards_of_one_lineage_share_their_slots(lab):
    plain = lab.prepare(jsonl(ROWS))
    again = lab.prepare(packed(jsonl(ROWS)), media="jsonl.gz")
    assert sorted(plain.slots["id"].tolist()) == sorted(again.slots["id"].tolist())
    mine = {json.loads(line)["id"] for line in lab.bytes(plain, person(3)).splitlines()}
    assert {json.loads(line)["id"] for line in gzip.decompress(lab.bytes(again, person(3))).splitlines()} == mine


def test_canaries_are_members_that_the_others_have_empty(lab):
    canaries = [json.dumps({"id": f"bait-{n}", "answer": f"a canary of some length for number {n}"}).encode() for n in range(3)]
    prepared = lab.prepare(packed(jsonl(ROWS)), media="jsonl.gz", canaries=canaries)
    contents = [gzip.decompress(lab.bytes(prepared, person(n))) for n in range(4)]
    for n in range(3):
        assert [canaries[n] in content for content in contents] == [m == n for m in range(4)]
        copy = lab.copy(prepared, person(n))
        assert 600 + n in copy.records(0, copy.length).tolist()
    assert Index([prepared]).observe(contents[1]).canaries == {str(prepared.path): [1]}


def test_what_cannot_carry_enough_slots_says_so_with_numbers(lab):
    few = lab.prepare(packed(jsonl(ROWS[:200])), media="jsonl.gz", least=150)
    assert isinstance(few, Unmarked)
    assert few.unmarked_why == (
        "cannot be fingerprinted: 200 of its 200 records could carry a mark, which makes 100 slots at most, and 150 are needed"
    )
    damaged = lab.prepare(packed(jsonl(ROWS))[:-9], media="jsonl.gz")
    assert damaged.unmarked_why == "cannot be fingerprinted: it is damaged gzip"
    assert not list(lab.root.glob("*.scratch"))


def test_common_records_stay_and_an_unterminated_last_line_stays_last(lab):
    source = jsonl(ROWS) + b"\nnot json\n" + b'{"id": "last", "answer": "without an end, so that nothing may follow"}'
    prepared = lab.prepare(packed(source), media="jsonl.gz", pairs=0.5)
    for n in range(3):
        content = gzip.decompress(lab.bytes(prepared, person(n)))
        assert content.endswith(b'so that nothing may follow"}')
        assert b"not json\n" in content


def test_a_shard_that_unpacks_to_too_much_is_refused_within_bounds(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"a" * (8 << 20)))
    with pytest.raises(Invalid, match="unpacks to more than"):
        unpack(bomb, "text", tmp_path / "scratch", most=4 << 20)
    assert (tmp_path / "scratch").stat().st_size <= 6 << 20


def test_segments_are_chosen_by_share(lab):
    with pytest.raises(Invalid, match="segments of several records"):
        lab.prepare(packed(jsonl(ROWS)), media="jsonl.gz", pairs=[(0, 1)])
    with pytest.raises(Invalid, match="only JSONL can carry them"):
        lab.prepare(packed(csv_of(ROWS)), media="csv.gz", canaries=[b"{}"])


def test_what_is_cut_where_it_stands_is_prepared_to_the_byte_as_ever(lab):
    """The promise of stable copies, over versions of limen: of what an earlier one prepared, nothing may differ."""
    canaries = [json.dumps({"id": f"bait{n}", "answer": f"a canary of some length for q01 {n}"}).encode() for n in range(2)]
    lab.prepare(jsonl(records(500)), pairs=0.6, withhold=0.2, canaries=canaries)
    lab.prepare(csv_of(records(900)), media="csv")
    made = lab.prepare(jsonl(records(700)), pairs=0.9)
    # Tables by which leaks are recognised may be made anew; what is served and what slots mean may not.
    derived = {"runs", "run_words", "run_stretch", "own_runs", "stretch_words", "stretch_record"}
    whole = hashlib.sha256()
    for path in sorted(lab.root.rglob("*")):
        if path.is_file() and path.stem not in {*derived, "manifest"}:
            whole.update(str(path.relative_to(lab.root)).encode() + path.read_bytes())
    assert made.manifest["format"] == "limen/prepared/v1"
    assert whole.hexdigest() == "b7b7a5982bbe28a6b42986a354948bd7e92d0da79ba93b36f622e9222c4c4f8e"
