"""Version orders against hand-written comparisons (google/osv-scalibr): every one holds; univers is asked the same.

The vectors are not part of the project. `LIMEN_VECTORS` says where they lie; by default beside the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from limen.formats.versions import key, maven

VECTORS = Path(os.environ.get("LIMEN_VECTORS", Path(__file__).parents[2] / "../shared/vectors")) / "versions"
PYTHON = Path(__file__).parents[2] / ".make/clients/univers/bin/python"
DRIVER = Path(__file__).parent / "clients" / "drive_univers.py"
WHOLE = {"PyPI": "pypi", "npm": "semver", "Maven": "maven", "Debian": "debian", "NuGet": "nuget", "RubyGems": "rubygems"}

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the conformance vectors are not here; set LIMEN_VECTORS to the directory that holds versions/"
)


def comparisons(name):
    lines = (VECTORS / f"{name}-versions.txt").read_text().splitlines()
    found = [line.split() for line in lines if line.strip() and not line.startswith(("//", "# "))]
    assert all(len(each) == 3 for each in found)
    return found


def said(ecosystem, left, right):
    mine, other = key(ecosystem, left), key(ecosystem, right)
    if mine is None or other is None:
        return "unknown"
    return "=" if mine == other else "<" if mine < other else ">"


@pytest.mark.parametrize(("ecosystem", "name"), WHOLE.items())
def test_every_hand_written_comparison_holds(ecosystem, name):
    found = comparisons(name)
    wrong = [(*each, said(ecosystem, each[0], each[2])) for each in found if said(ecosystem, each[0], each[2]) != each[1]]
    assert found
    assert not wrong


@pytest.mark.parametrize(("ecosystem", "name", "unreadable"), [("Alpine", "alpine", 36), ("Packagist", "packagist", 6)])
def test_what_has_no_place_is_unknown_and_the_rest_holds(ecosystem, name, unreadable):
    answers = [(each, said(ecosystem, each[0], each[2])) for each in comparisons(name)]
    assert [each for each, answer in answers if answer not in {each[1], "unknown"}] == []
    assert sum(answer == "unknown" for _, answer in answers) == unreadable


def test_an_order_that_swaps_two_words_would_be_seen(monkeypatch):
    monkeypatch.setattr(maven, "_RANKS", {**maven._RANKS, "alpha": 1, "beta": 0})
    key.cache_clear()
    try:
        assert any(said("Maven", left, right) != sign for left, sign, right in comparisons("maven"))
    finally:
        key.cache_clear()


@pytest.mark.skipif(not PYTHON.exists(), reason="univers is not installed; run `tools/setup conformance`")
def test_the_yardstick_is_asked_the_same(capsys):
    cases = {ecosystem: comparisons(WHOLE[ecosystem]) for ecosystem in ("PyPI", "npm", "Maven", "Debian")}
    asked = [[ecosystem, left, right] for ecosystem, found in cases.items() for left, _, right in found]
    run = subprocess.run([PYTHON, DRIVER], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True)
    theirs = iter(json.loads(run.stdout))
    with capsys.disabled():
        for ecosystem, found in cases.items():
            right = sum(next(theirs) == sign for _, sign, _ in found)
            ours = sum(said(ecosystem, left, other) == sign for left, sign, other in found)
            print(f"\n{ecosystem}: {ours} of {len(found)} comparisons here, {right} by univers", end="")
    assert next(theirs, None) is None
