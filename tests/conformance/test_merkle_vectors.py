"""Merkle proofs against transparency-dev/merkle's vectors: every good case passes, every bad one is refused.

The vectors are not part of the project. `LIMEN_VECTORS` says where they lie; by default beside the repository.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from limen.core.errors import Invalid
from limen.formats import merkle

VECTORS = Path(os.environ.get("LIMEN_VECTORS", Path(__file__).parents[2] / "../shared/vectors")) / "merkle"

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the conformance vectors are not here; set LIMEN_VECTORS to the directory that holds merkle/"
)


def cases(kind):
    return [json.loads(path.read_text()) for path in sorted((VECTORS / kind).rglob("*.json"))]


def raw(text):
    return base64.b64decode(text)


def proof(case):
    return [raw(step) for step in case["proof"] or []]


def inclusion(case):
    merkle.verify_inclusion(case["leafIdx"], case["treeSize"], raw(case["leafHash"]), proof(case), raw(case["root"]))


def consistency(case):
    merkle.verify_consistency(case["size1"], case["size2"], raw(case["root1"]), raw(case["root2"]), proof(case))


def subtreeinclusion(case):
    merkle.verify_subtree_inclusion(
        case["leafIdx"],
        case["start"],
        case["end"],
        leaf=raw(case["leafHash"]),
        proof=proof(case),
        root=raw(case["root"]),
    )


def subtreeconsistency(case):
    merkle.verify_subtree_consistency(
        case["start"],
        case["end"],
        case["size"],
        subtree_root=raw(case["root1"]),
        root=raw(case["root2"]),
        proof=proof(case),
    )


def wrongly_judged(check, kind):
    wrong = []
    for case in cases(kind):
        try:
            check(case)
        except Invalid:
            refused = True
        else:
            refused = False
        if refused is not case["wantErr"]:
            wrong.append(case["desc"])
    return wrong


@pytest.mark.parametrize(
    ("check", "count"), [(inclusion, 98), (consistency, 98), (subtreeinclusion, 204), (subtreeconsistency, 118)]
)
def test_every_vector_is_judged_as_its_authors_say(check, count):
    kind = check.__name__

    assert len(cases(kind)) == count
    assert wrongly_judged(check, kind) == []


def test_a_verifier_that_ignores_left_over_hashes_is_caught_by_the_vectors(monkeypatch):
    monkeypatch.setattr(merkle._Steps, "must_be_used_up", lambda self: None)

    assert wrongly_judged(inclusion, "inclusion")
    assert wrongly_judged(consistency, "consistency")
