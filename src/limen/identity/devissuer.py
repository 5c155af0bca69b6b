"""A small OpenID Connect issuer for development and tests: real tokens for whoever one says to be. Never in production.

It keeps to the specifications that `limen login` needs, so that nothing downstream knows the difference: OpenID Connect
Core 1.0 and Discovery 1.0, authorization code with PKCE S256 (RFC 7636; no other method, no implicit flow) to loopback
addresses (RFC 8252), device authorization (RFC 8628), refresh tokens that turn over at each use. It asks nobody for a
password: `login_hint` decides who is logged in, and `POST mint` makes a token for any subject. That is why its constructor
refuses every mode but development.

Keys and grants live in memory and end with the process. Owned by the event loop.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from limen.core.errors import Invalid
from limen.identity.jwks import LOOPBACK
from limen.identity.oidc import MAX_SUBJECT, IssuerConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

CLIENT_ID: Final = "limen-dev"
CODE_S: Final = 60
DEVICE_S: Final = 600
TOKEN_S: Final = 3600
REFRESH_S: Final = 12 * 3600
KEPT: Final = 1024
MAX_BODY: Final = 16_384
MAX_LIFETIME_S: Final = 7 * 24 * 3600  # longer than any token that limen takes, so that a test can be refused
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so that a code spells nothing

_CSP: Final = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


class OAuthError(Exception):
    """A refusal in OAuth's words (RFC 6749 section 5.2); becomes a 400 with `error` and its description."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class _Grant:
    """Who was logged in, how, and what must be shown to redeem it."""

    subject: str
    hardware: bool
    expires_at: int
    nonce: str = ""
    challenge: str = ""
    redirect_uri: str = ""


@dataclass(slots=True)
class _Device:
    """A login that waits for a person: `grant` is set once somebody has approved the code."""

    user_code: str
    expires_at: int
    grant: _Grant | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class DevIssuer:
    """Logs anybody in as anybody. `url` is its issuer; everything it serves lies below that path."""

    def __init__(
        self,
        *,
        url: str,
        mode: str,
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if mode != "development":
            raise Invalid("server.mode", f"the development issuer logs anybody in as anybody; it does not run in {mode!r}")
        self.url = url.rstrip("/")
        self.client_id = CLIENT_ID
        self._root = urlsplit(self.url).path
        self._clock = now
        self._random = random
        self._keys: dict[str, ECKey | RSAKey] = {
            "ES256": ECKey.generate_key("P-256", {"kid": "dev-es256", "use": "sig"}),
            "RS256": RSAKey.generate_key(2048, {"kid": "dev-rs256", "use": "sig"}),
        }
        self._codes: OrderedDict[str, _Grant] = OrderedDict()
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._refresh: OrderedDict[str, _Grant] = OrderedDict()

    def config(self) -> IssuerConfig:
        """What a relying party in the same process needs; the keys come along, so that it need not ask over the network."""
        return IssuerConfig(url=self.url, audiences=(self.client_id,), algorithms=("ES256", "RS256"), jwks=self.jwks())

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        return {"keys": [{**key.as_dict(private=False), "alg": name} for name, key in self._keys.items()]}

    def mint(self, subject: str, *, lifetime_s: int = TOKEN_S, algorithm: str = "ES256", **claims: Any) -> str:
        """An identity token for any subject, at once. `claims` are added or replaced (None leaves one out)."""
        if not 0 < len(subject) <= MAX_SUBJECT or not (subject.isascii() and subject.isprintable()):
            raise OAuthError("invalid_request", "sub must be 1 to 255 printable ASCII characters")
        if not 0 < lifetime_s <= MAX_LIFETIME_S:
            raise OAuthError("invalid_request", f"lifetime must be 1 to {MAX_LIFETIME_S} seconds")
        key, now = self._keys[algorithm], self._now()
        own = {"iss": self.url, "sub": subject, "aud": self.client_id, "iat": now, "exp": now + lifetime_s}
        body = {name: value for name, value in {**own, **claims}.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": key.kid, "typ": "JWT"}, body, key, algorithms=[algorithm])

    def app(self) -> App:
        """The ASGI application, for everything below the issuer's path."""

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return
            try:
                answer = self._answer(scope["method"], scope["path"], await _parameters(scope, receive))
            except OAuthError as e:
                answer = _json({"error": e.error, "error_description": e.description}, status=400)
            headers = [
                (b"content-type", answer.content_type),
                (b"content-length", str(len(answer.body)).encode()),
                (b"cache-control", b"no-store"),
                (b"content-security-policy", _CSP),
                *answer.headers,
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})

        return app

    def _answer(self, method: str, path: str, asked: dict[str, str]) -> _Answer:
        match method, path.removeprefix(self._root):
            case "GET", "/.well-known/openid-configuration":
                return _json(self._discovery())
            case "GET", "/keys":
                return _json(self.jwks())
            case "GET", "/authorize":
                return self._authorize(asked)
            case "POST", "/token":
                return _json(self._token(asked))
            case "POST", "/device":
                return _json(self._begin_device(asked))
            case "GET", "/device":
                return self._approve_device(asked)
            case "POST", "/mint":
                return _json(self._mint(asked))
            case _:
                return _json({"error": "not_found"}, status=404)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_GRANT],
            "code_challenge_methods_supported": ["S256"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self._keys),
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["openid", "offline_access"],
            "acr_values_supported": ["phr"],
            "authorization_response_iss_parameter_supported": True,
        }

    # --- authorization code

    def _authorize(self, asked: dict[str, str]) -> _Answer:
        # Until the redirect address is known to be good, refusals go to the reader's screen and nowhere else.
        self._check_client(asked)
        redirect_uri = asked.get("redirect_uri", "")
        _check_redirect(redirect_uri)
        if asked.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "only `code`")
        if asked.get("code_challenge_method") != "S256" or len(asked.get("code_challenge", "")) != 43:  # noqa: PLR2004  SHA-256 in base64url
            raise OAuthError("invalid_request", "PKCE with S256 is required")
        if not asked.get("login_hint"):
            return _page("Log in (development)", "authorize", asked)
        code = self._keep(
            self._codes,
            _Grant(
                subject=asked["login_hint"],
                hardware=_wants_hardware(asked),
                expires_at=self._now() + CODE_S,
                nonce=asked.get("nonce", ""),
                challenge=asked["code_challenge"],
                redirect_uri=redirect_uri,
            ),
        )
        state = {"state": asked["state"]} if "state" in asked else {}
        to = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode({'code': code, **state, 'iss': self.url})}"
        return _Answer(302, b"", headers=[(b"location", to.encode("ascii", "ignore"))])

    # --- token endpoint

    def _token(self, asked: dict[str, str]) -> dict[str, Any]:
        self._check_client(asked)
        match asked.get("grant_type"):
            case "authorization_code":
                grant = self._redeem_code(asked)
            case "refresh_token":
                grant = self._take(self._refresh, asked.get("refresh_token", ""))
            case value if value == DEVICE_GRANT:
                grant = self._redeem_device(asked)
            case _:
                raise OAuthError("unsupported_grant_type")
        kept = _Grant(grant.subject, grant.hardware, self._now() + REFRESH_S)
        return {
            "access_token": self._fresh(),
            "token_type": "Bearer",
            "expires_in": TOKEN_S,
            "id_token": self.mint(grant.subject, nonce=grant.nonce or None, **_strength(grant)),
            "refresh_token": self._keep(self._refresh, kept),
        }

    def _redeem_code(self, asked: dict[str, str]) -> _Grant:
        """The grant behind a code: once, at the address it was sent to, by whoever knows the verifier."""
        grant = self._take(self._codes, asked.get("code", ""))
        if asked.get("redirect_uri") != grant.redirect_uri:
            raise OAuthError("invalid_grant", "another redirect_uri")
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge:
            raise OAuthError("invalid_grant", "the code_verifier does not match")
        return grant

    # --- device authorization

    def _begin_device(self, asked: dict[str, str]) -> dict[str, Any]:
        self._check_client(asked)
        letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in self._random(8))
        device = _Device(f"{letters[:4]}-{letters[4:]}", self._now() + DEVICE_S)
        where = f"{self.url}/device"
        return {
            "device_code": self._keep(self._devices, device),
            "user_code": device.user_code,
            "verification_uri": where,
            "verification_uri_complete": f"{where}?{urlencode({'user_code': device.user_code})}",
            "expires_in": DEVICE_S,
            "interval": 1,
        }

    def _approve_device(self, asked: dict[str, str]) -> _Answer:
        if not asked.get("user_code") or not asked.get("login_hint"):
            return _page("Approve a device (development)", "device", {"user_code": "", **asked})
        for device in self._devices.values():
            if device.user_code == asked["user_code"].strip().upper() and device.expires_at > self._now():
                device.grant = _Grant(asked["login_hint"], _wants_hardware(asked), device.expires_at)
                return _Answer(200, b"<!doctype html><title>limen</title><p>Approved. Go back to your terminal.", b"text/html")
        raise OAuthError("invalid_request", "no such code, or it has expired")

    def _redeem_device(self, asked: dict[str, str]) -> _Grant:
        code = asked.get("device_code", "")
        device = self._devices.get(code)
        if device is None:
            raise OAuthError("invalid_grant", "no such device code")
        if device.expires_at <= self._now():
            raise OAuthError("expired_token")
        if device.grant is None:
            raise OAuthError("authorization_pending")
        del self._devices[code]
        return device.grant

    # --- for tests and workloads

    def _mint(self, asked: dict[str, str]) -> dict[str, Any]:
        lifetime = asked.get("lifetime", str(TOKEN_S))
        if not (lifetime.isascii() and lifetime.isdigit() and len(lifetime) < len(str(MAX_LIFETIME_S)) + 1):
            raise OAuthError("invalid_request", "lifetime must be a number of seconds")
        grant = _Grant(asked.get("sub", ""), _wants_hardware(asked), 0)
        return {"id_token": self.mint(grant.subject, lifetime_s=int(lifetime), **_strength(grant))}

    # --- what is kept

    def _check_client(self, asked: dict[str, str]) -> None:
        if asked.get("client_id") != self.client_id:
            raise OAuthError("invalid_client", f"the only client is {self.client_id!r}")

    def _now(self) -> int:
        return int(self._clock())

    def _fresh(self) -> str:
        return base64.urlsafe_b64encode(self._random(24)).decode()

    def _keep(self, where: OrderedDict[str, Any], value: _Grant | _Device) -> str:
        name = self._fresh()
        where[name] = value
        if len(where) > KEPT:
            where.popitem(last=False)
        return name

    def _take(self, where: OrderedDict[str, _Grant], name: str) -> _Grant:
        """What is kept under a name, once."""
        grant = where.pop(name, None)
        if grant is None or grant.expires_at <= self._now():
            raise OAuthError("invalid_grant", "unknown, used or expired")
        return grant


def _strength(grant: _Grant) -> dict[str, Any]:
    return {"amr": ["hwk", "pin"], "acr": "phr"} if grant.hardware else {"amr": ["pwd"]}


def _wants_hardware(asked: dict[str, str]) -> bool:
    """Whether the request asks for a phishing-resistant login; this issuer then says that it was one."""
    return "phr" in asked.get("acr_values", "").split()


def _check_redirect(redirect_uri: str) -> None:
    """RFC 8252 section 7.3: a loopback address, any port; nothing that could carry a code off this machine."""
    try:
        parts = urlsplit(redirect_uri)
        good = parts.scheme == "http" and parts.hostname in LOOPBACK and parts.port is not None and not parts.fragment
    except ValueError:
        good = False
    if not good or not redirect_uri.isascii() or not redirect_uri.isprintable() or parts.username is not None:
        raise OAuthError("invalid_request", "redirect_uri must be http://127.0.0.1:PORT/...")


async def _parameters(scope: Message, receive: Receive) -> dict[str, str]:
    """The query's parameters, or the form's for a POST; each once."""
    raw = bytes(scope["query_string"])
    if scope["method"] == "POST":
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
            if len(raw) > MAX_BODY:
                raise OAuthError("invalid_request", "the request is too large")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError as e:
        raise OAuthError("invalid_request", "not a form") from e
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is given twice")
    return asked


def _json(body: dict[str, Any], *, status: int = 200) -> _Answer:
    return _Answer(status, json.dumps(body).encode())


def _page(title: str, action: str, asked: dict[str, str]) -> _Answer:
    """A form that asks who one wants to be and sends the same request again with `login_hint`."""

    def hidden(name: str, value: str) -> str:
        kind = "hidden" if value else "text"
        label = "" if value else f"<label>{html.escape(name)}</label> "
        return f'{label}<input type="{kind}" name="{html.escape(name)}" value="{html.escape(value)}"><br>'

    fields = "".join(hidden(name, value) for name, value in asked.items() if name != "login_hint")
    text = (
        f'<!doctype html><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:16px/1.5 system-ui;max-width:34em;margin:4em auto}</style>"
        f"<h1>{title}</h1><p>This issuer runs in development mode only. It asks for no password.</p>"
        f'<form action="{action}" method="get">{fields}'
        '<label>Subject</label> <input name="login_hint" autofocus required> <button>Log in</button></form>'
    )
    return _Answer(200, text.encode(), b"text/html; charset=utf-8")
