"""The observed part of an exposure is what the lab's own truth says, and drops nobody."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from desk import SOURCES
from lab.truth import Seen
from limen.core.intervals import Intervals
from limen.response import observed

US = 1_000_000
VENDORS = ("quillwork", "tessel", "marlow")


def expected(seen, about):
    """Place by place, what the truth says of those whom a report is about."""
    found = defaultdict(Seen)
    for (source, who, principal, _, place), what in seen.items():
        if source not in SOURCES or not about(who):
            continue
        container = "/".join(place.split("/")[:3]) if place.startswith("s3://") else place
        container = "vault:kv" if place.startswith("vault:kv/") else container
        row = found[principal if who == "?" else who, container]
        row.objects |= what.objects
        for name in ("reads", "bytes", "denied", "looks", "writes"):
            setattr(row, name, getattr(row, name) + getattr(what, name))
        row.first = min(filter(None, (row.first, what.first)))
        row.last = max(filter(None, (row.last, what.last)))
    return {
        key: (row.reads, row.bytes, row.denied, row.looks + row.writes, row.first, row.last, sorted(row.objects))
        for key, row in found.items()
    }


def shown(rows, name):
    """The same of a report's rows."""
    found = {}
    for row in rows:
        other = row["looks"] + row["writes"] + row["changes"]
        figures = (row["reads"], row["bytes"], row["denied"], other, row["first_us"] // US, row["last_us"] // US)
        assert row["grade"] == "observed"
        assert row["objects"] == len(row["resources"])
        found[name(row), row["asset"] or row["place"]] = (*figures, row["resources"])
    return found


def put_down_to(row):
    return "|".join(row["people"]) or f"vendor:{row['vendors'][0]}"


def vendors_of(who):
    return {part.removeprefix("vendor:").partition("/")[0] for part in who.split("|")} - {"lab", "?"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_rows_are_the_truth_and_unknown_principals_stand_beside_them(lab, desk, vendor):
    part = desk.ask("exposure", f"vendor/{vendor}", "--objects")["observed"]

    assert shown(part["rows"], put_down_to) == expected(lab.truth.seen, lambda who: vendor in vendors_of(who))
    assert shown(part["unknown_principals"], lambda row: row["principal"]) == expected(lab.truth.seen, lambda who: who == "?")
    assert part["observations"] == sum(lab.truth.kept[source] for source in SOURCES)


def test_every_observation_is_somebodys_the_labs_or_unknown(desk):
    for vendor in VENDORS:
        part = desk.ask("exposure", f"vendor/{vendor}")["observed"]
        rows = sum(row["observations"] for row in (*part["rows"], *part["unknown_principals"]))
        assert rows + part["lab"]["observations"] + part["others"]["observations"] == part["observations"] > 0


def test_a_report_that_forgets_unknown_principals_is_caught(desk, monkeypatch):
    """The control: whoever drops them drops figures that the sum lacks."""
    whole = observed._rows
    monkeypatch.setattr(observed, "_rows", lambda *args: (whole(*args)[0], []))

    with pytest.raises(AssertionError):
        test_every_observation_is_somebodys_the_labs_or_unknown(desk)


def test_a_window_is_widened_by_each_clocks_skew(lab, desk):
    since, until = (f"{at}" for at in map(iso, lab.truth.asked))
    part = desk.ask("exposure", "vendor/tessel", "--since", since, "--until", until, "--objects")["observed"]

    assert shown(part["rows"], put_down_to) == expected(lab.truth.windowed, lambda who: "tessel" in vendors_of(who))
    for source in part["sources"]:
        skew = lab.truth.skew.get(source["source"], 0)
        assert source["window"] == [(lab.truth.asked[0] - skew) * US, (lab.truth.asked[1] + skew) * US]


def test_what_no_log_covers_is_named_and_every_lost_event_lies_there(lab, desk):
    part = desk.ask("exposure", "vendor/quillwork")["observed"]
    for source in part["sources"]:
        for scope in source["scopes"]:
            dark = Intervals.of(map(tuple, scope["uncovered"]))
            lost = [e for e in lab.truth.lost if (e.source, e.scope) == (source["source"], scope["scope"])]
            assert all(dark.holds(event.at * US) for event in lost)
            assert not dark.common(Intervals.of(map(tuple, scope["covered"])))
    assert any(line.startswith("trail-eu does not cover s3://orchid-data") for line in part["unknown"])


def test_a_shared_role_is_one_of_them_in_each_ones_report(desk):
    for person in ("tessel/t1", "tessel/t2", "tessel/t3"):
        part = desk.ask("exposure", f"person/{person}")["observed"]
        shared = [row for row in part["rows"] if row["who"] == "one-of"]
        assert bool(shared) == (person != "tessel/t3")
        assert all(row["people"] == ["tessel/t1", "tessel/t2"] for row in shared)


def test_another_mapping_changes_the_report_and_imports_nothing(lab, desk, tmp_path):
    before = desk.ask("observe", "list")
    mapping = (lab.root / "who.toml").read_text()
    (tmp_path / "who.toml").write_text('[[who]]\nprincipal = "aws:role/*/legacy-export"\nvendor = "tessel"\n\n' + mapping)
    desk.run("who", "set", tmp_path / "who.toml")
    try:
        part = desk.ask("exposure", "vendor/tessel")["observed"]
        assert part["unknown_principals"] == []
        assert any(
            row["who"] == "vendor" and row["principals"] == ["aws:role/111122223333/legacy-export"] for row in part["rows"]
        )
        assert desk.ask("observe", "list") == before
    finally:
        desk.run("who", "set", lab.root / "who.toml")


def test_in_words_the_report_names_what_it_does_not_know(desk):
    text = desk.run("exposure", "vendor/tessel")

    assert "one of tessel/t1, tessel/t2" in text
    assert "aws:role/111122223333/legacy-export" in text
    assert "NOT COVERED" in text
    assert "left out:" in text


def iso(at):
    return datetime.fromtimestamp(at, UTC).isoformat()
