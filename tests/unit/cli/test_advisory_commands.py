"""`limen advisory import|list|show|window|vex`, as people type them and read them."""

from __future__ import annotations

import io
import json
import sys

import pytest

import feeds
from limen.formats import sshsig

SIGNER = sshsig.Signer(bytes(32))
REV1 = feeds.raw(feeds.record("MAL-1", feeds.affected("litellm", "1.82.8"), summary="Malicious code in litellm"))
REV2 = feeds.raw(
    feeds.record(
        "MAL-1",
        feeds.affected(
            "litellm", ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "1.82.7"}, {"last_affected": "1.82.8"}]}]
        ),
        modified=feeds.DAY,
        aliases=["PYSEC-1"],
    )
)
VEX = {
    "@context": "https://openvex.dev/ns/v0.2.0",
    "@id": "x",
    "author": "q",
    "timestamp": "2026-03-25T00:00:00Z",
    "statements": [
        {"vulnerability": {"name": "MAL-1"}, "products": [{"@id": "pkg:pypi/litellm"}], "status": "under_investigation"}
    ],
}


@pytest.fixture
def run(tmp_path, limen):
    data = tmp_path / "data"
    assert limen("init", data, "--dev")[0] == 0
    return lambda *words: limen("advisory", *words, "--data", data)


@pytest.fixture
def place(tmp_path):
    """Puts a feed into a file; its path."""

    def put(name, raw):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(raw)
        return path

    return put


def test_a_feed_is_imported_once_and_its_records_are_shown(run, place):
    assert run("import", place("one.json", REV1), "--source", "osv")[:2] == (0, "entry 0: 1 records of osv (unsigned), 1 new\n")
    assert run("import", place("one.json", REV1), "--source", "osv")[1].startswith("nothing new")
    place("dir/two.json", REV2)
    assert ", 1 new" in run("import", place("dir/one.json", REV1).parent, "--source", "osv")[1]
    code, out, _ = run("show", "PYSEC-1")
    assert code == 0
    assert "ids        MAL-1, PYSEC-1" in out
    assert "* MAL-1 revision 2" in out
    assert "PyPI litellm: introduced 1.82.7 last_affected 1.82.8" in out
    _, out, err = run("list")
    assert out.splitlines()[0].split() == ["entry", "received", "source", "signed", "records", "fresh", "in_quarantine"]
    assert "1 records in 2 revisions" in err
    assert "yes" in run("list", "--package", "pkg:pypi/LiteLLM@1.82.7")[1]


def test_a_revision_comes_back_byte_for_byte(run, place):
    run("import", place("one.json", REV1), "--source", "osv")
    code, out, _ = run("show", "MAL-1", "--raw", "1")
    assert (code, out.encode()) == (0, REV1)


def test_what_is_no_record_is_told_and_the_exit_code_says_so(run, place):
    code, out, _ = run("import", place("some.ndjson", REV1 + b"\n{}\n"), "--source", "osv")
    assert (code, "QUARANTINED piece 1" in out) == (6, True)
    code, out, _ = run("import", place("none.json", b"junk"), "--source", "osv")
    assert (code, "0 records" in out) == (2, True)
    assert run("list", "--quarantined")[1].count("QUARANTINED feed") == 2


def test_standard_input_is_a_feed(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(REV1)))
    assert "1 new" in run("import", "-", "--source", "osv")[1]


def test_a_signed_feed_needs_no_name_and_a_bad_signature_enters_nothing(run, place, tmp_path):
    with (tmp_path / "data/limen.toml").open("a") as config:
        config.write(f'\n[[advisory_source]]\nname = "lab-intel"\nkey = "{SIGNER.key.line}"\n')
    feed = place("feed.json", REV1)
    place("feed.json.sig", sshsig.sign(REV2, SIGNER, namespace="limen-advisory"))
    code, _, err = run("import", feed)
    assert (code, "does not verify" in err) == (2, True)
    signature = place("other", sshsig.sign(REV1, SIGNER, namespace="limen-advisory"))
    assert f"lab-intel (signed by {SIGNER.key.fingerprint})" in run("import", feed, "--signature", signature)[1]
    assert run("import", feed.parent, "--signature", signature)[0] == 2
    assert run("import", feed, "--signature", tmp_path / "missing")[0] == 2


@pytest.mark.parametrize("words", [("FEED",), ("gone", "--source", "x"), ("empty", "--source", "x")])
def test_what_cannot_be_taken_in_says_why(run, place, tmp_path, words):
    (tmp_path / "empty").mkdir()
    place("FEED", REV1)
    code, _, err = run("import", tmp_path / words[0], *words[1:])
    assert (code, "limen: error" in err) == (2, True)


def test_windows_are_stated_shown_and_taken_back(run, place):
    run("import", place("one.json", REV1), "--source", "osv")
    word = ("window", "MAL-1", "--channel", "pypi", "--source", "PyPI")
    code, out, err = run(*word, "--from", "2026-03-24T10:39:00Z", "--to", "2026-03-24T13:11:00Z")
    assert (code, "stated as entry 1" in err) == (0, True)
    assert "pypi: from 2026-03-24T10:39:00Z to 2026-03-24T13:11:00Z at the widest" in out
    image = ("--image", "ghcr.io/berriai/litellm", "--tag", "main-latest")
    shown = run("window", "MAL-1", "--channel", "ghcr", "--source", "us", "--from", "2026-03-24T11:00:00Z", *image, "--json")
    assert json.loads(shown[1])["widest"] == {"from": "2026-03-24T10:39:00Z", "to": None}
    assert run(*word, "--take-back")[0] == 0
    assert json.loads(run("window", "MAL-1", "--json")[1])["widest"]["from"] == "2026-03-24T11:00:00Z"
    assert run(*word)[0] == 2
    assert run(*word, "--take-back", "--from", "2026-03-24T10:39:00Z")[0] == 2
    assert run("window", "MAL-2")[0] == 4


def test_vex_is_filed_and_shown_as_declared(run, place, limen, tmp_path):
    limen("vendor", "add", "quillwork", "--name", "Q", "--contact", "q@example", "--data", tmp_path / "data")
    document = place("vex.json", json.dumps(VEX).encode())
    code, _, err = run("vex", "quillwork", document)
    assert (code, "declared" in err) == (0, True)
    _, out, err = run("vex", "quillwork")
    assert "under_investigation" in out
    assert "none clears a malicious package" in err
    assert json.loads(run("vex", "--json")[1])["grade"] == "declared"
    assert run("vex", "quillwork", tmp_path / "gone")[0] == 2
    assert run("vex", "quillwork", place("bad.json", b"{}"))[0] == 2


def test_json_answers_name_their_schema(run, place):
    feed = place("one.json", REV1)
    asked = {
        "import": ("import", feed, "--source", "osv"),
        "list": ("list",),
        "package": ("list", "--package", "pkg:pypi/litellm"),
        "show": ("show", "MAL-1"),
        "window": ("window", "MAL-1"),
    }
    for name, words in asked.items():
        assert json.loads(run(*words, "--json")[1])["schema"] == f"limen/advisory.{name}/v1"
