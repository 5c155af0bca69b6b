"""A mapping says whom a principal is put down to, and what it can't say stays unknown."""

from __future__ import annotations

import pytest

from limen.core.errors import Invalid
from limen.observe.who import UNKNOWN, PlaceRule, Who

MAPPING = b"""
[[who]]
principal = "aws:role/111122223333/quill-annotators"
session = "q03*"
person = "quillwork/q03"

[[who]]
principal = "aws:role/111122223333/quill-night"
people = ["quillwork/q11", "quillwork/q04"]

[[who]]
principal = "aws:role/111122223333/quill-*"
vendor = "quillwork"

[[who]]
principal = "aws:user/111122223333/ci"
from = 2026-03-01
until = 2026-04-01T00:00:00Z
person = "tessel/t01"

[[who]]
principal = "aws:user/111122223333/ci"
from = "2026-04-01T00:00:00+00:00"
lab = true

[[who]]
principal = "github:Q03-Quill"
person = "quillwork/q03"

[[who]]
principal = "vault:token/mixed"
people = ["quillwork/q03", "tessel/t01"]

[[place]]
resource = "s3://orchid-data/sft/*"
asset = "orchid-sft-v3"

[[place]]
resource = "github:Orchid/Guides"
asset = "orchid-guides"
"""
MARCH, APRIL, MAY = 1_772_323_200_000_000, 1_775_001_600_000_000, 1_777_593_600_000_000


@pytest.fixture
def who():
    return Who.read(MAPPING)


@pytest.mark.parametrize(
    ("principal", "session", "at_us", "sort", "people", "vendors"),
    [
        ("aws:role/111122223333/quill-annotators", "q03-laptop", MAY, "person", ("quillwork/q03",), ("quillwork",)),
        ("aws:role/111122223333/quill-annotators", "q04", MAY, "vendor", (), ("quillwork",)),
        ("aws:role/111122223333/quill-night", "", MAY, "one-of", ("quillwork/q04", "quillwork/q11"), ("quillwork",)),
        ("aws:user/111122223333/ci", "", MARCH, "person", ("tessel/t01",), ("tessel",)),
        ("aws:user/111122223333/ci", "", APRIL, "lab", (), ()),
        ("aws:user/111122223333/ci", "", MARCH - 1, "unknown", (), ()),
        ("github:q03-QUILL", "", MAY, "person", ("quillwork/q03",), ("quillwork",)),
        ("aws:role/111122223333/Quill-annotators", "q03", MAY, "unknown", (), ()),
        ("vault:token/mixed", "", MAY, "one-of", ("quillwork/q03", "tessel/t01"), ("quillwork", "tessel")),
        ("aws:key/AKIAEXAMPLE", "", MAY, "unknown", (), ()),
    ],
)
def test_the_first_rule_that_holds_at_that_moment_wins(who, principal, session, at_us, sort, people, vendors):
    found = who.of(principal, session, at_us)

    assert (found.sort, found.people, found.vendors) == (sort, people, vendors)
    assert found.known == (sort != "unknown")


def test_a_person_of_the_lab_is_the_labs_own():
    who = Who.read(b'[[who]]\nprincipal = "github:mira"\nperson = "lab/mira"\n')

    assert who.of("github:mira", "", MAY).lab
    assert who.of("github:mira", "", MAY).vendors == ()


def test_places_map_resources_to_assets_and_adopted_ones_come_after(who):
    adopted = who.with_places([PlaceRule("s3://orchid-data/*", "orchid-blob")])

    assert who.asset_of("s3://orchid-data/sft/part-1.jsonl") == "orchid-sft-v3"
    assert who.asset_of("github:orchid/guides") == "orchid-guides"
    assert who.asset_of("s3://orchid-data/other") is None
    assert adopted.asset_of("s3://orchid-data/other") == "orchid-blob"
    assert adopted.asset_of("s3://orchid-data/sft/part-1.jsonl") == "orchid-sft-v3"


def test_without_a_mapping_everybody_is_unknown():
    assert Who().of("aws:user/1/x", "", MAY) == UNKNOWN
    assert Who().asset_of("s3://b/k") is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[[who]]\nperson = "a/b"', "who[0].principal"),
        ('[[who]]\nprincipal = "*"\nlab = true', "who[0].principal"),
        ('[[who]]\nprincipal = "*:x"\nlab = true', "who[0].principal"),
        ('[[who]]\nprincipal = "aws:*"', "who[0]"),
        ('[[who]]\nprincipal = "aws:*"\nlab = true\nvendor = "a"', "who[0]"),
        ('[[who]]\nprincipal = "aws:*"\nlab = false', "who[0].lab"),
        ('[[who]]\nprincipal = "aws:*"\nvendor = "lab"', "who[0].vendor"),
        ('[[who]]\nprincipal = "aws:*"\nperson = "q03"', "who[0].person"),
        ('[[who]]\nprincipal = "aws:*"\npeople = []', "who[0].people"),
        ('[[who]]\nprincipal = "aws:*"\npeople = ["a/b", "a/b"]', "who[0].people"),
        ('[[who]]\nprincipal = "aws:*"\nlab = true\nemail = "x"', "who[0].email"),
        ('[[who]]\nprincipal = "aws:*"\nlab = true\nfrom = 2026-01-01T00:00:00', "who[0].from"),
        ('[[who]]\nprincipal = "aws:*"\nlab = true\nfrom = 2026-01-02\nuntil = 2026-01-02', "who[0].until"),
        ('[[who]]\nprincipal = "aws:*"\nlab = true\n[[who]]\nprincipal = "aws:*"\nvendor = "a"', "who[1]"),
        ('[[who]]\nprincipal = "github:A"\nlab = true\n[[who]]\nprincipal = "github:a"\nvendor = "a"', "who[1]"),
        ('[[place]]\nresource = "s3://b/*"\nasset = "x"\n[[place]]\nresource = "s3://b/*"\nasset = "y"', "place[1]"),
        ('[[place]]\nresource = "s3://b/*"\nasset = "X"', "place[0].asset"),
        ('[[place]]\nresource = "b/*"\nasset = "x"', "place[0].resource"),
        ("[[vendor]]\nid = 1", "vendor"),
        ("who = 3", "who"),
        ("who = [", "mapping"),
    ],
)
def test_a_mapping_that_says_nothing_certain_is_refused_with_its_place(text, field):
    with pytest.raises(Invalid) as refused:
        Who.read(text.encode())

    assert refused.value.field == field


def test_rules_for_one_principal_may_follow_each_other_in_time():
    text = '[[who]]\nprincipal = "aws:root/1"\n{}\n[[who]]\nprincipal = "aws:root/1"\n{}\n'
    Who.read(text.format('until = 2026-04-01\nvendor = "a"', 'from = 2026-04-01\nvendor = "b"').encode())

    with pytest.raises(Invalid, match="at the same time"):
        Who.read(text.format('until = 2026-04-02\nvendor = "a"', 'from = 2026-04-01\nvendor = "b"').encode())


def test_a_fingerprint_is_compared_as_it_is():
    who = Who.read(b'[[who]]\nprincipal = "github:deploy-key/SHA256:aB"\nvendor = "quillwork"\n')

    assert who.of("github:deploy-key/SHA256:aB", "", MAY).vendor == "quillwork"
    assert not who.of("github:deploy-key/SHA256:Ab", "", MAY).known
