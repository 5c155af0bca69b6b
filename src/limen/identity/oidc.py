"""The relying party: believes an identity token only after every check, each a named step of its own.

OpenID Connect Core 1.0 section 3.1.3.7 (ID token validation), RFC 7519, RFC 8725 (JWT best practice). A refusal's `step`
goes to the operator's log; the caller learns a sentence. Identity is (issuer, subject); an e-mail address is for display
and decides nothing.

Missing on purpose: `nonce` and `at_hash` bind a token to one browser login and are checked where that login runs
(`limen login`); here the token itself is the credential, as in STS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.core.errors import BadCredential, ClaimRejected, IdentityExpired, Invalid
from limen.identity.jwks import KeySource, check_address, fetch_off_loop, read_key_set
from limen.identity.jws import KEY_OF_ALGORITHM, parse, signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limen.identity.jwks import Fetch, SigningKey
    from limen.identity.jws import UnverifiedToken

LEEWAY_S: Final = 60
MAX_LIFETIME_S: Final = 24 * 3600
MAX_SUBJECT: Final = 255  # OpenID Connect Core section 2
MAX_AUDIENCES: Final = 16
HARDWARE_AMR: Final = "hwk"  # RFC 8176: proof of possession of a hardware-secured key


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """One issuer whose tokens are accepted, and on which terms. Everything here is the operator's choice, never a token's.

    `url` is compared with `iss` to the letter. `jwks` is the key set itself where it is known without asking (the
    development issuer's); else `jwks_uri`, else discovery. `vendors`: whose people it may name; empty is anybody's.
    """

    url: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_uri: str | None = None
    hardware_acr: frozenset[str] = frozenset({"phr", "phrh"})
    vendors: frozenset[str] = frozenset()
    jwks: Mapping[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse terms that would accept too much: no audience, or an algorithm that proves nothing."""
        if not self.audiences or not all(self.audiences):
            raise Invalid("issuer.audiences", f"{self.url} needs at least one")
        unknown = [name for name in self.algorithms if name not in KEY_OF_ALGORITHM]
        if unknown or not self.algorithms:
            allowed = ", ".join(KEY_OF_ALGORITHM)
            raise Invalid("issuer.algorithms", f"{(unknown or ['an empty list'])[0]} is not accepted; choose from {allowed}")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified identity token says. Only `RelyingParty.verify` makes one.

    `vendors` repeats the issuer's limit: whoever looks the person up must refuse one of another vendor. `email` is for display.
    """

    issuer: str
    subject: str
    strength: Literal["single", "hardware"]
    audience: str
    expires_at: int
    email: str = ""
    vendors: frozenset[str] = frozenset()


class RelyingParty:
    """Verifies identity tokens of the configured issuers. Owned by the event loop."""

    def __init__(self, issuers: Iterable[IssuerConfig], *, development: bool = False, fetch: Fetch = fetch_off_loop) -> None:
        self._issuers: dict[str, IssuerConfig] = {}
        self._keys: dict[str, KeySource] = {}
        self._known: dict[str, tuple[SigningKey, ...]] = {}  # of issuers whose keys came with the configuration
        for issuer in issuers:
            check_address(issuer.url, field="issuer.url", development=development)
            if issuer.jwks_uri:
                check_address(issuer.jwks_uri, field="issuer.jwks_uri", development=development)
            if issuer.url in self._issuers:
                raise Invalid("issuer.url", f"{issuer.url} is configured twice")
            self._issuers[issuer.url] = issuer
            if issuer.jwks is not None:
                self._known[issuer.url] = read_key_set(issuer.jwks)
            self._keys[issuer.url] = KeySource(issuer.url, jwks_uri=issuer.jwks_uri, fetch=fetch, development=development)

    async def verify(self, unverified_token: str, *, now: int) -> Claims:
        """The claims of a token that passes every check.

        BadCredential (its `step` names the check) when the token proves nothing; ClaimRejected when it is genuine but
        not for us or not for now; IdentityExpired; IssuerUnavailable when the issuer's keys can't be fetched just now.
        """
        # 1-3. Size, compact form, JSON.
        token = parse(unverified_token)
        # 4. The issuer is one of ours, to the letter; its configuration decides everything that follows.
        issuer = self._issuer_of(token)
        # 5. The algorithm is on that issuer's list.
        algorithm = check_header(token.header, issuer)
        # 6. The key id names a key in that issuer's own set. 7. That key made the signature.
        await self._check_signature(token, issuer, algorithm, now=now)
        # 8-12. The claims, now believed to be the issuer's.
        return check_claims(token.claims, issuer, now=now)

    def _issuer_of(self, token: UnverifiedToken) -> IssuerConfig:
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise BadCredential("the identity token's issuer is not accepted here", step="issuer")
        return issuer

    async def _check_signature(self, token: UnverifiedToken, issuer: IssuerConfig, algorithm: str, *, now: int) -> None:
        kid = token.header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise BadCredential("the identity token names no signing key", step="key-id")
        candidates = await self._candidates(issuer, kid, now=now)
        if not candidates:
            raise BadCredential("the identity token's signing key is not its issuer's", step="key-id")
        fitting = [key for key in candidates if key.may_sign(algorithm)]
        if not fitting:
            raise BadCredential("the identity token's signing key is of another kind", step="key-kind")
        if not any(signed_by(token, key.key, algorithm=algorithm) for key in fitting):
            raise BadCredential("the identity token's signature does not hold", step="signature")

    async def _candidates(self, issuer: IssuerConfig, kid: str, *, now: int) -> tuple[SigningKey, ...]:
        if issuer.url in self._known:
            return tuple(key for key in self._known[issuer.url] if key.kid == kid)
        return await self._keys[issuer.url].find(kid, now=now)


def check_header(header: Mapping[str, Any], issuer: IssuerConfig) -> str:
    """The token's algorithm, if the issuer's list has it. `jku`, `jwk`, `x5u` and `x5c` are not read at all."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise BadCredential("the identity token's algorithm is not accepted from its issuer", step="algorithm")
    # RFC 7515 section 4.1.11: whoever does not understand a critical extension must refuse; we understand none.
    if "crit" in header:
        raise BadCredential("the identity token demands an extension that is not known here", step="critical")
    # RFC 8725 section 3.11: a logout token or access token of the same issuer is signed with the same keys.
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") != "jwt":
        raise BadCredential("this is another kind of token, not an identity token", step="type")
    return algorithm


def check_claims(claims: Mapping[str, Any], issuer: IssuerConfig, *, now: int) -> Claims:
    """The claims that hold, from a token whose signature holds."""
    # 8. Audience: one of ours; among several, the authorized party must be one of ours too.
    audience = _check_audience(claims, issuer)
    # 9-11. Expiry, issue time, lifetime.
    expires_at = _check_times(claims, now=now)
    # 12. Subject.
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not (subject.isascii() and subject.isprintable()):
        raise ClaimRejected("the identity token's subject is missing or malformed", step="subject")
    email = claims.get("email")
    return Claims(
        issuer=issuer.url,
        subject=subject,
        strength=_strength(claims, issuer),
        audience=audience,
        expires_at=expires_at,
        email=email[:320] if isinstance(email, str) else "",
        vendors=issuer.vendors,
    )


def _check_audience(claims: Mapping[str, Any], issuer: IssuerConfig) -> str:
    stated = claims.get("aud")
    audiences = stated if isinstance(stated, list) else [stated]
    if not 0 < len(audiences) <= MAX_AUDIENCES or not all(isinstance(name, str) for name in audiences):
        raise ClaimRejected("the identity token's audience is missing or malformed", step="audience")
    ours = next((a for a in audiences if a in issuer.audiences), None)
    if ours is None:
        raise ClaimRejected("the identity token is meant for another audience", step="audience")
    if len(audiences) > 1 and claims.get("azp") not in issuer.audiences:
        raise ClaimRejected("the identity token has several audiences and was issued to another party", step="authorized-party")
    return str(ours)


def _check_times(claims: Mapping[str, Any], *, now: int) -> int:
    expires_at, issued_at = _seconds(claims, "exp"), _seconds(claims, "iat")
    if now >= expires_at + LEEWAY_S:
        raise IdentityExpired("the identity token has expired; fetch a fresh one", step="expiry")
    if issued_at > now + LEEWAY_S:
        raise ClaimRejected("the identity token was issued in the future; check the clocks", step="issued-at")
    if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY_S:
        raise ClaimRejected("the identity token is not valid yet", step="not-before")
    if not 0 < expires_at - issued_at <= MAX_LIFETIME_S:
        raise ClaimRejected("the identity token lives longer than 24 hours", step="lifetime")
    return int(expires_at)


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate (RFC 7519 section 2): a finite JSON number, and not a truth value."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimRejected(f"the identity token has no proper `{name}`", step=f"{name}-missing")
    if not math.isfinite(value) or abs(value) >= 2**53:
        raise ClaimRejected(f"the identity token has no proper `{name}`", step=f"{name}-missing")
    return value


def _strength(claims: Mapping[str, Any], issuer: IssuerConfig) -> Literal["single", "hardware"]:
    """How they proved themselves: `hardware` only when the issuer says so in a word that the operator chose to believe."""
    methods = claims.get("amr")
    hardware = isinstance(methods, list) and HARDWARE_AMR in methods
    context = claims.get("acr")
    return "hardware" if hardware or (isinstance(context, str) and context in issuer.hardware_acr) else "single"
