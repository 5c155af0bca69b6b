"""Erasing a person: when it is refused, what it keeps, and what a crash in the middle leaves."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
import sqlite3

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.catalog.catalog import Catalog
from limen.config import Config, Server
from limen.core.errors import Denied, Invalid, NotFound, SessionEnded, TamperDetected
from limen.core.events import decode
from limen.core.types import Span
from limen.privacy import erasure
from limen.server import Gateway
from limen.verbs import VERBS

WHO = "quillwork/q03"
KEY = "orchid-sft-v3/sft.jsonl"


async def verb(gateway, name, **args):
    return await VERBS[name](gateway, args, "uid:1001")


async def change(gateway, kind, **fields):
    return await verb(gateway, "change", kind=kind, change=fields)


async def erase(gateway, person=WHO, *, reason="request 2026/7", end=True):
    return await verb(gateway, "person.erase", person=person, reason=reason, end=end)


def entries(gateway, kind):
    return [decode(raw) for _, raw in gateway.custody.ledger.entries() if decode(raw)["kind"] == kind]


def sides_of(gateway, ref):
    heads = gateway.custody.ledger.side_heads(0, gateway.custody.ledger.head().size)
    return [(index, name) for index, name, head in heads if head[1:] == ref]


def state(catalog):
    """What the catalog holds, row by row, and how many it has ever granted what to."""
    stored = {each.name: getattr(catalog.snapshot.state, each.name) for each in dataclasses.fields(catalog.snapshot.state)}
    found = {name: {key: table[key] for key in table} for name, table in stored.items()}
    found["rolls"] = {name: (roll.first, roll.entries) for name, roll in found["rolls"].items()}
    found["held"] = {key: grants for key, grants in found["held"].items() if grants}
    return found


# --- when it is refused


def test_a_person_on_legal_hold_is_not_erased_until_it_is_lifted(in_gateway):
    async def body(gateway):
        ref = gateway.custody.catalog.ref(WHO)
        await change(gateway, "hold.set", id=WHO, reason="case 17")
        before = gateway.custody.ledger.head().size
        with pytest.raises(
            Denied, match=r"on legal hold since .*nothing was erased; ask the lab's security team, who can lift it"
        ):
            await erase(gateway)
        assert gateway.custody.ledger.head().size == before
        assert gateway.custody.catalog.snapshot.person(WHO).ended_at is None
        assert sides_of(gateway, ref)
        await change(gateway, "hold.lift", id=WHO, reason="closed")
        await erase(gateway)
        assert not sides_of(gateway, ref)
        [held], [lifted] = entries(gateway, "hold.set"), entries(gateway, "hold.lift")
        assert held["person"] == lifted["person"] == gateway.custody.catalog.pseudonym(WHO, "")
        assert "case" not in json.dumps([held, lifted])

    in_gateway(body)


@pytest.mark.parametrize(
    ("kind", "person", "why"),
    [
        ("hold.lift", WHO, "is not on legal hold"),
        ("hold.set", "quillwork/nobody", "there is no person"),
        ("hold.set", "quillwork/ci", "there is no person"),
    ],
)
def test_a_hold_that_can_not_be_says_why(in_gateway, kind, person, why):
    async def body(gateway):
        with pytest.raises(Invalid, match=why):
            await change(gateway, kind, id=person, reason="case 17")

    in_gateway(body)


def test_a_second_hold_and_a_hold_on_somebody_erased_are_refused(in_gateway):
    async def body(gateway):
        await change(gateway, "hold.set", id="quillwork/q04", reason="case 17")
        with pytest.raises(Invalid, match="already"):
            await change(gateway, "hold.set", id="quillwork/q04", reason="case 18")
        await erase(gateway)
        with pytest.raises(Invalid, match="was erased; nothing is left to hold"):
            await change(gateway, "hold.set", id=WHO, reason="case 17")

    in_gateway(body)


def test_somebody_active_is_not_erased_unless_they_are_ended_with_it(in_gateway):
    async def body(gateway):
        with pytest.raises(Denied, match="has not ended; end them first"):
            await erase(gateway, end=False)
        assert gateway.custody.catalog.sealable(WHO)
        await change(gateway, "person.end", id=WHO, reason="left")
        await erase(gateway, end=False)

    in_gateway(body)


@pytest.mark.parametrize("reason", ["as Person quillwork/q03 asked", "Q03 left", ""])
def test_a_reason_that_names_the_person_is_refused_before_anything_is_done(in_gateway, reason):
    async def body(gateway):
        with pytest.raises(Invalid, match="reason"):
            await erase(gateway, reason=reason)
        assert gateway.custody.catalog.snapshot.person(WHO).ended_at is None

    in_gateway(body)


def test_an_erasure_can_not_be_slipped_in_as_a_plain_change(in_gateway):
    async def body(gateway):
        with pytest.raises(Invalid, match="limen person erase"):
            await change(gateway, "erasure", id=WHO, reason="x", pseudonyms={}, records={})

    in_gateway(body)


@pytest.mark.parametrize("person", ["quillwork/nobody", "quillwork/ci"])
def test_only_a_person_is_erased(in_gateway, person):
    async def body(gateway):
        with pytest.raises(NotFound):
            await erase(gateway, person)

    in_gateway(body)


# --- what it does


def test_it_says_what_it_destroyed_and_asking_again_changes_nothing(in_gateway):
    async def body(gateway):
        await a_session(gateway, "q03")
        first = await erase(gateway)
        again = await erase(gateway)
        assert (first["swept"], again["swept"], again["entry"]) == (True, True, first["entry"])
        assert first["records"] == {"change": 4, "identity": 1, "network": 1, "request": 1}
        [entry] = entries(gateway, "erasure")
        assert entry["records"] == first["records"]
        assert entry["classes"] == ["change", "identity", "network", "request"]
        assert entry["person"] == gateway.custody.catalog.pseudonym(WHO, "")
        assert "request 2026" not in json.dumps(entry)

    in_gateway(body)


def test_a_sponsors_workloads_and_their_detail_go_with_them(in_gateway):
    async def body(gateway):
        await a_session(gateway, "ci")
        ref = gateway.custody.catalog.ref("quillwork/ci")
        answer = await erase(gateway, "quillwork/q11")
        assert list(answer["also"]) == ["quillwork/ci"]
        assert gateway.custody.catalog.snapshot.holder_by_id("quillwork/ci").subject == ""
        assert not sides_of(gateway, ref)

    in_gateway(body)


def test_whoever_was_enrolled_twice_is_erased_under_both_ids(in_gateway):
    async def body(gateway):
        await change(gateway, "person.end", id=WHO, reason="left")
        again = {"id": "quillwork/q33", "vendor": "quillwork", "issuer": "https://id.example", "subject": "q03", "name": "P"}
        await change(gateway, "person.add", **again)
        with pytest.raises(Denied, match="quillwork/q33 has not ended"):
            await erase(gateway, end=False)
        erased = await erase(gateway)
        assert list(erased["also"]) == ["quillwork/q33"]
        assert (await erase(gateway, "quillwork/q33"))["entry"] == erased["entry"]
        with pytest.raises(NotFound):
            gateway.custody.catalog.snapshot.holder("https://id.example", "q03")

    in_gateway(body)


def test_the_same_identity_can_be_enrolled_anew_and_is_then_somebody_new(in_gateway):
    async def body(gateway):
        before = gateway.custody.catalog.snapshot.recipient(WHO, "orchid-sft-v3")
        await erase(gateway)
        again = {"id": "quillwork/q33", "vendor": "quillwork", "issuer": "https://id.example", "subject": "q03", "name": "P"}
        await change(gateway, "person.add", **again)
        assert gateway.custody.catalog.snapshot.recipient("quillwork/q33", "orchid-sft-v3").copy_id != before.copy_id
        assert gateway.custody.catalog.snapshot.recipient(WHO, "orchid-sft-v3") == before

    in_gateway(body)


def test_an_erased_persons_open_session_is_refused_and_the_refusal_keeps_no_detail(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await erase(gateway)
        with pytest.raises(SessionEnded):
            await gateway.access.open(session, KEY, choose=lambda *_: None, client=DESK)
        refusal = entries(gateway, "access.refusal")[-1]
        assert refusal["who"] == session.pseudonym
        assert "commit" not in refusal
        with pytest.raises(Denied, match="not enrolled"):
            await a_session(gateway, "q03")

    in_gateway(body)


def test_orders_about_the_person_leave_memory_and_the_file_that_keeps_them(in_gateway):
    async def body(gateway):
        kept = gateway.config.data / "live.json"
        await a_session(gateway, "q03")
        other = await a_session(gateway, "q04")
        for subject in (f"person/{WHO}", f"session/{other.id}"):
            await verb(gateway, "pause", subject=subject, reason=f"Ada's laptop at {subject[:6]}")
        await verb(gateway, "resume", subject=f"person/{WHO}", reason="found")
        await verb(gateway, "pause", subject=f"person/{WHO}", reason="Ada lost it again")
        assert b"lost it again" in kept.read_bytes()
        assert b"laptop at person" not in kept.read_bytes(), "a lifted order's reason is told to nobody any more"
        await erase(gateway)
        assert b"lost it again" not in kept.read_bytes()
        assert [pause.subject for pause in gateway.custody.live.pauses()] == [f"session/{other.id}"]
        assert WHO not in {session.holder for session in gateway.authority.sessions.values()}

    in_gateway(body)


async def whole_copy(gateway, session, sample):
    """Reads a person's whole copy, and keeps it as a sample that was found somewhere."""
    got = []

    async def kept(message):
        got.append(message)

    delivery = await gateway.access.open(session, KEY, choose=lambda copy, _: Span(200, 0, copy.length), client=DESK)
    await delivery.send_to(kept, lambda: None)
    delivery.close()
    sample.write_bytes(b"".join(bytes(each) for each in got))


def test_a_trace_and_an_exposure_say_after_an_erasure_what_they_said_before(in_gateway, tmp_path):
    async def reports(gateway):
        found = await verb(gateway, "trace", paths=[str(tmp_path / "sample.jsonl")])
        exposed = await verb(gateway, "exposure", subject="vendor/quillwork")
        of_this_trace = {"case", "sample", "sample_entry", "result_entry", "document", "traced_at_us"}
        trace = {name: value for name, value in found.items() if name not in of_this_trace}
        return trace, {name: value for name, value in exposed.items() if name != "ledger"}

    async def body(gateway):
        await whole_copy(gateway, await a_session(gateway, "q03"), tmp_path / "sample.jsonl")
        await whole_copy(gateway, await a_session(gateway, "q04"), tmp_path / "other.jsonl")
        before = await reports(gateway)
        copy_id = gateway.custody.catalog.snapshot.state.copies[WHO]
        assert [copy["copy"] for copy in before[0]["copies"]] == [copy_id]
        assert before[0]["copies"][0]["sessions"]
        await erase(gateway)
        assert await reports(gateway) == before

    in_gateway(body)


# --- a crash in the middle, and a replay


class Crashed(RuntimeError):
    """Stands for the process's end at this point."""


def crash(*_, **__):
    raise Crashed


def gone(data):
    return Gateway.open(Config(data=data, server=Server(mode="development")))


@pytest.mark.parametrize(
    "point",
    [
        "limen.catalog.catalog.Catalog.apply_all",
        "limen.catalog.catalog._destroy",
        "limen.authority.Authority.forget",
        "limen.ledger.ledger.Ledger.delete_sides",
        "limen.ledger.ledger.Ledger.forget",
        "limen.catalog.catalog.Catalog.sweep",
        "limen.catalog.catalog.Catalog.swept",
    ],
)
def test_the_next_start_finishes_what_a_crash_interrupted(tmp_path, monkeypatch, point):
    data = tmp_path / "data"

    async def before():
        gateway = await a_gateway(data)
        await a_session(gateway, "q03")
        await change(gateway, "person.end", id=WHO, reason="left")
        ref, key = gateway.custody.catalog.subject_key(WHO)
        with monkeypatch.context() as broken:
            broken.setattr(point, crash)
            with pytest.raises(Crashed):
                await erase(gateway)
        assert len(entries(gateway, "erasure")) == 1
        await gateway.close()
        return ref, key

    async def after():
        gateway = await gone(data)
        catalog = gateway.custody.catalog
        assert catalog.snapshot.person(WHO).erased_at is not None
        assert not catalog.unswept
        assert not sides_of(gateway, ref)
        assert not any(key in path.read_bytes() for path in data.rglob("*") if path.is_file())
        assert len(entries(gateway, "erasure")) == 1
        await gateway.close()

    ref, key = asyncio.run(before())
    asyncio.run(after())


def test_nothing_is_destroyed_before_the_entry_is_durable(in_gateway, monkeypatch):
    async def body(gateway):
        catalog = gateway.custody.catalog
        await change(gateway, "person.end", id=WHO, reason="left")
        before = sides_of(gateway, catalog.ref(WHO))
        with monkeypatch.context() as broken:
            broken.setattr(gateway.custody.ledger, "append_all", crash)
            with pytest.raises(Crashed):
                await erase(gateway)
        assert sides_of(gateway, catalog.ref(WHO)) == before
        assert catalog.sealable(WHO)
        assert catalog.subject_key(WHO)

    in_gateway(body)


def test_a_reader_in_the_way_is_told_and_the_housekeeping_finishes_it(in_gateway, monkeypatch):
    monkeypatch.setattr("limen.ledger.ledger.FORGET_TRIES", 1)

    async def body(gateway):
        with contextlib.closing(sqlite3.connect(gateway.config.data / "ledger.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM head").fetchall()
            assert not (await erase(gateway))["swept"]
            assert gateway.custody.catalog.unswept
        await gateway.retention.keep()
        assert not gateway.custody.catalog.unswept

    in_gateway(body)


def rebuilt(data):
    """The control tables made anew from the ledger, with nothing but the keys that there are."""
    path = data / "control.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        keys = old.execute("SELECT holder, ref, key FROM subject_key").fetchall()
    for each in data.glob("control.db*"):
        each.unlink()
    Catalog.open(f"sqlite:///{path}", random=bytes).close()
    with contextlib.closing(sqlite3.connect(path)) as fresh, fresh:
        fresh.executemany("INSERT INTO subject_key (holder, ref, key) VALUES (?, ?, ?)", keys)


def test_empty_control_tables_are_rebuilt_from_the_ledger_and_the_erased_stand_there_erased(tmp_path):
    data = tmp_path / "data"

    async def before():
        gateway = await a_gateway(data)
        await change(gateway, "hold.set", id=WHO, reason="case 17")
        await change(gateway, "hold.lift", id=WHO, reason="closed")
        await erase(gateway)
        await erase(gateway, "quillwork/q11")
        await change(gateway, "person.end", id="quillwork/q05", reason="left")
        found = state(gateway.custody.catalog), gateway.custody.catalog.pseudonym(WHO, "orchid")
        await gateway.close()
        return found

    async def after():
        gateway = await gone(data)
        found = state(gateway.custody.catalog), gateway.custody.catalog.pseudonym(WHO, "orchid")
        assert gateway.recovered.changes_applied > 50
        await gateway.close()
        return found

    found = asyncio.run(before())
    rebuilt(data)
    assert asyncio.run(after()) == found


def test_control_a_side_record_that_is_gone_without_an_erasure_stops_the_rebuilding(tmp_path):
    data = tmp_path / "data"

    async def before():
        gateway = await a_gateway(data)
        [index, *_] = [i for i, name in sides_of(gateway, gateway.custody.catalog.ref(WHO)) if name == "change"]
        await gateway.custody.ledger.delete_sides([(index, "change")])
        await gateway.close()
        return index

    index = asyncio.run(before())
    rebuilt(data)
    with pytest.raises(TamperDetected, match=f"the side record of entry {index} is gone, and no erasure says why"):
        asyncio.run(gone(data))


def test_without_its_keys_a_control_database_is_refused_in_one_sentence(tmp_path):
    data = tmp_path / "data"
    asyncio.run(_made_and_closed(data))
    for each in data.glob("control.db*"):
        each.unlink()
    with pytest.raises(NotFound, match=r"control\.db does not hold it; restore the control\.db that goes with this log"):
        asyncio.run(gone(data))


def test_a_control_database_from_before_the_erasure_learns_of_it(tmp_path):
    data = tmp_path / "data"

    async def scene():
        gateway = await a_gateway(data)
        await change(gateway, "person.end", id=WHO, reason="left")
        key = gateway.custody.catalog.subject_key(WHO).key
        gateway.custody.catalog.sweep()
        shutil.copy(data / "control.db", tmp_path / "old.db")
        await erase(gateway)
        await gateway.close()
        shutil.copy(tmp_path / "old.db", data / "control.db")
        gateway = await gone(data)
        assert gateway.custody.catalog.snapshot.person(WHO).erased_at is not None
        assert not any(key in path.read_bytes() for path in data.rglob("*") if path.is_file())
        await gateway.close()

    asyncio.run(scene())


async def _made_and_closed(data):
    gateway = await a_gateway(data)
    await gateway.close()


def test_control_after_a_sweep_that_does_nothing_the_same_search_finds_the_records(in_gateway, monkeypatch):

    async def nothing(*_):
        return True

    monkeypatch.setattr(erasure, "sweep", nothing)

    async def body(gateway):
        ref = gateway.custody.catalog.ref(WHO)
        await erase(gateway)
        assert sides_of(gateway, ref)
        assert gateway.custody.catalog.unswept

    in_gateway(body)
