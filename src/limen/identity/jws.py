"""Signed tokens as they arrive: take one apart strictly, and check its signature. JWS compact form (RFC 7515), RFC 8725.

Nothing that `parse` returns is to be believed; the names say so. Which key may sign is the caller's decision: a key that
a token brings along (`jwk`, `jku`, `x5u`, `x5c`) is never looked at. The cryptography is joserfc's.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from limen.core.errors import BadCredential

if TYPE_CHECKING:
    from joserfc.jwk import Key

MAX_TOKEN: Final = 16_384
MAX_HEADER: Final = 4_096
MAX_DEPTH: Final = 8
NOT_ONE: Final = "the identity token is malformed"

# algorithm -> the one kind of key that it may be used with, so that no key is ever used for an algorithm not its own
KEY_OF_ALGORITHM: Final[dict[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A well-formed token of which nothing is proven yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse(unverified_token: str) -> UnverifiedToken:
    """The token's parts. BadCredential(step) for one that is too large, too deep, ambiguous, or not in compact form."""
    # 1. Size, before any work that grows with it.
    if len(unverified_token) > MAX_TOKEN:
        raise BadCredential("the identity token is too large", step="size")
    # 2. Three parts, each in the one spelling that base64url has for it.
    parts = unverified_token.split(".")
    if len(parts) != 3 or not all(parts[:2]):  # noqa: PLR2004  RFC 7515 section 7.1
        raise BadCredential(NOT_ONE, step="shape")
    if len(parts[0]) > MAX_HEADER:
        raise BadCredential("the identity token is too large", step="size")
    header, claims, signature = (_unb64(part) for part in parts)
    # 3. Two JSON objects, each name once, so that no two readers understand different things.
    return UnverifiedToken(
        read_object(header, step="header"),
        read_object(claims, step="claims"),
        f"{parts[0]}.{parts[1]}".encode(),
        signature,
    )


def signed_by(token: UnverifiedToken, key: Key, *, algorithm: str) -> bool:
    """Whether this key made the signature by this algorithm. The caller has checked that the two belong together."""
    # Looked up directly: the registry's own filter would let the token's header take part in the choice.
    model = JWSRegistry.algorithms[algorithm]
    try:
        model.check_key(key)
        return bool(model.verify(token.signing_input, token.signature, key))
    except (JoseError, ValueError):
        return False


def read_object(raw: bytes, *, step: str) -> dict[str, Any]:
    """A JSON object without duplicate names, NaN or deep nesting; BadCredential(step) for anything else."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise BadCredential(NOT_ONE, step=step, detail=f"{step}: {e}"[:200]) from e
    if not isinstance(value, dict):
        raise BadCredential(NOT_ONE, step=step)
    if _deeper_than(value, MAX_DEPTH):
        raise BadCredential("the identity token is nested too deeply", step="depth")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _deeper_than(value: object, levels: int) -> bool:
    """Whether containers nest beyond `levels`. Breadth first, so that depth costs no stack."""
    layer: list[Any] = [value]
    for _ in range(levels):
        layer = [item for v in layer for item in (v.values() if isinstance(v, dict) else v) if isinstance(item, dict | list)]
        if not layer:
            return False
    return True


def _unb64(part: str) -> bytes:
    try:
        raw = base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as e:
        raise BadCredential(NOT_ONE, step="shape") from e
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise BadCredential(NOT_ONE, step="shape")
    return raw
