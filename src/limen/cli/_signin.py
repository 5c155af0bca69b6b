"""How `limen login` gets an identity token: authorization code with PKCE on a loopback port, or a device code.

OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636 (S256 only), RFC 8252 (native apps), RFC 8628 (device), RFC 9207
(the issuer names itself in its answer). The signature of the identity token is the gateway's to check: it came straight
from the token endpoint, and here only its nonce is compared, so that nobody's else login can be slipped in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import json
import queue
import secrets
import threading
import time
import urllib.request
import webbrowser
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from limen.cli import _web
from limen.core.errors import Denied, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S: Final = 300.0
SCOPE: Final = "openid offline_access"
HARDWARE_ACR: Final = "phr"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


class Issuer(NamedTuple):
    """An issuer as its discovery document describes it, and who we are to it."""

    url: str
    client_id: str
    authorize: str
    token: str
    device: str


class Wish(NamedTuple):
    """How the person wants to log in. `hint` names who; `hardware` asks the issuer for a phishing-resistant login."""

    hint: str = ""
    hardware: bool = False
    browser: bool = True
    port: int = 0

    def parameters(self) -> dict[str, str]:
        """What this adds to a request."""
        asked = {"login_hint": self.hint, "acr_values": HARDWARE_ACR if self.hardware else ""}
        return {name: value for name, value in asked.items() if value}


class Tokens(NamedTuple):
    """What the issuer gave: an identity token, and a refresh token if it gives those."""

    id_token: str
    refresh_token: str


def discover(url: str, client_id: str) -> Issuer:
    """The issuer's endpoints; it must call itself what we call it, and none may be readable on the way."""
    document = _web.get(_web.check_url(url, field="issuer").rstrip("/") + "/.well-known/openid-configuration").json()
    if document.get("issuer") != url:
        raise Denied(f"the issuer at {url} calls itself {str(document.get('issuer'))[:200]!r}")

    def endpoint(name: str) -> str:
        value = document.get(name, "")
        return _web.check_url(value, field=name) if isinstance(value, str) and value else ""

    token = endpoint("token_endpoint")
    if not token:
        raise _web.WebFault(f"{url} names no token endpoint")
    return Issuer(url, client_id, endpoint("authorization_endpoint"), token, endpoint("device_authorization_endpoint"))


def by_browser(issuer: Issuer, wish: Wish, *, say: Callable[[str], None]) -> Tokens:
    """Log in through a browser on this machine; the code comes back to a port that only this machine can reach."""
    if not issuer.authorize:
        raise Unsupported(f"{issuer.url} has no authorization endpoint; try --device")
    verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
    with _Landing(wish.port) as landing:
        request = {
            "response_type": "code",
            "client_id": issuer.client_id,
            "redirect_uri": landing.address,
            "scope": SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": _b64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "prompt": "consent",  # OpenID Connect Core section 11: without it no refresh token is given
            **wish.parameters(),
        }
        url = f"{issuer.authorize}{'&' if '?' in issuer.authorize else '?'}{urlencode(request)}"
        say(f"Log in at:\n\n  {url}\n")
        _open(url, issuer, wish)
        came_back = landing.wait(state)
    if came_back.get("iss", issuer.url) != issuer.url:
        raise Denied("the answer came from another issuer; nothing was sent on")
    if "code" not in came_back:
        raise Denied(f"the issuer said {came_back.get('error', '?')}: {came_back.get('error_description', '')}"[:300])
    form = {
        "grant_type": "authorization_code",
        "client_id": issuer.client_id,
        "code": came_back["code"],
        "redirect_uri": landing.address,
        "code_verifier": verifier,
    }
    tokens = _tokens(_web.post(issuer.token, form).json())
    if _claim(tokens.id_token, "nonce") != nonce:
        raise Denied("the identity token answers another login; nothing was kept")
    return tokens


def by_device(issuer: Issuer, wish: Wish, *, say: Callable[[str], None]) -> Tokens:
    """Log in on another device: show a code, and ask until somebody has approved it."""
    if not issuer.device:
        raise Unsupported(f"{issuer.url} has no device login; leave out --device")
    asked = {"client_id": issuer.client_id, "scope": SCOPE, **wish.parameters()}
    started = _web.post(issuer.device, asked).json()
    try:
        code, shown, where = (str(started[name]) for name in ("device_code", "user_code", "verification_uri"))
        until, interval = time.monotonic() + float(started["expires_in"]), float(started.get("interval", 5))
    except (KeyError, TypeError, ValueError) as e:
        raise _web.WebFault(f"{issuer.url} refused a device login: {started.get('error', started)}"[:300]) from e
    say(f"On any device, open\n\n  {where}\n\nand enter the code  {shown}\n")
    complete = started.get("verification_uri_complete")
    if wish.hint and isinstance(complete, str) and _web.is_loopback(complete):
        _web.get(f"{complete}&{urlencode(wish.parameters())}")
    form = {"grant_type": DEVICE_GRANT, "client_id": issuer.client_id, "device_code": code}
    while time.monotonic() < until:
        answer = _web.post(issuer.token, form).json()
        match answer.get("error"):
            case None:
                return _tokens(answer)
            case "authorization_pending":
                pass
            case "slow_down":  # RFC 8628 section 3.5
                interval += 5
            case error:
                raise Denied(f"the issuer said {error}: {answer.get('error_description', '')}"[:300])
        time.sleep(max(0.2, interval))  # the protocol is polling; its interval is the issuer's
    raise Denied("the code was not approved in time; run the login again")


def refresh(issuer: Issuer, refresh_token: str) -> Tokens:
    """A fresh identity token. Denied if the issuer no longer gives one."""
    form = {"grant_type": "refresh_token", "client_id": issuer.client_id, "refresh_token": refresh_token}
    fresh = _tokens(_web.post(issuer.token, form).json())
    return Tokens(fresh.id_token, fresh.refresh_token or refresh_token)


def _tokens(answer: dict[str, Any]) -> Tokens:
    if answer.get("error"):
        raise Denied(f"the issuer said {answer['error']}: {answer.get('error_description', '')}"[:300])
    id_token, refresh_token = answer.get("id_token"), answer.get("refresh_token", "")
    if not isinstance(id_token, str) or not isinstance(refresh_token, str):
        raise _web.WebFault("the issuer gave no identity token")
    return Tokens(id_token, refresh_token)


def _claim(unverified_token: str, name: str) -> object:
    try:
        body = unverified_token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).get(name)
    except (IndexError, ValueError, AttributeError):
        return None


def _open(url: str, issuer: Issuer, wish: Wish) -> None:
    """Open the page. The development issuer asks a named person nothing, so there no browser is needed."""
    if wish.hint and urlsplit(issuer.url).scheme == "http" and _web.is_loopback(url):
        threading.Thread(target=_walk, args=(url,), daemon=True).start()
    elif wish.browser:
        webbrowser.open(url)


def _walk(url: str) -> None:
    """Do what a browser would: ask, and follow the redirect back to our own port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=_web.TIMEOUT_S).close()
    except OSError:
        return  # the page is on the screen as well; the person may open it


class _Landing:
    """A web server on a loopback port, for the one request that brings the code back."""

    def __init__(self, port: int) -> None:
        self._came: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        came = self._came

        class Page(http.server.BaseHTTPRequestHandler):
            timeout = 10  # browsers open spare connections and say nothing on them

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path != "/callback":
                    self.send_error(404)
                    return
                answer = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
                said = answer.get("error", "")
                text = f"The issuer said: {html.escape(said)}" if said else "Logged in. You can close this page."
                body = f"<!doctype html><meta charset=utf-8><title>limen</title><p>{text}".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                came.put(answer)

            def log_message(self, *_args: object) -> None:
                """Say nothing: the code would stand on the terminal."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}/callback"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, state: str) -> dict[str, str]:
        """The answer to *this* login: one with our state. Others are passed over, so that no page can end it for us."""
        until = time.monotonic() + WAIT_S
        while (left := until - time.monotonic()) > 0:
            try:
                answer = self._came.get(timeout=left)
            except queue.Empty:
                break
            if secrets.compare_digest(answer.get("state", "").encode(), state.encode()):
                return answer
        raise Denied("nobody logged in within five minutes; run the login again")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
