"""An issuer's signing keys: discovered, fetched, kept for a while, and fetched again when a new key id shows up.

OpenID Connect Discovery 1.0 (the `issuer` must be the one we asked, to the letter) and JWK Set (RFC 7517). Fetches leave
the event loop, follow no redirect, use no proxy, and are bounded in time and size. A token's sender can cause at most one
fetch per issuer in each REFETCH_S. A key set that can't be renewed is believed for STALE_S and not a second longer:
an empty or unreadable one refuses, since "no keys" must never mean "no check".
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from joserfc import jwk
from joserfc.errors import JoseError

from limen.core.errors import BadCredential, Invalid, IssuerUnavailable
from limen.identity.jws import KEY_OF_ALGORITHM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from joserfc.jwk import Key

    Fetch = Callable[[str], Awaitable[bytes]]

FRESH_S: Final = 600
STALE_S: Final = 3600
REFETCH_S: Final = 30
TIMEOUT_S: Final = 5.0
MAX_BODY: Final = 262_144
MAX_KEYS: Final = 64
MIN_RSA_BITS: Final = 2048
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_PARTS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key of an issuer, under the id that its tokens name. `algorithm` is "" if the issuer states none."""

    kid: str
    kty: str
    curve: str | None
    algorithm: str
    key: Key

    def may_sign(self, algorithm: str) -> bool:
        """Whether this key is of the algorithm's one kind, and the issuer keeps it for no other."""
        kty, curve = KEY_OF_ALGORITHM[algorithm]
        return self.kty == kty and (curve is None or self.curve == curve) and self.algorithm in ("", algorithm)


class KeySource:
    """The signing keys of one issuer. Owned by the event loop; one fetch at a time."""

    def __init__(self, issuer: str, *, jwks_uri: str | None, fetch: Fetch, development: bool) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetch = fetch
        self._development = development
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched_at: int | None = None
        self._tried_at: int | None = None
        self._fault: BadCredential | IssuerUnavailable | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str, *, now: int) -> tuple[SigningKey, ...]:
        """The keys under this id; none if the issuer has no such key. Refetches once for an id not seen before.

        IssuerUnavailable if the issuer can't be asked; BadCredential if what it answers is no key set.
        """
        if not self._younger_than(FRESH_S, now) or not self._under(kid):
            async with self._lock:
                # Whoever waited here may find that the fetch it came for has been made.
                if not self._younger_than(FRESH_S, now) or not self._under(kid):
                    await self._renew(now)
        found = self._under(kid) if self._younger_than(STALE_S, now) else ()
        if not found and self._fault is not None:
            raise self._fault.with_traceback(None)  # kept and raised again: without the frames of the time before
        return found

    def _under(self, kid: str) -> tuple[SigningKey, ...]:
        return tuple(key for key in self._keys if key.kid == kid)

    def _younger_than(self, seconds: int, now: int) -> bool:
        return self._fetched_at is not None and now - self._fetched_at < seconds

    async def _renew(self, now: int) -> None:
        if self._tried_at is not None and now - self._tried_at < REFETCH_S:
            return
        self._tried_at = now
        try:
            uri = self._jwks_uri or await discover(self._issuer, fetch=self._fetch, development=self._development)
            self._keys = read_key_set(_read_json(await self._fetch(uri), "key set"))
        except (BadCredential, IssuerUnavailable) as fault:
            self._fault = fault
            return
        self._fetched_at, self._fault = now, None


async def discover(issuer: str, *, fetch: Fetch, development: bool) -> str:
    """The issuer's `jwks_uri`. BadCredential if its discovery document names another issuer or an address we won't ask."""
    document = _read_json(await fetch(issuer.rstrip("/") + "/.well-known/openid-configuration"), "discovery")
    if document.get("issuer") != issuer:
        raise _unusable("discovery", f"it calls itself {str(document.get('issuer'))[:200]!r}, not {issuer!r}")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise _unusable("discovery", "no jwks_uri")
    try:
        check_address(uri, field="jwks_uri", development=development)
    except Invalid as e:
        raise _unusable("discovery", str(e)) from e
    return uri


def read_key_set(document: Mapping[str, Any]) -> tuple[SigningKey, ...]:
    """The usable signing keys of a JWK Set; a set without a single one is refused.

    A key that we can't use is passed over (RFC 7517 section 5).
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise _unusable("key-set", f"`keys` is not a list of at most {MAX_KEYS}")
    keys = tuple(key for key in map(_read_key, listed) if key is not None)
    if not keys:
        raise _unusable("key-set", "no usable signing key")
    return keys


def _read_key(entry: object) -> SigningKey | None:
    """One signing key, or None. Only the public numbers are read: whatever else the entry carries can't mislead us."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    kid, kty, algorithm = entry.get("kid"), entry.get("kty"), entry.get("alg", "")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(algorithm, str):
        return None
    if not isinstance(kid, str) or not isinstance(kty, str) or kty not in _PARTS:
        return None
    numbers = {part: entry.get(part) for part in _PARTS[kty]}
    if not all(isinstance(number, str) and len(number) <= 2048 for number in numbers.values()):  # noqa: PLR2004  RSA-8192 has 1366
        return None
    if kty == "RSA" and len(str(numbers["n"])) * 6 < MIN_RSA_BITS:
        return None  # before joserfc, which warns of a short key and takes it
    try:
        key = jwk.import_key({"kty": kty, **{part: str(number) for part, number in numbers.items()}})
        bits = getattr(key.public_key, "key_size", MIN_RSA_BITS)  # reading it makes joserfc build the key
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    if kty == "RSA" and bits < MIN_RSA_BITS:
        return None
    curve = numbers.get("crv")
    return SigningKey(kid, kty, str(curve) if curve is not None else None, algorithm, key)


def check_address(url: str, *, field: str, development: bool) -> None:
    """An address that we are ready to ask: https, or in development mode http on this machine. Invalid(field) otherwise."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise Invalid(field, "not a URL") from e
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise Invalid(field, "must be a plain https URL, without credentials, query or fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and development and host in LOOPBACK):
        return
    raise Invalid(field, "must be https (http only for this machine, in development mode)")


async def fetch_off_loop(url: str) -> bytes:
    """GET a small document in a thread of its own. IssuerUnavailable for a transient fault, BadCredential for a lasting one."""
    return await asyncio.to_thread(_get, url)


def _opener() -> urllib.request.OpenerDirector:
    """An opener that speaks http and https only: no proxies from the environment, no redirects, no local paths."""
    opener = urllib.request.OpenerDirector()
    for part in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(part)
    return opener


def _get(url: str) -> bytes:
    deadline = time.monotonic() + 2 * TIMEOUT_S
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "limen"})  # noqa: S310  check_address allowed it
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            return _read_body(response, deadline)
    except urllib.error.HTTPError as e:
        status = e.code
        e.close()
        if status == 429 or status >= 500:  # noqa: PLR2004  too many requests, and the server's own faults
            raise _unreachable(f"status {status}") from e
        raise _unusable("fetch", f"status {status}") from e
    except (OSError, http.client.HTTPException) as e:
        raise _unreachable(f"{type(e).__name__}: {e}") from e
    except ValueError as e:
        raise _unusable("fetch", "the address can't be asked") from e


def _read_body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body, within the size cap and the deadline: a server that drips bytes can't hold the thread."""
    body = bytearray()
    while chunk := response.read1(65_536):
        body += chunk
        if len(body) > MAX_BODY:
            raise _unusable("fetch", f"more than {MAX_BODY} bytes")
        if time.monotonic() > deadline:
            raise _unreachable("too slow")
    return bytes(body)


def _read_json(raw: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise _unusable(what.replace(" ", "-"), "not JSON") from e
    if not isinstance(document, dict):
        raise _unusable(what.replace(" ", "-"), "not a JSON object")
    return document


def _unreachable(why: str) -> IssuerUnavailable:
    return IssuerUnavailable("the identity provider can't be reached; try again shortly", detail=f"issuer keys: {why}"[:300])


def _unusable(step: str, why: str) -> BadCredential:
    return BadCredential("the identity provider's keys can't be used", step=step, detail=f"{step}: {why}"[:300])
