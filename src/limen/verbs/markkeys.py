"""An asset's mark keys: shown, rotated, retired, opened by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.marks.keep import KINDS
from limen.marks.levels import LEVELS
from limen.verbs.acting import actor

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb

OPENERS: Final = frozenset({"security", "legal"})


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Every mark key of an asset; one that could not be had is asked for again."""
    del by
    return {"asset": args["asset"], "keys": await gateway.registrar.keys.show(args["asset"])}


async def rotate(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Make the key that the asset's next version takes."""
    kind, levels = args.get("keep") or None, args.get("levels") or ""
    if kind is not None and kind not in KINDS:
        raise Invalid("keep", f"must be one of {', '.join(KINDS)}")
    if levels and levels not in LEVELS:
        raise Invalid("levels", f"must be one of {', '.join(LEVELS)}")
    return await gateway.registrar.keys.rotate(args["asset"], kind=kind, levels=levels, reason=args.get("reason", ""), by=by)


async def retire(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """End a key that somebody may know."""
    return await gateway.registrar.keys.retire(args["asset"], args.get("key") or "", reason=args["reason"], by=by)


async def request(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Ask that a key be opened to an arbiter."""
    who = await actor(gateway, args, by, roles=OPENERS, to="open mark keys")
    return await gateway.registrar.keys.request_opening(
        args["asset"],
        args.get("key") or "",
        uses=args.get("uses", ()),
        lost=args.get("lost", ()),
        reason=args["reason"],
        actor=who.fields(gateway.custody),
    )


async def why(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a request says, for whoever is to approve it."""
    del by
    return await gateway.registrar.keys.why(args["request"])


async def approve(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Open the key that somebody else asked for; its subkeys, as limen/mark-key/v1."""
    who = await actor(gateway, args, by, roles=OPENERS, to="open mark keys")
    return await gateway.registrar.keys.approve_opening(args["request"], actor=who.fields(gateway.custody))


VERBS: Final[dict[str, Verb]] = {
    "key.show": show,
    "key.rotate": rotate,
    "key.retire": retire,
    "key.request": request,
    "key.why": why,
    "key.approve": approve,
}
