"""What a scan found, as it is kept: `DATA/scans/ENTRY.json`, whose SHA-256 the entry `scan.run` holds.

Keys by fingerprint only, and no names of people: who wrote a commit is read from the repository again when it is printed.
`reach` says what names a commit still: `refs`, only a `reflog`, or `nothing` (squashed, or of a deleted branch).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from limen.core.errors import Invalid

SCHEMA: Final = "limen/scan-manifest/v1"


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A commit that brought a blob in, and where. `at` is its own claim of when it was made."""

    commit: str
    path: str
    at: int
    reach: str = "refs"


class KeyPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a key stands: a line of a blob with the commits that brought it in, or a record of a governed shard."""

    blob: str
    line: int
    inside: str = ""
    commits: tuple[Commit, ...] = ()
    more_commits: int = 0
    asset: str = ""
    version: int = 0
    shard: str = ""
    record: int = -1


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One key: its fingerprint, the fingerprints of its other names, what kind it is said to be, and where it stands."""

    key: str
    kind: str
    confidence: str = ""
    aliases: tuple[str, ...] = ()
    places: tuple[KeyPlace, ...] = ()


class Stretch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lines of a blob that share `length` normalised characters with the shard, from its line `source_line`."""

    line: int
    last_line: int
    source_line: int
    length: int


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A blob that holds a piece of governed content, or only boilerplate that stands in it too (`kind`)."""

    blob: str
    kind: str
    digest: str
    names: tuple[tuple[str, int, str], ...]
    runs: int
    at_least: bool
    stretches: tuple[Stretch, ...]
    commits: tuple[Commit, ...] = ()
    more_commits: int = 0


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One scan, whole."""

    schema: str = SCHEMA
    repo: str
    subject: str  # `git` or `assets`
    refs: int = 0
    refs_digest: str = ""
    blobs: int = 0
    bytes: int = 0
    read: int = 0
    commits: int = 0
    left_out: tuple[str, ...] = ()
    kingfisher: str = ""  # its version; empty: nobody looked for secrets
    boxed: bool = True
    index: str = ""  # digest of the governed content and boilerplate compared with; empty: none was
    shards: int = 0
    keys: tuple[Key, ...] = ()
    references: tuple[Reference, ...] = ()


def encode(manifest: Manifest) -> bytes:
    """The bytes that are kept, and that the entry's digest is of."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(raw: bytes, *, sha256: str) -> Manifest:
    """A manifest, held against its digest. Invalid if it is another, or damaged."""
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise Invalid("scan manifest", "is not the one that its entry names")
    try:
        found = msgspec.json.decode(raw, type=Manifest)
    except ValueError as e:  # of form or of encoding
        raise Invalid("scan manifest", str(e)) from e
    if found.schema != SCHEMA:
        raise Invalid("scan manifest", f"is {found.schema}, which this version does not read")
    return found
