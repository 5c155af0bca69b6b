"""An open gateway whose newest version holds gold items, and people who read it and return work."""

from __future__ import annotations

import asyncio
import json

from goldwork import gold, pool
from goldwork import lines as jsonl
from inprocess import DESK, ISSUER, a_session
from limen.config import Config, Server
from limen.core.events import decode
from limen.core.types import Span
from limen.registration import Marking, Source
from limen.server import Gateway
from limen.verbs import VERBS
from simulator import catalog

ASSET, BOX, TRAINING = "orchid-sft-v3", "quill-assessments", "helio-prefs-v2"
EACH = 6
ITEMS = gold(16, EACH)  # for all who were ever granted the asset
ROWS = pool(170)
ANSWERS = {item["id"]: item["label"] for item in ITEMS}


def other(label):
    return "no" if label == "yes" else "yes"


class Lab:
    """A gateway whose newest version holds gold items, and people who read it and return work."""

    def __init__(self, gateway):
        self.gateway = gateway

    async def register(self, items=ITEMS, rows=ROWS, **marking):
        source = self.gateway.config.data / "pool.jsonl"
        source.write_bytes(jsonl(rows))
        canaries = tuple(json.dumps(item) for item in items)
        marking = Marking(canaries=canaries, **{"canaries_each": EACH, "gold_field": "label", **marking})
        await self.gateway.registrar.register(ASSET, [Source("pool.jsonl", source)], marking, by="test")

    async def reads(self, who, *, share=1.0):
        """What somebody is handed of the pool, as rows."""
        session = await a_session(self.gateway, who)
        delivery = await self.gateway.access.open(
            session, f"{ASSET}/pool.jsonl", choose=lambda copy, _: Span(206, 0, int(copy.length * share)), client=DESK
        )
        got = bytearray()

        async def send(chunk):
            got.extend(chunk)

        await delivery.send_to(send, lambda: None)
        text = got.decode()
        return [json.loads(line) for line in text[: text.rfind("\n")].splitlines()]

    async def returns(self, who, path, raw):
        session = await a_session(self.gateway, who)
        reception = await self.gateway.access.accept(session, f"{BOX}/{path}", length=len(raw), client=DESK)
        await reception.write(raw)
        await reception.commit()

    async def does(self, verb, **args):
        return await VERBS[verb](self.gateway, args, "test")

    def pseudonym(self, who):
        return self.gateway.custody.catalog.pseudonym(f"quillwork/{who}", "orchid")

    def entries(self, kind):
        found = [(index, decode(raw)) for index, raw in self.gateway.custody.ledger.entries()]
        return [(index, entry) for index, entry in found if entry["kind"] == kind]


def answered(rows, *, wrong=()):
    """Rows as their worker returns them: gold items right but for those named, others with any label."""
    own = [row["id"] for row in rows if row["id"] in ANSWERS]
    bad = {own[n] for n in wrong}
    labels = {name: other(ANSWERS[name]) if name in bad else ANSWERS[name] for name in own}
    return [{**row, "label": labels.get(row["id"], "yes")} for row in rows]


def run(data, body):
    """Open a gateway with the simulator's catalog, let `body` do something with its lab, and close it."""

    async def story():
        gateway = await Gateway.open(Config(data=data, server=Server(mode="development")))
        try:
            await VERBS["import"](gateway, {"text": json.dumps(catalog(ISSUER)), "format": "json"}, "test")
            await body(Lab(gateway))
        finally:
            await gateway.close()

    asyncio.run(story())
