"""Feeds as they are entered: who said it and whether that is proven, the same bytes once, and the watched directory."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

import feeds
from limen.assurance.advisories import inbox
from limen.assurance.advisories.inbox import Inbox
from limen.config import AdvisorySource, Assurance, Config, Server, load
from limen.core.errors import Invalid, LedgerUnavailable, NotFound
from limen.formats import sshsig
from limen.server import Gateway
from limen.store.blobs import Blobs
from limen.verbs import VERBS

SIGNER = sshsig.Signer(bytes(32))
OTHER = sshsig.Signer(bytes([1] * 32))
REV1 = feeds.raw(feeds.record("MAL-1", feeds.affected("litellm", "1.82.8")))
REV2 = feeds.raw(feeds.record("MAL-1", feeds.affected("litellm", "1.82.7", "1.82.8"), modified=feeds.DAY, aliases=["PYSEC-1"]))


def signature(raw, signer=SIGNER, namespace="limen-advisory"):
    return sshsig.sign(raw, signer, namespace=namespace).decode()


@pytest.fixture
def ask(tmp_path):
    """Ask an open gateway's verbs, one after the other."""
    source = AdvisorySource(name="lab-intel", key=SIGNER.key.line, may="restrict")
    config = Config(data=tmp_path, server=Server(mode="development"), advisory_source=(source,))

    def run(*steps):
        async def all_of_them():
            gateway = await Gateway.open(config)
            try:
                return [await VERBS[verb](gateway, args, "uid:0") for verb, args in steps]
            finally:
                await gateway.close()

        return asyncio.run(all_of_them())

    return run


@pytest.fixture
def put(tmp_path):
    return lambda raw: Blobs(tmp_path / "blobs").put([raw])[0]


def test_the_same_bytes_again_change_nothing(ask, put):
    given = ("advisory.feed", {"digest": put(REV1), "source": "osv"})
    first, again, other, listed = ask(given, given, ("advisory.feed", {**given[1], "source": "x"}), ("advisory.list", {}))
    assert (first["records"], first["fresh"], first["again"], first["signed"]) == (1, 1, False, False)
    assert (again["entry"], again["again"]) == (first["entry"], True)
    assert (other["again"], other["fresh"]) == (False, 0)
    assert [each["source"] for each in listed["feeds"]] == ["osv", "x"]
    assert listed["census"]["revisions"] == 1


def test_a_signed_feed_says_itself_whose_it_is(ask, put):
    signed = {"digest": put(REV1), "source": "", "signature": signature(REV1)}
    first, shown = ask(("advisory.feed", signed), ("advisory.show", {"id": "MAL-1"}))
    assert (first["source"], first["signed"], first["key"]) == ("lab-intel", True, SIGNER.key.fingerprint)
    assert shown["revisions"][0]["sources"] == [{"source": "lab-intel", "signed": True, "entry": first["entry"]}]


def test_an_unsigned_feed_that_is_signed_later_is_entered_again(ask, put):
    digest = put(REV1)
    unsigned = ("advisory.feed", {"digest": digest, "source": "watched"})
    signed = ("advisory.feed", {"digest": digest, "signature": signature(REV1)})
    answers = ask(unsigned, signed, signed)
    assert [(each["signed"], each["again"]) for each in answers] == [(False, False), (True, False), (True, True)]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"source": "lab-intel"}, "signs what it sends"),
        ({"source": ""}, "needs a name"),
        ({"source": "two\nlines"}, "needs a name"),
        ({"source": "osv", "signature": signature(REV1)}, "it is signed by lab-intel"),
        ({"signature": signature(REV2)}, "does not verify"),
        ({"signature": signature(REV1, OTHER)}, "none of the keys"),
        ({"signature": signature(REV1, namespace="git")}, "is for 'git'"),
        ({"signature": "-----BEGIN SSH SIGNATURE-----"}, "signature"),
    ],
)
def test_what_does_not_prove_its_source_is_not_entered(ask, put, given, why):
    with pytest.raises(Invalid, match=why):
        ask(("advisory.feed", {"digest": put(REV1), **given}))
    assert ask(("advisory.list", {}))[0]["feeds"] == []


def test_without_a_named_source_no_signature_is_believed(tmp_path, put):
    async def enter():
        gateway = await Gateway.open(Config(data=tmp_path))
        try:
            await gateway.entering.feed(put(REV1), source="", signature=signature(REV1).encode(), by="uid:0")
        finally:
            await gateway.close()

    with pytest.raises(Invalid, match="no trusted key"):
        asyncio.run(enter())


def test_what_is_no_record_comes_back_with_its_reason(ask, put):
    [answer] = ask(("advisory.feed", {"digest": put(REV1 + b"\n{}"), "source": "osv"}))
    assert (answer["records"], answer["in_quarantine"]) == (1, 1)
    assert answer["reasons"][0]["why"].startswith("id: ")
    with pytest.raises(NotFound):
        ask(("advisory.feed", {"digest": "0" * 64, "source": "osv"}))


def test_one_finding_is_shown_whole_as_of_any_time(ask, put):
    first, _ = ask(*[("advisory.feed", {"digest": put(raw), "source": "osv"}) for raw in (REV1, REV2)])
    now, then, raw, package = ask(
        ("advisory.show", {"id": "PYSEC-1"}),
        ("advisory.show", {"id": "MAL-1", "as_of_us": feeds.DAY * 10**6}),
        ("advisory.raw", {"id": "MAL-1", "number": 1}),
        ("advisory.package", {"purl": "pkg:pypi/LiteLLM@1.82.7"}),
    )
    assert (now["finding"], now["ids"], now["malicious"]) == ("MAL-1", ["MAL-1", "PYSEC-1"], True)
    assert [each["affected"][0]["versions"] for each in now["revisions"]] == [["1.82.8"], ["1.82.7", "1.82.8"]]
    assert then["revisions"][0]["entry"] == first["entry"]
    assert raw["text"].encode() == REV1
    assert [each["affects"] for each in package["advisories"]] == ["yes"]
    with pytest.raises(Invalid, match="no revision 3"):
        ask(("advisory.raw", {"id": "MAL-1", "number": 3}))
    with pytest.raises(Invalid, match="purl"):
        ask(("advisory.package", {"purl": "litellm"}))


def test_windows_are_stated_and_shown_with_their_spread(ask, put):
    stated = {"id": "MAL-1", "channel": "pypi", "from": 10 * feeds.HOUR, "to": 11 * feeds.HOUR, "source": "LiteLLM"}
    *_, shown = ask(
        ("advisory.feed", {"digest": put(REV1), "source": "osv"}),
        ("advisory.window.add", stated),
        ("advisory.window.add", {**stated, "source": "PyPI", "to": 13 * feeds.HOUR}),
        ("advisory.windows", {"id": "MAL-1"}),
    )
    assert shown["channels"]["pypi"]["widest"] == {"from": "1970-01-01T10:00:00Z", "to": "1970-01-01T13:00:00Z"}
    assert shown["channels"]["pypi"]["end"] == ["1970-01-01T11:00:00Z", "1970-01-01T13:00:00Z"]
    bent = [({"to": 1}, "not after"), ({"from": None}, "missing"), ({"tag": "x"}, "image"), ({"source": ""}, "source")]
    for wrong, why in bent:
        with pytest.raises(Invalid, match=why):
            ask(("advisory.window.add", {**stated, **wrong}))
    with pytest.raises(NotFound):
        ask(("advisory.window.add", {**stated, "id": "MAL-2"}))


def test_a_vendor_s_vex_is_filed_whole_or_not_at_all(ask, put):
    good = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "x",
        "author": "q",
        "timestamp": "2026-03-25T00:00:00Z",
        "statements": [
            {"vulnerability": {"name": "MAL-1"}, "products": [{"@id": "pkg:pypi/litellm"}], "status": "under_investigation"}
        ],
    }
    vendor = ("import", {"text": json.dumps({"vendor": [{"id": "quillwork", "name": "Q", "contact": "q"}]}), "format": "json"})
    digest = put(json.dumps(good).encode())
    _, filed, shown = ask(
        vendor, ("advisory.vex.add", {"vendor": "quillwork", "digest": digest}), ("advisory.vex", {"vendor": "quillwork"})
    )
    assert (filed["statements"], filed["grade"]) == (1, "declared")
    assert [each["status"] for each in shown["statements"]] == ["under_investigation"]
    with pytest.raises(Invalid):
        ask(("advisory.vex.add", {"vendor": "quillwork", "digest": put(b"{}")}))
    with pytest.raises(NotFound):
        ask(("advisory.vex.add", {"vendor": "nobody", "digest": digest}))


# --- the watched directory


class Doors:
    """What an inbox hands on, and what it is answered."""

    def __init__(self, folder):
        self.entered = []
        self.raises = None
        self.inbox = Inbox(folder, put=self.put, enter=self.enter, every_s=0.01)
        self.came = threading.Event()

    def put(self, chunks):
        return b"".join(chunks).decode(), 0

    def enter(self, digest, armor):
        if self.raises:
            raise self.raises
        self.entered.append((digest, armor))
        self.came.set()


@pytest.fixture
def doors(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Doors(folder)


def test_a_file_is_entered_once_it_lies_still(doors):
    place = doors.inbox.folder / "feed"
    place.write_text("begun")
    assert doors.inbox.look() == 0
    place.write_text("begun and ended")
    assert doors.inbox.look() == 0
    assert [doors.inbox.look(), doors.inbox.look()] == [1, 0]
    assert doors.entered == [("begun and ended", None)]
    assert place.read_text() == "begun and ended"


def test_a_file_that_changes_or_gets_its_signature_is_entered_again(doors):
    place = doors.inbox.folder / "feed"
    place.write_text("one")
    doors.inbox.look()
    doors.inbox.look()
    (doors.inbox.folder / "feed.sig").write_text("signed")
    doors.inbox.look()
    doors.inbox.look()
    place.write_text("another")
    doors.inbox.look()
    doors.inbox.look()
    assert doors.entered == [("one", None), ("one", b"signed"), ("another", b"signed")]


def test_small_feeds_do_not_wait_for_large_ones(doors):
    for name, text in [("a", "the whole database"), ("b", "one")]:
        (doors.inbox.folder / name).write_text(text)
    assert [doors.inbox.look(), doors.inbox.look()] == [0, 2]
    assert [digest for digest, _ in doors.entered] == ["one", "the whole database"]


def test_hidden_files_and_directories_are_none(doors):
    (doors.inbox.folder / ".feed.part").write_text("x")
    (doors.inbox.folder / "folder").mkdir()
    assert [doors.inbox.look(), doors.inbox.look()] == [0, 0]


def test_what_is_refused_is_named_until_it_changes_or_goes(doors):
    place = doors.inbox.folder / "feed"
    place.write_text("one")
    doors.raises = Invalid("signature", "does not verify")
    looks = [doors.inbox.look() for _ in range(4)]
    assert looks == [0] * 4
    assert doors.inbox.refused == {"feed": "signature: does not verify"}
    doors.raises = None
    place.write_text("mended")
    assert [doors.inbox.look(), doors.inbox.look()] == [0, 1]
    assert doors.inbox.refused == {}
    place.unlink()
    doors.inbox.look()
    assert doors.inbox._done == {}


def test_what_cannot_be_entered_just_now_is_tried_again(doors):
    (doors.inbox.folder / "feed").write_text("one")
    doors.raises = LedgerUnavailable("the disk is full")
    assert [doors.inbox.look() for _ in range(3)] == [0, 0, 0]
    assert "tried again" in doors.inbox.refused["feed"]
    doors.raises = None
    assert doors.inbox.look() == 1
    assert doors.inbox.refused == {}


def test_a_reader_that_does_not_wait_would_take_half_a_file(doors, monkeypatch):
    monkeypatch.setattr(Inbox, "_found", lambda self: dict.fromkeys([p.name for p in self.folder.iterdir()], (1, 1)))
    place = doors.inbox.folder / "feed"
    place.write_text("begun")
    doors.inbox.look()
    place.write_text("begun and ended")
    doors.inbox.look()
    doors.inbox.look()
    assert doors.entered == [("begun and ended", None)]
    place.write_text("and changed")
    assert [doors.inbox.look(), doors.inbox.look()] == [0, 0]  # the change goes unseen


def test_the_thread_looks_and_stops(doors):
    (doors.inbox.folder / "feed").write_text("one")
    doors.inbox.start()
    try:
        assert doors.came.wait(30)
    finally:
        doors.inbox.close()
    assert doors.entered == [("one", None)]
    assert inbox.SOURCE == "watched"


# --- configuration


def test_sources_and_the_watched_directory_are_configured(tmp_path):
    (tmp_path / "limen.toml").write_text(
        f'[assurance]\nadvisories = "feeds"\n[[advisory_source]]\nname = "a"\nkey = "{SIGNER.key.line}"\nmay = "restrict"\n'
    )
    config = load(tmp_path)
    assert config.assurance == Assurance(advisories="feeds")
    assert [(each.name, each.may) for each in config.advisory_source] == [("a", "restrict")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[advisory_source]]\nname = "a"\nkey = "ssh-rsa AAAA"\n', "begins with"),
        (f'[[advisory_source]]\nname = "a"\nkey = "{SIGNER.key.line}"\nmay = "anything"\n', "Invalid enum value"),
        (f'[[advisory_source]]\nname = "a"\nkey = "{SIGNER.key.line}"\n' * 2, "two have the name"),
        (
            "".join(f'[[advisory_source]]\nname = "{name}"\nkey = "{SIGNER.key.line}"\n' for name in "ab"),
            "two have the key",
        ),
    ],
)
def test_a_source_that_could_be_mistaken_is_refused(tmp_path, text, why):
    (tmp_path / "limen.toml").write_text(text)
    with pytest.raises(Invalid, match=why):
        load(tmp_path)
