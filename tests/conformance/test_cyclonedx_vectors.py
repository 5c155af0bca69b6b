"""CycloneDX's own test documents of version 1.6, read in place: the valid are accepted, the invalid refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import boms
from limen.assurance.bom import schemas
from limen.assurance.bom.again import read_again
from limen.assurance.bom.judge import judge
from limen.core.errors import Invalid

VECTORS = Path(os.environ.get("LIMEN_VECTORS", Path(__file__).parents[2] / "../shared/vectors")) / "cyclonedx-1.6"
DOCUMENTS = sorted(VECTORS.glob("*.json"))


def reason(raw):
    """Why a BOM does not count; empty if it does."""
    try:
        return judge(raw).reason
    except Invalid as e:
        return str(e)


needs_vectors = pytest.mark.skipif(not DOCUMENTS, reason="the vectors are not here")


def misjudged():
    """The documents that are not judged as their names say."""
    return [path.name for path in DOCUMENTS if (reason(path.read_bytes()) == "") != path.name.startswith("valid")]


@needs_vectors
def test_every_document_is_judged_rightly_and_comes_back_byte_for_byte(tmp_path):
    log = boms.Log()
    assert (len(DOCUMENTS), misjudged()) == (70, [])
    for at, path in enumerate(DOCUMENTS):
        raw = path.read_bytes()
        if path.name.startswith("valid"):
            assert read_again(raw) == judge(raw).document, path.name
        else:
            assert ":" in reason(raw), path.name
        if "bomformat" in path.name:
            continue  # no CycloneDX document by its own word: refused, and not kept
        entry = log.file("quillwork", raw, at=at)
        assert log.boms(tmp_path).raw(entry) == raw


@needs_vectors
def test_that_check_sees_a_judge_that_asks_no_schema(monkeypatch):
    monkeypatch.setattr(schemas, "fault", lambda document: "")
    assert len(misjudged()) == 24
