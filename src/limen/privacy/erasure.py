"""Erasure: one person's key, identity and side records are destroyed; every entry, proof and pseudonym stays.

The entry comes first, as for every change of authority, and holds what a replay needs instead of what is destroyed. Then
one transaction of the control tables takes identity and key and keeps the pseudonyms; then the side records go; then the
files are swept, so that no page keeps an older state. Whatever a crash interrupts, the next start or the same command
goes on with: each step is idempotent, and `Catalog.unswept` remembers that not all are done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from limen.catalog.change import OUTSIDE
from limen.catalog.changes import PersonAdd, PersonEnd, WorkloadAdd, from_clear, without_detail
from limen.catalog.personal import Erasure, StandIn
from limen.core.errors import Conflict, Denied, Invalid
from limen.core.events import decode
from limen.core.types import Person
from limen.ledger.scribe import open_side, side_ref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.authority import Authority
    from limen.catalog.changes import Change
    from limen.custody import Custody

log = structlog.get_logger("limen")

SHORTEST_NAME = 3  # a shorter word would be found in any sentence


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure came to. `swept` is False while somebody's reading keeps older pages alive; limen tries again."""

    person: str
    also: tuple[str, ...]
    entry: int
    records: dict[str, int]
    swept: bool


async def erase(custody: Custody, authority: Authority, person: str, *, reason: str, by: str, contact: str, end: bool) -> Erased:
    """Erase a person who has ended (`end`: end them first), with every id they had and the workloads they answered for.

    Denied while one of these is on legal hold, or active. Called again for somebody who is erased, it only sweeps up.
    """
    catalog = custody.catalog
    found = catalog.snapshot.person(person)
    everybody = catalog.snapshot.state.same_person(person)
    if found.erased_at is not None:
        entry = await asyncio.to_thread(catalog.erased_by, person)
        return Erased(person, tuple(h for h in everybody if h != person), entry, {}, await sweep(custody, authority))
    _refuse_held(custody, everybody, contact)
    await asyncio.to_thread(_refuse_a_telling_reason, custody, everybody, reason)
    active = [holder for holder in everybody if _is_active_person(custody, holder)]
    if end and active:
        await authority.change([PersonEnd(id=holder, reason=reason) for holder in active], by=by)
    await authority.log_unlogged()  # an order about them that is not in the log yet is sealed under their key
    async with authority.lock:
        with catalog.sealing_stopped(everybody):
            await custody.ledger.flush()
            erasure = await asyncio.to_thread(_prepared, custody, person, everybody, reason)
            [receipt] = await authority.change_alone([erasure], by=by)
    authority.forget(everybody)
    custody.forget_networks()
    return Erased(person, erasure.also, receipt.index, erasure.records, await sweep(custody, authority))


async def sweep(custody: Custody, authority: Authority) -> bool:
    """Destroy what the control tables say is erased: side records, and every older page. False if somebody's reading prevents it.

    Idempotent; at start-up, and from then on once a minute while `Catalog.unswept` says so.
    """
    catalog, ledger = custody.catalog, custody.ledger
    refs = catalog.erased_refs()

    def left() -> list[tuple[int, str]]:
        heads = ledger.side_heads(0, ledger.head().size)
        return [(index, name) for index, name, head in heads if side_ref(head) in refs]

    await ledger.delete_sides(await asyncio.to_thread(left))
    if not await ledger.forget():
        return False
    try:
        async with authority.lock:  # a change that met the rewriting would wait for it on the event loop
            await asyncio.to_thread(catalog.sweep)
    except Conflict as e:
        log.warning("an erasure is not swept up yet", why=str(e))
        return False
    await asyncio.to_thread(catalog.swept)
    return True


def _refuse_held(custody: Custody, everybody: Sequence[str], contact: str) -> None:
    for holder in everybody:
        hold = custody.catalog.snapshot.hold_on(holder)
        if hold is not None:
            since = datetime.fromtimestamp(hold.since, UTC).strftime("%Y-%m-%d")
            raise Denied(
                f"{holder} is on legal hold since {since}, so nothing was erased; ask {contact}, who can lift it with"
                " `limen person release`",
                rule="legal-hold",
            )


def _prepared(custody: Custody, person: str, everybody: Sequence[str], reason: str) -> Erasure:
    """The change that erases them: what is kept instead of what it destroys. Reads the whole log; not on the event loop."""
    catalog, ledger = custody.catalog, custody.ledger
    mine = {ref: holder for holder in everybody if (ref := catalog.ref(holder)) is not None}
    records: Counter[str] = Counter()
    told: list[int] = []
    for index, name, head in ledger.side_heads(0, ledger.head().size):
        if side_ref(head) in mine:
            records[name] += 1
            if name == "change":
                told.append(index)
    blank = [(index, without_detail(_change(custody, index))) for index in told]
    projects = [OUTSIDE, *(project.id for project in catalog.snapshot.projects())]
    return Erasure(
        id=person,
        reason=reason,
        also=tuple(holder for holder in everybody if holder != person),
        pseudonyms={holder: {project: catalog.pseudonym(holder, project) for project in projects} for holder in everybody},
        stand_ins=tuple(StandIn(entry=index, kind=change.kind, change=change.to_clear()) for index, change in blank),
        records=dict(sorted(records.items())),
    )


def _change(custody: Custody, index: int) -> Change:
    [(_, raw)] = custody.ledger.entries(index, index + 1)
    [side] = [side for _, name, side in custody.ledger.sides(index, index + 1) if name == "change"]
    opened = open_side("change", side, raw, custody.catalog.key_under(side_ref(side)))
    return from_clear(decode(raw)["kind"], opened.value)


def _is_active_person(custody: Custody, id_: str) -> bool:
    holder = custody.catalog.snapshot.holder_by_id(id_)
    return isinstance(holder, Person) and holder.ended_at is None


def _refuse_a_telling_reason(custody: Custody, everybody: Sequence[str], reason: str) -> None:
    """The reason is kept, so it may not say what is erased."""
    words: set[str] = set()
    for holder in everybody:
        change = _change(custody, custody.catalog.entry_of(holder))
        if isinstance(change, PersonAdd):
            words |= {change.name, change.email, change.subject, *change.name.split()}
        elif isinstance(change, WorkloadAdd):
            words.add(change.subject)
    if any(len(word) >= SHORTEST_NAME and word.casefold() in reason.casefold() for word in words):
        raise Invalid("reason", "says the person's name, address or identity, and it is kept; say it without, and give the case")
