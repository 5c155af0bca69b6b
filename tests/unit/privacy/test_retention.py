"""Network detail goes after its time, once a day; a legal hold keeps the held person's."""

from __future__ import annotations

import pytest

from inprocess import a_session
from limen.config import Log, load
from limen.core.errors import Invalid, NotFound
from limen.core.events import decode
from limen.core.types import Client
from limen.ledger.scribe import side_ref
from limen.privacy.retention import DAY_S, Retention, expire
from limen.verbs import VERBS


def networks(gateway):
    """Whose network detail is there."""
    catalog, ledger = gateway.custody.catalog, gateway.custody.ledger
    heads = ledger.side_heads(0, ledger.head().size)
    return sorted(catalog.holder_under(side_ref(head)) for _, name, head in heads if name == "network")


def expiries(gateway):
    return [entry for _, raw in gateway.custody.ledger.entries() if (entry := decode(raw))["kind"] == "network.expire"]


async def three_sessions(gateway):
    for subject in ("q03", "q04", "ci"):
        await a_session(gateway, subject)
    return gateway.custody.clock.now() + 10  # as if all of it were written before this


def test_what_is_past_its_time_goes_and_an_entry_says_how_many(in_gateway):
    async def body(gateway):
        later = await three_sessions(gateway)
        index = await expire(gateway.custody, before=later)
        assert networks(gateway) == []
        assert [(entry["before"], entry["count"]) for entry in expiries(gateway)] == [(later, 3)]
        assert index == gateway.custody.ledger.head().size - 1
        names = {name for _, name, _ in gateway.custody.ledger.side_heads(0, index)}
        assert names == {"change", "identity", "request"}
        assert await expire(gateway.custody, before=later) is None, "nothing to say a second time"
        [login, *_] = [i for i, raw in gateway.custody.ledger.entries() if decode(raw)["kind"] == "session.start"]
        with pytest.raises(NotFound, match="it was erased, or was past its time"):
            await VERBS["name.disclose"](gateway, {"index": login, "class": "network"}, "uid:1001")

    in_gateway(body)


def test_no_byte_of_an_expired_address_remains(in_gateway, monkeypatch):
    monkeypatch.setattr("inprocess.DESK", Client("203.0.113.77", "zeldas-laptop"))

    async def body(gateway):
        later = await three_sessions(gateway)
        ledger = gateway.custody.ledger
        sealed = [raw[29:] for _, name, raw in ledger.sides(0, ledger.head().size) if name == "network"]
        await ledger.flush()

        def found():
            everything = b"".join(path.read_bytes() for path in gateway.config.data.rglob("*") if path.is_file())
            return [raw for raw in sealed if raw in everything]

        assert found() == sealed, "control: before, the search finds all"
        await expire(gateway.custody, before=later)
        assert found() == []

    in_gateway(body)


def test_what_is_within_its_time_stays(in_gateway):
    async def body(gateway):
        await three_sessions(gateway)
        assert await expire(gateway.custody, before=gateway.custody.clock.now() - DAY_S) is None
        assert len(networks(gateway)) == 3

    in_gateway(body)


def test_a_legal_hold_keeps_the_persons_and_their_workloads_until_it_is_lifted(in_gateway):
    async def body(gateway):
        later = await three_sessions(gateway)
        hold = {"kind": "hold.set", "change": {"id": "quillwork/q11", "reason": "case 17"}}
        await VERBS["change"](gateway, hold, "test")
        await expire(gateway.custody, before=later)
        assert networks(gateway) == ["quillwork/ci"]
        await VERBS["change"](gateway, {**hold, "kind": "hold.lift"}, "test")
        await expire(gateway.custody, before=later)
        assert networks(gateway) == []

    in_gateway(body)


def test_the_calendar_looks_once_a_day_and_at_the_start(in_gateway):
    async def body(gateway):
        await three_sessions(gateway)
        retention = Retention(gateway.custody, gateway.authority, network_days=-1)  # everything is past its time
        assert await retention.keep() is not None
        await a_session(gateway, "q05")
        assert await retention.keep() is None
        retention.due -= DAY_S
        assert await retention.keep() is not None

    in_gateway(body)


def test_the_time_is_ninety_days_unless_told_and_never_none(tmp_path):
    assert Log().network_days == 90
    (tmp_path / "limen.toml").write_text("[ledger]\nnetwork_days = 7\n")
    assert load(tmp_path).ledger.network_days == 7
    (tmp_path / "limen.toml").write_text("[ledger]\nnetwork_days = 0\n")
    with pytest.raises(Invalid, match="network_days"):
        load(tmp_path)
