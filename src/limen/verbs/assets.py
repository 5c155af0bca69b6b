"""An asset's versions: registered, adopted where they rest, prepared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.registration import Marking, Source

if TYPE_CHECKING:
    from limen.core.types import Version
    from limen.server import Gateway
    from limen.verbs import Verb


async def register(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Register the next version of an asset from local files."""
    sources = [Source(source["path"], Path(source["local"])) for source in args["sources"]]
    marking = msgspec.convert(args.get("marking", {}), Marking)
    version, unmarked = await gateway.registrar.register(args["asset"], sources, marking, by=by)
    return {**_registered(version), "unmarked": unmarked}


def _registered(version: Version) -> dict[str, Any]:
    shards = msgspec.to_builtins(version.shards)
    return {"asset": version.asset, "version": version.number, "entry": version.entry, "shards": shards}


async def adopt(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Register what lies in a bucket or directory as the next version of an asset, where it rests."""
    version, left_out = await gateway.adoption.adopt(args["asset"], args["url"], by=by, dry_run=bool(args.get("dry_run")))
    told = _registered(version) if version else {"asset": args["asset"], "version": None, "entry": None, "shards": []}
    return {**told, "left_out": left_out}


async def asset_check(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Hold an adopted version against its places as they are now."""
    del by
    found: dict[str, Any] = msgspec.to_builtins(await gateway.adoption.check(args["asset"]))
    return {"asset": args["asset"], **found}


async def asset_prepare(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Read an adopted version whole, and register it as a version of prepared copies."""
    marking = msgspec.convert(args.get("marking", {}), Marking)
    with tempfile.TemporaryDirectory(dir=gateway.config.data, prefix=".prepare-") as scratch:
        version, unmarked = await gateway.adoption.prepare(args["asset"], marking, scratch=Path(scratch), by=by)
    return {**_registered(version), "unmarked": unmarked}


VERBS: Final[dict[str, Verb]] = {
    "register": register,
    "adopt": adopt,
    "asset.check": asset_check,
    "asset.prepare": asset_prepare,
}
