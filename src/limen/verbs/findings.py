"""What the readers of the log found, and who is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import LimenError
from limen.watch.outgoing import Undelivered

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb
    from limen.watch.book import Found


async def findings_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What was found, in the log's order, and how far the log was read."""
    del by
    watch = gateway.watch
    found = await asyncio.to_thread(watch.findings, since=args.get("since", 0), least=args.get("least", 0))
    return {**await asyncio.to_thread(watch.status), "findings": [_told(each) for each in found]}


async def findings_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """One finding in full, and what became of its deliveries."""
    del by
    found, deliveries = await asyncio.to_thread(gateway.watch.finding, args["finding"])
    told = _told(found)
    actor = await asyncio.to_thread(gateway.watch.actor, told.get("who", ""))
    return {**told, "event": json.loads(found.raw), "deliveries": deliveries, **({"actor": actor} if actor else {})}


async def findings_replay(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Find everything again from the log and the rules, and hold it against what was found then."""
    del args, by
    custody = gateway.custody
    await custody.ledger.flush()
    replayed, lines = await asyncio.to_thread(gateway.watch.replay)
    return {**asdict(replayed), "agrees": replayed.agrees, "lines": [line.decode() for line in lines]}


def _told(found: Found) -> dict[str, Any]:
    event = json.loads(found.raw)
    named = {name: getattr(found, name) for name in ("uid", "entry", "rule", "severity", "at_us", "found_us", "again")}
    return {**named, "grade": event["unmapped"]["grade"], **event["unmapped"]["subject"], "figures": event["unmapped"]["figures"]}


async def alert_test(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Send a marked test to one receiver, from the process that would send the alerts."""
    del by
    id_ = f"test-{gateway.custody.clock.now_us()}"
    try:
        await asyncio.to_thread(gateway.watch.test, args["name"], id_=id_)
    except Undelivered as e:
        raise LimenError(f"{args['name']} did not take the test: {e}") from e
    return {"name": args["name"], "id": id_}


async def alert_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The receivers, and what still waits for each."""
    del args, by
    status = await asyncio.to_thread(gateway.watch.status)
    waiting = {row["target"]: row for row in status["waiting"]}
    none = {"waiting": 0, "attempts": 0}
    rows = [
        {
            "name": t.name,
            "kind": t.kind,
            "to": t.url or t.path,
            "least": t.least,
            **{n: waiting.get(t.name, none)[n] for n in none},
        }
        for t in gateway.watch.targets
    ]
    return {"alerts": rows, "no_longer_configured": sorted(waiting.keys() - {t.name for t in gateway.watch.targets})}


VERBS: Final[dict[str, Verb]] = {
    "findings.list": findings_list,
    "findings.show": findings_show,
    "findings.replay": findings_replay,
    "alert.list": alert_list,
    "alert.test": alert_test,
}
