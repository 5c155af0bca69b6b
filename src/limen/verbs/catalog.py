"""What the catalog holds: import it, change it, show it, explain a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.catalog.changes import KeyOpen, KeyRetire, KeyRotate, from_clear
from limen.catalog.imports import read_import
from limen.catalog.personal import Erasure
from limen.core.errors import Invalid
from limen.core.types import Action, Session
from limen.views import VIEWS

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


async def import_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Apply an import file, all of it or nothing. `dry_run` only checks."""
    changes = read_import(args["text"].encode(), args["format"])
    if args.get("dry_run"):
        gateway.authority.validate(changes)
        return {"changes": [change.kind for change in changes], "entries": []}
    receipts = await gateway.authority.change(changes, by=by)
    return {"changes": [change.kind for change in changes], "entries": [receipt.index for receipt in receipts]}


async def change(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Make one change, given in its clear form. An erasure is none of them: see `person_erase`."""
    if args["kind"] == Erasure.kind:
        raise Invalid("kind", "a person is erased with `limen person erase`")
    if args["kind"] in {KeyRotate.kind, KeyRetire.kind, KeyOpen.kind}:
        raise Invalid("kind", "mark keys change with `limen asset key`: a key is made, or its subkeys handed out, with the entry")
    [receipt] = await gateway.authority.change([from_clear(args["kind"], args["change"])], by=by)
    return {"entry": receipt.index}


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """List what the catalog holds of one kind, or the sessions and pauses of this moment."""
    del by
    if args["what"] == "sessions":
        now = gateway.custody.clock.now()
        return [msgspec.to_builtins(s) for s in gateway.authority.sessions.values() if s.expires_at > now]
    if args["what"] == "pauses":
        return [msgspec.to_builtins(pause) for pause in gateway.custody.live.pauses()]
    if args["what"] == "restrictions":
        return [msgspec.to_builtins(order) for order in gateway.custody.live.restrictions()]
    return VIEWS[args["what"]](gateway.custody.catalog.snapshot)


async def explain(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Which rule decides whether a person may do something to an asset, now."""
    del by
    custody, snapshot = gateway.custody, gateway.custody.catalog.snapshot
    holder = snapshot.holder_by_id(args["person"])
    asset = snapshot.asset(args["asset"])
    now = custody.clock.now()
    try:
        action = Action(args.get("action", "read"))
    except ValueError as e:
        raise Invalid("action", f"must be one of {', '.join(Action)}") from e
    session = Session(
        id="explain",
        holder=holder.id,
        vendor=holder.vendor,
        sponsor=None,
        project=asset.project,
        pseudonym="",
        access_key="",
        strength=args.get("strength", "single"),
        issued_at=now,
        expires_at=now + min(3600, snapshot.tier(asset.tier).session_s),
    )
    return gateway.authority.explain(session, action, asset)


VERBS: Final[dict[str, Verb]] = {
    "import": import_,
    "change": change,
    "show": show,
    "explain": explain,
}
