"""Signed notes: text, a blank line, and one line per signature. C2SP signed-note v1.0.0, Ed25519 keys (type 0x01).

Pure. A note's text is worth nothing until `open_note` has returned it: at least one signature by a key that the caller
trusts, and none by such a key that is wrong. Signatures by other keys are passed over, as the specification demands.
Which kinds of key there are is open: whatever is a `NoteKey` can be trusted, `cosignature.CosignerKey` for one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

ED25519: Final = 0x01
KEY_ID_BYTES: Final = 4
SEED_BYTES: Final = 32
# The specification lets a verifier bound a note; it must take 16 signatures, each up to about 5 kB.
MAX_NOTE: Final = 1 << 20
MAX_SIGNATURES: Final = 64
_DASH: Final = "— "
_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")  # all below the space, but the newline


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose it says it is, and the bytes after the key id."""

    name: str
    key_id: bytes
    blob: bytes


class NoteKey(Protocol):
    """A public key of any kind that a note can be opened with."""

    @property
    def name(self) -> str:
        """Whose key it is."""

    @property
    def key_id(self) -> bytes:
        """The four bytes that pick it out, with the name, on a signature line."""

    def verify(self, text: bytes, blob: bytes) -> None:
        """Invalid unless the blob is this key's signature over the text."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that is trusted to sign notes, under its name."""

    name: str
    key_id: bytes
    public_key: bytes

    @classmethod
    def of(cls, name: str, public_key: bytes) -> Verifier:
        """The verifier of a name and 32 public bytes; computes the key id."""
        check_name(name)
        if len(public_key) != SEED_BYTES:
            raise Invalid("key", f"an Ed25519 public key has {SEED_BYTES} bytes, not {len(public_key)}")
        return cls(name, key_id(name, ED25519, public_key), public_key)

    @classmethod
    def from_vkey(cls, vkey: str) -> Verifier:
        """Read `<name>+<key id>+<base64>`; Invalid says what is wrong with it."""
        name, kind, public_key = parse_vkey(vkey)
        if kind != ED25519:
            raise Invalid("vkey", f"is of kind 0x{kind:02x}; a log's key is 0x01, Ed25519")
        return cls.of(name, public_key)

    @property
    def vkey(self) -> str:
        """The key as text, for whoever is to trust it."""
        return format_vkey(self.name, ED25519, self.public_key)

    def verify(self, text: bytes, blob: bytes) -> None:
        """Invalid unless the blob is this key's signature over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(blob, text)
        except (InvalidSignature, ValueError) as e:
            raise Invalid("note", f"the signature of {self.name} does not verify") from e


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs notes under its name. `seed` is the 32-byte Ed25519 private seed; it is never shown."""

    name: str
    seed: bytes = field(repr=False)
    verifier: Verifier = field(init=False)
    _key: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise Invalid("key", f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(self.seed)}")
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_key", key)  # frozen: set once, here
        object.__setattr__(self, "verifier", Verifier.of(self.name, key.public_key().public_bytes_raw()))

    @property
    def vkey(self) -> str:
        """The public half, for whoever is to trust it."""
        return self.verifier.vkey

    def signature(self, text: bytes) -> bytes:
        """The signature over the text, without the key id."""
        return self._key.sign(text)


def sign(text: bytes | str, signer: Signer) -> bytes:
    """The note of a text that ends in a newline, with one signature."""
    body = text.encode() if isinstance(text, str) else text
    _check_text(body)
    if not body.endswith(b"\n"):
        raise Invalid("note", "the text does not end in a newline")
    return body + b"\n" + line(Signature(signer.name, signer.verifier.key_id, signer.signature(body)))


def line(signature: Signature) -> bytes:
    """The signature's line in a note, its newline included."""
    check_name(signature.name)
    if len(signature.key_id) != KEY_ID_BYTES or not signature.blob:
        raise Invalid("signature", f"needs {KEY_ID_BYTES} bytes of key id and one of signature at least")
    return f"{_DASH}{signature.name} {base64.b64encode(signature.key_id + signature.blob).decode()}\n".encode()


def append_signature(raw_note: bytes, name: str, key_id: bytes, blob: bytes) -> bytes:
    """The note with one more signature line, unverified; unchanged if it has that very line. The text stays as it is."""
    addition = Signature(name, key_id, blob)
    _, signatures = parse(raw_note)
    if addition in signatures:
        return raw_note
    longer = raw_note + line(addition)
    parse(longer)  # its limits hold for what is made here, too
    return longer


def open_note(raw: bytes, verifiers: Sequence[NoteKey]) -> tuple[str, tuple[Signature, ...]]:
    """The text and the signatures that verified, in their order. Invalid if none did, or if a known key's is wrong.

    `verifiers` are the keys that the caller trusts; an empty list is refused, and so are two keys that a signature line
    can't tell apart.
    """
    if not verifiers:
        raise Invalid("note", "no trusted key was given")
    known: dict[tuple[str, bytes], NoteKey] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise Invalid("note", f"two trusted keys share the name {verifier.name} and a key id")
    text, signatures = parse(raw)
    body, verified = text.encode(), []
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue  # another's, or of a type that we do not read: neither for nor against the note
        key.verify(body, signature.blob)
        verified.append(signature)
    if not verified:
        raise Invalid("note", "no signature is by a trusted key")
    return text, tuple(verified)


def parse(raw: bytes) -> tuple[str, tuple[Signature, ...]]:
    """The unverified text and all signatures. For `open_note`, and for showing what a note says about itself."""
    if len(raw) > MAX_NOTE:
        raise Invalid("note", f"longer than {MAX_NOTE} bytes")
    note = _check_text(raw)
    # The text may hold blank lines itself: only the last one ends it.
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise Invalid("note", "no signatures after a blank line")
    return text + "\n", _signatures(lines)


def parse_lines(raw: bytes) -> tuple[Signature, ...]:
    """The unverified signatures of signature lines alone, one or more: what a witness answers with."""
    if len(raw) > MAX_NOTE:
        raise Invalid("note", f"longer than {MAX_NOTE} bytes")
    lines = _check_text(raw)
    if not lines.endswith("\n"):
        raise Invalid("note", "the last signature line has no newline")
    return _signatures(lines)


def parse_vkey(vkey: str) -> tuple[str, int, bytes]:
    """The name, kind and public bytes of `<name>+<key id>+<base64>`. Invalid if it has another form or another key id.

    Whether the public bytes are a key of their kind is left to whoever reads that kind.
    """
    name, _, rest = vkey.strip().partition("+")
    claimed, _, encoded = rest.partition("+")
    check_name(name)
    raw = decode_base64(encoded, "vkey")
    if len(raw) < 2:  # noqa: PLR2004  a kind, and something of that kind
        raise Invalid("vkey", "holds no key")
    if claimed != key_id(name, raw[0], raw[1:]).hex():
        raise Invalid("vkey", "the key id does not belong to this name and key")
    return name, raw[0], raw[1:]


def format_vkey(name: str, kind: int, public: bytes) -> str:
    """A public key as text: what `parse_vkey` reads."""
    return f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """The four bytes that stand for a key on a signature line. An identifier and no more: anybody can make a collision."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:KEY_ID_BYTES]


def decode_base64(encoded: str, what: str) -> bytes:
    """Standard Base64 with padding, in its one canonical spelling; Invalid for anything else."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as e:
        raise Invalid(what, "not Base64") from e
    # The decoder takes stray bits in the last digit; accepting them would let two texts carry one signature.
    if base64.b64encode(raw).decode() != encoded:
        raise Invalid(what, "not canonical Base64")
    return raw


def _signatures(lines: str) -> tuple[Signature, ...]:
    """What signature lines hold that end in a newline."""
    each = lines[:-1].split("\n")
    if len(each) > MAX_SIGNATURES:
        raise Invalid("note", f"more than {MAX_SIGNATURES} signatures")
    return tuple(_signature(one) for one in each)


def _signature(text: str) -> Signature:
    dash, name, encoded = text[: len(_DASH)], *text[len(_DASH) :].partition(" ")[::2]
    if dash != _DASH:
        raise Invalid("note", "a signature line does not start with an em dash")
    check_name(name)
    blob = decode_base64(encoded, "signature")
    if len(blob) <= KEY_ID_BYTES:
        raise Invalid("signature", "too short")
    return Signature(name, blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


def _check_text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise Invalid("note", "not UTF-8") from e
    if _CONTROL.search(raw):
        raise Invalid("note", "contains a control character")
    return text


def check_name(name: str) -> None:
    """Invalid unless a key can have this name."""
    # Of the spaces, only the ASCII one counts as printable; the rest of what is not (controls, surrogates) can't be in a note.
    if not name or "+" in name or " " in name or not name.isprintable():
        raise Invalid("key name", "is empty, or has a space, a plus sign or an unprintable character")
