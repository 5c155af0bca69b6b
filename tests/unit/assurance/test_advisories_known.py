"""What was known of advisories, and when: revisions, aliases, withdrawals, signatures, packages, windows, statements."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import feeds
from feeds import DAY, HOUR, affected, raw, record
from limen.assurance.advisories import fold
from limen.core.errors import NotFound
from limen.formats.osv import Advisory
from limen.formats.purl import Package, package

VECTORS = Path(os.environ.get("LIMEN_VECTORS", Path(__file__).parents[3] / "../shared/vectors")) / "osv"
LITELLM = package("PyPI", "litellm")
REV1 = record("MAL-1", affected("litellm", "1.82.8"), modified=10 * DAY)
REV2 = record("MAL-1", affected("litellm", "1.82.7", "1.82.8"), modified=11 * DAY)
REV3 = record("MAL-1", affected("litellm", "1.82.7", "1.82.8"), modified=13 * DAY, aliases=["PYSEC-1"])
PYSEC = record("PYSEC-1", affected("litellm", "1.82.8"), modified=9 * DAY, aliases=["GHSA-1"])


@pytest.fixture
def log(tmp_path):
    return feeds.Log(tmp_path)


def hits(asked, version, as_of_us=None):
    """The ids of standing records, not withdrawn, that name this version of litellm."""
    found = asked.by_package(LITELLM, as_of_us)
    return {a.revision.id for a in found if a.revision.withdrawn_us is None and a.affected.holds(version)}


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the real record is not here; set LIMEN_VECTORS to what holds osv/")
def test_the_real_record_is_known_as_it_was_at_every_time(log):
    at = {
        "MAL-2026-2144.rev1": "2026-03-24T11:15:30Z",
        "MAL-2026-2144.rev2": "2026-03-24T22:11:35Z",
        "PYSEC-2026-2": "2026-03-25T08:00:00Z",
        "MAL-2026-2144": "2026-03-26T09:54:00Z",
    }
    times = [Advisory.read(json.dumps({"id": "x", "modified": text}).encode()).modified_us for text in at.values()]
    for name, moment in zip(at, times, strict=True):
        log.feed((VECTORS / f"{name}.json").read_bytes(), at=moment)
    asked = log.advisories()
    one, two, pysec, three = times
    table = {
        one - 1: (set(), set()),
        one: (set(), {"MAL-2026-2144"}),
        two - 1: (set(), {"MAL-2026-2144"}),
        two: ({"MAL-2026-2144"}, {"MAL-2026-2144"}),
        pysec: ({"MAL-2026-2144", "PYSEC-2026-2"}, {"MAL-2026-2144", "PYSEC-2026-2"}),
    }
    for moment, (seven, eight) in table.items():
        assert hits(asked, "1.82.7", moment) == seven
        assert hits(asked, "1.82.8", moment) == eight
        assert hits(asked, "1.82.6", moment) == set()
    assert asked.by_package(package("PyPI", "lite_llm")) == ()
    assert asked.finding("MAL-2026-2144", two).ids == ("MAL-2026-2144",)
    ids = ("GHSA-5mg7-485q-xm76", "MAL-2026-2144", "PYSEC-2026-2")
    assert asked.finding("GHSA-5mg7-485q-xm76", three).ids == ids
    assert {asked.finding(each).name for each in ids} == {"MAL-2026-2144"}
    assert [(r.id, r.number) for r in asked.revisions("PYSEC-2026-2")] == [
        ("MAL-2026-2144", 1),
        ("MAL-2026-2144", 2),
        ("PYSEC-2026-2", 1),
        ("MAL-2026-2144", 3),
    ]


def test_a_record_that_came_late_does_not_replace_a_newer_one(log):
    log.feed(raw(REV2), at=12 * DAY)
    log.feed(raw(REV1), at=13 * DAY)
    asked = log.advisories()
    assert hits(asked, "1.82.7") == {"MAL-1"}
    assert [(r.number, r.standing) for r in asked.revisions("MAL-1")] == [(1, True), (2, False)]


def test_a_record_from_the_future_does_not_outlive_its_correction(log):
    log.feed(raw(record("MAL-1", affected("litellm", "1.0"), modified=9999 * DAY)), at=12 * DAY)
    log.feed(raw(record("MAL-1", affected("litellm", "2.0"), modified=13 * DAY)), at=13 * DAY)
    assert hits(log.advisories(), "2.0") == {"MAL-1"}
    assert hits(log.advisories(), "1.0") == set()


def test_a_withdrawn_record_names_nothing_any_more_and_its_history_stays(log):
    log.feed(raw(REV1), at=11 * DAY)
    log.feed(raw({**REV1, "modified": feeds.on(12 * DAY), "withdrawn": feeds.on(12 * DAY)}), at=12 * DAY)
    asked = log.advisories()
    assert hits(asked, "1.82.8") == set()
    assert asked.finding("MAL-1").withdrawn
    assert hits(asked, "1.82.8", 11 * DAY) == {"MAL-1"}
    assert not asked.finding("MAL-1", 11 * DAY).withdrawn
    assert len(asked.revisions("MAL-1")) == 2


def test_aliases_make_one_finding_however_they_arrive_and_related_ids_do_not(log):
    log.feed(raw(REV1, PYSEC, record("CVE-1", related=["MAL-1"])), at=11 * DAY)
    log.feed(raw(REV3), at=13 * DAY)
    asked = log.advisories()
    assert asked.finding("MAL-1").ids == ("GHSA-1", "MAL-1", "PYSEC-1")
    assert asked.finding("GHSA-1").name == "MAL-1"
    assert asked.finding("GHSA-1", 12 * DAY).name == "PYSEC-1"
    assert asked.finding("MAL-1", 12 * DAY).ids == ("MAL-1",)
    assert asked.names(["GHSA-1", "PYSEC-1", "CVE-1", "X"]) == {
        "GHSA-1": "MAL-1",
        "PYSEC-1": "MAL-1",
        "MAL-1": "MAL-1",
        "CVE-1": "CVE-1",
        "X": "X",
    }
    with pytest.raises(NotFound):
        asked.finding("MAL-1", 10 * DAY)
    with pytest.raises(NotFound):
        asked.finding("X")


def test_an_alias_that_a_later_revision_drops_parts_them_again(log):
    log.feed(raw(REV3, PYSEC), at=13 * DAY)
    log.feed(raw({**REV3, "aliases": [], "modified": feeds.on(14 * DAY)}), at=14 * DAY)
    asked = log.advisories()
    assert asked.finding("MAL-1").ids == ("MAL-1",)
    assert asked.finding("MAL-1", 13 * DAY).ids == ("GHSA-1", "MAL-1", "PYSEC-1")


def forged(log):
    log.feed(raw(REV2), at=12 * DAY, source="openssf", signed=True)
    log.feed(raw({**REV2, "modified": feeds.on(13 * DAY), "withdrawn": feeds.on(13 * DAY)}), at=13 * DAY, source="x")
    return log.advisories()


def test_an_unsigned_feed_takes_nothing_from_what_was_signed(log):
    asked = forged(log)
    assert hits(asked, "1.82.8") == {"MAL-1"}
    assert not asked.finding("MAL-1").withdrawn
    assert [(r.number, r.standing, r.signed) for r in asked.revisions("MAL-1")] == [(1, True, True), (2, True, False)]


def test_without_the_signed_track_it_would_be_taken(log, monkeypatch):
    monkeypatch.setattr(fold, "SIGNED", fold.ANY)
    assert hits(forged(log), "1.82.8") == set()


def test_an_unsigned_feed_can_add_and_a_signature_that_comes_later_counts_from_then(log):
    log.feed(raw(REV1), at=11 * DAY, source="openssf", signed=True)
    log.feed(raw(REV2), at=12 * DAY, source="x")
    log.feed(raw(REV2), at=13 * DAY, source="openssf", signed=True)
    asked = log.advisories()
    assert hits(asked, "1.82.7", 12 * DAY) == {"MAL-1"}
    [_, second] = asked.revisions("MAL-1", 12 * DAY)
    assert not second.signed
    [first, second] = asked.revisions("MAL-1")
    assert second.signed
    assert [c.source for c in second.carriers] == ["x", "openssf"]
    assert not first.standing


def test_the_same_records_in_other_feeds_are_no_new_revisions(log):
    log.feed(raw(REV1, PYSEC), at=11 * DAY)
    log.feed(feeds.zipped({"a": raw(REV1), "b": raw(REV2)}), at=12 * DAY)
    asked = log.advisories()
    assert [(f.records, f.fresh, f.quarantined) for f in asked.feeds()] == [(2, 2, 0), (2, 1, 0)]
    assert asked.brought(1) == ("MAL-1",)
    assert asked.entered(asked.feeds()[0].digest, "osv", signed=False) == asked.feed(0)
    assert asked.entered(asked.feeds()[0].digest, "osv", signed=True) is None
    assert asked.entered(asked.feeds()[0].digest, "x", signed=False) is None
    assert json.loads(asked.raw(asked.revisions("MAL-1")[1])) == REV2


def test_what_is_no_record_is_kept_with_its_reason_and_stops_nothing(log):
    bad = b'{"id": "X-1", "modified": "yesterday"}'
    log.feed(raw(bad, REV1, b"\xff{"), at=11 * DAY)
    log.enter("advisory.feed", 12 * DAY, digest="0" * 64, length=1, source="gone", signed=False, key=None)
    asked = log.advisories()
    assert hits(asked, "1.82.8") == {"MAL-1"}
    reasons = [(q.feed, q.number, q.why) for q in asked.quarantined()]
    assert reasons[0] == (0, 0, "modified: is not an RFC 3339 time")
    assert reasons[1][:2] == (0, 2)
    assert reasons[2][:2] == (1, 0)
    assert "can't be read" in reasons[2][2]
    assert asked.quarantined_raw(0, 0) == bad
    assert asked.census()["quarantined"] == 3


def test_a_package_of_a_distribution_meets_advisories_of_each_release(log):
    names = ("Debian:11", "Debian:12", "Debian", "Ubuntu:24.04")
    log.feed(raw(*(record(f"D-{n}", affected("xz", "1", ecosystem=name)) for n, name in enumerate(names))), at=DAY)
    asked = log.advisories()
    found = asked.by_package(Package("Debian:12", "xz"))
    assert [a.affected.package.ecosystem for a in found] == ["Debian:11", "Debian:12", "Debian"]


def test_tables_made_again_are_the_same(log, tmp_path):
    log.feed(raw(REV1, PYSEC, b"{"), at=11 * DAY)
    log.feed(raw(REV3), at=13 * DAY, source="openssf", signed=True)
    first = [list(map(tuple, t)) for t in tables(log)]
    for path in (tmp_path / "derived").iterdir():
        path.unlink()
    assert [list(map(tuple, t)) for t in tables(log)] == first


def tables(log):
    asked = log.advisories()
    with asked.reading() as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        found = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in names if name != "note"]
    asked.close()
    return found


def test_windows_keep_every_source_and_the_widest_counts(log):
    log.feed(raw(REV1, PYSEC, REV3), at=DAY)
    log.window("MAL-1", 10 * HOUR, 11 * HOUR, source="LiteLLM", at=2 * DAY)
    log.window("PYSEC-1", 10 * HOUR, 13 * HOUR, source="PyPI", at=3 * DAY)
    log.window("GHSA-1", 9 * HOUR, None, source="us", channel="ghcr", image="ghcr.io/x/y", tag="main", at=4 * DAY)
    asked = log.advisories()
    found = asked.windows("MAL-1")
    assert found.channels == ("ghcr", "pypi")
    assert found.widest("pypi") == (10 * HOUR, 13 * HOUR)
    assert found.widest() == (9 * HOUR, None)
    assert found.spread("pypi") == (10 * HOUR, 10 * HOUR, 11 * HOUR, 13 * HOUR)
    assert found.spread("ghcr") == (9 * HOUR, 9 * HOUR, None, None)
    assert found.spread("npm") is None
    assert asked.windows("MAL-1", 2 * DAY).widest() == (10 * HOUR, 11 * HOUR)
    assert asked.windows("MAL-1", DAY).widest() is None


def test_a_source_s_later_word_takes_the_place_of_its_earlier_one_and_can_be_taken_back(log):
    log.feed(raw(REV1), at=DAY)
    log.window("MAL-1", 1, 2, at=2 * DAY)
    log.window("MAL-1", 1, 3, at=3 * DAY)
    log.window("MAL-1", None, None, at=4 * DAY)
    asked = log.advisories()
    assert [asked.windows("MAL-1", day * DAY).widest() for day in (2, 3, 4)] == [(1, 2), (1, 3), None]


OPENVEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "https://quillwork.example/vex/1",
    "author": "quillwork",
    "timestamp": "2026-03-25T00:00:00Z",
    "version": 1,
    "statements": [
        {
            "vulnerability": {"name": "MAL-1", "aliases": ["PYSEC-1"]},
            "products": [{"@id": "pkg:pypi/litellm@1.82.8"}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
        }
    ],
}


def test_a_vendor_s_statement_is_known_from_when_it_came_and_a_later_one_is_the_newest(log):
    log.vex("quillwork", OPENVEX, at=2 * DAY)
    log.vex("quillwork", b"damaged since", at=2 * DAY)
    investigating = {**OPENVEX["statements"][0], "status": "under_investigation"}
    log.vex("quillwork", {**OPENVEX, "statements": [investigating]}, at=3 * DAY)
    asked = log.advisories()
    assert [(s.entry, s.statement.status, s.newest) for s in asked.vex("quillwork")] == [
        (0, "not_affected", False),
        (2, "under_investigation", True),
    ]
    assert [s.newest for s in asked.vex("quillwork", 2 * DAY)] == [True]
    assert asked.vex("lexara") == ()
    assert len(asked.vex()) == 2
