"""What one access stands on: the services, and the few steps that open, list and receive share.

`Custody` decides nothing itself: it asks policy, charges quota, picks the recipient's copy, and writes entries. It is
built by `server` and used by the verbs; nothing here knows a protocol. Owned by the event loop's thread.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import structlog

from limen.adopted import Adopted
from limen.core.errors import Denied, LedgerUnavailable, LimenError, NotFound
from limen.core.types import Action, Listed, Side
from limen.ledger.recovery import OPENS_BYTES, needs_outcome
from limen.marks.copy import AdoptedCopy, Copy, etag_of, plain_copy
from limen.marks.records import PLAIN
from limen.policy.policies import Question
from limen.windows import Reading, Window, Windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.catalog.catalog import Catalog
    from limen.catalog.snapshot import Found
    from limen.clock import Clock
    from limen.core.types import Asset, Client, Receipt, Session, Shard, Span, Version
    from limen.identity.live import Live
    from limen.ledger.ledger import Ledger
    from limen.ledger.scribe import Scribe
    from limen.marks.records import Media
    from limen.marks.shelf import Shelf
    from limen.policy.policies import Policies
    from limen.policy.quota import Quota
    from limen.store.blobs import Blobs
    from limen.store.drops import Dropped, Drops
    from limen.store.upstream import Upstreams
    from limen.windows import Part

log = structlog.get_logger("limen")
COUNTED_S: Final = 60
WITNESSED_S: Final = 600

CONTENT_TYPES: Final[dict[Media, str]] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "text": "text/plain; charset=utf-8",
    "jsonl.gz": "application/gzip",
    "csv.gz": "application/gzip",
    "text.gz": "application/gzip",
    "parquet": "application/vnd.apache.parquet",
    "authored": "text/markdown; charset=utf-8",
}
OVER_QUOTA: Final = "quota"  # the rule of `errors.OverQuota`
MEDIA_OF: Final[dict[str, Media]] = {
    CONTENT_TYPES[media]: media for media in PLAIN
}  # whose records can be told in an unmarked object
GATEWAY: Final = "limen"  # whose key seals the side records that are nobody's personal detail
_OF_WINDOWS: Final = ("action", "asset", "version", "canary")
COPIES_KEPT = 4096
NETWORKS_KEPT = 65_536


class Watcher(Protocol):
    """Who reads the log as it grows. Neither call waits for anything, nor fails."""

    def notice(self) -> None:
        """Look at the log now."""

    def forget_networks(self) -> None:
        """Know nothing any more about where sessions came from, but what sealed records still say."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """Level L2: in these projects an access waits for the witnesses; `serve` says whether it goes ahead without them."""

    projects: frozenset[str] = frozenset()
    serve: bool = False


@dataclass(slots=True)
class Custody:
    """The services of one data directory, wired. Fields are set once by `server`; the rest is small caches."""

    ledger: Ledger
    scribe: Scribe
    catalog: Catalog
    policies: Policies
    quota: Quota
    live: Live
    shelf: Shelf
    blobs: Blobs
    drops: Drops
    clock: Clock
    upstreams: Upstreams
    quorum: Quorum = Quorum()
    windows: Windows = field(default_factory=Windows)
    watcher: Watcher | None = None
    _copies: OrderedDict[tuple[str, str, int, str], Copy] = field(default_factory=OrderedDict)
    _networks: OrderedDict[str, Client] = field(default_factory=OrderedDict)
    adopted: Adopted = field(init=False)
    _unresolved: int = 0
    _unwitnessed: int = 0
    _counted_at: int = 0
    _witnessed_at: int = 0
    _open: dict[int, None] = field(default_factory=dict)  # intents whose outcome is not written yet, oldest first

    def __post_init__(self) -> None:
        self.adopted = Adopted(self.upstreams, self._report_changed)

    # --- may they

    def may(self, session: Session, action: Action, asset: Asset) -> None:
        """Pass in silence if policy allows it; Denied with the rule and the next step otherwise."""
        self.policies.check(self.question(session, action, asset))

    def allows(self, session: Session, action: Action, asset: Asset) -> bool:
        """Whether policy allows it, for listings that leave out what may not be seen."""
        try:
            self.may(session, action, asset)
        except Denied:
            return False
        return True

    def question(self, session: Session, action: Action, asset: Asset) -> Question:
        """What policy is asked about this session, action and asset, now."""
        snapshot = self.catalog.snapshot
        now = self.clock.now()
        agreement = snapshot.agreement(session.vendor, now) if session.vendor else None
        return Question(
            session=session,
            action=action,
            asset=asset,
            asset_class=snapshot.asset_class(asset.asset_class),
            tier=snapshot.tier(asset.tier),
            grants=snapshot.grants_reaching(session.holder, asset),
            agreement_until=agreement.valid_until if agreement else 0,
            paused=False,  # live.check has run; the rule stands behind it for `explain` and for proofs
            ended=snapshot.holder_by_id(session.holder).ended_at is not None,
            now=now,
            epoch=snapshot.epoch,
            owner=snapshot.project(asset.project).owner,
        )

    def reserve(self, session: Session, asset: Asset, span: Span) -> None:
        """Charge a span to the person's export quota of the day; OverQuota if it does not fit."""
        limit = self.catalog.snapshot.tier(asset.tier).export_bytes_day  # without one it is counted all the same: see `credit`
        self.quota.reserve(session.pseudonym, asset.id, limit, span.end - span.start, now=self.clock.day_at())

    def credit(self, session: Session, asset: str, span: Span, sent: int, *, reserved_at: int) -> None:
        """Give back what was reserved and not handed over, to the day it was taken from. No `asset`: nothing was reserved."""
        unsent = span.end - span.start - sent
        if asset and unsent and span.status in OPENS_BYTES:
            self.quota.credit(session.pseudonym, asset, unsent, reserved_at=reserved_at)

    # --- whose copy

    def copy_for(self, session: Session, found: Found, path: str) -> tuple[Copy, dict[str, Any], int]:
        """The recipient's copy, what an entry calls it, and when it was registered. NotFound if there is no such shard."""
        asset = found.asset
        if asset.kind == "drop":
            return self._dropped_copy(session, asset, path.partition("/")[2])
        if found.version is None or found.shard is None:
            raise NotFound(path)
        copy = self.copy_of(session.holder, found.version, found.shard)
        return copy, {"version": found.version.number, "shard": found.shard.path}, found.version.registered_at

    def copy_of(self, holder: str, version: Version, shard: Shard) -> Copy:
        """A recipient's copy of one shard; kept while it is in use, so that its digests are computed once."""
        key = (holder, version.asset, version.number, shard.path)
        copy = self._copies.get(key)
        if copy is not None:
            self._copies.move_to_end(key)
            return copy
        copy = self._copies[key] = self.fresh_copy(holder, version, shard)
        if len(self._copies) > COPIES_KEPT:
            self._copies.popitem(last=False)
        return copy

    def fresh_copy(self, holder: str, version: Version, shard: Shard) -> Copy:
        """The same copy without the cache: for reports, which run in other threads."""
        recipient = self.catalog.snapshot.recipient(holder, version.asset)
        name = f"{version_id(version)}/{shard.path}"
        if shard.prepared:
            return self.shelf.copy_of(shard, recipient, version_id=name)
        etag, media = etag_of(recipient, name), MEDIA_OF.get(shard.content_type)
        if shard.upstream is not None:
            return AdoptedCopy(shard.length, etag, shard.content_type)
        return plain_copy(self.blobs.path(shard.digest), etag=etag, content_type=shard.content_type, media=media)

    def etag_for(self, session: Session, asset: Asset, version: Version, shard_path: str) -> str:
        """The ETag of a recipient's copy, without opening it: what a listing shows."""
        recipient = self.catalog.snapshot.recipient(session.holder, asset.id)
        return etag_of(recipient, f"{version_id(version)}/{shard_path}")

    def dropped(self, session: Session, asset: Asset) -> list[Listed]:
        """What this session may see in a drop box: a vendor's writer their own uploads, the lab's reader everyone's."""
        if self._collects(session, asset):
            found = [(f"{w}/", d) for w in self.drops.writers(asset.id) for d in self.drops.of(asset.id, w)]
        else:
            found = [("", d) for d in self.drops.of(asset.id, session.pseudonym)]
        return [Listed(f"{asset.id}/{w}{d.path}", d.length, d.etag, d.stored_at) for w, d in found]

    def _collects(self, session: Session, asset: Asset) -> bool:
        return session.vendor is None and self.allows(session, Action.READ, asset)

    def _dropped_copy(self, session: Session, asset: Asset, rest: str) -> tuple[Copy, dict[str, Any], int]:
        writer, path = session.pseudonym, rest
        if self._collects(session, asset):
            writer, _, path = rest.partition("/")
        dropped: Dropped = self.drops.get(asset.id, writer, path)
        copy = plain_copy(self.blobs.path(dropped.digest), etag=dropped.etag, content_type=dropped.content_type)
        return copy, {"writer": writer, "digest": dropped.digest}, dropped.stored_at

    # --- what is written down

    async def append(
        self,
        kind: str,
        session: Session,
        fields: dict[str, Any],
        *,
        client: Client | None = None,
        request: str | None = None,
    ) -> Receipt:
        """Write an entry about a session's access; durable on return. Personal detail goes encrypted beside it.

        Network details are recorded when they differ from the session's last ones; what the caller typed (`request`)
        may name anything, so it is never in the entry itself.
        """
        classes: dict[str, dict[str, object]] = {}
        if client is not None and self._networks.get(session.id) != client:
            classes["network"] = {"address": client.address, "agent": _text(client.agent)}
            self._networks[session.id] = client
            if len(self._networks) > NETWORKS_KEPT:
                self._networks.popitem(last=False)
        if request is not None:
            classes["request"] = {"path": _text(request)}
        # Of somebody who is erased no detail can be kept; that they tried is still written.
        side = Side(session.holder, classes) if classes and self.catalog.sealable(session.holder) else None
        entry, sealed = self.scribe.write(kind, {**who(session), **fields}, side)
        try:
            receipt = await self.ledger.append(entry, sealed)
        except LedgerUnavailable:
            self.windows.close_all()
            raise
        if kind == "access.intent" and needs_outcome(fields):
            self._open[receipt.index] = None
        if "canary" in fields or fields.get("rule") == OVER_QUOTA:
            self._notice()
        if kind == "access.intent" and session.project in self.quorum.projects:
            await self._witnessed(receipt, session)
        return receipt

    async def _witnessed(self, receipt: Receipt, session: Session) -> None:
        """Wait for the witnesses' quorum. Without it LedgerUnavailable, or, if so configured, go ahead and count that."""
        try:
            await self.ledger.witnessed(receipt.index + 1)
        except LedgerUnavailable:
            if not self.quorum.serve:
                self.outcome(receipt.index, session, end="failed", sent=0)
                raise
            self._unwitnessed += 1

    def forget_networks(self) -> None:
        """Drop the addresses that sessions were last seen under. Each is recorded once more when it is seen again."""
        self._networks.clear()
        if self.watcher is not None:
            self.watcher.forget_networks()

    def _notice(self) -> None:
        """An entry that is an alert by itself has been written: somebody should look now."""
        if self.watcher is not None:
            self.watcher.notice()

    async def cover(
        self, session: Session, found: Found, fields: dict[str, Any], span: Span, *, client: Client
    ) -> tuple[Receipt, Reading | None]:
        """The durable intent of a read: an open window's, a new window's, or one of its own.

        A reading that is returned has been entered, and its caller must `leave` it. LedgerUnavailable, and then nothing
        may leave.
        """
        now_us = self.moment_us()
        window = self._window_for(session, found, fields, span, now_us=now_us, client=client)
        if window is None:
            return await self.append("access.intent", session, fields, client=client), None
        window.enter()
        reading = Reading(window, fields["shard"], span, now_us)
        try:
            receipt = window.intent.result() if window.intent.done() else await asyncio.shield(window.intent)
        except BaseException:
            reading.leave(0, now_us=now_us, end="failed")
            raise
        return receipt, reading

    def _window_for(
        self, session: Session, found: Found, fields: dict[str, Any], span: Span, *, now_us: int, client: Client
    ) -> Window | None:
        """An open window that covers a read, or a new one; None where the read needs an intent of its own."""
        tier = self.catalog.snapshot.tier(found.asset.tier)
        if not (tier.window_bytes and tier.window_s and found.version and found.shard):
            return None
        if not self.ledger.writable:
            self.windows.close_all()  # a lost ledger stops bytes: nobody reads on under an older entry
        window = self.windows.find(session, found.version, found.shard.path, span, now_us=now_us)
        if window is not None:
            return window
        bounds = self.windows.bounds(session, found.version, found.shard, span, most=tier.window_bytes, now_us=now_us)
        if bounds is None:
            return None
        return self._open_window(session, fields, bounds, now_us=now_us, length_s=tier.window_s, client=client)

    def leave(self, reading: Reading, sent: int, *, end: str) -> None:
        """End a read under a window. One that was cut takes the window with it, so that the outcome is there at once."""
        reading.leave(sent, now_us=self.moment_us(), end=end)
        if end == "cut":
            self.windows.close(reading.window)

    def _open_window(
        self, session: Session, fields: dict[str, Any], bounds: Mapping[str, Part], *, now_us: int, length_s: int, client: Client
    ) -> Window:
        """A window whose intent is on its way to disk. The timer closes it, and with that its outcome is written."""
        wide: dict[str, Any] = {name: fields[name] for name in _OF_WINDOWS if name in fields}
        wide |= {"status": 200, "window": length_s}
        if len(bounds) == 1:
            [part] = bounds.values()
            wide |= {"shard": fields["shard"], "etag": fields["etag"], "span": [part.start, part.end]}
        else:
            wide |= {"run": [[path, part.end] for path, part in bounds.items()]}
        loop = asyncio.get_running_loop()
        # A task of its own: it must go on for the others if the first reader goes away.
        intent = loop.create_task(self.append("access.intent", session, wide, client=client))
        until_us = now_us + length_s * 1_000_000
        window = Window(session, fields["asset"], fields["version"], bounds, now_us, until_us, intent, self._settle_window)
        intent.add_done_callback(window.committed)
        self.windows.add(window)
        loop.call_later(length_s, self.windows.close, window)
        return window

    def _settle_window(self, window: Window) -> None:
        """Write what was handed over under a window; rides a later commit. Without a durable intent nothing was."""
        if not window.intent.done() or window.intent.cancelled() or window.intent.exception() is not None:
            return
        more = {"reads": window.reads, "handed": window.handed()}
        self.outcome(window.intent.result().index, window.session, end=window.end, sent=window.sent, **more)

    def moment_us(self) -> int:
        """Microseconds since 1970: the story's, if one is told."""
        story = self.clock.story_us()
        return self.clock.now_us() if story is None else story

    def outcome(self, index: int, session: Session, *, end: str, sent: int, **more: Any) -> None:
        """Write how an access ended; rides a later commit. Lost with a crash, it reads `unknown` after the restart."""
        if self._open.pop(index, 0) == 0:
            return  # nothing was to leave: HEAD, 304 and the like have no outcome of their own
        fields = {"of": index, "session": session.id, "end": end, "sent": sent, **more}
        entry, _ = self.scribe.write("access.outcome", fields, None)
        self.ledger.append_soon(entry, low_water=next(iter(self._open), None))

    def _report_changed(self, version: Version, shard: Shard) -> None:
        """Write that an adopted object is not what was adopted; rides a later commit."""
        log.warning("an adopted object has changed", asset=version.asset, version=version.number, shard=shard.path)
        fields = {"asset": version.asset, "version": version.number, "shard": shard.path}
        entry, _ = self.scribe.write("upstream.changed", fields, None)
        self.ledger.append_soon(entry, low_water=next(iter(self._open), None))

    def unresolved(self, error: LimenError) -> None:
        """Count a request that proved no session; a flood of them must not fill the disk."""
        log.info("no session", step=getattr(error, "step", ""), why=str(error))
        self._unresolved += 1

    async def write_counts(self) -> None:
        """Write how many requests proved no session, and how many went unwitnessed, since the last time; once a minute."""
        now = self.clock.now()
        if now < self._counted_at + COUNTED_S or not (self._unresolved or self._unwitnessed):
            return
        self._counted_at = now
        counts = {"access.unresolved": self._unresolved, "access.unwitnessed": self._unwitnessed}
        self._unresolved = self._unwitnessed = 0
        written = [self.scribe.write(kind, {"count": count}, None) for kind, count in counts.items() if count]
        await self.ledger.append_all(written)

    async def write_witnessed(self) -> None:
        """Write when the witnesses' quorum last cosigned, and the longest time without it; every ten minutes in which it did."""
        now = self.clock.now()
        self._witnessed_at = self._witnessed_at or now
        if now < self._witnessed_at + WITNESSED_S or (stretch := self.ledger.witnessed_stretch()) is None:
            return
        self._witnessed_at = now
        since, last, longest = (int(part * 1_000_000) for part in stretch[1:])
        fields = {"size": stretch.size, "since_us": since, "ago_us": last, "gap_us": longest}
        await self.ledger.append(*self.scribe.write("log.witnessed", fields, None))

    async def settle(self, index: int, session: Session, *, end: str, sent: int, digest: str) -> Receipt:
        """Write how an upload ended, durably: the digest of what was taken is the writer's proof that it arrived."""
        fields = {"of": index, "session": session.id, "end": end, "sent": sent, "digest": digest}
        entry, _ = self.scribe.write("access.outcome", fields, None)
        receipt = await self.ledger.append(entry)
        self._open.pop(index, None)  # only now: until it is durable, a restart must find the intent open
        return receipt

    async def refuse(
        self,
        session: Session,
        action: Action,
        path: str,
        refusal: LimenError,
        *,
        client: Client,
        asset: Asset | None = None,
        rule: str = "",
    ) -> NoReturn:
        """Make the refusal durable, then raise it."""
        named = asset.id if asset is not None else self._asset_named(path)
        rule = rule or getattr(refusal, "rule", "") or type(refusal).__name__.lower()
        fields: dict[str, Any] = {"action": action.value, "rule": rule, **({"asset": named} if named else {})}
        if named and self.catalog.snapshot.asset(named).canary:
            fields["canary"] = True
        await self.append("access.refusal", session, fields, client=client, request=path)
        raise refusal

    def _asset_named(self, path: str) -> str | None:
        """The asset that a refused path reached for, in whatever project: any of its segments names one."""
        known = self.catalog.snapshot.has_asset
        return next((segment for segment in path.split("/")[:2] if known(segment)), None)


def who(session: Session) -> dict[str, Any]:
    """How every entry names the session that acts: by pseudonyms only."""
    fields: dict[str, Any] = {"session": session.id, "who": session.pseudonym, "project": session.project}
    if session.vendor:
        fields["vendor"] = session.vendor
    if session.sponsor_pseudonym:
        fields["sponsor"] = session.sponsor_pseudonym
    return fields


def version_id(version: Version) -> str:
    """What names a version for good."""
    return f"{version.asset}@{version.number}"


def _text(value: str) -> str:
    """Caller's text as an entry's side record may hold it: valid Unicode, normal form C, at most 1,024 characters."""
    clean = value.encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFC", clean)[:1024]
