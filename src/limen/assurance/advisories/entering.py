"""Enters feeds, windows and VEX documents: who said it, whether that is proven, and the same bytes only once.

A feed is signed if a detached SSH signature (SSHSIG, namespace `limen-advisory`) over its bytes verifies by the key of a source
that limen.toml names. A signature that does not is an error, and nothing is entered: whoever signs means to be checked. What
nobody signed is entered as unsigned, and cannot pass for a source that signs.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, TamperDetected
from limen.core.events import MAX_INT
from limen.formats import sshsig, vex
from limen.formats.osv import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limen.assurance.advisories.known import Advisories
    from limen.assurance.advisories.values import Feed
    from limen.filing import Filed, Filing

NAMESPACE: Final = "limen-advisory"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A source whose feeds are signed: its name, its key, and how far what it says may go by itself."""

    name: str
    key: sshsig.PublicKey
    may: str


@dataclass(frozen=True, slots=True)
class Entered:
    """A feed that is in the log; `again`: these bytes were already."""

    feed: Feed
    again: bool


class Entering:
    """Enters what was given. Its coroutines run on the event loop's thread."""

    def __init__(self, filing: Filing, advisories: Advisories, sources: Sequence[Source] = ()) -> None:
        self._filing = filing
        self._advisories = advisories
        self._sources = tuple(sources)
        self._one_by_one = asyncio.Lock()  # two at once could enter the same bytes twice

    def source(self, name: str) -> Source | None:
        """The source of this name that limen.toml has, if it has one."""
        return next((each for each in self._sources if each.name == name), None)

    async def feed(self, digest: str, *, source: str, by: str, signature: bytes | None = None) -> Entered:
        """Enter a feed whose bytes are in the blob store; durable and folded on return. Invalid if its signature doesn't verify.

        `source` may be empty for a signed one: its key says whose it is.
        """
        async with self._one_by_one:
            name, key, length = await asyncio.to_thread(self._judged, digest, source, signature)
            known = await asyncio.to_thread(self._advisories.entered, digest, name, signed=bool(key))
            if known is not None:
                return Entered(known, again=True)
            fields = {"source": name, "signed": bool(key), "key": key or None}
            filed = await self._filing.enter("advisory.feed", fields, digest=digest, length=length, by=by)
        return Entered(await asyncio.to_thread(self._advisories.feed, filed.entry), again=False)

    async def window(self, name: str, stated: dict[str, Any], *, by: str) -> Filed:
        """Enter when something could be had: `channel`, `source`, `from`, `to` in µs (both None: taken back), `image`, `tag`."""
        fields = {"advisory": _word(name, "advisory"), **_window(stated)}
        return await self._filing.note("advisory.window", fields, by=by)

    async def vex(self, digest: str, vendor: str, *, by: str) -> tuple[Filed, vex.Document]:
        """Enter a vendor's VEX document whose bytes are in the blob store. Invalid, and nothing entered, if it is none."""
        raw = await asyncio.to_thread(self._filing.read, digest)
        document = vex.read(raw)
        fields = {"vendor": vendor, "form": document.form, "statements": len(document.statements)}
        return await self._filing.enter("vex.add", fields, digest=digest, length=len(raw), by=by), document

    def _judged(self, digest: str, source: str, signature: bytes | None) -> tuple[str, str, int]:
        """The source's name, its key's fingerprint if it is proven, and the feed's length. Reads all of it."""
        path = Path(self._filing.path(digest))
        hashed = hashlib.sha256()
        length = 0
        for chunk in _chunks(path):
            hashed.update(chunk)
            length += len(chunk)
        if hashed.hexdigest() != digest:
            raise TamperDetected(f"the blob {digest} holds other bytes than it was stored for; nothing was entered")
        if signature is None:
            name = _word(source, "source")
            if self.source(name) is not None:
                raise Invalid(
                    "source", f"{name} signs what it sends, and this is not signed; give another name, or its signature"
                )
            return name, "", length
        key = sshsig.verify(signature, _chunks(path), namespace=NAMESPACE, keys=[each.key for each in self._sources])
        found = next(each for each in self._sources if each.key == key)
        if source not in {"", found.name}:
            raise Invalid("source", f"it is signed by {found.name}, not by {source}")
        return found.name, key.fingerprint, length


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _window(stated: dict[str, Any]) -> dict[str, Any]:
    start, end = (_moment(stated.get(name), name) for name in ("from", "to"))
    if start is None and end is not None:
        raise Invalid("from", "is missing; a window begins at some time, or is taken back whole")
    if start is not None and end is not None and end <= start:
        raise Invalid("to", "is not after `from`")
    if stated.get("tag") and not stated.get("image"):
        raise Invalid("image", "is missing; a tag is one of an image")
    return {
        "channel": _word(stated.get("channel"), "channel"),
        "source": _word(stated.get("source"), "source"),
        "from": start,
        "to": end,
        **{name: _word(stated[name], name) if stated.get(name) else "" for name in ("ecosystem", "image", "tag")},
    }


def _moment(value: object, where: str) -> int | None:
    """A time in µs, or None. An entry that held anything else could never be counted."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT):
        return value
    raise Invalid(where, "is no time in microseconds since 1970")


def _word(value: object, where: str) -> str:
    """A name: some printable text on one line."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > min(MAX_TEXT, 256):
        raise Invalid(where, "needs a name of 1 to 256 printable characters")
    return value
