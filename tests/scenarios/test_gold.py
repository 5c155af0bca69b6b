"""Gold items through the real line: served, worked on, returned, scored, stripped, and released to whoever trains."""

import hashlib

import pytest

from goldlab import ANSWERS, ASSET, BOX, EACH, ITEMS, ROWS, TRAINING, answered, other, run
from goldwork import as_csv, as_text, bare, left_in
from goldwork import lines as jsonl
from limen.core.errors import Conflict, Invalid, TamperDetected
from limen.marks.gold import GOLD
from limen.registration import Marking, Source
from limen.response.interval import clopper_pearson


@pytest.fixture
def in_lab(tmp_path):
    return lambda body: run(tmp_path / "data", body)


def test_each_persons_answers_are_held_against_the_items_they_were_handed(in_lab):
    async def body(lab):
        await lab.register()
        q01, q02, q03 = [await lab.reads(who) for who in ("q01", "q02", "q03")]
        assert [sum(row["id"] in ANSWERS for row in rows) for rows in (q01, q02, q03)] == [EACH] * 3
        assert not any("label" in row for row in q01)
        await lab.returns("q01", "monday.jsonl", jsonl(answered(q01, wrong=[1])))
        mine = [row for row in answered(q02) if row["id"] in ANSWERS]
        await lab.returns("q02", "work.csv", as_csv(mine[:3] + answered(ROWS[:5])))
        report = await lab.does("drop.quality", box=BOX)
        people = {line["who"]: line for line in report["people"]}
        assert set(people) == {lab.pseudonym(who) for who in ("q01", "q02", "q03")}
        first, second, third = (people[lab.pseudonym(who)] for who in ("q01", "q02", "q03"))
        assert {name: first[name] for name in ("served", "returned", "right", "wrong", "n", "accuracy")} == {
            "served": 6,
            "returned": 6,
            "right": 5,
            "wrong": 1,
            "n": 6,
            "accuracy": 0.8333,
        }
        assert (first["low"], first["high"]) == tuple(round(x, 4) for x in clopper_pearson(5, 6))
        assert (second["served"], second["returned"], second["not_returned"], second["right"]) == (6, 3, 3, 3)
        assert (third["served"], third["n"], third["accuracy"], third["low"], third["high"]) == (6, 0, None, 0.0, 1.0)
        assert (report["all"]["right"], report["all"]["n"]) == (8, 9)
        assert report["unknown"] == []
        assert any("secret" in note for note in report["notes"])
        [(index, entry)] = lab.entries("drop.quality")
        assert report["entry"] == index
        assert (entry["box"], entry["people"], entry["served"]) == (BOX, 3, 18)
        assert "person" not in entry

    in_lab(body)


def test_only_what_was_handed_over_is_missed_and_only_ones_own_items_count(in_lab):
    async def body(lab):
        await lab.register()
        part, whole = await lab.reads("q01", share=0.5), await lab.reads("q02")
        held = [row["id"] for row in part if row["id"] in ANSWERS]
        assert 0 < len(held) < EACH
        theirs = [row for row in whole if row["id"] in ANSWERS]
        await lab.returns("q01", "work.jsonl", jsonl(answered(part) + answered(theirs)))
        rest = [item for item in ITEMS[:EACH] if item["id"] not in held]
        await lab.returns("q01", "more.jsonl", jsonl(rest))
        report = await lab.does("drop.quality", box=BOX, person="quillwork/q01")
        [line] = report["people"]
        assert (line["served"], line["right"], line["n"]) == (len(held), len(held), len(held))
        assert line["of_others"] == EACH
        assert line["returned_unserved"] == len(rest)
        assert report["person"] == lab.pseudonym("q01")
        assert (await lab.does("drop.quality", box=BOX, person=lab.pseudonym("q02")))["all"]["served"] == EACH

    in_lab(body)


def test_the_newest_answer_counts_and_items_can_be_taken_from_a_day_on(in_lab):
    async def body(lab):
        await lab.register()
        rows = [row for row in await lab.reads("q01") if row["id"] in ANSWERS]
        await lab.returns("q01", "a.jsonl", jsonl(answered(rows, wrong=range(6))))
        again = {**rows[0], "label": {"yes": " YES ", "no": "No"}[ANSWERS[rows[0]["id"]]]}
        await lab.returns("q01", "b.jsonl", jsonl([again]))
        [line] = (await lab.does("drop.quality", box=BOX))["people"]
        assert (line["right"], line["n"], line["answered_again"]) == (1, 6, 1)
        now_us = lab.gateway.custody.moment_us()
        assert (await lab.does("drop.quality", box=BOX, since_us=now_us))["all"]["served"] == 0
        assert (await lab.does("drop.quality", box=BOX, since_us=now_us - 3_600_000_000))["all"]["served"] == EACH

    in_lab(body)


def test_answers_may_stand_in_another_field_or_nowhere_and_objects_that_cannot_be_read_are_named(in_lab):
    async def body(lab):
        await lab.register()
        rows = [row for row in await lab.reads("q01") if row["id"] in ANSWERS]
        verdicts = [{"item": row["id"], "Verdict": ANSWERS[row["id"]]} for row in rows]
        await lab.returns("q01", "v.jsonl", jsonl(verdicts[:4]))
        await lab.returns("q01", "notes.txt", as_text(answered(rows[4:])))
        await lab.returns("q01", "scan.png", b"\x89PNG\x00\x00")
        report = await lab.does("drop.quality", box=BOX)
        assert (report["all"]["returned"], report["all"]["unanswered"], report["all"]["n"]) == (6, 6, 0)
        assert [one["path"] for one in report["unread"]] == ["scan.png"]
        report = await lab.does("drop.quality", box=BOX, answer="verdict")
        assert (report["all"]["right"], report["all"]["unanswered"], report["all"]["n"]) == (4, 2, 4)

    in_lab(body)


def test_an_item_whose_expected_answer_changed_counts_for_nobody(in_lab):
    async def body(lab):
        await lab.register()
        changed = [{**ITEMS[0], "label": other(ITEMS[0]["label"])}, *ITEMS[1:]]
        await lab.register(changed)
        rows = await lab.reads("q01")
        await lab.returns("q01", "work.jsonl", jsonl(answered(rows)))
        [line] = (await lab.does("drop.quality", box=BOX))["people"]
        assert (line["served"], line["right"], line["unclear"]) == (EACH - 1, EACH - 1, 1)

    in_lab(body)


def test_the_answers_are_committed_to_before_the_first_serve_and_a_changed_one_stops_the_score(in_lab):
    async def body(lab):
        await lab.register()
        rows = await lab.reads("q01")
        index, entry = lab.entries("key.commit")[-1]
        shard = lab.gateway.custody.catalog.snapshot.version(ASSET).shards[0]
        prepared = lab.gateway.custody.shelf.prepared(shard)
        assert entry["gold"] == {"pool.jsonl": prepared.gold_root}
        assert index < lab.entries("access.intent")[0][0]
        await lab.returns("q01", "work.jsonl", jsonl(answered(rows, wrong=[0])))
        path = prepared.path / GOLD
        path.write_bytes(path.read_bytes().replace(b"yes", b"no", 1))
        with pytest.raises(TamperDetected, match="not what was committed to"):
            await lab.does("drop.quality", box=BOX)

    in_lab(body)


def test_training_gets_the_work_by_the_same_door_without_any_canary(in_lab):
    async def body(lab):
        await lab.register()
        for who in ("q01", "q02"):
            rows = await lab.reads(who)
            stolen = ITEMS[EACH * 2 : EACH * 2 + 2]  # two that were made for somebody else
            await lab.returns(who, "work.jsonl", jsonl(answered(rows) + stolen))
            await lab.returns(who, "again/work.csv", as_csv(answered(rows)))
        await lab.returns("q02", "screen.png", b"\x89PNG\x00\x00")
        found = await lab.does("drop.release", box=BOX, asset=TRAINING)
        assert (found["counted"], found["left_out"], found["stripped"]) == (5, 1, 2 * (2 * EACH + 2))
        assert found["rows"] - found["stripped"] == found["out"]
        snapshot = lab.gateway.custody.catalog.snapshot
        version = snapshot.version(TRAINING)
        held = {shard.path: lab.gateway.custody.blobs.path(shard.digest).read_bytes() for shard in version.shards}
        work = {f"{lab.pseudonym(who)}/{path}" for who in ("q01", "q02") for path in ("work.jsonl", "again/work.csv")}
        assert set(held) == {"release.json", *work}
        for path, raw in held.items():
            assert path == "release.json" or left_in(raw, ITEMS) == []
        [(index, entry)] = lab.entries("drop.release")
        [(made, _)] = [(i, e) for i, e in lab.entries("asset.version") if e["asset"] == TRAINING]
        assert index == found["entry"] < made
        assert entry["manifest"] == hashlib.sha256(held["release.json"]).hexdigest()
        assert (entry["rows"], entry["stripped"], entry["out"]) == (found["rows"], found["stripped"], found["out"])
        assert (entry["digest_in"], entry["digest_out"]) == (found["digest_in"], found["digest_out"])
        checked = await lab.does("drop.check", asset=TRAINING)
        assert (checked["shown"], checked["unread"]) == ([], [])
        assert not any(lab.gateway.config.data.glob(".release-*"))

    in_lab(body)


def test_the_check_finds_what_was_released_by_another_way(in_lab):
    """The negative control: whoever registers returned work as it came trains on canaries, and the check says so."""

    async def body(lab):
        await lab.register()
        rows = answered(await lab.reads("q01"))
        raw = lab.gateway.config.data / "work.jsonl"
        raw.write_bytes(jsonl(rows))
        await lab.gateway.registrar.register(TRAINING, [Source("work.jsonl", raw)], Marking(marked=False), by="test")
        checked = await lab.does("drop.check", asset=TRAINING)
        assert checked["shown"] == [{"path": "work.jsonl", "rows": EACH, "by": {"text": EACH}}]
        (lab.gateway.config.data / "b.bin").write_bytes(b"\0")
        paths = [str(raw), str(lab.gateway.config.data / "b.bin")]
        local = await lab.does("drop.check", paths=paths)
        assert (sum(one["rows"] for one in local["shown"]), len(local["unread"])) == (EACH, 1)

    in_lab(body)


def test_what_makes_no_sense_is_refused_and_nothing_is_entered(in_lab):
    async def body(lab):
        with pytest.raises(Invalid, match="has gold items"):
            await lab.does("drop.quality", box=BOX)
        await lab.register()
        before = lab.gateway.custody.ledger.head().size
        with pytest.raises(Invalid, match="no drop box"):
            await lab.does("drop.quality", box=ASSET)
        with pytest.raises(Invalid, match="no drop box"):
            await lab.does("drop.release", box=ASSET, asset=TRAINING)
        with pytest.raises(Invalid, match="is a drop box itself"):
            await lab.does("drop.release", box=BOX, asset=BOX)
        with pytest.raises(Conflict, match="it is empty"):
            await lab.does("drop.release", box=BOX, asset=TRAINING)
        with pytest.raises(Invalid, match=r"canaries\[0\]"):
            await lab.register([{name: value for name, value in ITEMS[0].items() if name != "label"}] * EACH)
        assert lab.gateway.custody.ledger.head().size == before
        assert bare(ITEMS[0])

    in_lab(body)
