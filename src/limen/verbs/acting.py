"""Which lab person acts: an identity token of their own proves it, or root says so. Entries then name them by pseudonym."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Denied
from limen.privacy import naming
from limen.privacy.naming import Actor, lab_person

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from limen.server import Gateway

ROOT: Final = "uid:0"


async def actor(gateway: Gateway, args: dict[str, Any], by: str, *, roles: AbstractSet[str], to: str) -> Actor:
    """Who acts: the account that the kernel names, and the lab person whom a token proves or root names.

    Denied if that person has none of the `roles` that may do what `to` says, or if root names nobody. Without a name it is the
    account alone: `Actor.person` is None.
    """
    snapshot = gateway.custody.catalog.snapshot
    if token := args.get("id_token"):
        claims = await gateway.relying_party.verify(token, now=gateway.custody.clock.now())
        shown = snapshot.holder(claims.issuer, claims.subject).id
        return Actor(by, lab_person(snapshot, shown, roles=roles, to=to), "token")
    if person := args.get("as"):
        if by != ROOT:
            raise Denied("only root may act for somebody by name; show an identity token instead", rule="not-root")
        return Actor(by, lab_person(snapshot, person, roles=roles, to=to), "root")
    if by == ROOT:
        raise Denied("root is nobody in particular: say for whom, with --as lab/NAME or an identity token", rule="root")
    return Actor(by)


async def name_opener(gateway: Gateway, args: dict[str, Any], by: str) -> Actor:
    """Who asks for names, or opens them."""
    return await actor(gateway, args, by, roles=naming.ROLES, to="open names")
