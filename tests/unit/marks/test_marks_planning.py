"""A plan says what registering will do, and claims nothing that an asset can't carry."""

import asyncio
import gzip
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from guidelines import guideline
from orchid import csv_of, jsonl, person, said
from orchid import records as rows
from pyarrow import parquet

from inprocess import a_gateway
from limen.cli.plan import asset_plan, text_of
from limen.core.errors import Invalid
from limen.marks.code import codeword
from limen.marks.copy import copy_of
from limen.marks.coverage import held_of, unseen_share
from limen.marks.decoder import slots_for
from limen.marks.index import OBSERVED, Observed
from limen.marks.keys import MarkKey
from limen.marks.levels import NUIDA8
from limen.marks.power import MEASURED, measured_for, reaches, worth_of_present
from limen.marks.prepare import prepare
from limen.marks.registry import WITHHELD
from limen.marks.search import threshold_for
from limen.marks.trace import score
from limen.planning import plan
from limen.registration import Marking, Source, sources_below

FULL = Marking()
EVERYONE = {"recipients": 20, "vendors": 2, "alpha": 1e-9}


def planned(path, marking=FULL, **more):
    return plan(sources_below([path]), marking, **{**EVERYONE, **more})


@pytest.fixture
def mixed(tmp_path):
    """A directory of parts of every kind."""
    place = tmp_path / "mixed"
    (place / "guides").mkdir(parents=True)
    (place / "pool.jsonl").write_bytes(jsonl(rows(300)))
    (place / "packed.jsonl.gz").write_bytes(gzip.compress(jsonl(rows(60, seed=2, start=400)), mtime=0))
    parquet.write_table(pa.Table.from_pylist(rows(200, seed=6, start=3000)), place / "wide.parquet")
    (place / "table.csv").write_bytes(csv_of(rows(400, seed=3, start=1000)))
    (place / "guides" / "a.md").write_bytes(guideline(5))
    (place / "guides" / "b.md").write_bytes(guideline(6, seed=2))
    (place / "guides" / "plain.md").write_bytes(b"# Nothing\n\nin it to choose, as far as anybody knows.\n")
    (place / "logo.png").write_bytes(b"\x89PNG" * 20)
    (place / "empty.csv").write_bytes(b"")
    return place


def test_plan_and_registration_agree_on_every_part(tmp_path, mixed):
    marking = Marking(pairs_percent=80, withhold_percent=15)
    made = planned(mixed, marking)

    async def play():
        gateway = await a_gateway(tmp_path / "data")
        try:
            version, _ = await gateway.registrar.register("orchid-blob", sources_below([mixed]), marking, by="test")
            shelf = gateway.custody.shelf
            return [(s, len(shelf.prepared(s).slots) if s.prepared else 0) for s in version.shards]
        finally:
            await gateway.close()

    registered = asyncio.run(play())
    for part, (shard, slots) in zip(made.parts, registered, strict=True):
        assert (part.path, part.records, part.bytes_source) == (shard.path, shard.records, shard.source_length)
        assert (part.slots > 0) == (slots > 0) == (shard.unmarked_why == "")
        # Which records pair is drawn by key: where lengths must be equal, as in CSV, so is how many.
        assert part.slots == slots or (part.path == "table.csv" and abs(part.slots - slots) < 15)
        assert part.bytes_served == pytest.approx(shard.length, rel=0.05)
        assert part.common + part.paired + part.withheld == part.records
    assert made.slots == sum(part.slots for part in made.parts)


def test_a_plan_of_the_same_bytes_says_the_same_and_leaves_nothing(mixed, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    first, again = (planned(mixed / "guides", scratch=scratch) for _ in range(2))
    assert first == again
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("recipients", "vendors", "marking"),
    [(1, 1, FULL), (12, 1, FULL), (20, 3, Marking(pairs_percent=40, withhold_percent=30))],
)
def test_what_reaches_nobody_is_what_a_simulation_of_keys_says(tmp_path, recipients, vendors, marking):
    source = tmp_path / "pool.jsonl"
    source.write_bytes(jsonl(rows(400)))
    made = planned(source, marking, recipients=recipients, vendors=vendors)
    people = [person(n, vendor=f"v{n % vendors}") for n in range(recipients)]
    shares, seen = [], []
    for n in range(6):
        key = MarkKey("plan", random.Random(n).randbytes(32), b"s" * 32)
        prepared = prepare(
            source,
            media="jsonl",
            key=key,
            registry=tmp_path / f"{n}.slots",
            out=tmp_path / f"out{n}",
            pairs=marking.pairs_percent / 100,
            withhold=marking.withhold_percent / 100,
            settle=lambda _: None,
        )
        shares.append(len(prepared.unseen(key, people)))
        seen += [len(prepared_copy.records(0, prepared_copy.length)) for prepared_copy in copies(prepared, key, people[:3])]
    error = 5 * np.std(shares) / np.sqrt(len(shares)) + 1
    assert abs(np.mean(shares) - made.unseen) < error
    assert abs(np.mean(seen) - made.total("mean_records")) < 5 * np.std(seen) / np.sqrt(len(seen)) + 1


def copies(prepared, key, people):
    return [copy_of(prepared, who, key=key, version_id="") for who in people]


def test_fair_bits_would_leave_fewer_records_to_nobody():
    # The control: with fair bits next to nothing would reach nobody, which is not what the simulation says.
    assert unseen_share(12, 12) > 100 * 0.5**12
    assert unseen_share(10**6, 10**6) < 1e-3
    assert unseen_share(1, 1) == pytest.approx(0.5)


def test_mean_bytes_and_padding_are_those_of_copies(tmp_path):
    source = tmp_path / "pool.jsonl"
    source.write_bytes(jsonl(rows(500)))
    key = MarkKey("plan", b"k" * 32, b"s" * 32)
    out = {"registry": tmp_path / "slots", "out": tmp_path / "out", "settle": lambda _: None}
    prepared = prepare(source, media="jsonl", key=key, pairs=0.6, withhold=0.2, **out)
    held = held_of(prepared)
    whole = [b"".join(copy.read(0, copy.length)) for copy in copies(prepared, key, [person(n) for n in range(40)])]
    content = [sum(len(line.rstrip(b" ")) for line in raw.splitlines()) for raw in whole]
    assert np.mean(content) == pytest.approx(held.mean_bytes, rel=0.02)
    spaces = [sum(len(line) - len(line.rstrip(b" ")) for line in raw.splitlines()) for raw in whole]
    assert np.mean(spaces) == pytest.approx(held.padding, rel=0.06)
    assert held.common + held.paired + held.withheld == held.records == 500


def test_the_power_table_is_the_measured_one_where_it_was_measured():
    slots = np.zeros(30_000, dtype=[("number", "<i8"), ("kind", "u1"), ("size", "<f8")])
    slots["size"] = 1
    table = reaches(slots, records=30_000, recipients=100_000, vendors=100, alpha=1e-9)
    person_slots = {reach.colluders: reach.slots for reach in table if reach.colluders}
    assert {c: round(count * 2 / 3) for c, count in person_slots.items()} == MEASURED
    assert table[-1].slots in {300, 301}  # of which a third, and that to 1 in 65,536
    assert all(0 <= reach.leaked - reach.slots <= 1 for reach in table)


def test_a_withheld_record_that_colluders_pool_says_less_than_a_pair_s_side():
    worth = [worth_of_present(c) for c in (1, 2, 3, 5, 8)]
    assert worth[0] == pytest.approx(1)
    assert all(0.75 < one < 0.95 for one in worth[1:])
    slots = np.zeros(4_000, dtype=[("number", "<i8"), ("kind", "u1"), ("size", "<f8")])
    slots["size"], slots["kind"] = 1, WITHHELD
    table = reaches(slots, records=2_000, recipients=20, vendors=1, alpha=1e-9)
    assert table[0].has == 2_000
    assert table[1].has == int(2_000 * worth[1])
    assert table[1].leaked == pytest.approx(table[1].slots / worth[1], abs=1)


def test_fewer_copies_need_less_and_a_smaller_alpha_more_as_the_formula_says():
    slots = np.zeros(100_000, dtype=[("number", "<i8"), ("kind", "u1"), ("size", "<f8")])
    slots["size"] = 1

    def needed(recipients, alpha):
        table = reaches(slots, records=100_000, recipients=recipients, vendors=1, alpha=alpha)
        return np.array([reach.slots for reach in table if reach.colluders])

    few, many, strict = needed(20, 1e-9), needed(100_000, 1e-9), needed(100_000, 1e-12)
    assert (few < many).all()
    assert (many < strict).all()
    want = slots_for(2, threshold=threshold_for(1e-9, 20)) / slots_for(2, threshold=threshold_for(1e-9, 100_000))
    assert few[1] / many[1] == pytest.approx(want, rel=0.01)


def test_common_records_and_segments_make_a_leak_longer_and_what_can_not_be_carried_is_not_claimed(tmp_path):
    pool, packed = tmp_path / "pool.jsonl", tmp_path / "pool.jsonl.gz"
    pool.write_bytes(jsonl(rows(1000)))
    packed.write_bytes(gzip.compress(jsonl(rows(2500)), mtime=0))
    full, half = planned(pool), planned(pool, Marking(pairs_percent=50))
    assert full.reach[0].leaked == pytest.approx(full.reach[0].slots, abs=1)
    assert half.reach[0].leaked == pytest.approx(3 * half.reach[0].slots, abs=3)  # one record of three shows a slot
    assert planned(packed).reach[0].leaked > full.reach[0].leaked
    assert [reach.leaked is None for reach in half.reach] == [False, True, True, True, True, True]
    lines = "\n".join(text_of(half))
    assert "one of 5 colluders                  cannot be named: needs" in lines
    assert "a copy has 750" in lines


def test_too_few_slots_are_told_in_numbers_and_nobody_can_be_named(tmp_path):
    guide = tmp_path / "g.md"
    guide.write_bytes(guideline(20))
    made = planned(guide)
    assert (made.slots, made.could) == (0, 20)
    text = "\n".join(text_of(made))
    assert "CANNOT BE FINGERPRINTED: 20 slots are all it could have, 150 are needed: 130 more would do" in text
    assert "nobody could be named by a leak: there are no slots" in text
    assert "20 of 72 (27.8%) records reach nobody" in text  # the second wordings


def test_small_parts_are_judged_together_and_a_shared_slot_counts_once(tmp_path):
    place = tmp_path / "guides"
    place.mkdir()
    for n in range(8):
        (place / f"g{n}.md").write_bytes(guideline(20, seed=n))
    assert planned(place).slots == 160
    (place / "twin.md").write_bytes(b"Another one.\n\n" + guideline(20, seed=0))
    twins = planned(place)
    assert twins.slots == 160
    assert sum(part.slots for part in twins.parts) == 180


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", b"", "it is empty"),
        ("a.jsonl", b"\x00\xff" * 500, "0 of its 1 records could carry a mark"),
        ("a.csv", b"\x00\xff\n" * 500, "make fewer than 150"),
        ("a.txt", b"\xff\xfe" * 500, "0 usable records"),
        ("a.jsonl.gz", b"no gzip at all", "cannot be fingerprinted"),
        ("a.bin", b"x", "no carrier for .bin"),
    ],
)
def test_what_can_not_be_marked_is_planned_with_the_reason(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    made = planned(tmp_path / name)
    assert why in made.parts[0].why
    assert made.slots == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.md"])
def test_a_line_without_end_is_a_reason_and_not_read_whole(tmp_path, name):
    with (tmp_path / name).open("wb") as stream:
        stream.truncate((1 << 26) + 2)  # a hole: it takes no room
    assert planned(tmp_path / name).parts[0].why == "cannot be fingerprinted: a line in it is longer than 64 MiB"


@pytest.mark.parametrize(
    ("more", "why"),
    [({"recipients": 0}, "one or more"), ({"vendors": 21}, "no more vendors than people"), ({"alpha": 0.0}, "a probability")],
)
def test_impossible_numbers_are_refused(tmp_path, more, why):
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows(3)))
    with pytest.raises(Invalid, match=why):
        planned(tmp_path / "a.jsonl", **more)


def test_what_registration_would_refuse_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows(3)))
    [source] = sources_below([tmp_path / "a.jsonl"])
    for sources, why in (
        ([], "nothing to register"),
        ([source, source], "named twice"),
        ([Source("a?.jsonl", source.local)], "can't be a shard's path"),
        ([Source("b.jsonl", tmp_path / "gone.jsonl")], r"b\.jsonl: can't be read: No such file"),
    ):
        with pytest.raises(Invalid, match=why):
            plan(sources, FULL, **EVERYONE)


def test_canaries_need_a_part_that_can_carry_them(tmp_path, mixed):
    bait = json.dumps({"id": "c0", "instruction": said(random.Random(1), 9), "answer": said(random.Random(2), 20)})
    made = planned(mixed, Marking(canaries=(bait,)))
    assert [part.path for part in made.parts if part.canaries] == ["packed.jsonl.gz", "pool.jsonl"]
    with pytest.raises(Invalid, match="only JSONL"):
        planned(mixed / "guides", Marking(canaries=(bait,)))


def test_the_command_prints_the_plan_and_its_json(mixed):
    told = CliRunner().invoke(asset_plan, [str(mixed), "--recipients", "12", "--withhold-percent", "10"])
    assert told.exit_code == 0, told.output
    assert "guides/a.md" in told.output
    assert "logo.png: cannot be fingerprinted: limen has no carrier for .png" in told.output
    as_json = CliRunner().invoke(asset_plan, [str(mixed / "guides"), "--json"])
    document = json.loads(as_json.stdout)
    assert document["schema"] == "limen/asset-plan/v1"
    assert [reach["colluders"] for reach in document["reach"]] == [1, 2, 3, 5, 8, 0]
    assert document["total"]["records"] == sum(part["records"] for part in document["parts"])


def test_a_malformed_guideline_stops_the_plan_with_its_line(tmp_path):
    (tmp_path / "g.md").write_text("a\n\n<!-- limen:either -->\nb\n")
    with pytest.raises(Invalid, match=r"g\.md, line 3: limen:either has no limen:end"):
        planned(tmp_path)


def test_the_page_shows_what_the_command_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("guides").mkdir()
    for n in range(4):
        Path(f"guides/g{n}.md").write_bytes(guideline(12, seed=n))
    Path("guides/logo.png").write_bytes(b"\x89PNG" * 300)
    Path("pool.jsonl").write_bytes(jsonl(rows(2000)))
    page = (Path(__file__).parents[3] / "docs" / "plan.md").read_text()
    for arguments in (["pool.jsonl", "guides", "--recipients", "30", "--vendors", "2"], ["guides/g0.md"]):
        printed = CliRunner().invoke(asset_plan, arguments).stdout
        assert f"$ limen asset plan {' '.join(arguments)}\n{printed}" in page


@pytest.mark.slow
@pytest.mark.parametrize("colluders", [1, 2, 3, 5, 8])
def test_withheld_records_that_colluders_pool_name_one_of_them_at_the_planned_length(colluders):
    """Person tier, a thousand copies; all that any of them has is leaked, cut down at random to the planned length."""
    people = [person(n) for n in range(1000)]
    needed = measured_for(colluders, 1000, 1e-9) / worth_of_present(colluders)
    named = 0
    for trial in range(30):
        rng = np.random.default_rng([colluders, trial])
        key = MarkKey("orchid", rng.bytes(32), b"s" * 32)
        levels = rng.choice(4, size=int(needed * 4) + 400, p=NUIDA8.shares).astype(np.uint8)
        index = np.zeros(len(levels), dtype=np.uint32)
        for level in range(4):
            index[levels == level] = np.arange(np.count_nonzero(levels == level))
        tiers = np.zeros(len(levels), dtype=np.uint8)
        guilty = [people[n] for n in rng.choice(1000, size=colluders, replace=False)]
        present = np.flatnonzero(np.any([codeword(key, p, tiers=tiers, levels=levels, indexes=index) for p in guilty], axis=0))
        at = np.sort(rng.choice(present, size=int(needed), replace=False))
        rows = np.zeros(len(at), dtype=OBSERVED)
        rows["number"], rows["level"], rows["index"], rows["kind"], rows["seen"] = at, levels[at], index[at], WITHHELD, 2
        observed = Observed(("orchid",), rows, {"sample": np.array([1])})
        result = score(observed, people, keys={"orchid": key}, served=[p.copy_id for p in people])
        assert {copy.recipient for copy in result.copies} <= {p.id for p in guilty}
        named += bool(result.copies)
    assert named >= 29
