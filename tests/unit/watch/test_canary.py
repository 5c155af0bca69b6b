"""A canary asset: its reads say so in their own entries, and nothing else tells anybody which asset is one."""

from __future__ import annotations

import asyncio
import json

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.catalog.changes import AssetAdd, GrantAdd
from limen.catalog.imports import read_import
from limen.core.errors import Invalid, LimenError
from limen.core.events import decode
from limen.core.types import Action, Span
from limen.registration import Marking, Source

HONEY = "orchid-answers"


class Bell:
    """Who watches: counts how often it was told."""

    def __init__(self):
        self.rung = 0

    def notice(self):
        self.rung += 1

    def forget_networks(self):
        pass


async def with_canary(data, *, canary=True, granted=True):
    gateway = await a_gateway(data)
    by = "test"
    honey = AssetAdd(id=HONEY, project="orchid", asset_class="training", tier="internal", canary=canary)
    await gateway.authority.change([honey], by=by)
    if granted:
        words = {"holder": "quillwork/q03", "project": "orchid", "granted_by": "lab/mira", "expires_at": 2**31}
        await gateway.authority.change([GrantAdd(assets=(HONEY,), actions=(Action.READ, Action.HEAD), **words)], by=by)
    source = data / "answers.jsonl"
    source.write_text('{"a":1}\n' * 50)
    await gateway.registrar.register(HONEY, [Source("answers.jsonl", source)], Marking(marked=False), by=by)
    gateway.custody.watcher = Bell()
    return gateway


async def touch(gateway, path, action=Action.READ):
    session = await a_session(gateway, "q03")

    def choose(copy, modified_at):
        return Span(200, 0, copy.length)

    delivery = await gateway.access.open(session, path, choose=choose, client=DESK, action=action)
    await delivery.send_to(lambda chunk: asyncio.sleep(0), lambda: None)


def entries(gateway, kind):
    return [e for _, raw in gateway.custody.ledger.entries() if (e := decode(raw))["kind"] == kind]


@pytest.mark.parametrize("action", [Action.READ, Action.HEAD])
def test_touching_a_canary_is_flagged_in_the_intent_and_told_at_once(tmp_path, action):
    async def run():
        gateway = await with_canary(tmp_path)
        await touch(gateway, f"{HONEY}/answers.jsonl", action)
        [intent] = entries(gateway, "access.intent")
        assert intent["canary"] is True
        assert gateway.custody.watcher.rung == 1
        await gateway.close()

    asyncio.run(run())


def test_control_another_asset_rings_no_bell(tmp_path):
    async def run():
        gateway = await with_canary(tmp_path, canary=False)
        await touch(gateway, f"{HONEY}/answers.jsonl")
        await touch(gateway, "orchid-sft-v3/sft.jsonl")
        assert not any("canary" in intent for intent in entries(gateway, "access.intent"))
        assert gateway.custody.watcher.rung == 0
        await gateway.close()

    asyncio.run(run())


def test_being_refused_a_canary_is_flagged_too(tmp_path):
    async def run():
        gateway = await with_canary(tmp_path, granted=False)
        with pytest.raises(LimenError):
            await touch(gateway, f"{HONEY}/answers.jsonl")
        [refusal] = entries(gateway, "access.refusal")
        assert refusal["canary"] is True
        assert gateway.custody.watcher.rung == 1
        await gateway.close()

    asyncio.run(run())


def test_the_log_does_not_say_which_asset_is_one_and_a_restart_remembers(tmp_path):
    async def run():
        gateway = await with_canary(tmp_path)
        assert not any(b"canary" in raw for _, raw in gateway.custody.ledger.entries())
        await gateway.close()
        gateway = await type(gateway).open(gateway.config)
        assert gateway.custody.catalog.snapshot.asset(HONEY).canary
        assert not gateway.custody.catalog.snapshot.asset("orchid-sft-v3").canary
        await gateway.close()

    asyncio.run(run())


def test_an_import_names_a_canary_and_a_drop_box_can_be_none(tmp_path):
    asset = {"id": "x", "project": "orchid", "class": "training", "tier": "internal", "canary": True}
    [change] = read_import(json.dumps({"asset": [asset]}).encode(), "json")
    assert change.canary

    async def run():
        gateway = await a_gateway(tmp_path)
        drop = AssetAdd(id="d", project="orchid", asset_class="training", tier="internal", asset_kind="drop", canary=True)
        with pytest.raises(Invalid, match="canary"):
            await gateway.authority.change([drop], by="test")
        await gateway.close()

    asyncio.run(run())
