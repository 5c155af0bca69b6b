"""Standard Webhooks 1.0.0, symmetric signatures: how a receiver knows that an alert is ours, and which one it is.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The secret is `whsec_` and the
base64 of 24 to 64 random bytes; what is signed is `id.timestamp.body`. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from limen.core.errors import Invalid

PREFIX: Final = "whsec_"
SHORTEST: Final = 24
LONGEST: Final = 64
TOLERANCE_S: Final = 300


def key_of(secret: str) -> bytes:
    """The key that a secret's text stands for; Invalid if it is none, without saying what it is."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as e:
        raise Invalid("webhook secret", "is not `whsec_` and base64") from e
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise Invalid("webhook secret", f"must be `whsec_` and the base64 of {SHORTEST} to {LONGEST} random bytes")
    return key


def headers(key: bytes, *, id_: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. The id is that of the event, the same for every attempt."""
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": f"v1,{_signature(key, id_, str(at), body)}"}


def verifies(key: bytes, sent: dict[str, str], body: bytes, *, now: int) -> bool:
    """Whether a receiver may believe what came: one of its signatures holds, and it is at most five minutes old or early."""
    at = sent.get("webhook-timestamp", "")
    if not at.isascii() or not at.isdecimal() or abs(int(at) - now) > TOLERANCE_S:
        return False
    good = f"v1,{_signature(key, sent.get('webhook-id', ''), at, body)}"
    return any(hmac.compare_digest(good.encode(), one.encode()) for one in sent.get("webhook-signature", "").split(" "))


def _signature(key: bytes, id_: str, at: str, body: bytes) -> str:
    return base64.b64encode(hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")).decode()
