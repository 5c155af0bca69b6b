"""What is known of people: erased, or opened by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.privacy import erasure, naming
from limen.verbs.acting import name_opener

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


async def person_erase(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Destroy a person's key, identity and side records; every entry and proof stays."""
    erased = await erasure.erase(
        gateway.custody,
        gateway.authority,
        args["person"],
        reason=args["reason"],
        by=by,
        contact=gateway.config.server.contact,
        end=bool(args.get("end")),
    )
    return dict(msgspec.to_builtins(erased))


async def name_request(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Ask for the name behind a pseudonym."""
    actor = await name_opener(gateway, args, by)
    return await naming.request(gateway.custody, args["pseudonym"], project=args["project"], reason=args["reason"], actor=actor)


async def name_why(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a request for a name says."""
    del by
    return await naming.why(gateway.custody, args["request"])


async def name_approve(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Open the name that somebody else asked for."""
    return await naming.approve(gateway.custody, args["request"], actor=await name_opener(gateway, args, by))


async def name_disclose(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """One class of an entry's detail, with its proof."""
    return await naming.disclose(
        gateway.custody,
        args["index"],
        args["class"],
        number=args.get("request"),
        actor=await name_opener(gateway, args, by),
        published=gateway.published,
        verifier=gateway.verifier,
    )


VERBS: Final[dict[str, Verb]] = {
    "person.erase": person_erase,
    "name.request": name_request,
    "name.why": name_why,
    "name.approve": name_approve,
    "name.disclose": name_disclose,
}
