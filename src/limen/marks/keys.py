"""Mark keys: the one secret behind a data set's code, and the subkeys that keep its uses apart.

A key belongs to a lineage (an asset with all its versions). `commitment()` is logged before the first serve, so that the
key can be opened to an arbiter later and nobody can have changed it. Whoever holds the key can mint anybody's copy: it
rests in a 0600 file here, and docs/marks.md says what that leaves open. Subkeys are HMAC-SHA256 (RFC 2104) of the
secret under a domain name; nothing else is ever keyed by the secret itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CODE: Final = "limen-code/1"  # levels, key derivation, look-up: a change of any is a new version
SECRET_BYTES: Final = 32


@dataclass(frozen=True)
class MarkKey:
    """A lineage's secret. `salt` hides the secret behind its published commitment. Never printed: repr shows the id."""

    id: str
    secret: bytes = field(repr=False)
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES or len(self.salt) != SECRET_BYTES:
            raise RuntimeError(f"a mark key has {SECRET_BYTES} secret and {SECRET_BYTES} salt bytes")

    @classmethod
    def make(cls, key_id: str, *, random: Callable[[int], bytes]) -> MarkKey:
        """A new key from a source of secure random bytes."""
        return cls(key_id, random(SECRET_BYTES), random(SECRET_BYTES))

    @classmethod
    def load(cls, path: Path) -> MarkKey:
        """Read a key; NotFound if there is none, Invalid if what is there is no key or others can read it."""
        try:
            if path.stat().st_mode & 0o077:
                raise Invalid(str(path), "a mark key must be readable by its owner only (chmod 600)")
            fields = json.loads(path.read_bytes())
            return cls(fields["id"], bytes.fromhex(fields["secret"]), bytes.fromhex(fields["salt"]))
        except FileNotFoundError:
            raise NotFound(f"mark key {path.stem}") from None
        except (ValueError, KeyError, TypeError, RuntimeError) as e:
            raise Invalid(str(path), "not a mark key") from e

    def save(self, path: Path) -> None:
        """Write the key, durable on return, readable by its owner only. Never replaces: FileExistsError."""
        fields = {"id": self.id, "code": CODE, "secret": self.secret.hex(), "salt": self.salt.hex()}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(json.dumps(fields).encode())
            stream.flush()
            os.fsync(stream.fileno())
        parent = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def commitment(self) -> str:
        """SHA-256(secret ‖ salt), hex: what the ledger holds before the first serve."""
        return hashlib.sha256(self.secret + self.salt).hexdigest()

    @cached_property
    def subkeys(self) -> Subkeys:
        """The subkeys, one for each use."""
        return Subkeys(
            *(
                hmac.digest(self.secret, b"limen marks v1: " + use.encode(), "sha256")
                for use in ("slot", "side", "level", "tier", "order", "copy")
            )
        )


@dataclass(frozen=True, slots=True)
class Subkeys:
    """One key for each use, so that no output of one can serve as an output of another."""

    slot: bytes = field(repr=False)
    side: bytes = field(repr=False)
    level: bytes = field(repr=False)
    tier: bytes = field(repr=False)
    order: bytes = field(repr=False)
    copy: bytes = field(repr=False)
