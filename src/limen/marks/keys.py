"""Mark keys: the one secret behind a data set's code, and the subkeys that keep its uses apart.

A key belongs to a lineage: an asset, with its versions from one change of key to the next. What `commitments()` says is
logged before the first serve, so that the key, or some of its subkeys, can be opened to an arbiter later and nobody can
have changed it. Whoever holds the key can mint anybody's copy; `limen.marks.keep` says where it may rest, docs/marks.md
what each place leaves open. Subkeys are HMAC-SHA256 (RFC 2104) of the secret under a domain name; nothing else is ever
keyed by the secret itself, so a token can hold the secret and derive them, and it is in no process then.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.durable import sync
from limen.marks.levels import DEFAULT, LEVELS, Levels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CODE: Final = "limen-code/1"  # key derivation, levels by table, look-up: a change of any is a new version
SECRET_BYTES: Final = 32
OPENED: Final = "limen/mark-key/v1"  # docs/formats/mark-key.md


@dataclass(frozen=True, slots=True)
class Subkeys:
    """One key for each use, so that no output of one can serve as an output of another."""

    slot: bytes = field(repr=False)
    side: bytes = field(repr=False)
    level: bytes = field(repr=False)
    tier: bytes = field(repr=False)
    order: bytes = field(repr=False)
    copy: bytes = field(repr=False)

    @classmethod
    def derived(cls, mac: Callable[[bytes], bytes]) -> Subkeys:
        """From HMAC-SHA256 under the secret, wherever that is."""
        return cls(*map(mac, DERIVED_BY))

    def items(self) -> list[tuple[str, bytes]]:
        """Each use with its key."""
        return [(use, getattr(self, use)) for use in USES]


USES: Final = tuple(each.name for each in fields(Subkeys))
DERIVED_BY: Final = tuple(b"limen marks v1: " + use.encode() for use in USES)


@dataclass(frozen=True)
class MarkKey:
    """A lineage's key. `salt` hides what is committed to. Never printed: repr shows id and table of levels.

    `secret` is empty if it never leaves a token; then `from_token` has the subkeys.
    """

    id: str
    secret: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    levels: str = DEFAULT
    from_token: Subkeys | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != (0 if self.from_token else SECRET_BYTES) or len(self.salt) != SECRET_BYTES:
            raise RuntimeError(f"a mark key has {SECRET_BYTES} secret and {SECRET_BYTES} salt bytes")
        if self.levels not in LEVELS:
            raise RuntimeError(f"there is no table of levels {self.levels}")

    @classmethod
    def make(cls, key_id: str, *, random: Callable[[int], bytes], levels: str = DEFAULT) -> MarkKey:
        """A new key from a source of secure random bytes."""
        return cls(key_id, random(SECRET_BYTES), random(SECRET_BYTES), levels)

    @classmethod
    def load(cls, path: Path) -> MarkKey:
        """Read a key; NotFound if there is none, Invalid if what is there is no key or others can read it."""
        record = read_record(path)
        try:
            secret, salt = bytes.fromhex(record["secret"]), bytes.fromhex(record["salt"])
            return cls(record["id"], secret, salt, record.get("levels", DEFAULT))
        except (ValueError, KeyError, TypeError, RuntimeError) as e:
            raise Invalid(str(path), "not a mark key") from e

    def save(self, path: Path) -> None:
        """Write the key, durable on return, readable by its owner only. Never replaces: FileExistsError."""
        write_record(path, {**self.named(), "secret": self.secret.hex(), "salt": self.salt.hex()})

    def named(self) -> dict[str, str]:
        """What anybody may know of it."""
        return {"id": self.id, "code": CODE, "levels": self.levels}

    @property
    def table(self) -> Levels:
        """The table of levels that its slots are drawn from."""
        return LEVELS[self.levels]

    def commitment(self) -> str:
        """SHA-256(secret ‖ salt), hex; of a key in a token, SHA-256 over the subkeys' digests in the order of USES."""
        if self.from_token:
            return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in self.digests.values())).hexdigest()
        return hashlib.sha256(self.secret + self.salt).hexdigest()

    @cached_property
    def digests(self) -> dict[str, str]:
        """By use: SHA-256(subkey ‖ salt), hex, so that one subkey can be opened and the others stay closed."""
        return {use: hashlib.sha256(key + self.salt).hexdigest() for use, key in self.subkeys.items()}

    def commitments(self) -> dict[str, Any]:
        """What the ledger holds of the key before the first serve."""
        return {"key": self.id, "code": CODE, "levels": self.levels, "commitment": self.commitment(), "subkeys": self.digests}

    @cached_property
    def subkeys(self) -> Subkeys:
        """The subkeys, one for each use."""
        return self.from_token or Subkeys.derived(lambda message: hmac.digest(self.secret, message, "sha256"))


def opened(key: MarkKey, uses: tuple[str, ...] = USES) -> dict[str, Any]:
    """The key as it is opened to an arbiter (docs/formats/mark-key.md): the subkeys of these uses, never the secret."""
    chosen = {use: raw.hex() for use, raw in key.subkeys.items() if use in uses}
    return {"schema": OPENED, **key.named(), "salt": key.salt.hex(), "commitment": key.commitment(), "subkeys": chosen}


def agrees(opened_key: dict[str, Any], digests: dict[str, str]) -> bool:
    """Whether each subkey of an opened key is the one that the ledger's `key.commit` committed to."""
    salt = bytes.fromhex(opened_key["salt"])
    found = {use: hashlib.sha256(bytes.fromhex(raw) + salt).hexdigest() for use, raw in opened_key["subkeys"].items()}
    return bool(found) and all(digests.get(use) == digest for use, digest in found.items())


def read_record(path: Path) -> dict[str, Any]:
    """What lies at `path` about a key; NotFound if nothing does, Invalid if it is no such record or others can read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise Invalid(str(path), "a mark key must be readable by its owner only (chmod 600)")
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise Invalid(str(path), "not a mark key")
    except FileNotFoundError:
        raise NotFound(f"mark key {path.stem}") from None
    except ValueError as e:
        raise Invalid(str(path), "not a mark key") from e
    return record


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, whole and durable on return, readable by its owner only. Never replaces: FileExistsError."""
    staged = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(json.dumps(record).encode())
            stream.flush()
            os.fsync(stream.fileno())
        path.hardlink_to(staged)
    finally:
        staged.unlink(missing_ok=True)
    sync(path.parent)
