"""The story's five leaked samples, traced by the command as the lab would trace them: who is named, and who never is."""

import hashlib
import json
import random

import pytest

from limen.catalog.catalog import Catalog
from limen.cli.link import call
from simulator import World, records

SFT = records(9_000, seed=6)
KEY = "orchid-sft-v3/sft.jsonl"


class Story:
    """q03 has read the first part of the dataset, as has q11 in a session of ordinary work; then SX1 cloned all of it."""

    def __init__(self, world):
        self.world = world
        catalog = Catalog.open(f"sqlite:///{world.data / 'control.db'}", random=bytes)
        holders = catalog.snapshot.state.holders
        self.whose = {copy: holders[copy] for copy in holders}  # what no report says: who is behind a copy id
        catalog.close()
        q03, q11 = world.login("q03"), world.login("q11")
        self.ordinary = self._session("quillwork/q11", but=())
        length = int(q03.ask("HEAD", f"orchid/{KEY}").headers["content-length"])
        part = length // 4
        self.q03 = self._lines(q03.get(KEY, start=0, end=part).body)
        self.q11_first = self._lines(q11.get(KEY, start=0, end=part).body)
        clone = world.login("q11")
        self.stolen = self._session("quillwork/q11", but=(self.ordinary,))
        whole = self._lines(clone.get(KEY).body)
        self.q11_later = whole[len(self.q11_first) + 1 :]
        world.login("t01").get(KEY)

    def _session(self, holder, *, but):
        open_now = call(self.world.data, "show", {"what": "sessions"})
        [found] = [s["id"] for s in open_now if s["holder"] == holder and s["id"] not in but]
        return found

    @staticmethod
    def _lines(raw):
        return [line for line in raw.split(b"\n")[:-1] if line.strip()]

    def named(self, report):
        return {self.whose[copy["copy"]] for copy in report["copies"]}

    def sessions(self, report, person):
        return [line["session"] for copy in report["copies"] if self.whose[copy["copy"]] == person for line in copy["sessions"]]

    def trace(self, lines):
        """Trace a sample of these lines; returns the report and the sample's digest."""
        sample = self.world.data.parent / "leak.jsonl"
        sample.write_bytes(b"".join(line.rstrip() + b"\n" for line in lines))
        return self.world.ask_json("trace", str(sample)), hashlib.sha256(sample.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("trace"), sft=SFT).serve()
    try:
        yield Story(world)
    finally:
        world.stop()


def shouted(line):
    """A record with every value in capitals: case is not to be relied on."""
    return json.dumps({name: value.upper() for name, value in json.loads(line).items()}).encode()


def test_l1_a_hundred_and_fifty_of_q03s_records_name_q03_alone_though_q11_read_the_same_slots(story):
    report, _ = story.trace(random.Random(1).sample(story.q03, 150))
    assert report["verdict"] == "named"
    assert story.named(report) == {"quillwork/q03"}
    assert {vendor["vendor"] for vendor in report["vendors"]} <= {"quillwork"}
    [copy] = report["copies"]
    assert copy["q"] <= report["alpha"]
    assert copy["p"] <= copy["q"]
    assert "A copy is implicated, not a person" in report["meaning"]


def test_l2_records_that_only_the_stolen_session_read_name_q11s_copy_and_that_session(story):
    report, _ = story.trace(random.Random(2).sample(story.q11_later, 300))
    assert story.named(report) == {"quillwork/q11"}
    assert story.sessions(report, "quillwork/q11") == [story.stolen]
    [line] = report["copies"][0]["sessions"]
    assert line["records"] == line["of"] == 300


def test_the_session_check_notices_records_that_two_sessions_read(story):
    report, _ = story.trace(random.Random(2).sample(story.q11_first, 300))
    assert story.named(report) == {"quillwork/q11"}
    assert set(story.sessions(report, "quillwork/q11")) == {story.ordinary, story.stolen}


def test_l3_two_copies_mixed_shuffled_and_case_folded_name_both_and_nobody_else(story):
    draw = random.Random(3)
    mixed = [shouted(line) for line in [*draw.sample(story.q03, 500), *draw.sample(story.q11_later, 500)]]
    draw.shuffle(mixed)
    report, _ = story.trace(mixed)
    assert story.named(report) == {"quillwork/q03", "quillwork/q11"}


def test_l4_text_that_was_never_ours_matches_nothing(story):
    report, _ = story.trace(records(400, seed=77).splitlines())
    assert (report["verdict"], report["copies"], report["vendors"], report["slots_matched"]) == ("none", [], [], 0)


def test_l5_ten_records_are_too_few_and_the_report_says_how_many_would_do(story):
    report, _ = story.trace(story.q03[:10])
    assert (report["verdict"], report["copies"]) == ("abstain", [])
    assert report["slots_needed"] > report["slots_matched"] > 0


def test_records_of_the_source_itself_picked_by_a_coin_name_nobody(story):
    lines = SFT.splitlines()
    report, _ = story.trace(random.Random(4).sample(lines, 300))
    assert report["verdict"] == "abstain"
    assert story.named(report) == set()


def test_the_samples_digest_is_in_the_ledger_before_the_result(story):
    report, digest = story.trace(random.Random(5).sample(story.q03, 200))
    lines = [json.loads(line) for line in story.world.limen("ledger", "tail", "-n", "5", "--json").stdout.splitlines()]
    kinds = {line["index"]: line["entry"] for line in lines}
    assert report["digest"] == digest
    assert report["sample_entry"] < report["result_entry"]
    sample, result = kinds[report["sample_entry"]], kinds[report["result_entry"]]
    assert (sample["kind"], sample["digest"]) == ("trace.sample", digest)
    assert (result["kind"], result["sample"], result["verdict"]) == ("trace.result", report["sample_entry"], "named")
    assert "quillwork/q03" not in json.dumps(result)
