"""`limen findings` and `limen alert`, as people read them."""

from __future__ import annotations

import json

import pytest

from limen.core.types import Grade
from limen.watch import rules as r
from limen.watch.book import BOOK, Book, Found
from limen.watch.finding import Finding

NOBODY = Finding(r.CANARY, r.Severity.HIGH, 1_800_000_000_000_000, (2,), {"who": "p-1", "asset": "honey"}, {}, Grade.MEASURED)


@pytest.fixture
def data(tmp_path, limen):
    data = tmp_path / "data"
    assert limen("init", data, "--dev")[0] == 0
    assert limen("vendor", "add", "quillwork", "--name", "Quill", "--contact", "ops@quillwork.example", "--data", data)[0] == 0
    return data


@pytest.fixture
def claimed(data):
    """A finding in the book that no entry bears out."""
    digest = r.Rules().digest()
    raw = NOBODY.to_bytes("limen.local/log", digest)
    uid = NOBODY.uid("limen.local/log")
    found = Found(uid, 2, r.CANARY, 4, NOBODY.at_us, 0, digest, again=False, raw=raw)
    with Book(data / BOOK) as book:
        book.keep([found], {}, queue=[(uid, "gone")], now_us=0)
    return uid


def test_a_finding_is_listed_shown_and_not_found_again(data, claimed, limen):
    code, out, err = limen("findings", "list", "--data", data)
    assert (code, "canary-read" in out, "high" in out, "1 findings" in err) == (0, True, True, True)
    assert "is read while `limen serve` runs" in err
    assert limen("findings", "list", "--data", data, "--since", "3")[1] == ""
    code, out, _ = limen("findings", "show", claimed[:8], "--data", data)
    assert (code, "a canary asset was reached for" in out, "told gone: not arrived; not tried yet" in out) == (0, True, True)
    assert limen("findings", "show", "ffff", "--data", data)[0] == 4
    code, out, _ = limen("findings", "replay", "--data", data)
    assert (code, f"kept, and not found again: {claimed[:12]}" in out) == (5, True)
    code, out, _ = limen("findings", "replay", "--json", "--data", data)
    assert (code, json.loads(out)["missing"]) == (5, [claimed])


def test_receivers_are_listed_and_tested(data, claimed, limen):
    assert "nobody is told" in limen("alert", "list", "--data", data)[2]
    with (data / "limen.toml").open("a") as config:
        config.write('[[alert]]\nname = "kept"\nkind = "file"\npath = "alerts.jsonl"\n')
    code, out, err = limen("alert", "list", "--data", data)
    assert (code, "kept" in out, "alerts wait for gone" in err) == (0, True, True)
    code, out, _ = limen("alert", "test", "kept", "--data", data)
    assert (code, out.startswith("kept: handed over, as test-")) == (0, True)
    [event] = map(json.loads, (data / "alerts.jsonl").read_text().splitlines())
    assert event["limentest"] is True


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('[watch]\nmute = ["everything"]\n', "is no rule"),
        ("[watch]\nbulk_factor = 0\n", "bulk_factor"),
        ("[watch]\nfactor = 3\n", "factor"),
        ('[[alert]]\nname = "x"\nkind = "pigeon"\n', "pigeon"),
    ],
)
def test_a_configuration_that_can_not_be_meant_is_refused(data, limen, lines, why):
    with (data / "limen.toml").open("a") as config:
        config.write(lines)
    code, _, err = limen("findings", "list", "--data", data)
    assert (code, why in err) == (2, True)
