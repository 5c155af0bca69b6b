"""The same line inwards: what a writer puts into a drop box, whole or in parts.

The order is that of `access`: cut? there? allowed? intent durable, and only then is a byte taken. What was taken is
durable, and so is the outcome that names its digest, before the writer hears that it is stored. A drop box shows its
writer their own uploads and nothing else; two writers' same path never meet.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limen.core.errors import Denied, Invalid, LimenError, NotFound, Unsupported
from limen.core.types import Action, Stored
from limen.store.drops import Dropped, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.core.types import Asset, Client, Receipt, Session
    from limen.custody import Custody
    from limen.identity.live import Stream
    from limen.store.blobs import Staged

MAX_PARTS = 10_000
MAX_KEY_BYTES = 1024  # S3's own limit
MAX_UPLOADS = 1000


@dataclass(slots=True)
class Reception:
    """One logged upload on its way in. Write its chunks, then `commit` or `abort`; it holds the receipt of its intent."""

    receipt: Receipt
    session: Session
    asset: Asset
    path: str
    content_type: str
    custody: Custody = field(repr=False)
    staged: Staged
    upload: Upload | None = None
    number: int = 0
    _stream: Stream | None = None

    def watch(self, abort: Callable[[], None]) -> None:
        """Let a pause close this upload's transport."""
        self._stream = self.custody.live.register(self.session, abort, Action.WRITE)

    async def write(self, chunk: bytes) -> None:
        """Take a chunk. Raises Paused or SessionEnded, and nothing is kept, once the session is cut."""
        try:
            self.custody.live.check(self.session, Action.WRITE)
        except Denied:
            await self.abort("cut")
            raise
        self.staged.write(chunk)

    async def commit(self, *, only_if_absent: bool = False, checksums: dict[str, str] | None = None, etag: str = "") -> Stored:
        """Keep the bytes and name them. On return the object and the outcome that names its digest are durable.

        `checksums` are those the door verified, kept to be shown again; `etag` replaces the MD5 for a joined upload.
        Conflict if `only_if_absent` and the writer has an object under that path already; nothing is changed then.
        """
        custody = self.custody
        try:
            custody.live.check(self.session, Action.WRITE)
            length, etag = self.staged.length, etag or self.staged.md5.hexdigest()
            digest = await asyncio.to_thread(self.staged.keep)  # its sync may take long; a pause must not wait for it
            custody.live.check(self.session, Action.WRITE)
            stored = Dropped(
                self.path, digest, length, etag, custody.clock.now(), self.receipt.index, self.content_type, checksums or {}
            )
            if self.upload is None:
                put = functools.partial(custody.drops.put, self.asset.id, self.session.pseudonym, only_if_absent=only_if_absent)
            else:
                put = functools.partial(custody.drops.put_part, self.upload, self.number)
            await asyncio.to_thread(put, stored)
        except (LimenError, OSError):
            await self.abort("failed")
            raise
        self._forget()
        receipt = await custody.settle(self.receipt.index, self.session, end="complete", sent=length, digest=digest)
        return Stored(self.path, length, etag, digest, self.receipt.index, receipt)

    async def abort(self, end: str = "aborted") -> None:
        """Keep nothing; the outcome says how it ended."""
        self._forget()
        self.staged.discard()
        self.custody.outcome(self.receipt.index, self.session, end=end, sent=self.staged.length)

    def _forget(self) -> None:
        if self._stream is not None:
            self.custody.live.unregister(self._stream)
            self._stream = None


class Receiving:
    """The inward half of `Access`: accept, remove, and multipart uploads, all into drop boxes."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    async def accept(
        self, session: Session, path: str, *, length: int | None, client: Client, content_type: str = "application/octet-stream"
    ) -> Reception:
        """Open one upload. Nothing is read from the writer before this returns."""
        asset, rest = await self._box(session, path, Action.WRITE, client)
        receipt = await self._intent(session, asset, rest, "write", client, length=length)
        staged = self._custody.blobs.stage(os.urandom(16).hex())
        return Reception(receipt, session, asset, rest, content_type, self._custody, staged)

    async def remove(self, session: Session, path: str, *, client: Client) -> None:
        """Forget one upload of the writer's own. Removing what is not there succeeds, as in S3."""
        asset, rest = await self._box(session, path, Action.DELETE, client)
        await self._intent(session, asset, rest, "delete", client)
        self._custody.drops.remove(asset.id, session.pseudonym, rest)

    async def begin(
        self,
        session: Session,
        path: str,
        *,
        client: Client,
        content_type: str = "application/octet-stream",
        checksum: str = "",
    ) -> Upload:
        """Begin a multipart upload; its id means nothing to anybody else."""
        asset, rest = await self._box(session, path, Action.WRITE, client)
        if len(self._custody.drops.uploads(asset.id, session.pseudonym)) >= MAX_UPLOADS:
            raise Invalid("uploads", f"{MAX_UPLOADS} uploads are in progress already; finish or abort some first")
        await self._intent(session, asset, rest, "begin", client)
        upload = Upload(
            os.urandom(16).hex(), asset.id, session.pseudonym, rest, self._custody.clock.now(), content_type, checksum
        )
        self._custody.drops.begin(upload)
        return upload

    async def accept_part(
        self, session: Session, upload_id: str, path: str, number: int, *, length: int | None, client: Client
    ) -> Reception:
        """Open one part of an upload; `number` from 1 to 10,000."""
        if not 1 <= number <= MAX_PARTS:
            raise Invalid("partNumber", f"must be from 1 to {MAX_PARTS}")
        asset, rest, upload = await self._upload(session, upload_id, path, client)
        receipt = await self._intent(session, asset, rest, "write", client, length=length)
        staged = self._custody.blobs.stage(os.urandom(16).hex())
        return Reception(receipt, session, asset, rest, upload.content_type, self._custody, staged, upload, number)

    async def finish(
        self,
        session: Session,
        upload_id: str,
        path: str,
        parts: Sequence[tuple[int, str]],
        *,
        client: Client,
        only_if_absent: bool = False,
    ) -> Stored:
        """Join the named parts into one object. Durable on return, with the outcome that names its digest."""
        asset, rest, upload = await self._upload(session, upload_id, path, client)
        custody = self._custody
        chosen = custody.drops.chosen(upload, parts)
        receipt = await self._intent(session, asset, rest, "write", client, length=sum(part.length for part in chosen))
        reception = Reception(
            receipt, session, asset, rest, upload.content_type, custody, custody.blobs.stage(os.urandom(16).hex())
        )
        for part in chosen:
            with custody.blobs.path(part.digest).open("rb") as source:
                while chunk := await asyncio.to_thread(source.read, 1 << 20):
                    await reception.write(chunk)
        joined = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in chosen), usedforsecurity=False)
        stored = await reception.commit(only_if_absent=only_if_absent, etag=f"{joined.hexdigest()}-{len(chosen)}")
        custody.drops.close(upload)
        return stored

    async def abandon(self, session: Session, upload_id: str, path: str, *, client: Client) -> None:
        """Drop an upload and its parts."""
        asset, rest, upload = await self._upload(session, upload_id, path, client)
        await self._intent(session, asset, rest, "abandon", client)
        self._custody.drops.close(upload)

    async def uploads(self, session: Session, *, prefix: str, client: Client) -> tuple[tuple[str, Upload], ...]:
        """The writer's own uploads in progress, as (path with the asset's name, upload)."""
        custody = self._custody
        try:
            custody.live.check(session)
            boxes = [asset for asset in custody.catalog.snapshot.assets_in(session.project) if asset.kind == "drop"]
            allowed = [asset for asset in boxes if custody.allows(session, Action.WRITE, asset)]
        except LimenError as refusal:
            await custody.refuse(session, Action.LIST, prefix, refusal, client=client)
        fields = {"action": "list", "assets": [asset.id for asset in allowed], "status": 200}
        await custody.append("access.intent", session, fields, client=client)
        found = [(f"{a.id}/{u.path}", u) for a in allowed for u in custody.drops.uploads(a.id, session.pseudonym)]
        return tuple(sorted((pair for pair in found if pair[0].startswith(prefix)), key=lambda pair: pair[0]))

    async def parts(self, session: Session, upload_id: str, path: str, *, client: Client) -> dict[int, Dropped]:
        """The parts of one of the writer's uploads, by number."""
        asset, rest, upload = await self._upload(session, upload_id, path, client)
        await self._intent(session, asset, rest, "list", client)
        return self._custody.drops.parts(upload)

    async def _box(self, session: Session, path: str, action: Action, client: Client) -> tuple[Asset, str]:
        """The drop box that a path names, and the path in it, if this session may; otherwise a durable refusal."""
        custody = self._custody
        try:
            custody.live.check(session, action)
            asset = custody.catalog.snapshot.find(session.project, path).asset
            custody.may(session, action, asset)
            if asset.kind != "drop":
                raise Unsupported(f"{asset.id} is not a drop box: it can be read, not written")
            rest = path.partition("/")[2]
            if not rest or len(path.encode()) > MAX_KEY_BYTES:
                raise Invalid("key", "an object needs a name below its drop box, of at most 1,024 bytes")
        except LimenError as refusal:
            await custody.refuse(session, action, path, refusal, client=client)
        return asset, rest

    async def _upload(self, session: Session, upload_id: str, path: str, client: Client) -> tuple[Asset, str, Upload]:
        asset, rest = await self._box(session, path, Action.WRITE, client)
        try:
            upload = self._custody.drops.upload(upload_id, asset=asset.id, writer=session.pseudonym, path=rest)
        except NotFound as refusal:
            await self._custody.refuse(session, Action.WRITE, path, refusal, client=client, asset=asset, rule="no-such-upload")
        return asset, rest, upload

    async def _intent(
        self, session: Session, asset: Asset, rest: str, action: str, client: Client, *, length: int | None = None
    ) -> Receipt:
        fields: dict[str, Any] = {"action": action, "asset": asset.id, **({"length": length} if length is not None else {})}
        return await self._custody.append("access.intent", session, fields, client=client, request=rest)
