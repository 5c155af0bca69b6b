"""`limen bom`, as people and programs meet it."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest

import boms
from limen.assurance.bom import schemas

VENDORS = """
[[vendor]]
id = "quillwork"
name = "Quillwork"
contact = "ops@quillwork.example"

[[vendor]]
id = "oakline"
name = "Oakline"
contact = "ops@oakline.example"

[[class]]
name = "training"
vendors = true
"""


@pytest.fixture
def data(tmp_path, limen):
    (tmp_path / "vendors.toml").write_text(VENDORS)
    assert limen("init", tmp_path / "data", "--dev")[0] == 0
    assert limen("import", tmp_path / "vendors.toml", "--data", tmp_path / "data")[0] == 0
    return tmp_path / "data"


@pytest.fixture
def write(tmp_path):
    def made(document):
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        path = tmp_path / "given.json"
        path.write_bytes(raw)
        return path

    return made


def asked(limen, *words):
    code, out, err = limen(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_bom_is_filed_listed_shown_and_comes_back_byte_for_byte(data, limen, write, tmp_path):
    path = write(json.dumps(boms.bom([boms.component("litellm", "1.82.8")]), indent=3).encode() + b"\n\n")
    filed = asked(limen, "bom", "add", "vendor/quillwork", path, "--data", data)
    assert (filed["state"], filed["components"], filed["effective"]) == ("complete", 1, "2026-03-24T11:10:00Z")
    assert [row["entry"] for row in asked(limen, "bom", "list", "quillwork", "--data", data)["boms"]] == [filed["entry"]]
    shown = asked(limen, "bom", "show", "quillwork", "--components", "--data", data)
    assert [(c["package"], c["version"], c["since"]) for c in shown["components_listed"]] == [
        ("litellm", "1.82.8", "2026-03-24T11:10:00Z")
    ]
    assert limen("bom", "export", filed["entry"], "-o", tmp_path / "back", "--data", data)[0] == 0
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_the_same_bytes_for_the_same_time_are_filed_once(data, limen, write):
    path = write(boms.bom([]))
    first = asked(limen, "bom", "add", "quillwork", path, "--data", data)
    again = asked(limen, "bom", "add", "quillwork", path, "--data", data)
    later = asked(limen, "bom", "add", "quillwork", path, "--effective", "2026-03-25T00:00:00Z", "--data", data)
    other = asked(limen, "bom", "add", "quillwork", write(boms.bom([boms.component("a")])), "--data", data)
    assert (first["already"], again["already"], later["already"]) == (False, True, False)
    assert again["entry"] == first["entry"] != later["entry"]
    assert "same serial number and version" in other["gaps"][0]


def test_a_bom_that_breaks_the_rules_is_kept_in_quarantine_and_does_not_count(data, limen, write):
    bad = write({**boms.bom([]), "components": [{"name": 1}]})
    code, _, err = limen("bom", "check", bad)
    assert (code, "components[0]" in err) == (2, True)
    code, out, err = limen("bom", "add", "quillwork", bad, "--data", data)
    assert (code, "in quarantine: components[0]" in out, "nothing of it counts" in err) == (6, True, True)
    (row,) = asked(limen, "bom", "gaps", "--at", "2026-03-25T00:00:00Z", "--data", data)["gaps"][1:]
    assert (row["vendor"], row["state"], "does not count" in row["why"]) == ("quillwork", "none", True)
    code, _, err = limen("bom", "show", "quillwork", "--data", data)
    assert (code, "no BOM of quillwork counts" in err) == (2, True)


def test_what_is_no_bom_at_all_is_refused_and_nothing_is_entered(data, limen, write):
    for raw, why in ((b"<bom/>", "cyclonedx convert"), (b"{", "not JSON"), (b"{}", "bomFormat")):
        code, _, err = limen("bom", "add", "quillwork", write(raw), "--data", data)
        assert (code, why in err) == (2, True)
    assert asked(limen, "bom", "list", "--data", data)["boms"] == []
    assert limen("bom", "add", "nobody", write(boms.bom([])), "--data", data)[0] == 4
    assert limen("bom", "add", "quillwork", write(boms.bom([])), "--data", data / "no")[0] == 2
    assert limen("bom", "check", data / "no")[0] == 2


def test_gaps_name_vendors_without_a_bom_with_a_stale_one_and_with_an_incomplete_one(data, limen, write):
    assert limen("bom", "add", "quillwork", write(boms.bom([], compositions=[])), "--data", data)[0] == 0

    def states(*words):
        answer = asked(limen, "bom", "gaps", *words, "--data", data)
        return {row["vendor"]: row["state"] for row in answer["gaps"]}, answer["good"]

    assert states("--at", "2026-03-25T00:00:00Z") == ({"oakline": "none", "quillwork": "incomplete"}, [])
    assert states("--at", "2026-04-25T00:00:00Z") == ({"oakline": "none", "quillwork": "stale"}, [])
    assert states("--as-of", "2026-03-25T00:00:00Z") == ({"oakline": "none", "quillwork": "none"}, [])
    assert limen("bom", "add", "quillwork", write(boms.bom([], version=2)), "--data", data)[0] == 0
    assert states("--at", "2026-04-25T00:00:00Z", "--max-age", "40") == ({"oakline": "none"}, ["quillwork"])


def test_services_show_where_our_assets_go_and_who_was_not_declared(data, limen, write):
    flow = {"flow": "outbound", "classification": "theirs"}
    path = write(boms.bom([], services=[{"name": "s", "provider": {"name": "Acme"}, "x-trust-boundary": True, "data": [flow]}]))
    first = asked(limen, "bom", "add", "quillwork", path, "--sub-processor", "Borg", "--data", data)
    assert ([u["provider"] for u in first["undisclosed"]], first["unbound"]) == (["Acme"], 1)
    words = ("--sub-processor", "ACME", "--classification", "theirs=training")
    second = asked(limen, "bom", "add", "quillwork", path, *words, "--data", data)
    assert (second["undisclosed"], second["unbound"]) == ([], 0)
    code, out, _ = limen("bom", "show", "quillwork", "--data", data)
    assert (code, "outbound, theirs: training" in out, "across a trust boundary" in out) == (0, True, True)
    assert limen("bom", "add", "quillwork", path, "--classification", "theirs=nothing", "--data", data)[0] == 4
    assert limen("bom", "add", "quillwork", path, "--classification", "theirs", "--data", data)[0] == 2


def test_a_bom_comes_from_standard_input_too(limen, monkeypatch):
    raw = json.dumps(boms.bom([])).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    assert asked(limen, "bom", "check", "-")["valid"] is True


def test_without_the_schemas_the_extra_is_named(limen, write, monkeypatch):
    schemas._validator.cache_clear()
    monkeypatch.setattr(schemas.importlib.util, "find_spec", lambda name: None)
    code, _, err = limen("bom", "check", write(boms.bom([])))
    assert (code, "pip install 'limen[bom]'" in err) == (2, True)
