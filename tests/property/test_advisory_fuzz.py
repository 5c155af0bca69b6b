"""Version texts and advisories that anybody may have written: an answer or limen's own error; orders are orders."""

from __future__ import annotations

import contextlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feeds
from limen.assurance.advisories import feed
from limen.core.errors import Invalid
from limen.formats import vex
from limen.formats.osv import Advisory, Affected, Event, Range
from limen.formats.purl import Package
from limen.formats.versions import key

ECOSYSTEMS = ("PyPI", "npm", "Go", "crates.io", "Maven", "Debian", "Red Hat", "Alpine", "NuGet", "RubyGems", "Packagist")
TYPICAL = "0 1 2 10 007 . . . - _ + ~ ^ : ! a b rc alpha beta dev post SNAPSHOT final ga sp pre r1 v x # deb12u1 _p1"
PIECES = st.sampled_from(TYPICAL.split())
VERSION = st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=12)
WORDS = st.sampled_from(
    ["introduced", "fixed", "last_affected", "limit", "0", "1.0", "ECOSYSTEM", "SEMVER", "PyPI", "x", "MAL-1", "*"]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
EVENT = st.dictionaries(st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), VERSION | VALUE, max_size=2)
RANGE = st.fixed_dictionaries(
    {"type": st.sampled_from(["ECOSYSTEM", "SEMVER", "GIT"]), "events": st.lists(EVENT, max_size=4) | VALUE}
)
PACKAGE = st.fixed_dictionaries({"ecosystem": st.sampled_from(ECOSYSTEMS) | VALUE, "name": st.just("x") | VALUE})
AFFECTED = st.fixed_dictionaries(
    {},
    optional={
        "package": PACKAGE | VALUE,
        "versions": st.lists(VERSION, max_size=3) | VALUE,
        "ranges": st.lists(RANGE, max_size=2) | VALUE,
    },
)
RECORD = st.fixed_dictionaries(
    {"id": st.just("X-1") | VALUE, "modified": st.just("2026-03-24T11:15:14Z") | VALUE},
    optional={
        "affected": st.lists(AFFECTED | VALUE, max_size=3) | VALUE,
        **dict.fromkeys(("aliases", "withdrawn", "summary", "database_specific", "schema_version", "upstream"), VALUE),
    },
)


STUMBLES = (
    *(b"\x00", b"\xff", b'"', b"\\", b"[", b"]", b"{", b"}", b"null", b"-1", b"1e999", b"\\ud800"),
    *(b"9" * 30, b"\x1e", b"PK\x03\x04"),
)
VERSIONS = ("1.0", "1.82.8", "", "latest", "1:2~3-4")
WHOLE = [
    json.dumps(
        feeds.record(
            "MAL-1",
            feeds.affected("litellm", "1.82.7", "1.82.8"),
            feeds.affected(
                "x", ecosystem="npm", ranges=[{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.0.0"}]}]
            ),
            aliases=["PYSEC-1"],
        )
    ).encode(),
    json.dumps(
        feeds.record(
            "D-1",
            feeds.affected(
                "xz",
                ecosystem="Debian:12",
                ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"last_affected": "5.6.1-1"}, {"limit": "9"}]}],
            ),
            withdrawn=feeds.on(0),
        )
    ).encode(),
]
STATED = [
    json.dumps(each).encode()
    for each in (
        {
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": "x",
            "author": "q",
            "timestamp": "2026-03-25T00:00:00Z",
            "statements": [{"vulnerability": {"name": "M"}, "products": [{"@id": "pkg:pypi/x@1"}], "status": "fixed"}],
        },
        {
            "bomFormat": "CycloneDX",
            "components": [{"bom-ref": "b", "purl": "pkg:pypi/x@1"}],
            "vulnerabilities": [{"id": "M", "affects": [{"ref": "b"}], "analysis": {"state": "resolved"}}],
        },
    )
]


@settings(max_examples=250, deadline=None)
@given(ecosystem=st.sampled_from(ECOSYSTEMS), texts=st.lists(VERSION, min_size=3, max_size=3))
def test_keys_never_fail_and_are_a_total_order(ecosystem, texts):
    keys = [key(ecosystem, text) for text in texts]
    if None in keys:
        return
    one, two, three = keys
    assert (one < two) + (one == two) + (two < one) == 1
    assert one != two or hash(one) == hash(two)
    if ecosystem != "Maven":  # whose order, as Maven has it, is none among words and empty numbers
        low, middle, high = sorted(keys)
        assert low <= middle <= high
        assert low <= high
    assert three == key.__wrapped__(ecosystem, texts[2])


@settings(max_examples=250, deadline=None)
@given(record=RECORD, versions=st.lists(VERSION, min_size=3, max_size=3))
def test_no_record_breaks_the_reader_or_the_question(record, versions):
    with contextlib.suppress(Invalid):
        advisory = Advisory.read(json.dumps(record).encode())
        for affected in advisory.affected:
            again = Affected.from_rule(affected.package, affected.rule())
            assert again == affected
            for version in versions:
                assert again.holds(version) in {True, False, None}
                assert advisory.affects(affected.package, version) in {True, None} or affected.holds(version) is False


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused(raw):
    with pytest.raises(Invalid):
        Advisory.read(raw)


@settings(max_examples=200, deadline=None)
@given(version=VERSION, ecosystem=st.sampled_from(ECOSYSTEMS))
def test_a_version_without_a_place_is_never_cleared_by_a_range(version, ecosystem):
    raw = {"id": "X-1", "modified": "2026-03-24T11:15:14Z"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "2"}]}]
    affected = [{"package": {"ecosystem": ecosystem, "name": "x"}, "ranges": ranges}]
    answer = Advisory.read(json.dumps({**raw, "affected": affected}).encode()).affects(Package(ecosystem, "x"), version)
    assert answer is not False or key(ecosystem, version) is not None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_range_holds_what_its_stretches_enumerate_in_whatever_order_its_events_come(data):
    """Stretches may touch, and may be one version long; each ends with `fixed` or `last_affected`."""
    at, events, listed = 1, [], set()
    for _ in range(data.draw(st.integers(1, 4))):
        start = at + data.draw(st.integers(0, 2))
        end = start + data.draw(st.integers(0, 3))
        closing = data.draw(st.sampled_from(["fixed", "last_affected"])) if end > start else "last_affected"
        events += [Event("introduced", str(start)), Event(closing, str(end))]
        listed |= {n for n in range(20) if start <= n < end or (closing == "last_affected" and n == end)}
        at = end
    shuffled = tuple(data.draw(st.permutations(events)))
    ranged = Affected(Package("npm", "x"), ranges=(Range("SEMVER", shuffled),))
    assert {n for n in range(20) if ranged.holds(f"{n}.0.0")} == listed


def mutated(rng, raw):
    """Bytes with a few of them changed, cut out, doubled, or replaced by what a parser may stumble over."""
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del raw[at : at + rng.randrange(9)]
            case 2:
                raw[at:at] = raw[at : at + rng.randrange(9)]
            case 3:
                raw[at : at + rng.randrange(9)] = rng.choice(STUMBLES)
            case _:
                raw[at:at] = rng.choice(STUMBLES)
    return bytes(raw)


def test_ten_thousand_mutated_records_are_records_or_refused():
    rng = random.Random(20260324)
    read = 0
    for _ in range(10_000):
        raw = mutated(rng, rng.choice(WHOLE))
        with contextlib.suppress(Invalid):
            advisory = Advisory.read(raw)
            read += 1
            for affected in advisory.affected:
                for version in VERSIONS:
                    assert affected.holds(version) in {True, False, None}
    assert 500 < read < 9500  # it meets both


def test_ten_thousand_version_texts_have_a_key_or_none():
    rng = random.Random(2144)
    pieces = TYPICAL.split()
    placed = 0
    for _ in range(10_000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 8)))
        for ecosystem in ECOSYSTEMS:
            found = key.__wrapped__(ecosystem, text)
            placed += found is not None
            again = key.__wrapped__(ecosystem, text)
            assert found is again is None or (found == again and hash(found) == hash(again) and not found < again)
    assert placed > 10_000


def test_mutated_feeds_give_pieces_and_mutated_documents_statements_or_a_refusal(tmp_path):
    rng = random.Random(7)
    path = tmp_path / "feed"
    forms = [feeds.zipped({"a": WHOLE[0], "b": WHOLE[1]}), b"".join(feed.sequence(WHOLE)), b"[" + b",".join(WHOLE) + b"]"]
    for _ in range(500):
        path.write_bytes(mutated(rng, rng.choice(forms)))
        for piece in feed.pieces(path):
            assert isinstance(piece.raw, bytes)
    for _ in range(500):
        with contextlib.suppress(Invalid):
            vex.read(mutated(rng, rng.choice(STATED)))
