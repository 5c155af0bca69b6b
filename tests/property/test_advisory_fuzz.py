"""Version texts and advisories that anybody may have written: an answer or limen's own error; orders are orders."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.errors import Invalid
from limen.formats.osv import Advisory, Affected
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


@settings(max_examples=2500, deadline=None)
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


@settings(max_examples=1500, deadline=None)
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


@settings(max_examples=500, deadline=None)
@given(raw=st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused(raw):
    with pytest.raises(Invalid):
        Advisory.read(raw)


@settings(max_examples=500, deadline=None)
@given(version=VERSION, ecosystem=st.sampled_from(ECOSYSTEMS))
def test_a_version_without_a_place_is_never_cleared_by_a_range(version, ecosystem):
    raw = {"id": "X-1", "modified": "2026-03-24T11:15:14Z"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "2"}]}]
    affected = [{"package": {"ecosystem": ecosystem, "name": "x"}, "ranges": ranges}]
    answer = Advisory.read(json.dumps({**raw, "affected": affected}).encode()).affects(Package(ecosystem, "x"), version)
    assert answer is not False or key(ecosystem, version) is not None
