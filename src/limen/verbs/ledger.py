"""The log itself, and where it stands."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.errors import LedgerUnavailable
from limen.formats import receipt

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


async def story_tell(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Set the story's clock (development mode only)."""
    del by
    gateway.custody.clock.tell(args["story_at_us"])
    return {"story_at_us": args["story_at_us"]}


async def ledger_witnesses(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What the witnesses have cosigned; if their quorum does not stand, they are given one more chance first."""
    del args, by
    ledger = gateway.custody.ledger
    state = ledger.witnesses()
    if state.quorum and not state.stands:
        with contextlib.suppress(LedgerUnavailable):
            await ledger.witnessed(ledger.head().size)
    found: dict[str, Any] = msgspec.to_builtins(ledger.witnesses())
    return found


async def ledger_seal(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Move full, published bundles of older entries out of the database."""
    del by
    ledger = gateway.custody.ledger
    if "keep_s" in args:
        below = await asyncio.to_thread(ledger.first_since, (gateway.custody.clock.now() - args["keep_s"]) * 1_000_000)
    else:
        below = args["below"]
    start, end = await ledger.seal(below)
    return {"below": below, "start": start, "end": end}


async def status(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The ledger's head, what start-up recovered, and what is paused."""
    del args, by
    head = gateway.custody.ledger.head()
    return {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "published": [asdict(progress) for progress in gateway.custody.ledger.published()],
        "recovered": msgspec.to_builtins(gateway.recovered),
        "pauses": [pause.subject for pause in gateway.custody.live.pauses()],
        "streams": len(list(gateway.custody.live.sessions_streaming())),
    }


async def ledger_receipt(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Hold a receipt against the log; one that the log contradicts stops it."""
    del by
    held = await asyncio.to_thread(gateway.custody.ledger.hold, receipt.decode(args["receipt"]))
    return asdict(held)


VERBS: Final[dict[str, Verb]] = {
    "ledger.receipt": ledger_receipt,
    "ledger.seal": ledger_seal,
    "story.tell": story_tell,
    "ledger.witnesses": ledger_witnesses,
    "status": status,
}
