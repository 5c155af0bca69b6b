"""Ten thousand mangled BOMs: each is refused, quarantined or counted, and none stops anything.

Each begins as a BOM with everything in it that is read. Values are replaced, dropped, doubled, nested and renamed, or bytes
are; then it is judged, entered, folded into a history with those before it, and given back byte for byte.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random

import pytest

import boms
from limen.assurance.bom.again import read_again
from limen.assurance.bom.judge import judge
from limen.core.errors import Invalid, LimenError
from limen.formats import cyclonedx

D = "sha256:" + "ab" * 32
COUNT = 10_000
ODD = (
    None, True, False, 0, -1, 1.5, 2**53, 10**40, 1e308, "", "x", "\x00", "e\u0301", "\u00e9", "\U0001f600", "\ud800", "a" * 5000,
    [], {}, [[]], [{}], {"": {}}, [None], "2026-03-24T00:00:00Z", "9999-12-31T23:59:60Z", "pkg:pypi/%", "pkg:oci/x@sha256:1",
    "1.7", "platform",
)  # fmt: skip


def whole():
    """A BOM in which everything that limen reads occurs."""
    action = {"type": "application", "bom-ref": "act", "name": "trivy", "purl": "pkg:github/aquasecurity/trivy-action@0.33.1"}
    image = {
        "type": "container",
        "bom-ref": "img",
        "name": "ghcr.io/berriai/litellm",
        "version": D,
        "components": [boms.rich("in", "1", "deb")],
    }
    task = {"uid": "t", "bom-ref": "t", "name": "scan", "taskTypes": ["scan"], "resourceReferences": [{"ref": "act"}]}
    workflow = {"uid": "w", "bom-ref": "w", "name": "release", "taskTypes": ["build"], "tasks": [task]}
    flow = {"flow": "outbound", "classification": "training", "name": "orchid-sft-v3"}
    service = {
        "name": "s", "provider": {"name": "Acme", "url": ["https://a.example"]}, "endpoints": ["https://a.example/v1"],
        "authenticated": True, "x-trust-boundary": True, "data": [flow], "services": [{"name": "t"}],
    }  # fmt: skip
    found = boms.bom(
        [boms.rich("a", "1.0", kind) for kind in boms.KINDS] + [image, boms.component("b", scope="optional")],
        services=[service],
        formulation=[{"components": [action], "workflows": [workflow]}],
    )
    found["metadata"]["tools"] = {"components": [boms.component("syft")]}
    return found


def places(value):
    """Every object and list in a value."""
    found, todo = [], [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict | list) and each:
            found.append(each)
            todo += each.values() if isinstance(each, dict) else each
    return found


def replaced(draw, document, place, key):
    place[key] = copy.deepcopy(draw.choice(ODD))


def dropped(draw, document, place, key):
    del place[key]


def grafted(draw, document, place, key):
    other = draw.choice(places(document))
    if len(json.dumps(other)) < 20_000:
        place[key] = copy.deepcopy(other)


def nested(draw, document, place, key):
    for _ in range(draw.choice((1, 3, 70))):
        place[key] = [place[key]] if draw.random() < 0.5 else {"components": [place[key]]}


def renamed(draw, document, place, key):
    if isinstance(place, dict):
        place[draw.choice(("purl", "components", "bom-ref", "data", "é"))] = place.pop(key)
    else:
        place.append(copy.deepcopy(place[key]))


DAMAGES = (replaced, replaced, dropped, grafted, nested, renamed)
BYTES = (b"", b"\x00", b"\xff", b"{", b'"', b"[" * 100, b"1e999", b"NaN", b"\\ud800")


def mangled(draw, document):
    """The bytes of a BOM after some damage."""
    document = copy.deepcopy(document)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        place = draw.choice(places(document) or [{"": document}])
        key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
        draw.choice(DAMAGES)(draw, document, place, key)
    raw = bytearray(json.dumps(document, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass"))
    for _ in range(draw.choice((0, 0, 0, 1, 4))):
        at = draw.randrange(len(raw) + 1)
        raw[at : at + draw.choice((0, 1, 50))] = draw.choice(BYTES)
    return bytes(raw)


def run(count, data, *, seed=0):
    """Judge, enter and fold so many; how many were refused, quarantined and counted."""
    draw, log, valid = random.Random(seed), boms.Log(), whole()
    outcomes = {"refused": 0, "quarantined": 0, "counted": 0}
    raws = []
    for number in range(count):
        raw = mangled(draw, valid)
        with contextlib.suppress(Invalid):
            cyclonedx.read(cyclonedx.parse(raw))  # whatever the schemas would have said of it
        try:
            log.file(f"v{number % 50}", raw, at=number + 1)
        except Invalid:
            outcomes["refused"] += 1
            continue
        raws.append(raw)
        if judged := judge(raw).document:
            assert read_again(raw) == judged
    asked = log.boms(data)
    for bom in asked.revisions():
        outcomes["quarantined" if bom.quarantined else "counted"] += 1
    for vendor in asked.vendors():
        asked.coverage(vendor)
        asked.services(vendor, classes=["training"], assets={"orchid-sft-v3": "training"})
    assert all(presence.vendor for presence in asked.presences())
    assert [asked.raw(entry) for entry in range(0, len(raws), 97)] == raws[::97]
    asked.close()
    return outcomes


def test_no_mangled_bom_stops_anything(tmp_path):
    outcomes = run(500, tmp_path)
    assert sum(outcomes.values()) == 500
    assert min(outcomes.values()) > 25, outcomes


@pytest.mark.slow
def test_none_of_ten_thousand_mangled_boms_stops_anything(tmp_path):
    outcomes = run(COUNT, tmp_path, seed=1)
    print(outcomes)
    assert sum(outcomes.values()) == COUNT


def test_that_check_sees_a_reader_that_trusts_types(tmp_path, monkeypatch):
    monkeypatch.setattr(cyclonedx, "_dict", lambda value: value or {})
    with pytest.raises((TypeError, AttributeError)) as error:
        run(300, tmp_path)
    assert not isinstance(error.value, LimenError)
