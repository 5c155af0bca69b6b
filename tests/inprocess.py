"""An open gateway in the test's own process, for what is below the doors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from limen.config import Config, Server
from limen.core.types import Client
from limen.identity.oidc import Claims
from limen.registration import Marking, Source
from limen.server import Gateway
from limen.verbs import VERBS
from simulator import catalog, records

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "https://id.example"
DESK = Client("127.0.0.1", "test")


async def a_gateway(data: Path) -> Gateway:
    """The simulator's catalog, with 600 marked records as orchid-sft-v3."""
    gateway = await Gateway.open(Config(data=data, server=Server(mode="development")))
    text = json.dumps(catalog(ISSUER))
    await VERBS["import"](gateway, {"text": text, "format": "json"}, "test")
    source = data / "sft.jsonl"
    source.write_bytes(records(600))
    await gateway.registrar.register("orchid-sft-v3", [Source("sft.jsonl", source)], Marking(), by="test")
    return gateway


async def a_session(gateway: Gateway, subject: str, project: str = "orchid") -> Any:
    """A session as STS would open it."""
    now = gateway.custody.clock.now()
    claims = Claims(issuer=ISSUER, subject=subject, strength="single", audience="limen", expires_at=now + 600)
    return await gateway.authority.start_session(claims, project, client=DESK)
