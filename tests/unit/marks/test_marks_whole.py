import pytest
from orchid import Lab, jsonl, person, records

from limen.marks.whole import Floor, Part, floor_of


@pytest.fixture
def guides(tmp_path):
    """Ten shards of sixteen slots each."""
    (tmp_path / "guides").mkdir()
    out = []
    for n in range(10):
        local = tmp_path / "guides" / f"g{n:02}.jsonl"
        local.write_bytes(jsonl(records(32, seed=n, start=32 * n)))
        out.append(Part(local.name, local, "jsonl"))
    return out


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def floor(lab, parts, scratch):
    return floor_of(parts, key=lab.key, registry=lab.root / "orchid.slots", scratch=scratch, pairs=1.0, withhold=0.0)


def test_shards_that_have_enough_slots_together_are_marked_each(lab, guides, scratch):
    assert floor(lab, guides, scratch) == Floor(1)
    assert not (lab.root / "orchid.slots").exists()
    assert not list(scratch.iterdir())


def test_shards_that_have_too_few_together_are_not_and_the_sum_is_told(lab, guides, scratch):
    assert floor(lab, guides[:9], scratch) == Floor(150, "the version's 9 shards come to 144 together", 144)
    assert floor(lab, guides, scratch) == Floor(1)


def test_the_same_records_in_two_shards_are_not_counted_twice(lab, guides, scratch):
    twins = [Part(f"again/{part.path}", part.local, part.media) for part in guides[:5]]
    assert floor(lab, [*guides[:5], *twins], scratch).why == "the version's 10 shards come to 80 together"


def test_a_version_whose_slots_live_on_needs_no_more(lab, guides, scratch):
    rows = records(400, seed=77, start=9000)
    old = lab.prepare(jsonl(rows))
    before = [lab.bytes(old, person(n)) for n in range(3)]
    local = scratch.parent / "old.jsonl"
    pair = old.entries[0]
    local.write_bytes(jsonl([rows[pair["record0"]], rows[pair["record1"]]]))
    assert floor(lab, [*guides[:2], Part("old.jsonl", local, "jsonl")], scratch) == Floor(1)
    other = scratch.parent / "other"
    other.mkdir()
    assert floor(Lab(other), [*guides[:2], Part("old.jsonl", local, "jsonl")], scratch).least == 150
    assert [lab.bytes(old, person(n)) for n in range(3)] == before
