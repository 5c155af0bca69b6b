"""Advisories as feeds hold them, and a log in memory that says when each came in."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from limen.assurance.advisories.known import Advisories
from limen.core.events import encode
from limen.store.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600_000_000
DAY = 24 * HOUR


def on(at_us: int) -> str:
    """A time in µs as records write it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def affected(name: str = "litellm", *versions: str, ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    """What a record says of one package: these versions, or more."""
    listed = {"versions": list(versions)} if versions else {}
    return {"package": {"ecosystem": ecosystem, "name": name}, **listed, **more}


def record(name: str, *parts: dict[str, Any], modified: int = 0, **more: Any) -> dict[str, Any]:
    """One record."""
    return {"schema_version": "1.7.4", "id": name, "modified": on(modified), "affected": list(parts), **more}


def raw(*records: Any) -> bytes:
    """A feed of one record a line; bytes stay as they are."""
    return b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in records)


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A feed as a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Log:
    """Entries in memory; the bytes that they name lie in a blob store."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.raws: list[bytes] = []
        self.blobs = Blobs(data / "blobs")

    def entries(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        return iter([*enumerate(self.raws)][start:end])

    def enter(self, kind: str, at: int, **fields: Any) -> int:
        """Enter something at a time in µs; its index."""
        self.raws.append(encode(kind, at, len(self.raws).to_bytes(16), {**fields, "by": "uid:0"}))
        return len(self.raws) - 1

    def feed(self, content: bytes, *, at: int, source: str = "osv", signed: bool = False) -> int:
        """Enter a feed."""
        digest, length = self.blobs.put([content])
        key = "SHA256:x" if signed else None
        return self.enter("advisory.feed", at, digest=digest, length=length, source=source, signed=signed, key=key)

    def window(self, name: str, start: int | None, end: int | None, *, at: int, **more: Any) -> int:
        """Enter a window."""
        stated = {"channel": "pypi", "source": "a", "ecosystem": "", "image": "", "tag": "", **more}
        return self.enter("advisory.window", at, advisory=name, **{"from": start, "to": end}, **stated)

    def vex(self, vendor: str, document: Any, *, at: int) -> int:
        """Enter a VEX document."""
        digest, length = self.blobs.put([document if isinstance(document, bytes) else json.dumps(document).encode()])
        return self.enter("vex.add", at, vendor=vendor, digest=digest, length=length, form="", statements=1)

    def advisories(self) -> Advisories:
        """The questions, of this log."""
        return Advisories(self.data, self, self.blobs.path, origin="test")
