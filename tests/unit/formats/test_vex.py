"""VEX documents in both formats: the same statements, and what is no statement is refused with the place."""

from __future__ import annotations

import copy
import json

import pytest

from limen.core.errors import Invalid
from limen.formats import vex
from limen.formats.purl import package
from limen.formats.vex import Statement

OPENVEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "https://quillwork.example/vex/1",
    "author": "quillwork",
    "timestamp": "2026-03-25T00:00:00Z",
    "version": 1,
    "statements": [
        {
            "vulnerability": {"name": "MAL-1", "aliases": ["PYSEC-1"]},
            "products": [
                {
                    "@id": "pkg:oci/app@sha256%3A1",
                    "subcomponents": [{"@id": "x", "identifiers": {"purl": "pkg:pypi/LiteLLM@1.82.8"}}],
                }
            ],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
        }
    ],
}
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    "metadata": {"timestamp": "2026-03-25T00:00:00Z"},
    "components": [{"bom-ref": "a", "components": [{"bom-ref": "b", "purl": "pkg:pypi/LiteLLM@1.82.8"}]}],
    "vulnerabilities": [
        {
            "id": "MAL-1",
            "references": [{"id": "PYSEC-1"}],
            "affects": [{"ref": "b"}],
            "analysis": {"state": "not_affected", "justification": "code_not_reachable"},
        },
        {"id": "CVE-1"},
    ],
}
LITELLM = package("PyPI", "litellm")


def read(document):
    return vex.read(json.dumps(document).encode())


@pytest.mark.parametrize("document", [OPENVEX, CYCLONEDX], ids=["openvex", "cyclonedx"])
def test_both_formats_say_the_same(document):
    found = read(document)
    [statement] = found.statements
    assert statement.names == ("MAL-1", "PYSEC-1")
    assert statement.status == "not_affected"
    assert statement.at_us == found.issued_us == 1_774_396_800_000_000
    assert statement.about(LITELLM, "1.82.8") is True
    assert statement.about(LITELLM, "1.82.7") is False
    assert statement.about(package("PyPI", "lite_llm"), "1.82.8") is False
    assert Statement.from_json(statement.to_json()) == statement


def test_no_statement_clears_a_malicious_package():
    statement = read(OPENVEX).statements[0]
    assert statement.clears(malicious=False)
    assert not statement.clears(malicious=True)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("resolved", "fixed"),
        ("resolved_with_pedigree", "fixed"),
        ("exploitable", "affected"),
        ("in_triage", "under_investigation"),
        ("false_positive", "not_affected"),
    ],
)
def test_cyclonedx_states_have_a_vex_status(state, status):
    document = copy.deepcopy(CYCLONEDX)
    document["vulnerabilities"][0]["analysis"]["state"] = state
    assert read(document).statements[0].status == status


@pytest.mark.parametrize(
    ("ref", "product"),
    [
        ("urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#b", "pkg:pypi/LiteLLM@1.82.8"),
        ("urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg%3Apypi/x@1", "pkg:pypi/x@1"),
        ("pkg:pypi/x@1", "pkg:pypi/x@1"),
        ("elsewhere", "elsewhere"),
    ],
)
def test_a_reference_leads_to_a_purl_or_stays_what_it_is(ref, product):
    document = copy.deepcopy(CYCLONEDX)
    document["vulnerabilities"][0]["affects"] = [{"ref": ref}]
    [statement] = read(document).statements
    assert statement.products == (product,)
    assert statement.about(LITELLM, "1.82.8") in ({True} if "LiteLLM" in product else {False, None})


def test_what_names_nothing_comparable_is_about_nothing_known():
    assert Statement(("X",), "fixed", ("https://quillwork.example/app",)).about(LITELLM, "1") is None
    assert Statement(("X",), "fixed", ("pkg:pypi/litellm",)).about(LITELLM, "1") is True
    assert Statement(("X",), "fixed", ()).about(LITELLM, "1") is False


def test_older_openvex_names_things_by_text():
    document = copy.deepcopy(OPENVEX)
    document["statements"][0].update(vulnerability="MAL-1", products=["pkg:pypi/litellm@1.82.8"])
    [statement] = read(document).statements
    assert statement.names == ("MAL-1",)
    assert statement.about(LITELLM, "1.82.8") is True


def test_a_product_may_be_named_by_a_hash_alone():
    document = copy.deepcopy(OPENVEX)
    document["statements"][0]["products"] = [{"hashes": {"sha-256": "ab"}}]
    assert read(document).statements[0].products == ("sha-256:ab",)


def without(document, *path):
    document = copy.deepcopy(document)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return document


def having(document, value, *path):
    document = copy.deepcopy(document)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "document"),
        ({}, "document"),
        (without(OPENVEX, "@id"), "@id"),
        (without(OPENVEX, "author"), "author"),
        (without(OPENVEX, "timestamp"), "timestamp"),
        (without(OPENVEX, "statements"), "statements"),
        (having(OPENVEX, "fine", "statements", 0, "status"), "statements[0].status"),
        (having(OPENVEX, "trust_us", "statements", 0, "justification"), "statements[0].justification"),
        (without(OPENVEX, "statements", 0, "justification"), "statements[0]"),
        (having(OPENVEX, "affected", "statements", 0, "status"), "statements[0]"),
        (without(OPENVEX, "statements", 0, "vulnerability"), "statements[0].vulnerability"),
        (without(OPENVEX, "statements", 0, "products"), "statements[0].products"),
        (having(OPENVEX, 1, "statements", 0, "vulnerability", "aliases"), "statements[0].vulnerability.aliases"),
        (without(CYCLONEDX, "vulnerabilities"), "vulnerabilities"),
        (without(CYCLONEDX, "vulnerabilities", 0, "analysis"), "vulnerabilities"),
        (having(CYCLONEDX, "fine", "vulnerabilities", 0, "analysis", "state"), "vulnerabilities[0].analysis.state"),
        (without(CYCLONEDX, "vulnerabilities", 0, "id"), "vulnerabilities[0].id"),
        (having(CYCLONEDX, [1], "components"), "components"),
        (having(CYCLONEDX, "now", "metadata", "timestamp"), "metadata.timestamp"),
    ],
)
def test_what_is_no_statement_is_refused_with_the_place(document, where):
    with pytest.raises(Invalid) as refused:
        read(document)
    assert refused.value.field == where


def test_bytes_that_are_no_document_are_refused():
    for raw in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(Invalid):
            vex.read(raw)
