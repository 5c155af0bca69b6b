"""Cases: samples of one leak add up under one bound, and a name is opened by a second human alone."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from inprocess import a_gateway
from limen.config import Config, Server
from limen.core.errors import Conflict, Denied, Invalid, NotFound, TamperDetected
from limen.marks.keys import MarkKey
from limen.privacy import naming
from limen.response import look as looks
from limen.response import trace_words as words
from limen.response.trace_page import page
from limen.server import Gateway
from tracing import ADA, BO, Q03, Q11, copy_id, copy_of, entries, leak, reads, trace, verb


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """A data directory with the marked dataset, made once."""
    data = tmp_path_factory.mktemp("laid") / "data"

    async def made():
        await (await a_gateway(data)).close()

    asyncio.run(made())
    return data


@pytest.fixture
def in_gateway(laid, tmp_path):
    """Run a coroutine function with a gateway on a copy of that directory, and close it after."""

    def run(body):
        async def whole():
            shutil.copytree(laid, tmp_path / "data")
            gateway = await Gateway.open(Config(data=tmp_path / "data", server=Server(mode="development")))
            try:
                return await body(gateway)
            finally:
                await gateway.close()

        return asyncio.run(whole())

    return run


def halves(gateway, path, who=Q03):
    """Two samples of one copy, neither of which is enough."""
    lines = copy_of(gateway, who)
    return leak(path / "a.jsonl", lines[:24], 24), leak(path / "b.jsonl", lines[24:224], 200)


# --- cases add up


def test_two_samples_that_say_little_name_the_copy_together(in_gateway, tmp_path):
    async def body(gateway):
        await reads(gateway, Q03)
        one, two = halves(gateway, tmp_path)
        first = await trace(gateway, one, case="night")
        alone = await trace(gateway, two)
        both = await trace(gateway, two, case="night")
        assert (first["verdict"], first["look"], first["slots_matched"]) == ("abstain", 1, 24)
        assert (both["verdict"], both["look"], both["looks"]) == ("named", 2, 2)
        assert both["slots_matched"] == 24 + alone["slots_matched"]
        assert [copy["copy"] for copy in both["copies"]] == [copy_id(gateway, Q03)]
        samples = entries(gateway, "trace.sample")
        assert [(e.get("case"), e["look"]) for e in samples] == [("night", 1), (None, 1), ("night", 2)]
        assert [e["digest"] for e in samples] == [first["digest"], alone["digest"], both["digest"]]

    in_gateway(body)


def test_a_slot_counts_once_and_the_same_sample_is_not_scored_again(in_gateway, tmp_path):
    async def body(gateway):
        lines = copy_of(gateway, Q03)
        one, more = leak(tmp_path / "a.jsonl", lines, 100), leak(tmp_path / "b.jsonl", lines, 150)
        first = await trace(gateway, one, case="night")
        entered = len(entries(gateway, "trace.sample"))
        again = await trace(gateway, one, case="night")
        assert (again["again"], again["look"], again["result_entry"]) == (True, 1, first["result_entry"])
        assert len(entries(gateway, "trace.sample")) == entered
        second = await trace(gateway, more, case="night")
        assert (second["again"], second["look"]) == (False, 2)
        assert second["slots_matched"] < 250  # those that both showed count once
        union = {json.loads(line)["answer"] for path in (one, more) for line in path.read_bytes().splitlines()}
        assert second["slots_matched"] == len(union)

    in_gateway(body)


def test_a_later_look_needs_no_old_sample(in_gateway, tmp_path):
    async def body(gateway):
        one, two = halves(gateway, tmp_path)
        await trace(gateway, one, case="night")
        one.unlink()
        assert (await trace(gateway, two, case="night"))["slots_matched"] > 200

    in_gateway(body)


def test_what_a_document_holds_scores_like_the_sample_itself(in_gateway, tmp_path):
    async def body(gateway):
        found = await trace(gateway, leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200))
        raw = gateway.custody.blobs.path(found["document"]).read_bytes()
        document = looks.Document.read(raw)
        from limen.marks.trace import score  # noqa: PLC0415  only here

        population = document.population
        key = gateway.custody.shelf.key("orchid-sft-v3")
        again = score(document.observed(), population.copies, keys={key.id: key}, served=population.served)
        assert [c.log10_e for c in again.copies] == [c["log10_e"] for c in found["copies"]]
        assert looks.written(document.value) == raw
        assert "quillwork/q" not in raw.decode()  # copies by copy id, never by name

    in_gateway(body)


def test_two_looks_at_once_are_looks_one_and_two(in_gateway, tmp_path):
    async def body(gateway):
        one, two = halves(gateway, tmp_path)
        found = await asyncio.gather(trace(gateway, one, case="night"), trace(gateway, two, case="night"))
        assert sorted(each["look"] for each in found) == [1, 2]
        assert [e["look"] for e in entries(gateway, "trace.sample")] == [1, 2]

    in_gateway(body)


def test_control_without_the_lock_both_would_be_look_one(in_gateway, tmp_path, monkeypatch):
    async def body(gateway):
        monkeypatch.setattr(type(gateway.cases), "alone", lambda *_: asyncio.Semaphore(2))
        one, two = halves(gateway, tmp_path)
        await asyncio.gather(trace(gateway, one, case="night"), trace(gateway, two, case="night"), return_exceptions=True)
        assert [e["look"] for e in entries(gateway, "trace.sample")] == [1, 1]

    in_gateway(body)


def test_alpha_and_the_prior_are_those_of_the_first_sample(in_gateway, tmp_path):
    async def body(gateway):
        await reads(gateway, Q03)
        one, two = halves(gateway, tmp_path)
        first = await trace(gateway, one, case="night", alpha=1e-6)
        await reads(gateway, Q11)
        with pytest.raises(Invalid, match="is 1e-06 for all samples of case night"):
            await trace(gateway, two, case="night", alpha=1e-9)
        second = await trace(gateway, two, case="night")
        assert (first["alpha"], second["alpha"]) == (1e-6, 1e-6)
        assert (first["served"], second["served"], second["prior_of_look"]) == (1, 1, 1)
        assert (await trace(gateway, two))["served"] == 2  # a case of its own asks the log again

    in_gateway(body)


def test_a_first_sample_of_somebody_elses_text_does_not_fix_the_prior(in_gateway, tmp_path):
    async def body(gateway):
        await reads(gateway, Q03)
        foreign = tmp_path / "foreign.txt"
        foreign.write_text("nothing of this was ever anywhere near a marked dataset, whoever may have written it\n")
        first = await trace(gateway, foreign, case="night")
        assert first["verdict"] == "none"
        assert words.sentence(first).startswith("NONE: not from our copies")
        second = await trace(gateway, leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200), case="night")
        assert (second["verdict"], second["prior_of_look"], second["served"]) == ("named", 2, 1)

    in_gateway(body)


def test_a_bad_name_or_bound_is_refused_before_anything_is_logged(in_gateway, tmp_path):
    async def body(gateway):
        sample = leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 10)
        for name in ("Night", "../x", "sample-12", "a" * 65):
            with pytest.raises(Invalid, match="is no case's name"):
                await trace(gateway, sample, case=name)
        for alpha in (0.0, 1.0, -1.0):
            with pytest.raises(Invalid, match="no bound between 0 and 1"):
                await trace(gateway, sample, alpha=alpha)
        assert entries(gateway, "trace.sample") == []

    in_gateway(body)


def test_a_key_that_is_not_the_one_committed_to_is_refused(in_gateway, tmp_path):
    async def body(gateway):
        sample = leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200)
        shelf = gateway.custody.shelf
        right = shelf.key("orchid-sft-v3")
        shelf._keys["orchid-sft-v3"] = MarkKey.make("orchid-sft-v3", random=bytes)
        with pytest.raises(TamperDetected, match="is not the one that orchid-sft-v3@1 was committed to with: nothing was scored"):
            await trace(gateway, sample)
        assert entries(gateway, "trace.result") == []
        shelf._keys["orchid-sft-v3"] = right
        assert (await trace(gateway, sample))["verdict"] == "named"

    in_gateway(body)


# --- the second human


async def implicated(gateway, tmp_path):
    return await trace(gateway, leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200), case="night")


async def review(gateway, by=BO, **args):
    asked = {"case": "night", "outcome": "open", "reason": "read it, and looked at the sessions", **args}
    return await verb(gateway, "case.review", by, **asked)


def test_no_report_names_anybody_until_a_second_human_has_opened_it(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        [copy] = report["copies"]
        said = json.dumps(report) + "\n".join(words.plain(report)) + page(report)
        assert (copy["person"], copy["vendor"]) == (None, "quillwork")
        assert "q03" not in said
        assert copy["pseudonym"] == gateway.custody.catalog.pseudonym(Q03, "")
        opened = await review(gateway, copy=copy["copy"][:8])
        assert (opened["person"], opened["name"]) == (Q03, "Person quillwork/q03")
        shown = await verb(gateway, "case.show", ADA, case="night")
        assert (shown["copies"][0]["person"], shown["copies"][0]["opened"]) == (Q03, opened["entry"])
        assert Q03 in "\n".join(words.plain(shown))

    in_gateway(body)


def test_the_review_is_durable_before_the_name_is_read_and_holds_no_name(in_gateway, tmp_path, monkeypatch):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        seen = []
        real = naming.name_of
        monkeypatch.setattr(naming, "name_of", lambda *a: seen.append(len(entries(gateway, "case.review"))) or real(*a))
        await review(gateway, copy=report["copies"][0]["pseudonym"])
        assert seen == [1]
        [entry] = entries(gateway, "case.review")
        assert (entry["by"], entry["look"], entry["result"], entry["outcome"]) == (BO, 1, report["result_entry"], "open")
        assert not {"q03", "sessions"} & set(json.dumps(entry).replace('"', " ").split())

    in_gateway(body)


def test_whoever_ran_any_trace_of_the_case_can_not_review_it(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        copy = report["copies"][0]["copy"]
        with pytest.raises(Denied, match="the same account, uid:1001, ran a trace of this case; somebody else has to review it"):
            await review(gateway, by=ADA, copy=copy)
        refusal = entries(gateway, "name.refusal")[-1]
        assert (refusal["rule"], refusal["request"], refusal["by"]) == ("same-person", report["result_entry"], ADA)
        await trace(gateway, leak(tmp_path / "b.jsonl", copy_of(gateway, Q03), 20, seed=2), case="night", by=BO)
        with pytest.raises(Denied, match="uid:1002"):
            await review(gateway, by=BO, copy=copy)
        assert entries(gateway, "case.review") == []
        assert (await review(gateway, by="uid:1003", copy=copy))["person"] == Q03

    in_gateway(body)


def test_control_without_that_rule_the_same_account_would_open_it(in_gateway, tmp_path, monkeypatch):
    monkeypatch.setattr(naming, "same", lambda *_: "")

    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        assert (await review(gateway, by=ADA, copy=report["copies"][0]["copy"]))["person"] == Q03

    in_gateway(body)


def test_one_account_is_two_people_where_tokens_show_it(in_gateway, tmp_path):
    async def body(gateway):
        for id_, role in (("lab/ada", "security"), ("lab/bo", "legal")):
            person = {"id": id_, "vendor": None, "issuer": gateway.issuer.url, "subject": id_[4:], "name": "N", "roles": [role]}
            await verb(gateway, "change", "test", kind="person.add", change=person)
        sample = leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200)
        report = await trace(gateway, sample, case="night", id_token=gateway.issuer.mint("ada"))
        assert report["traced"]["shown"] == "token"
        copy = report["copies"][0]["copy"]
        with pytest.raises(Denied, match="the same person ran a trace"):
            await review(gateway, by=ADA, copy=copy, id_token=gateway.issuer.mint("ada"))
        with pytest.raises(Denied, match="the same account"):
            await review(gateway, by=ADA, copy=copy)
        assert (await review(gateway, by=ADA, copy=copy, id_token=gateway.issuer.mint("bo")))["person"] == Q03

    in_gateway(body)


def test_a_name_may_stay_closed_and_that_is_entered_too(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        answer = await review(gateway, copy=report["copies"][0]["copy"], outcome="closed")
        assert set(answer) == {"case", "look", "who", "outcome", "entry"}
        shown = await verb(gateway, "case.show", ADA, case="night")
        assert (shown["copies"][0]["person"], shown["reviews"][0]["outcome"]) == (None, "closed")

    in_gateway(body)


def test_a_review_is_of_an_implicated_copy_and_says_why(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        copy = report["copies"][0]["copy"]
        for wrong in (copy_id(gateway, Q11), copy[:3], "p-0000"):
            with pytest.raises(NotFound, match="among those that look 1 of case night implicates"):
                await review(gateway, copy=wrong)
        with pytest.raises(Invalid, match="say what you looked at"):
            await review(gateway, copy=copy, reason=" ")
        with pytest.raises(NotFound, match="case day"):
            await review(gateway, copy=copy, case="day")
        assert entries(gateway, "case.review") == []

    in_gateway(body)


def test_nobody_opens_the_name_of_somebody_who_was_erased(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        await verb(gateway, "person.erase", "test", person=Q03, reason="asked for", end=True)
        with pytest.raises(Denied, match="was erased"):
            await review(gateway, copy=report["copies"][0]["copy"])
        shown = await verb(gateway, "case.show", ADA, case="night")
        assert shown["copies"][0]["pseudonym"] == report["copies"][0]["pseudonym"]

    in_gateway(body)


# --- lists, and what the log alone knows


def test_cases_are_told_by_the_log_alone(in_gateway, tmp_path):
    async def body(gateway):
        report = await implicated(gateway, tmp_path)
        await trace(gateway, leak(tmp_path / "b.jsonl", copy_of(gateway, Q11), 5))
        rows = await verb(gateway, "case.list")
        assert [(row["case"][:7], row["looks"], row["verdict"], row["copies"]) for row in rows] == [
            ("night", 1, "named", 1),
            ("sample-", 1, "abstain", 0),
        ]
        gateway.cases.close()
        for path in (gateway.config.data / "derived").glob("cases.db*"):
            path.unlink()
        assert (await verb(gateway, "case.show", case="night"))["result_entry"] == report["result_entry"]
        with pytest.raises(NotFound, match="look 2 of case night"):
            await verb(gateway, "case.show", case="night", look=2)

    in_gateway(body)


def test_a_sample_that_was_never_scored_is_told(in_gateway, tmp_path, monkeypatch):
    async def body(gateway):
        sample = leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200)
        with monkeypatch.context() as patch:
            patch.setattr(gateway.custody.shelf, "index", lambda _: (_ for _ in ()).throw(Conflict("the disk is gone")))
            with pytest.raises(Conflict):
                await trace(gateway, sample, case="night")
        with pytest.raises(NotFound, match=r"was logged .* and not scored"):
            await verb(gateway, "case.show", case="night")
        report = await trace(gateway, sample, case="night")
        assert (report["look"], len(report["unscored"])) == (1, 1)
        assert any("never scored" in line for line in words.unread(report))

    in_gateway(body)
