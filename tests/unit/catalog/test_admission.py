"""Grants to a gated vendor's people wait for its admission; and without a gate they wait for nothing."""

from __future__ import annotations

import asyncio

import pytest

from inprocess import a_gateway
from limen.catalog.changes import GrantAdd, VendorAdmit, VendorGate
from limen.config import Config, Server
from limen.core.errors import Denied, Invalid, NotFound
from limen.core.types import Action
from limen.server import Gateway

FAR = 4_000_000_000


def a_grant():
    return GrantAdd(
        holder="quillwork/q07",
        project="orchid",
        assets=("orchid-sft-v3",),
        actions=(Action.READ,),
        granted_by="lab/mira",
        expires_at=FAR,
    )


async def make(gateway, *changes):
    return await gateway.authority.change(list(changes), by="test")


def until(gateway, seconds):
    return VendorAdmit(id="quillwork", basis="gate", entry=0, valid_until=gateway.custody.clock.now() + seconds)


def test_a_gated_vendor_gets_no_grant_before_it_is_admitted(in_gateway):
    async def body(gateway):
        await make(gateway, a_grant())  # the control: without a gate
        await make(gateway, VendorGate(id="quillwork"))
        with pytest.raises(Denied, match="has not been admitted") as refused:
            await make(gateway, a_grant())
        assert refused.value.rule == "not-admitted"
        await make(gateway, until(gateway, 1000))
        await make(gateway, a_grant())

    in_gateway(body)


def test_gated_again_it_is_admitted_no_more_and_an_admission_ends(in_gateway):
    async def body(gateway):
        await make(gateway, VendorGate(id="quillwork"), until(gateway, 1000))
        await make(gateway, VendorGate(id="quillwork"))
        with pytest.raises(Denied, match="has not been admitted"):
            await make(gateway, a_grant())
        await make(gateway, until(gateway, 1000))
        later = gateway.custody.clock.now() + 2000
        gateway.custody.clock._read = lambda: later
        with pytest.raises(Denied, match="its admission has ended"):
            await make(gateway, a_grant())

    in_gateway(body)


def test_what_admits_nobody_is_refused(in_gateway):
    async def body(gateway):
        with pytest.raises(Invalid, match="not gated"):
            await make(gateway, until(gateway, 1000))
        with pytest.raises((Invalid, NotFound), match="no vendor"):
            await make(gateway, VendorGate(id="none"))
        await make(gateway, VendorGate(id="quillwork"))
        with pytest.raises(Invalid, match="in the past"):
            await make(gateway, until(gateway, -1))
        with pytest.raises(Invalid, match="not in the log"):
            await make(gateway, VendorAdmit(id="quillwork", basis="gate", entry=10**6, valid_until=FAR))

    in_gateway(body)


def test_it_outlasts_a_restart_and_a_control_database_that_is_made_anew(tmp_path):
    async def gated():
        gateway = await a_gateway(tmp_path)
        await make(gateway, VendorGate(id="quillwork"))
        await make(gateway, VendorGate(id="tessel"), VendorAdmit(id="tessel", basis="waiver", entry=0, valid_until=FAR))
        await gateway.close()

    async def again():
        gateway = await Gateway.open(Config(data=tmp_path, server=Server(mode="development")))
        with pytest.raises(Denied, match="has not been admitted"):
            await make(gateway, a_grant())
        assert gateway.custody.catalog.snapshot.state.admissions["tessel"].basis == "waiver"
        await gateway.close()

    asyncio.run(gated())
    asyncio.run(again())
