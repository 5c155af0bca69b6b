"""A disclosure: one class of an entry's detail in clear, with what proves that the log committed to it. limen-disclosure/v1.

A JSON object with exactly these fields: `format`, `proof` (a C2SP tlog-proof@v1), `entry` (Base64, the bytes that the log
holds), `class`, `salt` (hex), `value`. Of every other class it holds the entry's own commitment and nothing else: neither
value nor salt, so none of them can be guessed from it. Pure; needs the log's key or a policy, and no server.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core import events
from limen.core.errors import Invalid
from limen.formats import tlogproof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.formats.note import Verifier
    from limen.formats.tlogpolicy import Cosigned, Policy
    from limen.formats.tlogproof import Proof

FORMAT: Final = "limen-disclosure/v1"
FIELDS: Final = frozenset({"format", "proof", "entry", "class", "salt", "value"})
MAX_DISCLOSURE: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What a disclosure proves: this entry is in the log, and stood for this value when it was written."""

    index: int
    entry: dict[str, Any]
    name: str
    value: dict[str, Any]
    accepted: Cosigned


def write(proof: Proof, entry: bytes, name: str, salt: bytes, value: dict[str, Any]) -> bytes:
    """The disclosure's bytes: one JSON object, indented for people, with a newline at its end."""
    document = {
        "format": FORMAT,
        "proof": proof.encode().decode(),
        "entry": base64.b64encode(entry).decode(),
        "class": name,
        "salt": salt.hex(),
        "value": value,
    }
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


def is_one(raw: bytes) -> bool:
    """Whether these bytes mean to be a disclosure, so that a program knows what to check them as."""
    return raw.lstrip()[:1] == b"{" and FORMAT.encode() in raw


def check(raw: bytes, trust: Policy | Sequence[Verifier]) -> Disclosed:
    """What a disclosure proves, under a policy or under one of these logs' keys. Invalid names what does not hold.

    1. The document has exactly its fields. 2. The entry is in canonical form. 3. Salt and value make the commitment that
    the entry holds for this class. 4. The entry is in the tree of a checkpoint that is trusted.
    """
    document = _document(raw)
    entry = _bytes(document["entry"])
    fields = events.decode(entry)
    name, salt, value = document["class"], _salt(document["salt"]), document["value"]
    if not isinstance(value, dict):
        raise Invalid("value", "is not an object")
    events.check(value, "value")
    commitments = fields.get("commit")
    committed = commitments.get(name) if isinstance(commitments, dict) else None
    if committed is None:
        raise Invalid("class", f"{name!a} is none that the entry commits to")
    if events.commitment(salt, name, value) != committed:
        raise Invalid("value", f"is not what the entry committed to as {name}")
    proof = tlogproof.decode(document["proof"].encode(errors="replace"))
    return Disclosed(proof.index, fields, name, value, proof.verify(entry, trust))


def _document(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_DISCLOSURE:
        raise Invalid("disclosure", f"longer than {MAX_DISCLOSURE} bytes")
    try:
        document = json.loads(raw, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as e:
        raise Invalid("disclosure", f"is not JSON: {e}") from e
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Invalid("disclosure", f"is not of format {FORMAT}")
    if document.keys() != FIELDS:
        wrong = ", ".join(sorted(document.keys() ^ FIELDS))
        raise Invalid("disclosure", f"has other fields than the format's: {wrong!a}")
    for name in FIELDS - {"value"}:
        if not isinstance(document[name], str):
            raise Invalid(name, "is not text")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of a name that stands there twice may see two values.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as e:
        raise Invalid("entry", "is not Base64") from e


def _salt(text: str) -> bytes:
    try:
        salt = bytes.fromhex(text)
    except ValueError as e:
        raise Invalid("salt", "is not hex") from e
    if len(salt) != events.SALT_BYTES or salt.hex() != text:
        raise Invalid("salt", f"is not {events.SALT_BYTES} bytes in small hex letters")
    return salt
