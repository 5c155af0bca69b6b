"""Suggestions over the lab's logs: names give most people away; whom they do not name stays unknown."""

from __future__ import annotations

import json

import pytest

from limen.observe.who import Who


@pytest.fixture(autouse=True)
def unmapped(lab, desk, tmp_path):
    """A mapping that says nothing, for as long as a test runs."""
    (tmp_path / "empty.toml").write_text("")
    desk.run("who", "set", tmp_path / "empty.toml")
    yield
    desk.run("who", "set", lab.root / "who.toml")


def test_suggested_rules_name_whom_the_truth_names_and_nobody_wrongly(lab, desk):
    who = Who.read(desk.run("who", "suggest", "--toml").encode())
    told = {(principal, session): who_ for _, who_, principal, session, _ in lab.truth.seen}

    named = 0
    for (principal, session), truth in told.items():
        found = who.of(principal, session, 0)
        if found.people:
            assert truth == ("lab" if found.lab else "|".join(found.people)), principal
            named += 1
    assert named > len(told) / 2
    assert who.of("aws:role/111122223333/legacy-export", "cron", 0).sort == "unknown"
    assert who.of("aws:role/111122223333/marlow-ingest", "sync", 0).vendor == "marlow"


def test_suggestions_change_nothing_until_they_are_set(desk, tmp_path):
    before = desk.ask("who", "show")
    assert desk.ask("exposure", "vendor/quillwork")["observed"]["rows"] == []
    (tmp_path / "who.toml").write_text(desk.run("who", "suggest", "--toml"))
    assert desk.ask("who", "show") == before

    desk.run("who", "set", tmp_path / "who.toml")
    after = desk.ask("who", "suggest")
    assert not any("quill-annotator" in line["principal"] for line in after["suggestions"])
    assert desk.ask("exposure", "vendor/quillwork")["observed"]["rows"]


def test_tags_of_iam_are_a_reason(lab, desk, tmp_path):
    role = {
        "RoleName": "legacy-export",
        "Arn": "arn:aws:iam::111122223333:role/legacy-export",
        "Tags": [{"Key": "company", "Value": "Marlow"}],
    }
    (tmp_path / "iam.json").write_text(json.dumps({"UserDetailList": [], "RoleDetailList": [role]}))

    found = desk.ask("who", "suggest", "--iam", tmp_path / "iam.json")["suggestions"]
    [line] = [line for line in found if line["principal"].endswith("legacy-export")]
    assert (line["vendor"], line["reason"]) == ("marlow", "its IAM tag company is 'Marlow'")
    assert line["observations"] > 0
