"""What an import says of itself: `manifest.json`, whose digest is in the ledger. Its bytes are canonical JSON.

docs/formats/observations.md lists the fields.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from limen.core.errors import Invalid
from limen.core.events import canonical

NAME: Final = "manifest.json"
Span = tuple[int, int]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One input as it was read. `name` is its path below what was named; `digest` the SHA-256 of its bytes as they lie."""

    name: str
    digest: str
    length: int
    events: int = 0
    bad: int = 0
    damaged: str = ""  # why nothing was read from some place on; empty if it was whole
    damaged_at: int | None = None  # the offset of that place, after decompression
    first_us: int | None = None
    last_us: int | None = None


class Bad(msgspec.Struct, frozen=True):
    """A piece of an input that says nothing we can read. `offset` counts bytes after decompression."""

    input: str
    offset: int
    why: str


class Hole(msgspec.Struct, frozen=True):
    """A time in which an input lost events: not covered, whatever the rest of the import covers."""

    input: str
    start_us: int
    end_us: int
    why: str


class Covered(msgspec.Struct, frozen=True):
    """What an import proves to cover of one scope before its holes are taken out.

    `basis`: `gap` (no two events further apart than `gap_s`), `told` (the operator's word), `digest` (CloudTrail's own
    chain), `best-effort` (as `gap`, of a log whose sender promises no completeness).
    """

    scope: str
    basis: str
    spans: tuple[Span, ...]


class Part(msgspec.Struct, frozen=True):
    """One day's rows. `path` is below the import's directory."""

    path: str
    day: str
    rows: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that one import knows. Times are microseconds since 1970."""

    version: int = 1
    source: str
    kind: str
    skew_s: int
    gap_s: int
    options: dict[str, str] = {}
    inputs: tuple[Source, ...]
    parts: tuple[Part, ...]
    covered: tuple[Covered, ...]
    holes: tuple[Hole, ...] = ()
    bad: tuple[Bad, ...] = ()  # the first of them
    events: int  # read
    kept: int  # rows they made
    new: int  # rows that no earlier import held
    left_out: dict[str, int] = {}  # events that are nobody's access, by what they are
    bad_count: int = 0
    fields: tuple[str, ...]  # what is kept of a record
    first_us: int | None = None
    last_us: int | None = None

    def encode(self) -> bytes:
        """Its bytes, the same for the same content."""
        return canonical(msgspec.to_builtins(self)) + b"\n"


def digest(raw: bytes) -> str:
    """What the ledger calls a manifest."""
    return hashlib.sha256(raw).hexdigest()


def decode(raw: bytes, where: str) -> Manifest:
    """A manifest; Invalid for bytes that are none."""
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as e:
        raise Invalid(where, f"is not a manifest of an import ({e})") from e
