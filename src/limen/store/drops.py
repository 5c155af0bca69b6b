"""What writers put into drop boxes: one namespace per (asset, writer), and multipart uploads in progress.

`drops/<asset>/<pseudonym>/<sha256 of path>.json` names a stored object and its blob; two writers' same path never meet.
`uploads/<id>/` holds an upload's owner and its parts. Each record is written whole (temporary name, sync, rename), so
a crash leaves an object that is there or is not. Blocking: call from a thread when it matters.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING

import msgspec

from limen.core.errors import Conflict, Invalid, NotFound
from limen.durable import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}\Z")


class Dropped(msgspec.Struct, frozen=True):
    """One object in a drop box, or one part of an upload. `entry` is the ledger index of the access that brought it."""

    path: str
    digest: str
    length: int
    etag: str
    stored_at: int
    entry: int
    content_type: str = "application/octet-stream"
    checksums: dict[str, str] = {}


class Upload(msgspec.Struct, frozen=True):
    """A multipart upload in progress. Only its writer may name it."""

    id: str
    asset: str
    writer: str
    path: str
    begun_at: int
    content_type: str = "application/octet-stream"
    checksum: str = ""


class Drops:
    """Drop boxes and uploads below one data directory."""

    def __init__(self, root: Path) -> None:
        self._drops = root / "drops"
        self._uploads = root / "uploads"
        self._drops.mkdir(exist_ok=True)
        self._uploads.mkdir(exist_ok=True)

    def put(self, asset: str, writer: str, dropped: Dropped, *, only_if_absent: bool = False) -> None:
        """Name an object whose blob is durable. Conflict if `only_if_absent` and the writer has one there already."""
        place = self._place(asset, writer, dropped.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if only_if_absent:
            staged = place.with_suffix(f".{os.urandom(4).hex()}")
            write_atomically(staged, msgspec.json.encode(dropped))
            try:
                os.link(staged, place)  # fails if the name exists: nothing can slip between check and write
            except FileExistsError as e:
                raise Conflict(f"{dropped.path} is there already") from e
            finally:
                staged.unlink()
            return
        write_atomically(place, msgspec.json.encode(dropped))

    def get(self, asset: str, writer: str, path: str) -> Dropped:
        """One object of this writer's; NotFound for anybody else's too."""
        try:
            return msgspec.json.decode(self._place(asset, writer, path).read_bytes(), type=Dropped)
        except FileNotFoundError as e:
            raise NotFound(f"{asset}/{path}") from e

    def remove(self, asset: str, writer: str, path: str) -> bool:
        """Forget an object of this writer's; False if there was none. The blob rests until a sweep."""
        place = self._place(asset, writer, path)
        there = place.exists()
        place.unlink(missing_ok=True)
        return there

    def of(self, asset: str, writer: str) -> list[Dropped]:
        """Everything this writer has in the drop box, by path."""
        found = [msgspec.json.decode(p.read_bytes(), type=Dropped) for p in (self._drops / asset / writer).glob("*.json")]
        return sorted(found, key=lambda dropped: dropped.path)

    def writers(self, asset: str) -> list[str]:
        """The writers who have put anything there; for the lab's own people."""
        return sorted(p.name for p in (self._drops / asset).glob("*"))

    def begin(self, upload: Upload) -> None:
        """Record a new multipart upload."""
        folder = self._uploads / upload.id
        folder.mkdir()
        write_atomically(folder / "upload.json", msgspec.json.encode(upload))

    def upload(self, upload_id: str, *, asset: str, writer: str, path: str) -> Upload:
        """The upload, if it is this writer's for this path; NotFound otherwise."""
        if not _UPLOAD_ID.match(upload_id):
            raise NotFound(f"upload {upload_id!r}")
        try:
            upload = msgspec.json.decode((self._uploads / upload_id / "upload.json").read_bytes(), type=Upload)
        except FileNotFoundError as e:
            raise NotFound(f"upload {upload_id}") from e
        if (upload.asset, upload.writer, upload.path) != (asset, writer, path):
            raise NotFound(f"upload {upload_id}")
        return upload

    def uploads(self, asset: str, writer: str) -> list[Upload]:
        """The writer's own uploads in progress."""
        found = (msgspec.json.decode(p.read_bytes(), type=Upload) for p in self._uploads.glob("*/upload.json"))
        return sorted((u for u in found if (u.asset, u.writer) == (asset, writer)), key=lambda u: (u.path, u.id))

    def put_part(self, upload: Upload, number: int, part: Dropped) -> None:
        """Record a part whose blob is durable; a second one under the same number replaces the first, as in S3."""
        write_atomically(self._uploads / upload.id / f"{number:05}.json", msgspec.json.encode(part))

    def parts(self, upload: Upload) -> dict[int, Dropped]:
        """The parts so far, by number."""
        found = sorted((self._uploads / upload.id).glob("[0-9]*.json"))
        return {int(p.stem): msgspec.json.decode(p.read_bytes(), type=Dropped) for p in found}

    def chosen(self, upload: Upload, named: Sequence[tuple[int, str]]) -> list[Dropped]:
        """The parts that a completion names, in order; Invalid for a wrong order, number or ETag."""
        parts = self.parts(upload)
        numbers = [number for number, _ in named]
        if not numbers:
            raise Invalid("parts", "a completion must name at least one part")
        if numbers != sorted(set(numbers)):
            raise Invalid("PartNumber", "parts must be named once each, in ascending order")
        for number, etag in named:
            if number not in parts or parts[number].etag != etag.strip('"'):
                raise Invalid("ETag", f"part {number} was not uploaded with that ETag")
        return [parts[number] for number in numbers]

    def close(self, upload: Upload) -> None:
        """Forget an upload, finished or abandoned."""
        shutil.rmtree(self._uploads / upload.id, ignore_errors=True)

    def _place(self, asset: str, writer: str, path: str) -> Path:
        return self._drops / asset / writer / f"{hashlib.sha256(path.encode()).hexdigest()}.json"
