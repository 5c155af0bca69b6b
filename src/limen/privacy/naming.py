"""Opening a name: who is behind a pseudonym. It takes two people, and is an entry before the name is shown.

One asks (`name.request`), somebody else approves (`name.open`), within a day. Both are entries, and so is every refusal.
What an opened request also allows is to take one class of that person's detail out of an entry, with its proof
(`name.disclose`). How two people are told apart: docs/adr/0011; an `Actor` is what comes of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.catalog.change import OUTSIDE
from limen.core.errors import Denied, Invalid, NotFound
from limen.core.events import decode
from limen.core.types import Person, Side
from limen.custody import GATEWAY
from limen.formats.tlogproof import Proof
from limen.ledger.scribe import open_side, side_ref
from limen.verify import disclosure
from limen.verify.published import Published, prove

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from limen.catalog.snapshot import Snapshot
    from limen.custody import Custody
    from limen.formats.note import Verifier

REQUEST_S: Final = 86_400
ROLES: Final = frozenset({"security", "privacy", "legal"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks or approves: an account of the machine, and the lab person behind it if one is named.

    `shown` says how that person is known: by an identity token of their own, or only by root's word.
    """

    account: str
    person: str | None = None
    shown: Literal["", "token", "root"] = ""

    def fields(self, custody: Custody) -> dict[str, Any]:
        """How entries name them."""
        if self.person is None:
            return {"by": self.account}
        return {"by": self.account, "acting": custody.catalog.pseudonym(self.person, OUTSIDE), "shown": self.shown}


def lab_person(snapshot: Snapshot, id_: str, *, roles: AbstractSet[str] = ROLES, to: str = "open names") -> str:
    """The id, if it is an active lab person's who has one of the roles that may do what `to` says; Denied otherwise."""
    holder = snapshot.holder_by_id(id_)
    if not isinstance(holder, Person) or holder.vendor is not None or holder.ended_at is not None:
        raise Denied(f"{id_} is no active person of the lab", rule="not-lab")
    if not holder.roles & roles:
        raise Denied(f"{id_} may not {to}: it takes the role {', '.join(sorted(roles))}", rule="role")
    return id_


async def request(custody: Custody, pseudonym: str, *, project: str, reason: str, actor: Actor) -> dict[str, Any]:
    """Ask for the name behind a pseudonym of a project (empty: of none). The request's number is its entry's index."""
    if not reason.strip():
        raise Invalid("reason", "say why the name is needed; whoever approves reads it")
    holder = await asyncio.to_thread(_holder, custody, pseudonym, project)
    refuse_erased(custody, holder)
    until = custody.clock.now() + REQUEST_S
    fields = {"who": pseudonym, "project": project, "until": until, **actor.fields(custody)}
    side = Side(holder, {"reason": {"text": reason}})
    receipt = await custody.ledger.append(*custody.scribe.write("name.request", fields, side))
    return {"request": receipt.index, "until": until}


async def approve(custody: Custody, number: int, *, actor: Actor) -> dict[str, Any]:
    """Open the name that a request asks for; its entry is durable before it is returned. Denied for whoever asked."""
    asked = _request(custody, number)
    holder = await asyncio.to_thread(_holder, custody, asked["who"], asked["project"])
    fields = actor.fields(custody)
    try:
        _refuse_same(asked, fields)
        _refuse_late(custody, asked, number)
        refuse_erased(custody, holder)
    except Denied as refusal:
        entry, _ = custody.scribe.write("name.refusal", {"request": number, "rule": refusal.rule, **fields}, None)
        await custody.ledger.append(entry)
        raise
    opened = {"request": number, "who": asked["who"], "project": asked["project"], **fields}
    receipt = await custody.ledger.append(*custody.scribe.write("name.open", opened, None))
    name = await asyncio.to_thread(name_of, custody, holder)
    return {"who": asked["who"], "project": asked["project"], "request": number, "entry": receipt.index, **name}


async def why(custody: Custody, number: int) -> dict[str, Any]:
    """What a request says, for whoever is to approve it."""
    asked = _request(custody, number)
    clear = await asyncio.to_thread(_opened, custody, number, "reason")
    return {
        "request": number,
        "who": asked["who"],
        "project": asked["project"],
        "until": asked["until"],
        "by": asked["by"],
        "reason": clear[1]["text"],
    }


async def disclose(
    custody: Custody, index: int, name: str, *, number: int | None, actor: Actor, published: Path, verifier: Verifier
) -> dict[str, Any]:
    """One class of an entry's detail with its proof. A person's takes an opened request about them (`number`)."""
    raw = next((raw for _, raw in custody.ledger.entries(index, index + 1)), b"")
    subject = await asyncio.to_thread(_subject, custody, index, raw, name)
    if subject != GATEWAY:
        await asyncio.to_thread(_refuse_unopened, custody, number, subject, name)
    fields = {"of": index, "classes": [name], "request": number, **actor.fields(custody)}
    receipt = await custody.ledger.append(*custody.scribe.write("name.disclose", fields, None))
    await custody.ledger.flush()
    opened = await asyncio.to_thread(_opened, custody, index, name)
    proof, entry = await asyncio.to_thread(prove, Published(published), verifier, index)
    made = disclosure.write(Proof(proof.index, proof.hashes, proof.checkpoint), entry, name, *opened)
    disclosure.check(made, [verifier])
    return {"entry": receipt.index, "of": index, "class": name, "disclosure": made.decode()}


# --- who


def _holder(custody: Custody, pseudonym: str, project: str) -> str:
    """Whose pseudonym it is, by computing everybody's: nothing stores who is behind one."""
    catalog = custody.catalog
    if project != OUTSIDE:
        catalog.snapshot.project(project)
    for holder in catalog.snapshot.holders():
        try:
            if catalog.pseudonym(holder.id, project) == pseudonym:
                return holder.id
        except NotFound:
            continue  # erased, and never called anything in this project
    raise NotFound(f"{pseudonym} in project {project}" if project else f"{pseudonym} outside any project (is --project missing?)")


def name_of(custody: Custody, holder: str) -> dict[str, Any]:
    """What the entry that added somebody says of them; a workload has no name, but somebody who answers for it."""
    added = _opened(custody, custody.catalog.entry_of(holder), "change")[1]
    return {"person": holder, **{key: added.get(key) for key in ("name", "email", "issuer", "subject", "sponsor")}}


# --- what may not be


def same(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Whether two steps are by one: "the same person", or "the same account" and which; empty if they are by two."""
    if "acting" in before and "acting" in now:
        return "the same person" if before["acting"] == now["acting"] else ""
    return f"the same account, {now['by']}," if before["by"] == now["by"] else ""


def _refuse_same(asked: dict[str, Any], fields: dict[str, Any]) -> None:
    if who := same(asked, fields):
        raise Denied(f"{who} asked for this name; somebody else has to approve it", rule="same-person")


def _refuse_late(custody: Custody, asked: dict[str, Any], number: int) -> None:
    if custody.clock.now() >= asked["until"]:
        raise Denied(f"request {number} has expired; ask again", rule="expired")


def refuse_erased(custody: Custody, holder: str) -> None:
    """Denied for somebody whose name is gone."""
    if custody.catalog.snapshot.holder_by_id(holder).erased_at is not None:
        raise Denied("this person was erased; there is no name left to open", rule="erased")


def _refuse_unopened(custody: Custody, number: int | None, subject: str, name: str) -> None:
    """Pass for a request about this very person that somebody has approved and that has not expired."""
    if number is None:
        raise Denied(
            f"{name} is a person's detail: taking it out is an opening; ask with `limen person open`, have it approved,"
            " and give its number with --request",
            rule="not-opened",
        )
    asked = _request(custody, number)
    _refuse_late(custody, asked, number)
    if _holder(custody, asked["who"], asked["project"]) != subject:
        raise Denied(f"request {number} is about somebody else", rule="other-person")
    size = custody.ledger.head().size
    found = (decode(raw) for _, raw in custody.ledger.entries(number + 1, size) if b'"kind":"name.open"' in raw)
    if not any(entry["kind"] == "name.open" and entry["request"] == number for entry in found):
        raise Denied(f"request {number} is not approved yet; somebody else has to", rule="not-opened")


# --- what the log holds


def _request(custody: Custody, number: int) -> dict[str, Any]:
    for _, raw in custody.ledger.entries(number, number + 1):
        entry = decode(raw)
        if entry["kind"] == "name.request":
            return entry
    raise NotFound(f"request {number}")


def _sealed(custody: Custody, index: int, name: str) -> bytes | None:
    sides = custody.ledger.sides(index, index + 1)
    return next((raw for _, found, raw in sides if found == name), None)


def _subject(custody: Custody, index: int, raw: bytes, name: str) -> str:
    """Under whose key a class of an entry is sealed. NotFound says what there is instead."""
    classes = sorted(decode(raw).get("commit", {})) if raw else []
    if name not in classes:
        raise NotFound(f"class {name} of entry {index}" + (f"; it has {', '.join(classes)}" if classes else ", which has none"))
    sealed = _sealed(custody, index, name)
    if sealed is None:
        raise NotFound(f"the {name} of entry {index}: it was erased, or was past its time")
    return custody.catalog.holder_under(side_ref(sealed))


def _opened(custody: Custody, index: int, name: str) -> tuple[bytes, dict[str, Any]]:
    sealed = _sealed(custody, index, name)
    if sealed is None:
        raise NotFound(f"the {name} of entry {index}: it was erased, or was past its time")
    [(_, raw)] = custody.ledger.entries(index, index + 1)
    return open_side(name, sealed, raw, custody.catalog.key_under(side_ref(sealed)))
