"""Fingerprints of keys: the same secret has the same one wherever it is seen in this data directory, and it tells nothing else.

A fingerprint is HMAC-SHA256 under a secret of the directory, cut to 128 bits: whoever has only the inventory can't try
guesses against it, and two directories' inventories can't be joined. A secret is brought to one form first, so that a
private key that was wrapped anew is the same key.

Other systems name a key without showing it: GitHub's audit log by the SHA-256 of a token, and a deploy key by that of its
public half. So a key found in clear also gets the fingerprints of those names, and an observation that has only the name
meets it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from collections.abc import Iterable

_LENGTH: Final = 32  # hex digits
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_SPACE: Final = re.compile(rb"\\r|\\n|\s+")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A key as it is kept: its fingerprint, and those of other names that it goes by."""

    key: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keyring:
    """Makes fingerprints under one directory's secret."""

    secret: bytes

    @classmethod
    def of(cls, server_key: bytes) -> Keyring:
        """The keyring that follows from the directory's own secret."""
        return cls(hmac.digest(server_key, b"limen key fingerprints, version 1", "sha256"))

    def name(self, told: str) -> str:
        """The fingerprint of a name or key as another system writes it."""
        return self._print(told.encode())

    def seal(self, secret: bytes) -> Sealed:
        """The fingerprints of a key found in clear. The key itself is kept nowhere."""
        form = plain(secret)
        key = self._print(form)
        return Sealed(key, tuple(dict.fromkeys(self._print(name) for name in _other_names(secret, form))))

    def place(self, *parts: str) -> Sealed:
        """What stands for a key that can't be read again (it lies in an archive): the place, so that it joins nothing."""
        return Sealed("at-" + self._print("\0".join(parts).encode())[3:])

    def _print(self, value: bytes) -> str:
        return hmac.digest(self.secret, value, "sha256").hex()[:_LENGTH]


def plain(secret: bytes) -> bytes:
    """The one form of a secret: of a PEM block its letters without wrapping, of all else what stands between blanks."""
    if pem := _PEM.search(secret):
        return b"-----" + pem[1] + b"-----" + _SPACE.sub(b"", pem[2])
    return secret.strip()


def _other_names(secret: bytes, form: bytes) -> Iterable[bytes]:
    digest = hashlib.sha256(form)
    yield base64.b64encode(digest.digest())  # as GitHub's audit log writes `hashed_token`
    yield digest.hexdigest().encode()
    if public := _public_half(secret):
        name = base64.b64encode(hashlib.sha256(public).digest()).rstrip(b"=")
        yield from (b"SHA256:" + name, name)


def _public_half(secret: bytes) -> bytes | None:
    """The public key of an unencrypted private one, as in an OpenSSH line; None for all else."""
    pem = _PEM.search(secret)
    if pem is None:
        return None
    block = pem[0].replace(b"\\r", b"").replace(b"\\n", b"\n")
    load = serialization.load_ssh_private_key if pem[1].startswith(b"OPENSSH") else serialization.load_pem_private_key
    try:
        key = load(block + b"\n", None)
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (ValueError, TypeError, UnsupportedAlgorithm, AttributeError):
        return None
    return base64.b64decode(line.split()[1])
