"""An import is read strictly, in an order that works, and is refused in one line that names the place."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from limen.catalog.imports import MAX_BYTES, MAX_LINE, READERS, Import, read_import
from limen.catalog.snapshot import Ordered, Snapshot
from limen.catalog.tiers import BUILT_IN
from limen.core.errors import Denied, Invalid

SAMPLE = """
[[grant]]
holder = "quillwork/q01"
project = "orchid"
assets = ["orchid-sft"]
actions = ["read", "list", "head"]
granted_by = "lab/mira"
expires = 2027-01-01T00:00:00Z

[[vendor]]
id = "quillwork"
name = "Quillwork GmbH"
contact = "ops@quillwork.example"

[[person]]
id = "quillwork/q01"
issuer = "https://id.example"
subject = "c01"
name = "Ada"
email = "ada@quillwork.example"

[[person]]
id = "lab/mira"
vendor = "lab"
issuer = "https://id.example"
subject = "m"
name = "Mira"
roles = ["owner"]

[[workload]]
id = "quillwork/ci"
vendor = "quillwork"
issuer = "https://id.example"
subject = "ci"
sponsor = "quillwork/q01"

[[project]]
id = "orchid"
title = "Orchid"
owner = "lab/mira"

[[class]]
name = "training"
vendors = true

[[tier]]
name = "internal"
granted_by = ["owner"]
session_s = 3600
hardware_key = false
export_bytes_day = 1000000

[[agreement]]
id = "msa-1"
vendor = "quillwork"
digest = "abababababababababababababababababababababababababababababababab"
valid_from = 2026-01-01
valid_until = 2027-06-30

[[asset]]
id = "orchid-sft"
project = "orchid"
class = "training"
tier = "internal"
description = "pairs"

[[asset]]
id = "orchid-box"
project = "orchid"
class = "training"
tier = "internal"
kind = "drop"
"""
NOW = 1_775_000_000


def made(raw, form="toml", snapshot=None, rng=None):
    changes = read_import(raw.encode() if isinstance(raw, str) else raw, form)
    start = snapshot or Snapshot()
    index = start.epoch + 1
    rng = rng or random.Random(1)
    done = start.prepare(changes, random=rng.randbytes, index=index, at=NOW, places=changes.places)
    return start.with_changes(Ordered(change, index + i, NOW) for i, change in enumerate(done))


def test_a_whole_catalog_comes_in_whatever_the_documents_order():
    snapshot = made(SAMPLE)
    [grant] = snapshot.grants()
    assert (grant.holder, grant.not_before, grant.expires_at) == ("quillwork/q01", NOW, 1_798_761_600)
    assert snapshot.agreement("quillwork", NOW).valid_until == 1_814_313_600
    assert snapshot.tier("internal").export_bytes_day == 1_000_000
    assert [asset.kind for asset in snapshot.assets_in("orchid")] == ["drop", "dataset"]
    assert [person.id for person in snapshot.people(None)] == ["lab/mira"]


def test_json_says_the_same_as_toml():
    import tomllib  # noqa: PLC0415  only this test reads TOML itself

    document = json.dumps(tomllib.loads(SAMPLE), default=lambda moment: moment.isoformat())
    assert list(read_import(document.encode(), "json")) == list(read_import(SAMPLE.encode(), "toml"))


def test_places_follow_the_changes():
    changes = read_import(SAMPLE.encode(), "toml")
    assert isinstance(changes, Import)
    assert changes.places == (
        "vendor[0]", "person[0]", "person[1]", "workload[0]", "project[0]", "class[0]", "tier[0]", "agreement[0]", "asset[0]",
        "asset[1]", "grant[0]",
    )  # fmt: skip


FAULTS = [
    ('id = "quillwork"\n', 'id = "Quill"\n', "vendor[0].id: 'Quill' is not an id"),
    ('name = "Ada"', "name = 5", "person[0].name: is a number, not a text"),
    ('name = "Ada"', "", "person[0].name: is missing"),
    ('name = "Ada"', 'name = "Ada"\nemial = "x"', "person[0].'emial': is no field of this section"),
    ('subject = "c01"', 'subject = "m"', "person[1].subject: this identity of https://id.example is quillwork/q01 already"),
    ('sponsor = "quillwork/q01"', 'sponsor = "quillwork/q0"', "workload[0].sponsor: there is no person 'quillwork/q0'"),
    ('vendor = "lab"', 'vendor = "tessel"', "person[1].vendor: tessel does not fit the id lab/mira"),
    ('vendor = "lab"', "vendor = true", "person[1].vendor: is true or false, not a text"),
    ('roles = ["owner"]', 'roles = "owner"', "person[1].roles: is a text, not a list of texts"),
    ('roles = ["owner"]', 'roles = ["owner", "owner"]', "person[1].roles: names one twice"),
    ("vendors = true", "vendors = 1", "class[0].vendors: is a number, not true or false"),
    ("vendors = true", "", "class[0].vendors: is missing"),
    ("session_s = 3600", "session_s = 3600.0", "tier[0].session_s: is a number with a fraction, not a whole number"),
    ("session_s = 3600", "session_s = true", "tier[0].session_s: is true or false, not a whole number"),
    ("valid_from = 2026-01-01", "valid_from = 5", "agreement[0].valid_from: is a number, not a time"),
    ("valid_from = 2026-01-01", 'valid_from = "2026-1-1"', "agreement[0].valid_from: '2026-1-1' is not a time"),
    ("valid_from = 2026-01-01", 'valid_from = "20260101"', "is not a time"),
    ("valid_from = 2026-01-01", 'valid_from = "2026-W01-1"', "is not a time"),
    ("valid_from = 2026-01-01", 'valid_from = "2026-02-30"', "agreement[0].valid_from: '2026-02-30' is no such time"),
    ("valid_from = 2026-01-01", "valid_from = 2026-01-01T09:00:00", "agreement[0].valid_from: has no offset from UTC"),
    ("valid_from = 2026-01-01", 'valid_from = "2026-01-01T09:00:00"', "agreement[0].valid_from: has no offset from UTC"),
    ("valid_from = 2026-01-01", "valid_from = 1969-12-31", "agreement[0].valid_from: is not a year from 1970 on"),
    ("valid_from = 2026-01-01", "valid_from = 09:00:00", "agreement[0].valid_from: is nothing, not a time"),
    ("valid_until = 2027-06-30", "valid_until = 2026-01-01", "agreement[0].valid_until: is not after valid_from"),
    (
        'class = "training"\ntier = "internal"\nkind',
        'class = "x"\ntier = "internal"\nkind',
        "asset[1].class: there is no class 'x'",
    ),
    ('kind = "drop"', 'kind = "bucket"', "asset[1].kind: 'bucket' is none of dataset, drop"),
    ('actions = ["read", "list", "head"]', 'actions = ["read", "steal"]', "grant[0].actions: 'steal' is none of read"),
    ("expires = 2027-01-01T00:00:00Z", "expires = 2020-01-01", "grant[0].expires: is in the past"),
    ('assets = ["orchid-sft"]', 'assets = ["orchid-sfd"]', "grant[0].assets: there is no asset 'orchid-sfd'"),
    ("[[asset]]", "[asset]", "import: is not TOML"),
    ("[[class]]", "[class]", "class: is not a list; write [[class]]"),
    ("[[class]]", "[[clas]]", "'clas': is no section; there are vendor, person"),
    ("vendors = true", "vendors = tru", "import: is not TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[new[:30] for _, new, _ in FAULTS])
def test_a_mistake_is_one_line_that_names_its_place(old, new, message):
    assert old in SAMPLE
    with pytest.raises(Invalid) as refused:
        made(SAMPLE.replace(old, new, 1))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_policy_refuses_names_its_place_too():
    with pytest.raises(Denied, match=r"^tier\[0\]\.session_s: 99999 is longer than the floor"):
        made(SAMPLE.replace("session_s = 3600", "session_s = 99999"))
    with pytest.raises(Denied, match=r"^grant\[0\]\.assets: orchid-sft is of class training, which no vendor's"):
        made(SAMPLE.replace("vendors = true", "vendors = false"))


def test_a_refused_import_changes_nothing():
    before = made(SAMPLE)
    with pytest.raises(Invalid, match=r"vendor\[1\]\.id"):
        made(
            '[[vendor]]\nid="t"\nname="T"\ncontact="c"\n[[vendor]]\nid="quillwork"\nname="Q"\ncontact="c"',
            snapshot=before,
            rng=random.Random(2),
        )
    assert [vendor.id for vendor in before.vendors()] == ["quillwork"]


@pytest.mark.parametrize(
    ("raw", "form", "message"),
    [
        (b"\xff", "toml", "import: is not UTF-8 at byte 0"),
        (b"\xff", "json", "import: is not UTF-8 at byte 0"),
        (b"[]", "json", "import: is not an object of sections"),
        (b'{"vendor": {}}', "json", "vendor: is not a list"),
        (b'{"vendor": [5]}', "json", "vendor[0]: is not a table of fields"),
        (b'{"vendor": [], "vendor": []}', "json", "'vendor': stands twice in one object"),
        (b'{"vendor": [{"id": "a", "id": "b"}]}', "json", "'id': stands twice in one object"),
        (b'{"tier": [{"session_s": 1.0}]}', "json", "import: has the number 1.0; only whole numbers"),
        (b'{"tier": [{"session_s": NaN}]}', "json", "import: has the number NaN"),
        (b'{"tier": [{"session_s": ' + b"9" * 5000 + b"}]}", "json", "import: is not JSON"),
        (b"[" * 100_000, "json", "import: is nested too deeply"),
        (b"a = " + b"[" * 20_000, "toml", "import: is nested too deeply"),
        (b"a." * (MAX_LINE // 2) + b"a = 1", "toml", "import: has a line of more than"),
        (b" " * (MAX_BYTES + 1), "toml", "import: has 67108865 bytes"),
        (b"", "yaml", "format: 'yaml' is neither toml nor json"),
        (b'{"\\ud800": []}', "json", "'\\ud800': is no section"),
        (b'{"vendor": [{"id": "a", "name": "\\ud800", "contact": "c"}]}', "json", "vendor[0].name: has a control or unprintable"),
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_refused(raw, form, message):
    with pytest.raises(Invalid) as refused:
        made(raw, form)
    assert message in str(refused.value)
    assert str(refused.value).isascii()


def test_an_empty_document_is_no_change():
    assert list(read_import(b"", "toml")) == list(read_import(b"{}", "json")) == []


def test_a_time_may_be_written_as_rfc_3339_allows():
    for text in (
        '"2027-01-01T01:00:00+01:00"',
        "2027-01-01T00:00:00Z",
        '"2027-01-01t00:00:00.25z"',
        "2027-01-01",
        '"2027-01-01"',
    ):
        assert made(SAMPLE.replace("2027-01-01T00:00:00Z", text)).grants()[0].expires_at == 1_798_761_600


DOCS = Path(__file__).parents[3] / "docs" / "formats"


def test_the_documents_own_example_comes_in():
    example = re.search(r"```toml\n(.*?)```", (DOCS / "import.md").read_text(), re.DOTALL)[1]
    [grant] = made(example).grants()
    assert grant.holder == "quillwork/q03"


def test_the_documents_floors_are_the_floors():
    text = (DOCS / "import.md").read_text()
    for tier in BUILT_IN.values():
        [row] = re.findall(rf"^\| `{tier.name}` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
        assert row == (", ".join(sorted(tier.granted_by)), f"{tier.session_s:,}", "yes" if tier.hardware_key else "no")


def test_the_document_names_every_section():
    sections = re.findall(r"^\| `(\w+)` \| `", (DOCS / "import.md").read_text(), re.MULTILINE)
    assert [name for name in sections if name not in BUILT_IN] == list(READERS)
