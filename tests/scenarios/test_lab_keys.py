"""The key list of each of the lab's vendors is its own truth: no key that they touched is missing, and no other is on it."""

from __future__ import annotations

import shutil

import pytest

from desk import Desk
from lab.build import SMALL, build
from secretkinds import compiled_rules

VENDORS = ("quillwork", "tessel", "marlow")


def listed(desk, vendor):
    """A vendor's keys as the truth names them."""
    found = set()
    for key in desk.ask("keys", "list", vendor)["keys"]:
        placed = {(place["repo"].rpartition("/")[2], place["commits"][0]["path"]) for place in key["places"] if "repo" in place}
        found |= placed or {("", key["name"])}
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return build(tmp_path_factory.mktemp("lab"), SMALL, seed=3)


@pytest.fixture(scope="module")
def desk(lab, tmp_path_factory):
    """The lab's logs imported, its mapping set, its repositories scanned."""
    desk = Desk.of(lab, tmp_path_factory.mktemp("desk") / "data")
    shutil.copytree(compiled_rules(), desk.data / "scans" / "cache" / "rules")
    desk.run("scan", *sorted((lab.root / "repos").glob("*/*.git")))
    return desk


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_list_holds_every_key_that_touched_its_path_and_no_other(desk, lab, vendor):
    assert listed(desk, vendor) == lab.truth.keys[vendor]
    assert lab.truth.keys[vendor]


def test_that_check_sees_a_key_that_is_missing_and_one_too_many(desk, lab):
    found = listed(desk, "quillwork")
    assert found - {min(found)} != lab.truth.keys["quillwork"]
    assert found | {min(lab.truth.never_touched)} != lab.truth.keys["quillwork"]


def test_what_nobody_touched_is_in_the_inventory_and_on_no_list(desk, lab):
    everything = desk.ask("keys", "list")["keys"]
    placed = {(p["repo"].rpartition("/")[2], p["commits"][0]["path"]) for key in everything for p in key["places"] if "repo" in p}
    planted = {key for key in lab.truth.never_touched if key[0]}
    assert planted
    assert planted <= placed
    assert not any(planted & listed(desk, vendor) for vendor in VENDORS)


def test_each_row_says_why_with_grade_time_and_whom(desk):
    rows = desk.ask("keys", "list", "quillwork")["keys"]
    touches = [touch for row in rows for touch in row["touched"]]
    assert {touch["reason"] for touch in touches} >= {"used", "cloned", "read"}
    assert {touch["grade"] for touch in touches} == {"observed"}
    assert all(touch["people"] or touch["vendors"] for touch in touches)
    assert all(row["age_s"] > 0 for row in rows)


def test_a_key_committed_after_the_last_clone_is_not_put_down_to_it_and_that_is_said(desk):
    told = desk.ask("keys", "list", "tessel")["unknown"]
    assert any("committed, by the commits' own dates, after tessel last took" in line for line in told)
    assert not any("after marlow last took" in line for line in desk.ask("keys", "list", "marlow")["unknown"])


def test_the_list_reads_as_text(desk):
    said = desk.run("keys", "list", "marlow")
    assert "keys that touched marlow's path" in said
    assert "in a history taken by" in said


def test_a_scan_says_which_vendors_took_the_history_since(desk, lab):
    [path] = (lab.root / "repos").glob("*/helio-eval.git")
    [scan] = desk.ask("scan", path)["scans"]
    assert {vendor for one in scan["taken_by"] for vendor in one["vendors"]} == {"tessel"}
    taken = {place["commits"][0]["path"]: place["taken_by"] for key in scan["keys"] for place in key["places"]}
    assert {path: vendors for path, vendors in taken.items() if path.startswith("late/")} == {"late/billing.env": []}
    assert all(vendors == ["tessel"] for path, vendors in taken.items() if not path.startswith("late/"))
    said = desk.run("scan", path)
    assert "  TAKEN by tessel, last 2026-03-" in said
    assert "in a history that tessel took since" in said
    [path] = (lab.root / "repos").glob("*/infra.git")
    assert "no vendor is known to have taken this history: what the imported logs cover shows none" in desk.run("scan", path)
