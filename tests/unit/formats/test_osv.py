"""OSV records: what they name, in three values, and what is no record."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from limen.core.errors import Invalid
from limen.formats import osv
from limen.formats import versions as order
from limen.formats.osv import Advisory, Affected, Event, Range
from limen.formats.purl import Package, package

VECTORS = Path(os.environ.get("LIMEN_VECTORS", Path(__file__).parents[3] / "../shared/vectors")) / "osv"
LITELLM = package("PyPI", "litellm")


def record(*, package=None, versions=(), events=None, kind="ECOSYSTEM", **others):
    affected = {"package": package or {"ecosystem": "PyPI", "name": "litellm"}}
    if versions:
        affected["versions"] = list(versions)
    if events is not None:
        affected["ranges"] = [{"type": kind, "events": events}]
    return {"id": "X-1", "modified": "2026-03-24T11:15:14Z", "affected": [affected], **others}


def read(**parts):
    return Advisory.read(json.dumps(record(**parts)).encode())


def within(events, version, *, ecosystem="npm", kind="ECOSYSTEM"):
    advisory = read(package={"ecosystem": ecosystem, "name": "x"}, events=events, kind=kind)
    return advisory.affects(Package(ecosystem, "x"), version)


def introduced(at, **then):
    return [{"introduced": at}, *({kind: version} for kind, version in then.items())]


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the real record is not here; set LIMEN_VECTORS to what holds osv/")
@pytest.mark.parametrize(
    ("revision", "hit"),
    [
        ("MAL-2026-2144.rev1", {"1.82.8"}),
        ("MAL-2026-2144.rev2", {"1.82.7", "1.82.8"}),
        ("MAL-2026-2144", {"1.82.7", "1.82.8"}),
        ("PYSEC-2026-2", {"1.82.7", "1.82.8"}),
    ],
)
def test_the_real_record_names_what_it_named_at_the_time(revision, hit):
    advisory = Advisory.read((VECTORS / f"{revision}.json").read_bytes())
    versions = ["1.82.6", "1.82.7", "1.82.8", "1.82.9", "1.83.0"]
    assert {v for v in versions if advisory.affects(package("PyPI", "LiteLLM"), v)} == hit
    assert advisory.malicious
    assert advisory.affects(package("PyPI", "lite_llm"), "1.82.8") is False
    assert advisory.affects(LITELLM, "unknown") is None


@pytest.mark.parametrize(
    ("events", "yes", "no"),
    [
        (introduced("0"), ["0.0.0-0", "9999.0.0"], []),
        (introduced("0", fixed="2.0.0"), ["0.0.0-0", "1.9.9", "2.0.0-rc.1"], ["2.0.0", "3.0.0"]),
        (introduced("1.0.0", last_affected="1.5.0"), ["1.0.0", "1.5.0"], ["0.9.0", "1.0.0-rc.1", "1.5.1"]),
        (introduced("1.0.0", limit="2.0.0"), ["1.0.0", "1.9.0"], ["2.0.0", "0.1.0"]),
        (
            [*introduced("1.0.0", fixed="1.1.0"), *introduced("2.0.0", fixed="2.1.0")],
            ["1.0.0", "2.0.5"],
            ["1.1.0", "1.9.0", "2.1.0"],
        ),
        ([{"fixed": "2.0.0"}, {"introduced": "1.0.0"}], ["1.0.0"], ["2.0.0"]),  # in any order
        ([{"introduced": "1.0.0", "fixed": "2.0.0"}], ["1.0.0"], ["2.0.0"]),  # as records before 1.2 wrote it
    ],
)
def test_a_range_holds_what_lies_in_it(events, yes, no):
    assert [within(events, version) for version in yes] == [True] * len(yes)
    assert [within(events, version) for version in no] == [False] * len(no)


EVENTS = "introduced:1 fixed:2 introduced:2 last_affected:2 introduced:3 fixed:4"


@pytest.mark.parametrize("shuffled", list(itertools.permutations(EVENTS.split(), 6))[::7])
def test_events_of_one_version_stand_in_one_order_whatever_the_order_in_the_record(shuffled):
    shuffled = [Event(*each.split(":")) for each in shuffled]
    listed = Affected(Package("npm", "x"), frozenset({"1.0.0", "2.0.0", "3.0.0"}))
    ranged = Affected(Package("npm", "x"), ranges=(Range("SEMVER", tuple(shuffled)),))
    candidates = ["0.9.0", "1.0.0", "2.0.0", "2.0.1", "3.0.0", "4.0.0"]
    assert [ranged.holds(v) for v in candidates] == [listed.holds(v) for v in candidates]


def test_what_cannot_be_placed_is_unknown_and_never_cleared():
    assert within(introduced("1.0.0"), "latest") is None
    assert within(introduced("1.0.0"), "") is None
    assert within(introduced("what", fixed="2.0.0"), "1.0.0") is None
    assert within(introduced("1"), "1", ecosystem="Hackage") is None
    assert within(introduced("1.0"), "0.1-bulbasaur", ecosystem="PyPI") is None
    assert within(introduced("abc"), "abc", kind="GIT") is None
    assert read(versions=["1.0"]).affects(LITELLM, "<unknown>") is None
    assert read().affects(LITELLM, "1.0") is None  # names the package and nothing else


def test_a_reader_that_took_what_it_cannot_read_for_the_oldest_would_clear_it(monkeypatch):
    def guessed(rules, text):
        return order.key(rules, text) or order.key(rules, "0")

    monkeypatch.setattr(order, "certain", guessed)
    assert within(introduced("1.0.0"), "latest") is False


def test_a_range_that_holds_every_version_holds_what_cannot_be_placed_too():
    assert within(introduced("0"), "latest") is True
    assert within(introduced("0"), "") is True
    assert within(introduced("0"), "1", ecosystem="Hackage") is True


def test_a_listed_version_is_the_same_in_another_spelling():
    advisory = read(versions=["1.82.8"])
    assert [advisory.affects(LITELLM, v) for v in ("v1.82.8", "1.82.08", "1.82.8+cpu", "1.82.8.post1")] == [
        True,
        True,
        True,
        False,
    ]
    other = read(versions=["1.0-rc1"], package={"ecosystem": "Hackage", "name": "x"})
    assert other.affects(Package("Hackage", "x"), "1.0-rc1") is True
    assert other.affects(Package("Hackage", "x"), "1.0-rc2") is None


def test_a_local_label_neither_clears_nor_blames_where_the_range_has_none():
    events = introduced("2.0", last_affected="2.1")
    assert [within(events, v, ecosystem="PyPI") for v in ("2.1+cu118", "2.0+x", "2.2+x", "1.9+x")] == [True, True, False, False]
    assert within(introduced("2.0", fixed="2.1+patched"), "2.1+patched", ecosystem="PyPI") is False


def test_git_ranges_do_not_count_beside_versions():
    ranges = [
        {"type": "GIT", "events": introduced("0", fixed="abc")},
        {"type": "ECOSYSTEM", "events": introduced("1", fixed="2")},
    ]
    advisory = Advisory.read(json.dumps({**record(), "affected": [{**record()["affected"][0], "ranges": ranges}]}).encode())
    assert [advisory.affects(LITELLM, v) for v in ("1.5", "2")] == [True, False]


def test_an_advisory_for_a_release_cannot_speak_for_a_package_of_an_unnamed_one():
    advisory = read(package={"ecosystem": "Debian:12", "name": "xz-utils"}, events=introduced("0", fixed="5.6.1-2"))
    assert advisory.affects(Package("Debian:12", "xz-utils"), "5.6.0-1") is True
    assert advisory.affects(Package("Debian:11", "xz-utils"), "5.6.0-1") is False
    assert advisory.affects(Package("Debian", "xz-utils"), "5.6.0-1") is None
    assert advisory.affects(Package("Debian", "xz-utils"), "5.6.2-1") is False


def test_a_container_image_is_known_by_its_digest_and_not_by_a_tag_that_moves():
    digest, other = (f"sha256:{char * 64}" for char in "ab")
    advisory = read(package={"ecosystem": "container", "name": "ghcr.io/berriai/litellm"}, versions=["v1.82.8", digest])
    image = Package("container", "ghcr.io/berriai/litellm")
    assert [advisory.affects(image, v) for v in ("v1.82.8", digest, other, "main-latest")] == [True, True, False, None]
    assert advisory.affected[0].digests == {digest}


def test_names_that_one_registry_keeps_apart_stay_apart():
    advisory = read(package={"ecosystem": "PyPI", "name": "Lite.LLM"}, events=introduced("0"))
    assert advisory.affects(package("PyPI", "lite_llm"), "1") is True
    assert advisory.affects(LITELLM, "1") is False


@pytest.mark.parametrize(
    ("parts", "malicious"),
    [
        ({"id": "MAL-2026-1"}, True),
        ({"aliases": ["MAL-2026-1"]}, True),
        ({"database_specific": {"cwe_ids": ["CWE-79", "CWE-506"]}}, True),
        ({"database_specific": {"malicious-packages-origins": []}}, True),
        ({"related": ["MAL-2026-1"]}, False),
        ({"database_specific": {"cwe_ids": ["CWE-79"]}}, False),
        ({"database_specific": ["CWE-506"]}, False),
    ],
)
def test_malicious_is_what_its_own_record_says(parts, malicious):
    assert read(**parts).malicious is malicious


def test_a_rule_reads_back_as_what_it_was_made_of():
    [affected] = read(versions=["1", "2"], events=introduced("0", fixed="2")).affected
    assert Affected.from_rule(affected.package, affected.rule()) == affected


def test_times_are_read_to_the_microsecond():
    assert osv.time_us("1970-01-01T00:00:01.0000029Z", "x") == 1_000_002
    assert osv.time_us("1970-01-01T02:00:00+02:00", "x") == 0
    assert osv.time_us("1970-01-01T00:00:00.5-00:30", "x") == 30 * 60 * 1_000_000 + 500_000


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        (b"\xff", "record"),
        (b"[]", "record"),
        (b"[" * 100_000, "record"),
        (b"1" * 10_000, "record"),
        (json.dumps({**record(), "id": ""}).encode(), "id"),
        (json.dumps({**record(), "id": "two words"}).encode(), "id"),
        (json.dumps({**record(), "modified": None}).encode(), "modified"),
        (json.dumps({**record(), "modified": "2026-13-01T00:00:00Z"}).encode(), "modified"),
        (json.dumps({**record(), "schema_version": "2.0"}).encode(), "schema_version"),
        (json.dumps({**record(), "affected": {}}).encode(), "affected"),
        (json.dumps({**record(), "affected": [1]}).encode(), "affected[0]"),
        (json.dumps(record(package={"ecosystem": "PyPI"})).encode(), "affected[0].package.name"),
        (json.dumps(record(package={"ecosystem": "PyPI", "name": "\ud800"})).encode(), "affected[0].package.name"),
        (json.dumps(record(events=[{"fixed": "1"}])).encode(), "affected[0].ranges[0].events"),
        (json.dumps(record(events=[{}])).encode(), "affected[0].ranges[0].events"),
        (json.dumps(record(events=introduced("1"), kind="SOMETHING")).encode(), "affected[0].ranges[0]"),
        (json.dumps({**record(), "aliases": ["x"] * 1001}).encode(), "aliases"),
    ],
)
def test_what_is_no_record_is_refused_with_the_place(broken, where):
    with pytest.raises(Invalid) as refused:
        Advisory.read(broken)
    assert refused.value.field == where
