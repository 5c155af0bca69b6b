"""A reader keeps the receipt of an answer, and holds the log to it later."""

from __future__ import annotations

import base64
import json

import pytest

from simulator import World, records

SFT = "orchid-sft-v3/sft.jsonl"


@pytest.fixture
def world(tmp_path):
    world = World.make(tmp_path, sft=records(300)).serve()
    yield world
    world.stop()


def checked(world, tmp_path, header):
    """`limen ledger check-receipt` on the value of a header: its exit code."""
    kept = tmp_path / "receipt"
    kept.write_text(header)
    return world.limen("ledger", "check-receipt", str(kept), "--data", str(world.data), check=False).returncode


def altered(header, **changes):
    value = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**value, **changes}).encode()).decode().rstrip("=")


def test_every_answer_with_an_entry_carries_a_receipt_that_the_log_keeps(world, tmp_path):
    who = world.login("q01")
    box = "orchid/quill-assessments"
    answers = {
        "whole": who.get(SFT),
        "range": who.get(SFT, start=5, end=90),
        "past the end": who.ask("GET", f"orchid/{SFT}", headers={"Range": "bytes=999999999-"}),
        "head": who.ask("HEAD", f"orchid/{SFT}"),
        "upload": who.ask("PUT", f"{box}/one.txt", body=b"one"),
    }
    found = {name: checked(world, tmp_path, answer.headers["x-limen-receipt"]) for name, answer in answers.items()}
    assert found == dict.fromkeys(answers, 0)


def test_a_receipt_that_was_altered_is_told_from_one_that_the_log_broke(world, tmp_path):
    header = world.login("q01").get(SFT).headers["x-limen-receipt"]
    assert checked(world, tmp_path, altered(header, l=base64.b64encode(bytes(32)).decode())) == 5
    assert checked(world, tmp_path, altered(header, i=1 << 40)) == 2
    assert checked(world, tmp_path, header) == 0  # and the log is not stopped by a false one
    assert world.login("q01").get(SFT).status == 200
