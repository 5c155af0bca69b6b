"""SSH signatures over bytes: OpenSSH `PROTOCOL.sshsig` (version 1, as of OpenSSH 9), Ed25519 keys (RFC 8709), armored.

Pure. What `ssh-keygen -Y sign` writes is read here, and what is written here `ssh-keygen -Y verify` accepts. A signature
carries the key that made it, which proves nothing: `verify` returns only for a key that the caller trusts, in the namespace
that the caller names, so that what was signed for one purpose can't be shown for another.

Other kinds of key (RSA, ECDSA, FIDO, certificates) are refused with a sentence.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from limen.core.errors import Invalid
from limen.formats.note import decode_base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAGIC: Final = b"SSHSIG"
VERSION: Final = 1
KIND: Final = "ssh-ed25519"
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
HASHES: Final = ("sha512", "sha256")  # ours is the first, as ssh-keygen's is
MAX_ARMORED: Final = 8192
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_WIDTH: Final = 70
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 §10: all of it but the 32 bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key of SSH. Two are equal if their bytes are; a comment is nobody's proof."""

    raw: bytes
    comment: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise Invalid("key", f"an Ed25519 public key has {KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def from_line(cls, line: str) -> PublicKey:
        """Read `ssh-ed25519 BASE64 [comment]`, one line of a `.pub` file; Invalid says what is wrong with it."""
        kind, _, rest = line.strip().partition(" ")
        encoded, _, comment = rest.strip().partition(" ")
        if kind != KIND:
            raise Invalid("key", f"begins with {kind!a}; needed is a line that begins with {KIND}")
        return cls(_public(decode_base64(encoded, "key")), comment.strip())

    @property
    def blob(self) -> bytes:
        """The key as SSH sends it."""
        return _string(KIND.encode()) + _string(self.raw)

    @property
    def line(self) -> str:
        """The key as one line of text, its comment included."""
        return f"{KIND} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    @property
    def pem(self) -> str:
        """The key as `openssl` reads it: a SubjectPublicKeyInfo (RFC 8410) in PEM."""
        encoded = base64.b64encode(_SPKI + self.raw).decode()
        return f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n"

    @property
    def fingerprint(self) -> str:
        """What `ssh-keygen -l` shows: SHA-256 in Base64 without padding."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).rstrip(b"=").decode()

    def allowed(self, principal: str, namespace: str) -> str:
        """A line for `ssh-keygen -Y verify -f`: this key may sign for this principal, in this namespace only."""
        if not principal or any(c in ' "\t\n,' for c in principal + namespace):
            raise Invalid("principal", f"{principal!a} or {namespace!a} can't stand in a list of allowed signers")
        return f'{principal} namespaces="{namespace}" {KIND} {base64.b64encode(self.blob).decode()}'


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs. `seed` is the 32-byte Ed25519 private seed; it is never shown."""

    seed: bytes = field(repr=False)
    comment: str = ""
    key: PublicKey = field(init=False)
    _private: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise Invalid("key", f"an Ed25519 seed has {KEY_BYTES} bytes, not {len(self.seed)}")
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_private", private)  # frozen: set once, here
        object.__setattr__(self, "key", PublicKey(private.public_key().public_bytes_raw(), self.comment))

    def sign(self, message: bytes) -> bytes:
        """The bare Ed25519 signature: 64 bytes, the same for the same message."""
        return self._private.sign(message)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says about itself. Nothing of it is trusted before `verify`."""

    key: PublicKey
    namespace: str
    hash: str
    blob: bytes
    reserved: bytes = b""


def sign(message: bytes | Iterable[bytes], signer: Signer, *, namespace: str) -> bytes:
    """The armored signature of a message, given whole or in pieces. Deterministic."""
    name, kind = _namespace(namespace), HASHES[0]
    blob = signer.sign(_signed(name, b"", kind, _digest(message, kind)))
    return armored(Signature(signer.key, name, kind, blob))


def verify(armor: bytes, message: bytes | Iterable[bytes], *, namespace: str, keys: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that signed the message in this namespace; Invalid unless one of `keys` did."""
    if not keys:
        raise Invalid("signature", "no trusted key was given")
    found = read(armor)
    if found.namespace != _namespace(namespace):
        raise Invalid("signature", f"is for {found.namespace!a}, and {namespace!a} was asked for")
    trusted = next((key for key in keys if key == found.key), None)
    if trusted is None:
        raise Invalid("signature", f"is by {found.key.fingerprint}, which is none of the keys that are trusted here")
    signed = _signed(found.namespace, found.reserved, found.hash, _digest(message, found.hash))
    try:
        Ed25519PublicKey.from_public_bytes(trusted.raw).verify(found.blob, signed)
    except (InvalidSignature, ValueError) as e:
        raise Invalid("signature", f"of {trusted.fingerprint} does not verify: the bytes are not those that were signed") from e
    return trusted


def armored(signature: Signature) -> bytes:
    """A signature as text."""
    raw = b"".join(
        [
            MAGIC,
            VERSION.to_bytes(4, "big"),
            _string(signature.key.blob),
            _string(signature.namespace.encode()),
            _string(signature.reserved),
            _string(signature.hash.encode()),
            _string(_string(KIND.encode()) + _string(signature.blob)),
        ]
    )
    encoded = base64.b64encode(raw).decode()
    lines = [encoded[at : at + _WIDTH] for at in range(0, len(encoded), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def read(armor: bytes) -> Signature:
    """What an armored signature holds, unverified; Invalid says what is wrong with it."""
    if len(armor) > MAX_ARMORED:
        raise Invalid("signature", f"longer than {MAX_ARMORED} bytes")
    try:
        lines = armor.decode("ascii").replace("\r\n", "\n").strip("\n").split("\n")
    except UnicodeDecodeError as e:
        raise Invalid("signature", "is not ASCII text") from e
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:  # noqa: PLR2004  two lines around one at least
        raise Invalid("signature", f"is not one block between {_BEGIN} and {_END}")
    raw = _Reader(decode_base64("".join(lines[1:-1]), "signature"))
    if raw.take(len(MAGIC)) != MAGIC:
        raise Invalid("signature", "is not an SSH signature")
    version = int.from_bytes(raw.take(4), "big")
    if version != VERSION:
        raise Invalid("signature", f"is of version {version}; read is {VERSION}")
    key = PublicKey(_public(raw.string()))
    namespace, reserved, kind = raw.text(), raw.string(), raw.text()
    if kind not in HASHES:
        raise Invalid("signature", f"is over {kind!a}; read are {' and '.join(HASHES)}")
    blob = _kind_and_bytes(raw.string(), SIGNATURE_BYTES)
    raw.must_be_used_up()
    return Signature(key, _namespace(namespace), kind, blob, reserved)


def _signed(namespace: str, reserved: bytes, kind: str, digest: bytes) -> bytes:
    """The bytes that Ed25519 signs."""
    return MAGIC + b"".join(_string(part) for part in (namespace.encode(), reserved, kind.encode(), digest))


def _digest(message: bytes | Iterable[bytes], kind: str) -> bytes:
    state = hashlib.new(kind)
    for piece in [message] if isinstance(message, bytes) else message:
        state.update(piece)
    return state.digest()


def _namespace(text: str) -> str:
    # An empty one would let a signature be shown for any purpose: the protocol forbids it.
    if not text:
        raise Invalid("namespace", "is empty")
    return text


def _public(blob: bytes) -> bytes:
    return _kind_and_bytes(blob, KEY_BYTES)


def _kind_and_bytes(blob: bytes, length: int) -> bytes:
    """The bytes of `string kind, string bytes`, which a key and a signature are alike."""
    reader = _Reader(blob)
    kind = reader.text()
    if kind != KIND:
        raise Invalid("key", f"is of kind {kind!a}; only {KIND} is read here")
    raw = reader.string()
    reader.must_be_used_up()
    if len(raw) != length:
        raise Invalid("signature", f"{len(raw)} bytes where {KIND} has {length}")
    return raw


def _string(raw: bytes) -> bytes:
    """RFC 4251 §5: a length, then the bytes."""
    return len(raw).to_bytes(4, "big") + raw


class _Reader:
    """Takes RFC 4251 values from the front of some bytes."""

    def __init__(self, raw: bytes) -> None:
        self._left = raw

    def take(self, count: int) -> bytes:
        if count > len(self._left):
            raise Invalid("signature", "ends too early")
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def text(self) -> str:
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError as e:
            raise Invalid("signature", "holds a name that is not ASCII") from e

    def must_be_used_up(self) -> None:
        if self._left:
            raise Invalid("signature", f"has {len(self._left)} bytes too many")
