"""An order that leaves some work open: what it refuses, what goes on, and that it outlasts a restart and a silent ledger."""

from __future__ import annotations

import asyncio

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.config import Config, Server
from limen.control import answer_to
from limen.core.errors import Denied, Invalid, LedgerUnavailable, NotFound
from limen.core.events import decode
from limen.core.types import Span
from limen.server import Gateway

KEY = "orchid-sft-v3/sft.jsonl"
BOX = "quill-assessments/work.jsonl"


def whole_copy(copy, modified_at):
    return Span(200, 0, copy.length)


async def read(gateway, session):
    delivery = await gateway.access.open(session, KEY, choose=whole_copy, client=DESK)
    got = []

    async def send(chunk):
        got.append(bytes(chunk))

    await delivery.send_to(send, lambda: None)
    return b"".join(got)


async def write(gateway, session):
    reception = await gateway.access.accept(session, BOX, length=3, client=DESK)
    await reception.write(b"abc")
    return await reception.commit()


async def read_only(gateway, subject="vendor/quillwork", **more):
    order = gateway.authority.restriction(subject, reason="an advisory", read_only=True, **more)
    return await gateway.authority.restrict(order, by="test")


async def only_in(gateway, *projects, subject="vendor/quillwork"):
    order = gateway.authority.restriction(subject, reason="an advisory", projects=projects)
    return await gateway.authority.restrict(order, by="test")


def entries(gateway, kind):
    return [decode(raw) for _, raw in gateway.custody.ledger.entries() if decode(raw)["kind"] == kind]


def test_read_only_refuses_an_upload_and_lets_a_download_go_on(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await write(gateway, session)  # the control: without the order it is taken
        _, receipt = await read_only(gateway)
        assert len(await read(gateway, session)) > 1000
        with pytest.raises(Denied, match="restricted since") as refused:
            await write(gateway, session)
        assert refused.value.rule == "restricted"
        assert "only reading goes on" in refused.value.reason.lower()
        [refusal] = entries(gateway, "access.refusal")
        assert refusal["rule"] == "restricted"
        [order] = entries(gateway, "restrict.order")
        assert (order["subject"], order["read_only"], order["projects"]) == ("vendor/quillwork", True, [])
        assert receipt is not None

    in_gateway(body)


def test_an_upload_that_runs_is_aborted_and_nothing_of_it_is_kept(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        aborted = []
        reception = await gateway.access.accept(session, BOX, length=6, client=DESK)
        reception.watch(lambda: aborted.append(True))
        await reception.write(b"abc")
        streams, _ = await read_only(gateway)
        assert (streams, aborted) == (1, [True])
        with pytest.raises(Denied, match="restricted"):
            await reception.write(b"def")
        assert entries(gateway, "access.outcome") == [] or entries(gateway, "access.outcome")[-1]["end"] != "complete"

    in_gateway(body)


def test_only_named_projects_stay_open_and_a_download_elsewhere_is_cut(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        delivery = await gateway.access.open(session, KEY, choose=whole_copy, client=DESK)
        sent, aborted = [], []

        async def send(chunk):
            sent.append(bytes(chunk))
            await only_in(gateway, "helio")

        with pytest.raises(Denied, match="in helio"):
            await delivery.send_to(send, lambda: aborted.append(True))
        assert aborted
        with pytest.raises(Denied, match="restricted"):
            await read(gateway, session)
        with pytest.raises(Denied, match="restricted"):
            await a_session(gateway, "q03")
        await only_in(gateway, "orchid")  # the control: named, it goes on, and in the same session
        assert len(await read(gateway, session)) > 1000

    in_gateway(body)


def test_others_are_not_met(in_gateway):
    async def body(gateway):
        await read_only(gateway, subject="person/quillwork/q07")
        await write(gateway, await a_session(gateway, "q03"))
        with pytest.raises(Denied, match="restricted"):
            await write(gateway, await a_session(gateway, "q07"))

    in_gateway(body)


def test_lifted_a_session_goes_on_where_it_was(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await read_only(gateway)
        await gateway.authority.unrestrict("vendor/quillwork", reason="clear", by="test")
        await write(gateway, session)
        assert [entry["subject"] for entry in entries(gateway, "restrict.lift")] == ["vendor/quillwork"]
        with pytest.raises(NotFound, match="not restricted"):
            await gateway.authority.unrestrict("vendor/quillwork", reason="again", by="test")

    in_gateway(body)


def test_a_restart_puts_it_back_and_logs_what_the_ledger_had_missed(tmp_path):
    async def ordered():
        gateway = await a_gateway(tmp_path)
        ledger = gateway.custody.ledger
        real = ledger.append

        async def down(entry, side=None):
            raise LedgerUnavailable("the disk is full")

        ledger.append = down
        _, receipt = await read_only(gateway, cause="gate 7")
        assert receipt is None
        ledger.append = real
        await gateway.close()

    async def again():
        gateway = await Gateway.open(Config(data=tmp_path, server=Server(mode="development")))
        with pytest.raises(Denied, match="restricted"):
            await write(gateway, await a_session(gateway, "q03"))
        assert entries(gateway, "restrict.order") == []
        assert await gateway.authority.log_unlogged() == 1
        [order] = entries(gateway, "restrict.order")
        assert (order["cause"], order["by"]) == ("gate 7", "limen")
        assert await gateway.authority.log_unlogged() == 0
        await gateway.close()

    asyncio.run(ordered())
    asyncio.run(again())


def test_what_never_was_logged_is_logged_before_its_end(in_gateway):
    async def body(gateway):
        ledger = gateway.custody.ledger
        real = ledger.append

        async def down(entry, side=None):
            raise LedgerUnavailable("the disk is full")

        ledger.append = down
        await read_only(gateway)
        ledger.append = real
        await gateway.authority.unrestrict("vendor/quillwork", reason="clear", by="test")
        told = [decode(raw)["kind"] for _, raw in ledger.entries()]
        assert told.index("restrict.order") < told.index("restrict.lift")

    in_gateway(body)


def test_an_order_that_takes_nothing_away_or_names_nobody_is_refused(in_gateway):
    async def body(gateway):
        with pytest.raises(Invalid, match="takes nothing away"):
            gateway.authority.restriction("vendor/quillwork", reason="x")
        with pytest.raises(NotFound):
            gateway.authority.restriction("vendor/none", reason="x", read_only=True)
        with pytest.raises(NotFound):
            gateway.authority.restriction("vendor/quillwork", reason="x", projects=["none"])
        with pytest.raises(Invalid, match="say why"):
            gateway.authority.restriction("vendor/quillwork", reason=" ", read_only=True)

    in_gateway(body)


def test_explain_names_the_restriction(in_gateway):
    async def body(gateway):
        asked = {"person": "quillwork/q03", "asset": "quill-assessments", "action": "write"}
        before = (await answer_to(gateway, "explain", asked, by="test"))["ok"]
        await answer_to(gateway, "restrict", {"subject": "vendor/quillwork", "reason": "r", "read_only": True}, by="test")
        after = (await answer_to(gateway, "explain", asked, by="test"))["ok"]
        assert (before["allowed"], after["allowed"], after["rule"]) == (True, False, "restricted")

    in_gateway(body)


def test_a_dry_run_says_whom_it_would_meet_and_changes_nothing(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        asked = {"subject": "vendor/quillwork", "reason": "r", "read_only": True, "dry_run": True}
        answer = (await answer_to(gateway, "restrict", asked, by="test"))["ok"]
        assert [each["session"] for each in answer["sessions"]] == [session.id]
        await write(gateway, session)
        assert gateway.custody.live.restrictions() == ()

    in_gateway(body)
