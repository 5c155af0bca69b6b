"""`limen trace` and `limen case` as they are typed: every form of a report, cases that add up, a bundle, two people."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from html.parser import HTMLParser

import pytest

from inprocess import a_gateway
from limen.cli import link
from limen.control import ControlSocket
from limen.response import trace as tracing
from limen.response import trace_page
from limen.response import trace_words as words
from tracing import Q03, copy_of, leak


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """A data directory, and two samples of one copy of what is in it."""
    folder = tmp_path_factory.mktemp("laid")

    async def made():
        gateway = await a_gateway(folder / "data")
        lines = copy_of(gateway, Q03)
        leak(folder / "few.jsonl", lines[:20], 20)
        (folder / "dump").mkdir()
        leak(folder / "dump" / "a.jsonl", lines[20:150], 130)
        leak(folder / "dump" / "b.jsonl", lines[150:], 100)
        await gateway.close()

    asyncio.run(made())
    (folder / "data" / "limen.toml").write_text('[server]\nmode = "development"\n')
    return folder


@pytest.fixture
def lab(laid, tmp_path, monkeypatch, limen):
    """Run a command on a copy of it, as some account."""
    data = tmp_path / "data"
    shutil.copytree(laid / "data", data)

    def run(*args, uid=1001):
        monkeypatch.setattr(os, "getuid", lambda: uid)
        return limen(*args, "--data", data)

    return run


def test_a_case_is_traced_told_reviewed_and_exported(lab, laid, tmp_path):
    code, out, err = lab("trace", laid / "few.jsonl", "--case", "night")
    assert (code, out.split(":")[0]) == (0, "ABSTAIN")
    assert "limen: looking the sample up" in err
    code, out, err = lab("trace", laid / "dump", "--case", "night", "--bundle", tmp_path / "night.zip")
    assert (code, out.split(":")[0]) == (0, "NAMED")
    assert "slots matched over 2 samples" in out
    assert "somebody else may open a name: limen case review night --open" in err
    assert "arbiter.py night.zip --log" in err
    assert (tmp_path / "night.zip").stat().st_mode & 0o077 == 0
    report = json.loads(lab("case", "show", "night", "--json")[1])
    copy = report["copies"][0]["copy"][:12]
    asked = ("case", "review", "night", "--open", copy, "--reason", "read it")
    assert lab(*asked)[0] == 3  # whoever ran the trace
    code, out, err = lab(*asked, uid=1002)
    assert (code, out.splitlines()[1]) == (0, "  name     Person quillwork/q03")
    assert "tell them and hear them" in err
    assert "quillwork/q03" in lab("case", "show", "night")[1]
    assert "quillwork/q03" not in lab("case", "show", "night", "--look", 1)[1]
    code, out, _ = lab("case", "list")
    assert out.splitlines()[1].split()[0] == "night"
    code, out, err = lab("trace", laid / "dump", "--case", "night")
    assert "this sample is look 2 of case night already: nothing was scored again" in err
    assert lab("case", "export", "night", "-o", tmp_path / "night.zip")[0] == 2  # it is there already
    assert lab("case", "export", "night", "--look", 1, "-o", tmp_path / "one.zip")[0] == 0


def test_every_form_of_a_report_goes_where_it_is_asked_for(lab, laid, tmp_path):
    page = tmp_path / "report.html"
    code, out, _ = lab("trace", laid / "dump", "--format", "html", "--out", page)
    assert (code, out) == (0, "")
    assert page.stat().st_mode & 0o077 == 0
    code, out, _ = lab("trace", laid / "dump", "--format", "json")
    assert json.loads(out)["schema"] == tracing.SCHEMA
    assert json.loads(out)["sample"]["parts"] == 2
    code, _, err = lab("trace", laid / "dump", "--out", tmp_path / "no" / "such" / "place")
    assert (code, "the trace itself is entry" in err) == (2, True)


def test_what_is_not_there_or_not_plain_is_refused_and_nothing_is_logged(lab, laid, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.zip").write_bytes(b"mine")
    for asked in (
        [tmp_path / "nothing"],
        [tmp_path / "empty"],
        [laid / "few.jsonl", "--alpha", "2"],
        [laid / "few.jsonl", "--case", "No Name"],
        [laid / "few.jsonl", "--bundle", tmp_path / "there.zip"],
    ):
        code, out, err = lab("trace", *asked)
        assert (code, out, err.count("limen: error:")) == (2, "", 1)
    assert json.loads(lab("case", "list", "--json")[1])["cases"] == []
    assert (tmp_path / "there.zip").read_bytes() == b"mine"
    assert lab("case", "review", "night")[0] == 2
    assert lab("case", "show", "night")[0] == 4


def test_a_running_gateway_says_how_far_it_is(laid, tmp_path):
    async def body():
        data = tmp_path / "data"
        shutil.copytree(laid / "data", data)
        from limen.config import load  # noqa: PLC0415  as the command does
        from limen.server import Gateway  # noqa: PLC0415

        gateway = await Gateway.open(load(data))
        control = await ControlSocket.listen(gateway, data / "control.sock")
        try:
            told = []
            asked = {"paths": [str(laid / "few.jsonl")]}
            answer = await asyncio.to_thread(lambda: link.call(data, "trace", asked, progress=told.append))
            silent = await asyncio.to_thread(lambda: link.call(data, "trace", asked))
        finally:
            await control.close()
            await gateway.close()
        assert told[:2] == ["taking the sample's digest", "looking the sample up"]
        assert answer["verdict"] == silent["verdict"] == "abstain"

    asyncio.run(body())


# --- the page


class Read(HTMLParser):
    """What a browser would fetch or run, and what it would show."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.fetched += [(tag, name) for name, _ in attrs if name in {"src", "href", "srcset", "action", "data", "poster"}]
        self.fetched += [(tag, "")] if tag in {"script", "link", "iframe", "object", "img"} else []
        self.fetched += [(tag, name) for name, _ in attrs if name.startswith("on")]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def report(**more):
    """A report of everything, with words in it that would be markup."""
    bad = "<script>alert('1')</script>&"
    copy = {
        "copy": "ab" * 16,
        "vendor": bad,
        "p": 1e-20,
        "q": 1e-12,
        "log10_e": 15.0,
        "slots": 100,
        "agree": 99,
        "attack": bad,
        "pseudonym": bad,
        "person": None,
        "opened": None,
        "look": 1,
        "round": 1,
        "sessions": [{"session": bad, "records": 3, "of": 4, "first_us": 0, "last_us": 10**15}],
    }
    found = {
        "schema": tracing.SCHEMA,
        "case": bad,
        "look": 2,
        "looks": 2,
        "verdict": "named",
        "copies": [copy],
        "alpha": 1e-9,
        "vendors": [{**copy, "vendor": bad}],
        "second_best": {**copy, "q": 1.0},
        "slots_matched": 150,
        "slots_person": 100,
        "slots_vendor": 50,
        "slots_both": 3,
        "slots_needed": 160,
        "power": {"1": 0.999, "8": 0.001},
        "compared": 12,
        "served": 3,
        "pieces": 200,
        "records": 150,
        "unclear": 2,
        "later_copies": 4,
        "unscored": [7],
        "unknown": [bad],
        "retired": [],
        "canaries": [{"asset": bad, "version": 1, "shard": bad, "canary": 0, "copies": []}],
        "sample": {"unread": [[bad, bad]]},
        "reviews": [{"entry": 9, "who": bad, "outcome": bad, "by": "uid:1", "look": 1}],
        "sample_entry": 5,
        "result_entry": 6,
        "digest": "d" * 64,
        "document": "e" * 64,
        "bank": "limen-bank/2",
    }
    return {**found, **more}


def test_the_page_fetches_nothing_runs_nothing_and_escapes_whatever_stands_in_it():
    text = trace_page.page(report())
    page = Read(text)
    assert page.fetched == []
    assert page.open == []
    assert "default-src 'none'" in text
    shown = " ".join(page.text)
    assert shown.count("<script>alert('1')</script>&") >= 12  # as text
    for said in ("This is not the probability of innocence", "Copies implicated", "What this does not prove", *words.NOT_PROVED):
        assert said in shown
    assert "accused" not in text.lower()


def test_that_check_sees_what_a_page_must_not_have():
    page = Read('<p onclick="x()"><script src="https://cdn.example/x.js"></script><img src="x"></p>'.replace("<img", "<br"))
    assert len(page.fetched) == 4


def test_each_verdict_has_its_sentence_and_its_page():
    none = report(verdict="none", copies=[], vendors=[], canaries=[], second_best=None, pieces=0, records=0, power={})
    assert words.sentence(none).startswith("NONE: not from our copies")
    abstain = report(verdict="abstain", copies=[], vendors=[])
    assert "about 160 matched slots would do" in words.sentence(abstain)
    firm = report(copies=[])
    assert words.sentence(firm).startswith("NAMED: no single copy, but copies of")
    for one in (none, abstain, firm):
        assert Read(trace_page.page(one)).open == []
        assert list(words.plain(one))


@pytest.mark.parametrize(
    ("bound", "said"),
    [(1.0, "1.00"), (0.25, "0.25"), (0.011, "1 in 90"), (1e-9, "1 in 1.0 x 10^9"), (2.19e-17, "1 in 4.5 x 10^16")],
)
def test_odds_are_never_told_longer_than_they_are(bound, said):
    assert words.odds(bound).replace("\N{MULTIPLICATION SIGN}", "x") == said
