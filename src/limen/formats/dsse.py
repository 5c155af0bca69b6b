"""Signed envelopes and what is in them: DSSE v1.0.2 (secure-systems-lab/dsse), and in-toto Statement v1. Ed25519 keys.

Pure. The signature is over PAE(type, body) = `DSSEv1 SP len(type) SP type SP len(body) SP body`, so `openssl pkeyutl -verify
-rawin` checks it with `pae` as the input. A payload is worth nothing until `verify` has returned it: the key id in an envelope
is a hint that anybody can write. Here it is the key's SSH fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from limen.core.errors import Invalid
from limen.core.events import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limen.formats.sshsig import PublicKey, Signer

IN_TOTO: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
MAX_ENVELOPE: Final = 64 << 20
MAX_SIGNATURES: Final = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an envelope says. Nothing of it is trusted before `verify`. `signatures` are pairs of key id and bytes."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: type and payload, each behind its length, so that neither can reach into the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signer: Signer) -> bytes:
    """The envelope as JSON, with one signature and a newline at its end. Deterministic."""
    signature = signer.sign(pae(payload_type, payload))
    return encode(Envelope(payload_type, payload, ((signer.key.fingerprint, signature),)))


def encode(envelope: Envelope) -> bytes:
    """An envelope as JSON."""
    document = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": key, "sig": base64.b64encode(blob).decode()} for key, blob in envelope.signatures],
    }
    return canonical(document) + b"\n"


def decode(raw: bytes) -> Envelope:
    """What an envelope holds, unverified; Invalid says what is wrong with it. Unknown fields are passed over, as specified."""
    if len(raw) > MAX_ENVELOPE:
        raise Invalid("envelope", f"longer than {MAX_ENVELOPE} bytes")
    try:
        document = json.loads(raw, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as e:
        raise Invalid("envelope", f"is not JSON: {e}") from e
    if not isinstance(document, dict):
        raise Invalid("envelope", "is not a JSON object")
    kind, signatures = document.get("payloadType"), document.get("signatures")
    if not isinstance(kind, str) or not kind:
        raise Invalid("payloadType", "is missing, or is not text")
    if not isinstance(signatures, list) or not 0 < len(signatures) <= MAX_SIGNATURES:
        raise Invalid("signatures", f"are not a list of 1 to {MAX_SIGNATURES}")
    return Envelope(kind, _base64(document.get("payload"), "payload"), tuple(_signature(each) for each in signatures))


def verify(raw: bytes, *, payload_type: str, keys: Sequence[PublicKey]) -> bytes:
    """The payload, which one of `keys` signed as being of this type; Invalid otherwise."""
    if not keys:
        raise Invalid("envelope", "no trusted key was given")
    envelope = decode(raw)
    if envelope.payload_type != payload_type:
        raise Invalid("payloadType", f"is {envelope.payload_type!a}, and {payload_type!a} was asked for")
    signed = pae(envelope.payload_type, envelope.payload)
    if not any(_made(key, blob, signed) for key in keys for _, blob in envelope.signatures):
        raise Invalid("envelope", "no signature on it is by a trusted key")
    return envelope.payload


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto Statement about named things, each given by its SHA-256 in hex, in canonical JSON. No floats."""
    if not subjects or not predicate_type:
        raise Invalid("statement", "is about nothing, or says nothing")
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def read_statement(payload: bytes) -> dict[str, Any]:
    """The Statement in a payload that was verified; Invalid if it is none."""
    try:
        document = json.loads(payload, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as e:
        raise Invalid("statement", f"is not JSON: {e}") from e
    if not isinstance(document, dict) or document.get("_type") != STATEMENT:
        raise Invalid("statement", f"is not of type {STATEMENT}")
    return document


def _made(key: PublicKey, blob: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(blob, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signature(value: object) -> tuple[str, bytes]:
    if not isinstance(value, dict):
        raise Invalid("signatures", "one is not an object")
    key = value.get("keyid", "")
    if not isinstance(key, str):
        raise Invalid("keyid", "is not text")
    return key, _base64(value.get("sig"), "sig")


def _base64(value: object, what: str) -> bytes:
    """Standard or URL-safe Base64: a reader must take either."""
    if not isinstance(value, str):
        raise Invalid(what, "is missing, or is not text")
    try:
        return base64.b64decode(value.translate(_STANDARD).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as e:
        raise Invalid(what, "is not Base64") from e


_STANDARD: Final = str.maketrans("-_", "+/")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of a name that stands there twice may see two values.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found
