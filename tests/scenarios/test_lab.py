"""The invented lab tells the truth of itself: its logs, read back plainly, hold what it says happened."""

import gzip
import hashlib
import json
import zlib

import pytest

from lab.build import SMALL, build
from lab.cast import START
from lab.past import CUT_DAY, DARK_DAY


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return build(tmp_path_factory.mktemp("lab"), SMALL, seed=3)


def digest(root):
    files = sorted(p for p in root.rglob("*") if p.is_file() and ".git" not in str(p))
    return hashlib.sha256(b"".join(p.relative_to(root).as_posix().encode() + p.read_bytes() for p in files)).hexdigest()


def test_the_same_seed_makes_the_same_lab_and_another_another(lab, tmp_path):
    assert digest(build(tmp_path / "again", SMALL, seed=3).root) == digest(lab.root)
    assert digest(build(tmp_path / "other", SMALL, seed=4).root) != digest(lab.root)


def trail_events(root):
    """Every record that can still be read, by its id."""
    found = {}
    for path in sorted((root / "trail").rglob("*_CloudTrail_*.json.gz")):
        text = zlib.decompressobj(31).decompress(path.read_bytes()).decode()
        at = len('{"Records":[')
        while at < len(text):
            try:
                record, at = json.JSONDecoder().raw_decode(text, at)
            except json.JSONDecodeError:
                break
            found[record["eventID"]] = record
            at += 1
    return found


def test_each_log_holds_as_many_events_as_the_truth_counts(lab):
    kept = lab.truth.kept
    assert len(trail_events(lab.root)) == kept["trail-eu"]
    lines = {line for p in (lab.root / "intake-log").iterdir() for line in p.read_text().splitlines(keepends=True)}
    assert sum(line.endswith("\n") for line in lines) == kept["intake-log"]
    exported = "".join(p.read_text() for p in (lab.root / "github").iterdir())
    assert len(set(exported.splitlines())) == kept["github"] < len(exported.splitlines())
    answers = [line for line in (lab.root / "vault" / "audit.log").read_text().splitlines() if '"type":"response"' in line]
    assert len(answers) == kept["vault"]


def test_what_a_record_says_is_what_the_truth_has(lab):
    reads = [r for r in trail_events(lab.root).values() if r["eventName"] == "GetObject" and "errorCode" not in r]
    seen = [what for (source, *_), what in lab.truth.seen.items() if source == "trail-eu"]
    assert len(reads) == sum(what.reads for what in seen)
    assert sum(r["additionalEventData"]["bytesTransferredOut"] for r in reads) == sum(what.bytes for what in seen)


def test_nothing_is_told_of_the_dark_day_and_something_was_cut(lab):
    days = {record["eventTime"][:10] for record in trail_events(lab.root).values()}
    assert len(days) == SMALL.days - 1
    assert {(event.at - START) // 86_400 for event in lab.truth.lost} == {DARK_DAY, CUT_DAY}


def test_who_is_idle_is_in_no_log(lab):
    text = b"".join(gzip.decompress(p.read_bytes()) for p in (lab.root / "trail").rglob("*T16*Z_*.json.gz"))
    text += b"".join(p.read_bytes() for folder in ("intake-log", "github", "vault") for p in (lab.root / folder).iterdir())
    assert lab.past.idle == {"quillwork/q5", "tessel/t4", "marlow/m3"}
    for name in (b"Tessel-t4", b"marlow-m3", b"Quillwork-q5", b"quill-annotator/q5"):
        assert name not in text
    assert b"Tessel-t3" in text


def test_every_actor_that_is_not_idle_is_seen(lab):
    seen = {who for _, who, _, _, _ in lab.truth.seen}
    people = {person for members in lab.past.people.values() for person in members}
    assert people - seen == lab.past.idle
    assert {"?", "lab", "vendor:marlow", "tessel/t1|tessel/t2"} <= seen
