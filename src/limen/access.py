"""The one way out of limen, and the one way in. Read this first; docs/one-access.md tells the same as a story.

Every door ends in one of these calls. What a door may know (HTTP, S3, headers) stays above; what follows is the line:

    live.check       is the session cut?                         Paused, SessionEnded
    catalog.find     is there such a shard in its project?       NotFound
    policy.check     may this person do this to this asset?      Denied, OverQuota
    copy             this person's own copy of the version       fixed here, so that the entry can name it
    ledger.append    the intent, durable before anything leaves  LedgerUnavailable
    Delivery         can't exist without the receipt of its intent

Refusals are entries too, durable before the reply. The outcome of a delivery rides on a later commit: if it is lost,
start-up writes `unknown`, and an exposure report counts the whole span. The log may claim more than happened, never less.

Only `ledger.append` is awaited before the first byte: catalog, grants and policies are snapshots in memory.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from limen.core.errors import Denied, LedgerUnavailable, LimenError, NotFound
from limen.core.types import Action, Listed, Receipt, Span
from limen.ledger.recovery import OPENS_BYTES
from limen.receive import Receiving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from limen.catalog.snapshot import Found, Snapshot
    from limen.core.types import Asset, Client, Project, Session, Shard, Version
    from limen.custody import Custody
    from limen.marks.copy import Copy
    from limen.windows import Reading


@dataclass(slots=True)
class Delivery:
    """One logged access on its way out: holds the receipt that allows it. Send it once, then it is closed."""

    receipt: Receipt
    copy: Copy
    span: Span
    modified_at: int
    session: Session
    custody: Custody = field(repr=False)
    reserved: str = ""  # the asset whose quota the span was charged to, and when
    reserved_at: int = 0
    reading: Reading | None = None  # under whose window it goes, if not under an intent of its own
    adopted: tuple[Version, Shard] | None = None  # what is fetched from where it rests
    sent: int = 0
    _closed: bool = False

    async def send_to(self, send: Callable[[bytes | memoryview], Awaitable[None]], abort: Callable[[], None]) -> None:
        """Hand the span to `send`, chunk by chunk, checking before each that the session is not cut.

        `abort` must close the transport at once. Raises Paused or SessionEnded after aborting it: what the reader then
        holds is a prefix. UpstreamChanged and UpstreamUnavailable come before the first chunk, or after a prefix. Bytes count
        as sent when they are handed over, whether or not they arrive.
        """
        if not isinstance(self.receipt, Receipt):
            raise RuntimeError("a delivery needs the receipt of its intent")  # noqa: TRY004  our own misuse, as everywhere
        stream = self.custody.live.register(self.session, abort)
        end = "failed"
        try:
            async with contextlib.aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    self.custody.live.check(self.session)
                    self.sent += len(chunk)
                    await send(chunk)
            self.custody.live.check(self.session)
            end = "complete"
        except Denied:
            end = "cut"
            abort()
            raise
        finally:
            self.custody.live.unregister(stream)
            self.close(end)

    async def _chunks(self) -> AsyncGenerator[bytes | memoryview]:
        """The span: of the copy, or of an adopted object, fetched from where it rests now that its intent is durable."""
        if self.span.status not in OPENS_BYTES:
            return
        if self.adopted is None:
            for chunk in self.copy.read(self.span.start, self.span.end):
                yield chunk
            return
        async with contextlib.aclosing(self.custody.adopted.fetch(*self.adopted, self.span)) as fetched:
            async for piece in fetched:
                yield piece

    def close(self, end: str = "complete") -> None:
        """Write the outcome (once). A HEAD or a 304 is closed without being sent."""
        if self._closed:
            return
        self._closed = True
        self.custody.credit(self.session, self.reserved, self.span, self.sent, reserved_at=self.reserved_at)
        if self.reading is None:
            self.custody.outcome(self.receipt.index, self.session, end=end, sent=self.sent)
        else:
            self.custody.leave(self.reading, self.sent, end=end)


class Access(Receiving):
    """open and list; `receive.Receiving` holds the same line inwards. Lives on the event loop's thread."""

    async def open(
        self, session: Session, path: str, *, choose: Callable[[Copy, int], Span], client: Client, action: Action = Action.READ
    ) -> Delivery:
        """Open one shard for its recipient: `choose` reads the request's range and conditions against this copy.

        Raises Paused, SessionEnded, NotFound, Denied, OverQuota after the refusal is durable; LedgerUnavailable if
        nothing can be logged, and then nothing has left.
        """
        custody = self._custody
        found: Found | None = None
        try:
            custody.live.check(session, action)
            found = custody.catalog.snapshot.find(session.project, path)
            custody.may(session, action, found.asset)
            copy, name, modified_at = custody.copy_for(session, found, path)
            span = choose(copy, modified_at)
            if action is Action.READ and span.status in OPENS_BYTES:
                custody.reserve(session, found.asset, span)
        except LedgerUnavailable:
            raise
        except LimenError as refusal:
            await custody.refuse(session, action, path, refusal, client=client, asset=found.asset if found else None)
        reserved, reserved_at = (found.asset.id if action is Action.READ else ""), custody.clock.day_at()
        fields = {"action": action.value, "asset": found.asset.id, **name, "etag": copy.etag, "status": span.status}
        if found.asset.canary:
            fields["canary"] = True
        reading = None
        try:
            if reserved and span.status in OPENS_BYTES:
                fields["span"] = [span.start, span.end]
                receipt, reading = await custody.cover(session, found, fields, span, client=client)
            else:
                receipt = await custody.append("access.intent", session, fields, client=client)
        except LedgerUnavailable:
            custody.credit(session, reserved, span, 0, reserved_at=reserved_at)
            raise
        delivery = Delivery(receipt, copy, span, modified_at, session, custody, reserved, reserved_at, reading)
        if found.version and found.shard and found.shard.upstream:
            delivery.adopted = found.version, found.shard
        try:
            custody.live.check(session)  # a pause may have come while the intent was on its way to disk
        except Denied:
            delivery.close("cut")
            raise
        return delivery

    async def list(self, session: Session, *, prefix: str, client: Client) -> tuple[Listed, ...]:
        """Everything below `prefix` that this session may see, by path; a writer's own uploads in a drop box."""
        custody = self._custody
        try:
            custody.live.check(session)
            snapshot = custody.catalog.snapshot
            seen = [asset for asset in snapshot.assets_in(session.project) if _may_hold(asset, prefix)]
            allowed = [asset for asset in seen if custody.allows(session, Action.LIST, asset)]
            if seen and not allowed and prefix:  # a path of something that may not be seen is refused in words
                custody.may(session, Action.LIST, seen[0])
            lines = [line for asset in allowed for line in self._lines(session, snapshot, asset)]
        except LimenError as refusal:
            await custody.refuse(session, Action.LIST, prefix, refusal, client=client)
        fields = {"action": Action.LIST.value, "assets": [asset.id for asset in allowed][:500], "status": 200}
        await custody.append("access.intent", session, fields, client=client)
        custody.live.check(session)
        return tuple(sorted((line for line in lines if line.path.startswith(prefix)), key=lambda line: line.path))

    async def projects(self, session: Session, *, client: Client) -> tuple[Project, ...]:
        """The one project of the session's sandbox; an access like any other."""
        custody = self._custody
        try:
            custody.live.check(session)
            project = custody.catalog.snapshot.project(session.project)
        except LimenError as refusal:
            await custody.refuse(session, Action.LIST, "", refusal, client=client)
        await custody.append("access.intent", session, {"action": "list", "assets": [], "status": 200}, client=client)
        return (project,)

    async def elsewhere(self, session: Session, project: str, path: str, *, action: Action, client: Client) -> NoReturn:
        """Refuse a request for another project. Another's project and one that is not there look alike."""
        custody = self._custody
        try:
            custody.live.check(session, action)
        except Denied as refusal:
            await custody.refuse(session, action, path, refusal, client=client)
        elsewhere = NotFound(f"project {project!r} is not this session's ({session.project})")
        await custody.refuse(session, action, f"{project}/{path}", elsewhere, client=client, rule="other-project")

    def _lines(self, session: Session, snapshot: Snapshot, asset: Asset) -> Sequence[Listed]:
        custody = self._custody
        if asset.kind == "drop":
            return custody.dropped(session, asset)
        version = snapshot.version(asset.id)
        if version is None:
            return []
        return [
            Listed(
                f"{asset.id}/{shard.path}",
                shard.length,
                custody.etag_for(session, asset, version, shard.path),
                version.registered_at,
            )
            for shard in version.shards
        ]


def _may_hold(asset: Asset, prefix: str) -> bool:
    """Whether paths of this asset can begin with the prefix."""
    root = f"{asset.id}/"
    return root.startswith(prefix) or prefix.startswith(root)
