"""Receipts as text: what a caller is given for an access, and may hold against the log for ever. limen's own format.

In a response header: `x-limen-receipt`, base64url without padding of compact JSON `{"i": index, "l": leaf hash in Base64,
"c": checkpoint}`, where the checkpoint is the signed note's text. As a document: JSON
`{"origin", "index", "leaf_hash", "checkpoint"}`. Pure. A decoded receipt is unverified: `ledger.receipts` holds it
against a log.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.core.errors import Invalid
from limen.formats.merkle import HASH_BYTES, MAX_SIZE
from limen.formats.note import MAX_NOTE, decode_base64

if TYPE_CHECKING:
    from limen.core.types import Receipt


@dataclass(frozen=True, slots=True)
class Claim:
    """What a receipt says: the entry at `index` has this leaf hash, under this signed checkpoint. Unverified."""

    index: int
    leaf_hash: bytes
    checkpoint: bytes


def header(receipt: Receipt) -> str:
    """The value of `x-limen-receipt`."""
    value = {"i": receipt.index, "l": _base64(receipt.leaf_hash), "c": receipt.checkpoint.note.decode()}
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def document(receipt: Receipt) -> str:
    """The receipt as a JSON document."""
    checkpoint = receipt.checkpoint
    value = {"origin": checkpoint.origin, "index": receipt.index, "leaf_hash": _base64(receipt.leaf_hash)}
    return json.dumps({**value, "checkpoint": checkpoint.note.decode()}, indent=2, ensure_ascii=False) + "\n"


def decode(text: str) -> Claim:
    """Read either form. Invalid says what is wrong."""
    text = text.strip()
    if len(text) > 2 * MAX_NOTE:
        raise Invalid("receipt", "is too long")
    try:
        value = json.loads(text if text.startswith("{") else _unwrapped(text))
    except (ValueError, RecursionError) as e:
        raise Invalid("receipt", "is neither JSON nor the value of an x-limen-receipt header") from e
    if not isinstance(value, dict):
        raise Invalid("receipt", "is not a JSON object")
    index = _first(value, "index", "i")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < MAX_SIZE:
        raise Invalid("receipt: index", "is not the index of an entry")
    leaf, note = _first(value, "leaf_hash", "l"), _first(value, "checkpoint", "c")
    if not isinstance(leaf, str) or not isinstance(note, str):
        raise Invalid("receipt", "its leaf hash or checkpoint is not text")
    leaf_hash = decode_base64(leaf, "receipt: leaf hash")
    if len(leaf_hash) != HASH_BYTES:
        raise Invalid("receipt: leaf hash", f"has {len(leaf_hash)} bytes, not {HASH_BYTES}")
    try:
        return Claim(index, leaf_hash, note.encode())
    except UnicodeEncodeError as e:
        raise Invalid("receipt: checkpoint", "is not valid Unicode") from e


def _first(value: dict[str, Any], name: str, short: str) -> object:
    if name not in value and short not in value:
        raise Invalid("receipt", f"has no {name}")
    return value.get(name, value.get(short))


def _unwrapped(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as e:
        raise ValueError("not base64url") from e


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
