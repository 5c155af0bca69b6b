"""An asset's mark keys over time: rotated, retired when they may be known, opened to an arbiter by two people.

Each step is an entry before it has an effect. A key that ended still serves what was prepared under it, byte for byte;
the next version takes another. An opening is refused while a sample that the log knows has not been scored, because
after it no sample counts under the key but those that were logged before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.catalog.changes import KeyOpen, KeyRetire, KeyRotate
from limen.catalog.lineage import key_id as id_of
from limen.core.errors import Conflict, Denied, Invalid, LimenError, NotFound
from limen.core.events import decode
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.ledger.scribe import open_side, side_ref
from limen.marks.keys import USES, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.authority import Authority
    from limen.core.types import Lineage
    from limen.custody import Custody
    from limen.marks.keep import Kind
    from limen.marks.keys import MarkKey

REQUEST_S: Final = 86_400
LEAST: Final = ("slot", "side", "level", "tier", "copy")  # with these an arbiter recomputes every bit of every copy


@dataclass(frozen=True, slots=True)
class Approval:
    """Who acts, as entries name them: `by` (the account), `acting` and `shown` if a lab person is named."""

    by: str
    acting: str = ""
    shown: str = ""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Approval:
        """From the fields that an actor has in entries."""
        return cls(fields["by"], fields.get("acting", ""), fields.get("shown", ""))

    def fields(self) -> dict[str, Any]:
        """The same, back."""
        return {"by": self.by} | ({"acting": self.acting, "shown": self.shown} if self.acting else {})

    def same(self, other: Approval) -> bool:
        """Whether the two may be one person: both named and the same, or one account."""
        return self.acting == other.acting if self.acting and other.acting else self.by == other.by


class MarkKeys:
    """The keys of every asset. Owned by the event loop; `lock` keeps them still while a version is registered."""

    def __init__(self, custody: Custody, authority: Authority, lock: asyncio.Lock) -> None:
        self._custody = custody
        self._authority = authority
        self._lock = lock

    async def for_next_version(self, asset: str, *, by: str) -> str:
        """The id of the key that the asset's next version takes. For a caller who holds `lock`.

        A key that the log names is there, or MarkKeyUnavailable; if it has ended, the next one is made and logged.
        """
        newest = self._custody.catalog.snapshot.lineages(asset)[-1]
        if newest.retired is not None:
            return await self._rotated(asset, by=by, reason=f"{newest.id} ended by entry {newest.retired}")
        if newest.entry is not None:
            await asyncio.to_thread(self._custody.shelf.used_key, newest.id)
        return newest.id

    async def rotate(self, asset: str, *, kind: Kind | None, levels: str, reason: str, by: str) -> dict[str, Any]:
        """Make the key that the asset's next version takes; older versions keep theirs."""
        async with self._lock:
            made = await self._rotated(asset, kind=kind, levels=levels, reason=reason, by=by)
        newest = self._custody.catalog.snapshot.lineages(asset)[-1]
        return {"asset": asset, "key": made, "entry": newest.entry}

    async def retire(self, asset: str, key: str, *, reason: str, by: str) -> dict[str, Any]:
        """End a key that somebody may know. Takes effect for every sample that is not in the log yet."""
        change = KeyRetire(asset=asset, key=key or self._newest(asset).id, reason=reason)
        async with self._lock:
            [receipt] = await self._authority.change([change], by=by)
        return {"asset": asset, "key": change.key, "entry": receipt.index}

    async def request_opening(
        self, asset: str, key: str, *, uses: Sequence[str], lost: Sequence[int], reason: str, actor: dict[str, Any]
    ) -> dict[str, Any]:
        """Ask that a key's subkeys be opened. The request's number is its entry's index."""
        if not reason.strip():
            raise Invalid("reason", "say for which case; whoever approves reads it")
        one = self._lineage(asset, key)
        if unknown := sorted(set(uses) - set(USES)):
            raise Invalid("uses", f"{unknown[0]} is no use of a mark key; there are {', '.join(USES)}")
        await asyncio.to_thread(_refuse_unscored, self._custody, lost)
        until = self._custody.clock.now() + REQUEST_S
        chosen = [use for use in USES if use in (uses or LEAST)]
        fields = {"asset": asset, "key": one.id, "uses": chosen, "lost": sorted(lost), "until": until, **actor}
        side = Side(GATEWAY, {"reason": {"text": reason}})
        receipt = await self._custody.ledger.append(*self._custody.scribe.write("key.request", fields, side))
        return {"request": receipt.index, "key": one.id, "uses": chosen, "until": until}

    async def approve_opening(self, number: int, *, actor: dict[str, Any]) -> dict[str, Any]:
        """Open what somebody else asked for: the entry is durable, and the key at its end, before the subkeys are returned."""
        custody, asked = self._custody, _request(self._custody, number)
        try:
            _refuse_same(asked, actor)
            _refuse_late(custody, asked, number)
            await asyncio.to_thread(_refuse_unscored, custody, asked["lost"])
        except Denied as refusal:
            fields = {"request": number, "rule": refusal.rule, **actor}
            await custody.ledger.append(*custody.scribe.write("key.refusal", fields, None))
            raise
        key: MarkKey = await asyncio.to_thread(custody.shelf.used_key, asked["key"])
        told = opened(key, tuple(asked["uses"]))
        who = Approval.of(actor)
        change = KeyOpen(
            asset=asked["asset"],
            key=key.id,
            request=number,
            subkeys={use: key.digests[use] for use in told["subkeys"]},
            lost=tuple(asked["lost"]),
            acting=who.acting,
            shown=who.shown,
        )
        async with self._lock:
            [receipt] = await self._authority.change([change], by=who.by)
        return {**told, "entry": receipt.index}

    async def why(self, number: int) -> dict[str, Any]:
        """What a request says, for whoever is to approve it."""
        asked = _request(self._custody, number)
        clear = await asyncio.to_thread(_reason, self._custody, number)
        told = {name: asked[name] for name in ("asset", "key", "uses", "lost", "until", "by")}
        return {"request": number, **told, "reason": clear}

    async def show(self, asset: str) -> list[dict[str, Any]]:
        """Every key of an asset: where it rests, which versions it serves, whether it can be used now."""
        return [await asyncio.to_thread(self._shown, one) for one in self._custody.catalog.snapshot.lineages(asset)]

    def _shown(self, one: Lineage) -> dict[str, Any]:
        shelf, snapshot = self._custody.shelf, self._custody.catalog.snapshot
        try:
            rests: str | None = shelf.keep.kind_of(one.id)
        except LimenError:
            rests = None
        known = {"key": one.id, "entry": one.entry, "retired": one.retired, "opened": one.opened, "keep": rests}
        versions = [version.number for version in snapshot.versions(one.asset) if version.mark_key == one.id]
        if one.entry is None and rests is None:  # nothing was ever registered
            return {**known, "levels": shelf.keep.levels, "versions": [], "why": "", "commitment": None}
        why = shelf.check(one.id)
        key = None if why else shelf.used_key(one.id)
        committed = {"levels": key.levels, "commitment": key.commitment()} if key else {"levels": None, "commitment": None}
        return {**known, **committed, "versions": versions, "why": why}

    async def _rotated(self, asset: str, *, by: str, reason: str, kind: Kind | None = None, levels: str = "") -> str:
        shelf = self._custody.shelf
        newest = self._newest(asset)
        next_id = newest.id if newest.entry is None else id_of(asset, newest.number + 1)
        if kind is None and newest.entry is not None:  # as the one before, unless something else is asked
            kind = await asyncio.to_thread(shelf.keep.kind_of, newest.id)
        made = await asyncio.to_thread(self._made, next_id, kind, levels)
        change = KeyRotate(
            asset=asset,
            key=next_id,
            code=made.named()["code"],
            levels=made.levels,
            keep=await asyncio.to_thread(shelf.keep.kind_of, next_id),
            commitment=made.commitment(),
            subkeys=made.digests,
            reason=reason,
        )
        await self._authority.change([change], by=by)
        return next_id

    def _made(self, key_id: str, kind: Kind | None, levels: str) -> MarkKey:
        """A new key; or the one that a crash kept from being logged, if it is what was asked for. Blocking."""
        shelf = self._custody.shelf
        try:
            rests = shelf.keep.kind_of(key_id)
        except NotFound:
            return shelf.make_key(key_id, kind=kind, levels=levels)
        key = shelf.used_key(key_id)
        if (kind or rests) != rests or (levels or key.levels) != key.levels:
            raise Conflict(
                f"{shelf.keep.path(key_id)} is there, and no entry names it: a {rests} key with levels {key.levels}; ask for"
                " that, or remove it if nothing was ever served under it"
            )
        return key

    def _newest(self, asset: str) -> Lineage:
        return self._custody.catalog.snapshot.lineages(asset)[-1]

    def _lineage(self, asset: str, key: str) -> Lineage:
        """The key that is meant: without a name, that of the newest version that has one."""
        snapshot = self._custody.catalog.snapshot
        known = [one for one in snapshot.lineages(asset) if one.entry is not None]
        key = key or next((v.mark_key for v in reversed(snapshot.versions(asset)) if v.mark_key), "")
        found = next((one for one in known if one.id == key), None)
        if found is None:
            raise NotFound(f"mark key {key or 'of any version'} of {asset}; `limen asset key show {asset}` lists them")
        return found


def unscored(custody: Custody) -> dict[int, str]:
    """Samples that the log holds and no result does, by entry, with their digests. Blocking.

    A sample whose bytes were scored under another entry is scored.
    """
    samples: dict[int, str] = {}
    done: set[int | str] = set()
    for index, raw in custody.ledger.entries(0, custody.ledger.head().size):
        if b'"kind":"trace.' not in raw:
            continue
        entry = decode(raw)
        if entry["kind"] == "trace.sample":
            samples[index] = entry["digest"]
        elif entry["kind"] == "trace.result":
            done |= {entry["sample"], entry["digest"]}
    return {index: digest for index, digest in samples.items() if not done & {index, digest}}


def _refuse_unscored(custody: Custody, lost: Sequence[int]) -> None:
    waiting = unscored(custody)
    if strangers := [index for index in lost if index not in waiting]:
        raise Invalid("lost", f"entry {strangers[0]} is no sample that waits to be scored")
    left = [index for index in waiting if index not in lost]
    if left:
        raise Denied(
            f"{len(left)} logged samples are not scored yet, the first by entry {left[0]}: trace them now, or name those that are"
            " lost; after an opening they count for nothing",
            rule="unscored",
        )


def _refuse_same(asked: dict[str, Any], actor: dict[str, Any]) -> None:
    if Approval.of(asked).same(Approval.of(actor)):
        raise Denied("whoever asked for this key can't approve it; somebody else has to", rule="same-person")


def _refuse_late(custody: Custody, asked: dict[str, Any], number: int) -> None:
    if custody.clock.now() >= asked["until"]:
        raise Denied(f"request {number} has expired; ask again", rule="expired")


def _request(custody: Custody, number: int) -> dict[str, Any]:
    for _, raw in custody.ledger.entries(number, number + 1):
        entry = decode(raw)
        if entry["kind"] == "key.request":
            return entry
    raise NotFound(f"request {number}")


def _reason(custody: Custody, number: int) -> str:
    [(_, raw)] = custody.ledger.entries(number, number + 1)
    sealed = next(raw for _, name, raw in custody.ledger.sides(number, number + 1) if name == "reason")
    return str(open_side("reason", sealed, raw, custody.catalog.key_under(side_ref(sealed)))[1]["text"])
