"""Verbs over both worlds, the log's and other systems': who is who, granted against used, an asset's page, the review.

As in `verbs`: one coroutine a verb, JSON values in and out; long readings run in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from limen.response import observed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limen.server import Gateway

    Verb = Callable[[Gateway, dict[str, Any], str], Awaitable[Any]]


async def who_set(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Put a mapping in force. `dry_run` only checks."""
    raw = args["text"].encode()
    if args.get("dry_run"):
        who = gateway.who.check(raw)
        return {"digest": who.digest, "rules": len(who.rules), "places": len(who.places), "by": by, "entry": None}
    return await gateway.who.set(raw, by=by)


async def who_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The mapping in force, as it was written."""
    del args, by
    raw, who = gateway.who.raw(), gateway.who.current()
    entry, unknown = gateway.who.said(who)
    counts = {"rules": len(who.rules), "places": len(who.places)}
    return {"digest": who.digest, "entry": entry, **counts, "text": raw.decode(), "unknown": unknown}


async def observed_part(gateway: Gateway, args: dict[str, Any]) -> dict[str, Any]:
    """What other systems' logs say of an exposure's subject, in the same window."""
    clock, snapshot = gateway.custody.clock, gateway.custody.catalog.snapshot
    look = observed.Look(
        subject=args["subject"],
        since_us=args.get("since_us"),
        until_us=args.get("until_us"),
        now_us=clock.story_us() or clock.now_us(),
        project_of=lambda asset: snapshot.asset(asset).project if snapshot.has_asset(asset) else "",
        objects=bool(args.get("objects")),
    )
    who = gateway.who.current()
    entry, unknown = gateway.who.said(who)
    part = await asyncio.to_thread(observed.report, gateway.observing.depot, who, look)
    return {**part, "who": {"digest": who.digest, "entry": entry}, "unknown": [*unknown, *part["unknown"]]}


VERBS: Final[dict[str, Verb]] = {
    "who.set": who_set,
    "who.show": who_show,
}
