"""What was handed over, and which keys are in reach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from limen import scanning
from limen.directory import secret
from limen.response import exposure, keys
from limen.response.touches import Observed
from limen.scan.keyring import Keyring
from limen.verbs.reviewing import observed_part

if TYPE_CHECKING:
    from limen.observe.who import Who
    from limen.server import Gateway
    from limen.verbs import Verb


async def exposure_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The exposure report of one subject."""
    custody = gateway.custody
    custody.windows.close_all()  # so that their outcomes are in the report
    await custody.ledger.flush()
    head = custody.ledger.head()
    window = exposure.Window(args.get("since_us"), args.get("until_us"), args.get("session"))
    reader = exposure.for_custody(custody)
    report = await asyncio.to_thread(lambda: reader.report(args["subject"], window, custody.ledger.entries(0, head.size), head))
    unlogged = await exposure.enter(custody, "exposure", reader.derived, by=by)
    return {**report, "unknown": [*report["unknown"], *unlogged], "observed": await observed_part(gateway, args)}


async def keys_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The key inventory; with a vendor, every key that touched its path."""
    custody, vendor = gateway.custody, args.get("vendor")
    if vendor is not None:
        custody.catalog.snapshot.vendor(vendor)
    custody.windows.close_all()  # so that their outcomes are in the report
    await custody.ledger.flush()
    who = gateway.who.current()
    answer, derived = await asyncio.to_thread(_keys, gateway, who, vendor)
    answer["unknown"] += await exposure.enter(custody, "keys", derived, by=by)
    answer["unknown"] += gateway.who.said(who)[1]
    return answer


def _keys(gateway: Gateway, who: Who, vendor: str | None) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """The inventory, and whose copies of what had to be worked out for it."""
    custody, data, depot = gateway.custody, gateway.config.data, gateway.observing.depot
    head = custody.ledger.head()
    now_us = custody.moment_us()
    scans, unknown = scanning.recorded(data, custody.ledger.entries(0, head.size))
    skew_us = max(depot.skews().values(), default=0) * 1_000_000
    inventory = keys.Inventory(Keyring.of(secret(data, "server.key")), scans, Observed(depot, who), skew_us=skew_us)
    reader = exposure.for_custody(custody)
    if wanted := inventory.wanted:
        handed, gaps = reader.handed(wanted, custody.ledger.entries(0, head.size), head)
        inventory.served(handed, lambda holder: custody.catalog.snapshot.holder_by_id(holder).vendor)
        unknown += gaps
    answer = inventory.report(vendor, now_us=now_us)
    answer["unknown"] += unknown
    if not depot.imports():
        answer["unknown"].append("no log of another system was imported: which keys were used or read there, limen cannot say")
    return answer, reader.derived


VERBS: Final[dict[str, Verb]] = {
    "exposure": exposure_,
    "keys.list": keys_list,
}
