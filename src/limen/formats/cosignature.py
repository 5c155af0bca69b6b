"""Cosignatures: a witness's word that a checkpoint continues all it saw before. C2SP tlog-cosignature v1.1.0-rc.1.

Pure. Two kinds: Ed25519 (0x04), which the public witnesses speak, and ML-DSA-44 (0x06), which also withstands a quantum
computer and commits to the cosigner's name. Either is a line of the checkpoint's note; `CosignerKey` is a `note.NoteKey`,
so `note.open_note` verifies it like any other signature. Only cosignatures of whole checkpoints are made or read here,
not those of other subtrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from limen.core.errors import Invalid
from limen.formats import checkpoint as checkpoints
from limen.formats import note

ED25519_COSIGNATURE: Final = 0x04
MLDSA44_COSIGNATURE: Final = 0x06
MAX_AT: Final = 2**63 - 1
_TIME_BYTES: Final = 8
_MAX_NAME: Final = 255
_PUBLIC_BYTES: Final = {ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}
_SIGNATURE_BYTES: Final = {ED25519_COSIGNATURE: 64, MLDSA44_COSIGNATURE: 2420}

line = note.line


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The public key of a cosigner, under its name."""

    name: str
    kind: int
    public_key: bytes
    key_id: bytes

    @classmethod
    def of(cls, name: str, kind: int, public_key: bytes) -> CosignerKey:
        """The key of a name, a kind and its public bytes; computes the key id."""
        note.check_name(name)
        if kind not in _PUBLIC_BYTES:
            raise Invalid("key", f"kind 0x{kind:02x} is no cosigner's: 0x04 is Ed25519, 0x06 is ML-DSA-44")
        if len(public_key) != _PUBLIC_BYTES[kind]:
            raise Invalid("key", f"a public key of kind 0x{kind:02x} has {_PUBLIC_BYTES[kind]} bytes, not {len(public_key)}")
        if kind == MLDSA44_COSIGNATURE:
            _length_prefixed(name, "key name")  # the signed message has one byte for its length
        return cls(name, kind, public_key, note.key_id(name, kind, public_key))

    @classmethod
    def from_vkey(cls, vkey: str) -> CosignerKey:
        """Read `<name>+<key id>+<base64>`; Invalid says what is wrong with it."""
        return cls.of(*note.parse_vkey(vkey))

    @property
    def vkey(self) -> str:
        """The key as text, for whoever is to trust it."""
        return note.format_vkey(self.name, self.kind, self.public_key)

    def verify(self, text: bytes, blob: bytes) -> None:
        """Invalid unless the blob is this cosigner's timestamp and signature over the checkpoint of this text."""
        if len(blob) != _TIME_BYTES + _SIGNATURE_BYTES[self.kind]:
            raise Invalid("note", f"the cosignature of {self.name} has {len(blob)} bytes")
        message = _message(self, text, self.cosigned_at(blob))
        try:
            if self.kind == MLDSA44_COSIGNATURE:
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(blob[_TIME_BYTES:], message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(blob[_TIME_BYTES:], message)
        except (InvalidSignature, ValueError) as e:
            raise Invalid("note", f"the cosignature of {self.name} does not verify") from e

    def cosigned_at(self, blob: bytes) -> int:
        """When the cosigner says it cosigned, in seconds since 1970. Trust it only of a blob that `verify` has taken.

        An ML-DSA-44 cosigner may say 0: then it vouches for consistency, and not for the time.
        """
        at = int.from_bytes(blob[:_TIME_BYTES], "big")
        if len(blob) < _TIME_BYTES or at > MAX_AT:
            raise Invalid("note", f"the cosignature of {self.name} has no time below 2^63")
        return at


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A private key that cosigns checkpoints under its name; the key itself is never shown.

    One Ed25519 key is for one cosigner: its signatures do not commit to the name (tlog-cosignature, Ed25519 message).
    """

    key: CosignerKey
    _private: Ed25519PrivateKey | MLDSA44PrivateKey = field(repr=False, compare=False)

    @classmethod
    def ed25519(cls, name: str, seed: bytes) -> Cosigner:
        """The cosigner of a name and a 32-byte Ed25519 seed."""
        private = Ed25519PrivateKey.from_private_bytes(_seed(seed))
        return cls(CosignerKey.of(name, ED25519_COSIGNATURE, private.public_key().public_bytes_raw()), private)

    @classmethod
    def mldsa44(cls, name: str, seed: bytes) -> Cosigner:
        """The cosigner of a name and a 32-byte ML-DSA-44 seed (FIPS 204, xi)."""
        private = MLDSA44PrivateKey.from_seed_bytes(_seed(seed))
        return cls(CosignerKey.of(name, MLDSA44_COSIGNATURE, private.public_key().public_bytes_raw()), private)

    def cosign(self, text: bytes, at: int) -> note.Signature:
        """The cosignature of the checkpoint of this text at `at`, in seconds since 1970.

        It says: of all checkpoints of this log that we ever saw, this is the largest, and it continues the others. Whether
        that is so is the caller's to have made sure of, and to have made durable.
        """
        if not 0 < at <= MAX_AT:
            raise Invalid("at", f"{at} is no time at which a checkpoint can be cosigned")
        signature = self._private.sign(_message(self.key, text, at))
        return note.Signature(self.key.name, self.key.key_id, at.to_bytes(_TIME_BYTES, "big") + signature)


def _seed(seed: bytes) -> bytes:
    if len(seed) != note.SEED_BYTES:
        raise Invalid("key", f"a cosigner's seed has {note.SEED_BYTES} bytes, not {len(seed)}")
    return seed


def _message(key: CosignerKey, text: bytes, at: int) -> bytes:
    """What is signed. Of either kind only a checkpoint's text: whoever cosigns vouches for origin, size and root."""
    try:
        origin, size, root = checkpoints.decode(text.decode())
    except UnicodeDecodeError as e:
        raise Invalid("checkpoint", "is not UTF-8") from e
    if key.kind == ED25519_COSIGNATURE:
        return b"cosignature/v1\ntime %d\n" % at + text
    return b"".join(
        [
            b"subtree/v1\n\0",
            _length_prefixed(key.name, "key name"),
            at.to_bytes(8, "big"),
            _length_prefixed(origin, "origin"),
            (0).to_bytes(8, "big"),  # a checkpoint is the subtree that starts at the first entry
            size.to_bytes(8, "big"),
            root,
        ]
    )


def _length_prefixed(text: str, what: str) -> bytes:
    raw = text.encode()
    if len(raw) > _MAX_NAME:
        raise Invalid(what, f"has {len(raw)} bytes; an ML-DSA-44 cosignature takes up to {_MAX_NAME}")
    return bytes([len(raw)]) + raw
