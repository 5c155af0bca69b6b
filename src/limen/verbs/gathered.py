"""What was gathered in another process, and is entered here: imports of other systems' logs, scans of repositories."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from limen import scanning
from limen.response.touches import Observed

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


async def observe_commit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter a staged import of other systems' logs, and let it count."""
    return await gateway.observing.commit(args["staged"], args["manifest"], list(args["base"]), by=by)


async def scan_shards(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """The registered shards that a scan compares with."""
    del args, by
    return scanning.shards(gateway.custody.catalog.snapshot)


async def scan_takers(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Who is known to have taken a repository's history, by other systems' logs, and whether any log of it was imported."""
    del by
    depot, repo = gateway.observing.depot, args["repo"].lower()
    histories = await asyncio.to_thread(Observed(depot, gateway.who.current()).histories)
    takers = [{**touch.to_json(), "lab": touch.lab} for touch in histories.get(repo, [])]
    covered = any(repo == scope.lower() or repo.startswith(f"{scope.lower()}/") for _, scope in depot.coverage())
    return {"taken_by": takers, "covered": covered}


async def scan_commit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Record a scan that was staged."""
    return await scanning.commit(gateway.custody, gateway.config.data, args["manifest"], by=by)


VERBS: Final[dict[str, Verb]] = {
    "observe.commit": observe_commit,
    "scan.commit": scan_commit,
    "scan.shards": scan_shards,
    "scan.takers": scan_takers,
}
