from __future__ import annotations

import asyncio
import json

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.access import Delivery
from limen.config import Config, Server
from limen.control import answer_to
from limen.core.errors import Conflict, Denied, LedgerUnavailable, NotFound, Paused, SessionEnded
from limen.core.events import decode
from limen.core.types import Action, Span
from limen.custody import Quorum
from limen.ledger.witnesses.watched import Stretch
from limen.server import Gateway

KEY = "orchid-sft-v3/sft.jsonl"


def whole(copy, modified_at):
    return Span(200, 0, copy.length)


def kinds(gateway):
    return [decode(raw)["kind"] for _, raw in gateway.custody.ledger.entries()]


def newest(gateway, kind):
    return [decode(raw) for _, raw in gateway.custody.ledger.entries() if decode(raw)["kind"] == kind][-1]


async def fetch(gateway, session, choose=whole):
    delivery = await gateway.access.open(session, KEY, choose=choose, client=DESK)
    got = []

    async def send(chunk):
        got.append(bytes(chunk))

    await delivery.send_to(send, lambda: None)
    return b"".join(got), delivery


def first_byte_is_covered(gateway, delivery):
    """The check that both the real line and the broken one below must answer."""
    entries = dict(gateway.custody.ledger.entries())
    index = delivery.receipt.index
    return index in entries and decode(entries[index])["kind"] == "access.intent"


def test_the_intent_is_durable_before_the_first_chunk_is_handed_over(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        delivery = await gateway.access.open(session, KEY, choose=whole, client=DESK)
        seen = []

        async def send(chunk):
            seen.append(first_byte_is_covered(gateway, delivery))

        await delivery.send_to(send, lambda: None)
        assert seen
        assert all(seen)

    in_gateway(body)


def test_serving_before_the_commit_fails_the_same_check(in_gateway):
    """The negative control: an append that answers before anything is written."""

    async def body(gateway):
        session = await a_session(gateway, "q03")
        real, queued = gateway.custody.ledger.append, []

        async def too_early(entry, side=None):
            receipt = await real(gateway.custody.scribe.write("access.unresolved", {"count": 1}, None)[0])
            queued.append((entry, side))
            return receipt

        gateway.custody.ledger.append = too_early
        try:
            delivery = await gateway.access.open(session, KEY, choose=whole, client=DESK)
        finally:
            del gateway.custody.ledger.append
        assert not first_byte_is_covered(gateway, delivery)
        delivery.close()

    in_gateway(body)


def test_a_delivery_without_a_receipt_can_not_be_sent(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        copy, _, at = gateway.custody.copy_for(session, gateway.custody.catalog.snapshot.find("orchid", KEY), KEY)
        forged = Delivery(None, copy, Span(200, 0, 10), at, session, gateway.custody)
        with pytest.raises(RuntimeError):
            await forged.send_to(lambda chunk: asyncio.sleep(0), lambda: None)

    in_gateway(body)


def test_no_bytes_leave_when_the_ledger_can_not_be_written(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")

        async def unavailable(entry, side=None):
            raise LedgerUnavailable("the disk is full")

        gateway.custody.ledger.append = unavailable
        before = gateway.custody.quota.taken(session.pseudonym, "orchid-sft-v3", now=gateway.custody.clock.day_at())
        with pytest.raises(LedgerUnavailable):
            await gateway.access.open(session, KEY, choose=whole, client=DESK)
        with pytest.raises(LedgerUnavailable):
            await gateway.access.list(session, prefix="", client=DESK)
        with pytest.raises(LedgerUnavailable):  # a refusal that can't be logged is not given either
            await gateway.access.open(session, "aurelia-core/x", choose=whole, client=DESK)
        with pytest.raises(LedgerUnavailable):
            await gateway.access.accept(session, "quill-assessments/a", length=1, client=DESK)
        del gateway.custody.ledger.append
        assert gateway.custody.quota.taken(session.pseudonym, "orchid-sft-v3", now=gateway.custody.clock.day_at()) == before

    in_gateway(body)


def test_the_outcome_says_how_much_was_handed_over(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        got, delivery = await fetch(gateway, session, lambda copy, at: Span(206, 100, 300))
        gateway.custody.windows.close_all()
        await gateway.custody.ledger.flush()
        outcome = newest(gateway, "access.outcome")
        assert (len(got), outcome["of"], outcome["sent"], outcome["end"]) == (200, delivery.receipt.index, 200, "complete")

    in_gateway(body)


def test_a_pause_while_the_intent_is_written_lets_nothing_out(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        real = gateway.custody.ledger.append

        async def paused_meanwhile(entry, side=None):
            receipt = await real(entry, side)
            gateway.authority.pause(gateway.authority.order("vendor/quillwork", reason="breach"))
            return receipt

        gateway.custody.ledger.append = paused_meanwhile
        with pytest.raises(Paused):
            await gateway.access.open(session, KEY, choose=whole, client=DESK)
        del gateway.custody.ledger.append
        await gateway.custody.ledger.flush()
        assert newest(gateway, "access.outcome")["sent"] == 0

    in_gateway(body)


def test_a_pause_between_two_chunks_aborts_the_stream(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        delivery = await gateway.access.open(session, KEY, choose=whole, client=DESK)
        delivery.copy = Slow(delivery.copy)
        got, aborted = [], []

        async def send(chunk):
            got.append(bytes(chunk))
            gateway.authority.pause(gateway.authority.order("person/quillwork/q03", reason="lost laptop"))

        with pytest.raises(Paused):
            await delivery.send_to(send, lambda: aborted.append(True))
        assert len(got) == 1
        assert aborted

    in_gateway(body)


class Slow:
    """A copy that comes in small chunks."""

    def __init__(self, copy):
        self.copy, self.length, self.etag = copy, copy.length, copy.etag

    def read(self, start, end):
        return self.copy.read(start, end, 1000)


def test_refusals_are_entries_before_the_caller_hears_of_them(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q05")
        for path, error in (("aurelia-core/weights", Denied), ("no-such/thing", NotFound), (KEY + "x", NotFound)):
            count = kinds(gateway).count("access.refusal")
            with pytest.raises(error):
                await gateway.access.open(session, path, choose=whole, client=DESK)
            assert kinds(gateway).count("access.refusal") == count + 1
        assert newest(gateway, "access.refusal")["asset"] == "orchid-sft-v3"

    in_gateway(body)


def test_entries_hold_no_person_and_no_typed_path(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q05")
        with pytest.raises(NotFound):
            await gateway.access.open(session, "my name is Ada/secret", choose=whole, client=DESK)
        log = b"".join(raw for _, raw in gateway.custody.ledger.entries())
        assert b"q05" not in log
        assert b"Ada" not in log
        assert b"127.0.0.1" not in log

    in_gateway(body)


def test_a_writer_sees_their_own_uploads_and_nobody_elses(in_gateway):
    async def body(gateway):
        ours, theirs = await a_session(gateway, "q03"), await a_session(gateway, "q11")
        for session, text in ((ours, b"mine"), (theirs, b"theirs")):
            reception = await gateway.access.accept(session, "quill-assessments/a.json", length=4, client=DESK)
            await reception.write(text)
            await reception.commit(only_if_absent=True)  # the same path of another writer is no obstacle
        listed = await gateway.access.list(ours, prefix="quill-assessments/", client=DESK)
        assert [(line.path, line.length) for line in listed] == [("quill-assessments/a.json", 4)]
        with pytest.raises(Denied):
            await gateway.access.open(ours, "quill-assessments/a.json", choose=whole, client=DESK)
        head = await gateway.access.open(ours, "quill-assessments/a.json", choose=whole, client=DESK, action=Action.HEAD)
        assert head.copy.length == 4
        reception = await gateway.access.accept(ours, "quill-assessments/a.json", length=1, client=DESK)
        await reception.write(b"x")
        with pytest.raises(Conflict):
            await reception.commit(only_if_absent=True)

    in_gateway(body)


def test_the_sponsor_stands_on_every_access_of_a_workload(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "ci")
        await fetch(gateway, session)
        intent = newest(gateway, "access.intent")
        assert intent["sponsor"] == gateway.custody.catalog.pseudonym("quillwork/q11", "orchid")

    in_gateway(body)


def test_a_restart_finds_everything_again(tmp_path):
    async def first():
        gateway = await a_gateway(tmp_path / "data")
        session = await a_session(gateway, "q03")
        got, _ = await fetch(gateway, session)
        gateway.authority.pause(order := gateway.authority.order("person/quillwork/q07", reason="left"))
        await gateway.authority.record_pause(order, streams=0, sessions=0, by="test")
        await gateway.close()
        return got, session

    async def second(session):
        gateway = await Gateway.open(Config(data=tmp_path / "data", server=Server(mode="development")))
        try:
            with pytest.raises(Paused):
                await a_session(gateway, "q07")
            taken = gateway.custody.quota.taken(session.pseudonym, "orchid-sft-v3", now=gateway.custody.clock.day_at())
            return (await fetch(gateway, session))[0], taken
        finally:
            await gateway.close()

    got, session = asyncio.run(first())
    again, taken = asyncio.run(second(session))
    assert (again, taken) == (got, len(got))
    assert all(json.loads(line) for line in got.splitlines())


def test_sessions_that_a_pause_cut_stay_ended_when_it_is_lifted(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        gateway.authority.pause(gateway.authority.order("vendor/quillwork", reason="breach"))
        await gateway.authority.lift("vendor/quillwork", reason="clear", by="test")
        with pytest.raises(SessionEnded):
            await gateway.access.open(session, KEY, choose=whole, client=DESK)
        got, _ = await fetch(gateway, await a_session(gateway, "q03"))
        assert got

    in_gateway(body)


def test_somebody_essential_goes_on_during_a_pause(in_gateway):
    async def body(gateway):
        session, other = await a_session(gateway, "q03"), await a_session(gateway, "q04")
        order = gateway.authority.order("vendor/quillwork", reason="breach", essential=["person/quillwork/q03"])
        gateway.authority.pause(order)
        assert (await fetch(gateway, session))[0]
        with pytest.raises(Paused):
            await fetch(gateway, other)

    in_gateway(body)


QUORUM = Quorum(frozenset({"orchid"}))


def without_witnesses(gateway, quorum):
    """A gateway that waits for witnesses, and none answers."""
    gateway.custody.quorum = quorum

    async def nobody(size):
        raise LedgerUnavailable(f"the quorum has not cosigned {size} entries")

    gateway.custody.ledger.witnessed = nobody


def test_in_a_witnessed_project_no_access_goes_ahead_without_the_quorum(in_gateway):
    async def body(gateway):
        without_witnesses(gateway, QUORUM)
        session = await a_session(gateway, "q03")
        for _ in range(2):  # the second must not slip in under the first's window
            with pytest.raises(LedgerUnavailable, match="quorum"):
                await fetch(gateway, session)
        with pytest.raises(LedgerUnavailable):
            await gateway.access.list(session, prefix="", client=DESK)
        with pytest.raises(LedgerUnavailable):
            await gateway.access.accept(session, "quill-assessments/a", length=1, client=DESK)
        await gateway.custody.ledger.flush()
        assert newest(gateway, "access.outcome")["sent"] == 0
        assert not gateway.custody._open

    in_gateway(body)


def test_the_first_read_after_the_quorum_is_back_goes_ahead(in_gateway):
    async def body(gateway):
        without_witnesses(gateway, QUORUM)
        session = await a_session(gateway, "q03")
        with pytest.raises(LedgerUnavailable, match="quorum"):
            await fetch(gateway, session)

        async def stands(size):
            pass

        gateway.custody.ledger.witnessed = stands
        await fetch(gateway, session)

    in_gateway(body)


def test_it_goes_ahead_when_the_quorum_stands_and_in_projects_that_need_none(in_gateway):
    """The control: what refuses above is the missing quorum, and nothing else."""

    async def body(gateway):
        session = await a_session(gateway, "q03")
        asked = []

        async def stands(size):
            asked.append(size)

        gateway.custody.quorum = QUORUM
        gateway.custody.ledger.witnessed = stands
        _, delivery = await fetch(gateway, session)
        assert asked == [delivery.receipt.index + 1]
        without_witnesses(gateway, Quorum(frozenset({"helio"})))
        await fetch(gateway, session, lambda copy, at: Span(206, 0, 10))

    in_gateway(body)


def test_where_it_is_configured_so_an_access_goes_ahead_unwitnessed_and_is_counted(in_gateway):
    async def body(gateway):
        without_witnesses(gateway, Quorum(frozenset({"orchid"}), serve=True))
        session = await a_session(gateway, "q03")
        await fetch(gateway, session)
        await gateway.access.list(session, prefix="", client=DESK)
        await gateway.custody.write_counts()
        assert newest(gateway, "access.unwitnessed")["count"] == 2

    in_gateway(body)


def test_how_the_witnesses_cosign_is_recorded_every_ten_minutes(in_gateway):
    async def body(gateway):
        custody = gateway.custody
        stretches = [Stretch(7, 60.0, 2.5, 30.0), Stretch(8, 70.0, 1.0, 40.0)]
        custody.ledger.witnessed_stretch = lambda: stretches.pop(0) if stretches else None
        began = custody.clock.now()
        size = custody.ledger.head().size
        for passed in (0, 599, 600, 601, 1199, 1201, 1900):
            custody.clock.now = lambda passed=passed: began + passed
            await custody.write_witnessed()
        told = [decode(raw) for _, raw in custody.ledger.entries(size)]
        assert [(e["kind"], e["size"], e["since_us"], e["ago_us"], e["gap_us"]) for e in told] == [
            ("log.witnessed", 7, 60_000_000, 2_500_000, 30_000_000),
            ("log.witnessed", 8, 70_000_000, 1_000_000, 40_000_000),
        ]

    in_gateway(body)


def test_an_order_gets_one_entry_however_many_come_to_write_it(in_gateway):
    async def body(gateway):
        authority = gateway.authority
        order = authority.order("vendor/quillwork", reason="breach")
        authority.pause(order)
        ledger, real = gateway.custody.ledger, gateway.custody.ledger.append

        async def slow(entry, side=None):
            await asyncio.sleep(0.01)
            return await real(entry, side)

        ledger.append = slow
        recording = asyncio.create_task(authority.record_pause(order, streams=0, sessions=0, by="test"))
        await asyncio.sleep(0)  # the order is noted, and being kept
        assert authority._unlogged
        await authority.log_unlogged()  # as housekeeping does, at just this moment
        receipt = await recording
        del ledger.append
        orders = [i for i, raw in ledger.entries() if decode(raw)["kind"] == "pause.order"]
        assert orders == [receipt.index]

    in_gateway(body)


def test_a_verb_that_is_not_known_or_fails_is_an_answer(in_gateway):
    async def body(gateway):
        unknown = await answer_to(gateway, "none", {}, by="test")
        assert unknown["error"]["kind"] == "Invalid"
        failed = await answer_to(gateway, "resume", {}, by="test")
        assert "own log" in failed["error"]["message"]

    in_gateway(body)
