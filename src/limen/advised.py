"""What follows from advisories at the doors: matches what was filed, enters what that leads to, and gives the orders.

`look` may be called as often as anybody likes: what an action is about is never acted upon twice. The action's entry is durable
before its orders, and they name it as their cause; orders that a crash held up are given by the next look. An order is never
lifted from here, and none takes back what another took away: a vendor that was left less already is left no more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from limen.assurance.match.act import Act, Policy, propose, undone
from limen.assurance.match.actions import CAUSE, day, done, fields
from limen.core.errors import Conflict, Denied, LimenError, NotFound
from limen.core.events import canonical, decode
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.identity import live

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limen.assurance.advisories.known import Advisories
    from limen.assurance.match.act import Consequence, Limits, Proposal, Strike
    from limen.assurance.match.actions import Action, Actions
    from limen.assurance.match.hits import Matching
    from limen.authority import Authority
    from limen.custody import Custody
    from limen.filing import Filing
    from limen.identity.live import Restriction
    from limen.privacy.naming import Actor

BY: Final = "limen"
ROOT: Final = "uid:0"  # nobody in particular: it has to name somebody each time
log = structlog.get_logger("limen")


class Advised:
    """Acts upon advisories for one gateway. Its coroutines run on the event loop's thread, one look at a time."""

    def __init__(
        self,
        custody: Custody,
        authority: Authority,
        filing: Filing,
        *,
        matching: Matching,
        advisories: Advisories,
        actions: Actions,
        limits: Limits,
    ) -> None:
        self.actions = actions
        self._custody = custody
        self._authority = authority
        self._filing = filing
        self._matching = matching
        self._advisories = advisories
        self._limits = limits
        self._one_by_one = asyncio.Lock()
        self._looked: tuple[int, int] | None = None  # the newest feed and BOM that the last look saw

    async def look(self) -> list[int]:
        """Match what is known now, enter the actions that follow, and give their orders; the new actions' entries."""
        async with self._one_by_one:
            newest = await asyncio.to_thread(self._matching.newest)
            if newest == self._looked:
                return []
            strikes = await asyncio.to_thread(self._matching.strikes)
            actions = await asyncio.to_thread(self.actions.all)
            proposals = await asyncio.to_thread(self._proposed, strikes, actions) if strikes else []
            entries = [await self._enter(proposal) for proposal in proposals]
            await self._give(await asyncio.to_thread(self.actions.all))
            self._looked = newest
            return entries

    async def approve(self, number: int, *, actor: Actor) -> Action:
        """One person's word for an action that waits; with the last that it needs, its orders are given.

        NotFound; Conflict if it does not wait, or if what it is about holds no more; Denied for whoever brought the advisory,
        and for a second word of the same person.
        """
        async with self._one_by_one:
            action = await self._waiting(number)
            who = actor.fields(self._custody)
            self._refuse_unnamed(actor)
            if who["acting"] in {each.acting for each in action.approvals}:
                raise Denied("you have approved it already; somebody else has to, too", rule="same-person")
            self._refuse_proposer(action, who)
            await asyncio.to_thread(self._refuse_moot, action)
            await self._filing.note("advisory.approve", {"action": number, **_own(who)}, by=who["by"])
            await self._give(await asyncio.to_thread(self.actions.all, number))
        return (await asyncio.to_thread(self.actions.all, number))[0]

    async def decline(self, number: int, *, reason: str, actor: Actor) -> Action:
        """End an action that waits: nothing follows from it. Its reason is in a side record."""
        async with self._one_by_one:
            await self._waiting(number)
            self._refuse_unnamed(actor)
            who = actor.fields(self._custody)
            side = Side(GATEWAY, {"reason": {"text": reason}})
            await self._filing.note("advisory.decline", {"action": number, **_own(who)}, by=who["by"], side=side)
        return (await asyncio.to_thread(self.actions.all, number))[0]

    async def set_policy(self, vendor: str, policy: Policy, *, actor: Actor) -> int:
        """Let a hit at a vendor lead to this from now on; the entry. NotFound for a vendor or project that is not there."""
        snapshot = self._custody.catalog.snapshot
        snapshot.vendor(vendor)
        for project in policy.projects:
            snapshot.project(project)
        who = actor.fields(self._custody)
        told = {"vendor": vendor, "act": policy.act.value, "read_only": policy.read_only, "projects": list(policy.projects)}
        return (await self._filing.note("advisory.policy", {**told, **_own(who)}, by=who["by"])).entry

    # --- what follows

    def _proposed(self, strikes: list[Strike], actions: list[Action]) -> list[Proposal]:
        before = done(actions)
        strikes = undone(strikes, before, aliases_of=lambda id_: frozenset({id_}))  # cheap; for a flood comes back each time
        ids = {strike.id for strike in strikes}
        lone = self._matching.lone(ids)
        names = {**{id_: id_ for id_ in lone}, **self._advisories.names(ids - lone)}
        groups: dict[str, set[str]] = {}
        for id_, group in names.items():
            groups.setdefault(group, set()).add(id_)
        fresh = undone(strikes, before, aliases_of=lambda id_: frozenset(groups[names[id_]]))
        if not fresh:
            return []
        policies, people = self.actions.policies(), self._people()
        return propose(
            fresh,
            group_of=names.__getitem__,
            # Whoever sent a BOM and is not in the catalog can't be restricted: they have no access.
            policy_of=lambda vendor: policies.get(vendor, Policy()) if vendor in people else Policy(Act.NOTIFY),
            people_of=lambda vendor: people.get(vendor, 0),
            limits=self._limits,
            day=day(actions, self._custody.moment_us()),
        )

    def _people(self) -> dict[str, int]:
        """How many people and workloads of each vendor's are not ended."""
        snapshot = self._custody.catalog.snapshot
        found = {vendor.id: 0 for vendor in snapshot.vendors()}
        for holder in snapshot.holders():
            if holder.vendor is not None and holder.ended_at is None:
                found[holder.vendor] += 1
        return found

    async def _enter(self, proposal: Proposal) -> int:
        named, whole = fields(proposal)
        filed = await self._filing.file("advisory.action", named, canonical(whole), by=BY)
        log.warning("a malicious component at a vendor", action=filed.entry, advisory=named["ids"][0], waits=bool(proposal.needs))
        return filed.entry

    async def _give(self, actions: Iterable[Action]) -> None:
        for action in actions:
            for each in action.due:
                try:
                    await self._order(action, each)
                except LimenError:
                    log.exception("an order that follows from an advisory can't be given", action=action.entry)

    async def _order(self, action: Action, each: Consequence) -> None:
        subject, cause = f"vendor/{each.vendor}", f"{CAUSE}{action.entry}"
        reason = f"a malicious component was found among what {each.vendor} runs ({action.ids[0]}, entry {action.entry})"
        if each.act is Act.PAUSE:
            order = self._authority.order(subject, reason=reason)
            sessions = len(self._authority.affected(order))
            streams = self._authority.pause(order)
            await self._authority.record_pause(order, streams=streams, sessions=sessions, by=BY)
            return
        before = next((o for o in self._custody.live.restrictions() if o.subject == subject), None)
        read_only, projects = narrowed(each, before)
        restriction = self._authority.restriction(subject, reason=reason, read_only=read_only, projects=projects, cause=cause)
        await self._authority.restrict(restriction, by=BY)

    # --- who may

    async def _waiting(self, number: int) -> Action:
        found = await asyncio.to_thread(self.actions.all, number)
        if not found:
            raise NotFound(f"an action of entry {number}; `limen advisory actions` lists them")
        if found[0].state != "waiting":
            raise Conflict(f"action {number} is {found[0].state} already; nothing was changed")
        return found[0]

    @staticmethod
    def _refuse_unnamed(actor: Actor) -> None:
        if actor.person is None:
            raise Denied("an approval is a person's: show your identity token", rule="not-named")

    def _refuse_proposer(self, action: Action, who: dict[str, Any]) -> None:
        """Nobody approves what rests on an advisory that they brought themselves."""
        for feed in action.feeds:
            for _, raw in self._custody.ledger.entries(feed, feed + 1):
                entry = decode(raw)
                same = entry["acting"] == who["acting"] if "acting" in entry else entry["by"] == who["by"] != ROOT
                if same:
                    raise Denied(f"you brought the advisory (entry {feed}); somebody else has to approve it", rule="same-person")

    def _refuse_moot(self, action: Action) -> None:
        """Pass if a record of it still names one of its components; what was withdrawn or corrected leads to nothing."""
        if not {(s.vendor, s.package, s.version) for s in self._matching.strikes()} & set(action.struck):
            raise Conflict(
                f"what action {action.entry} is about holds no more: its advisories were withdrawn or changed; nothing was done. "
                "Decline it."
            )

    def close(self) -> None:
        """Close the derived file. Once no other thread uses it."""
        self.actions.close()


def _own(who: dict[str, Any]) -> dict[str, Any]:
    return {name: who[name] for name in ("acting", "shown") if name in who}


def narrowed(each: Consequence, before: Restriction | None) -> tuple[bool, tuple[str, ...]]:
    """What a restriction leaves of what an earlier one had left, if there is one."""
    if before is None:
        return each.read_only, each.projects
    read_only, projects = live.narrowed(before, read_only=each.read_only, projects=frozenset(each.projects))
    return read_only, tuple(sorted(projects))
