import asyncio
import base64
import hashlib
import json
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from limen.core.errors import BadCredential, ClaimRejected, IdentityExpired, Invalid
from limen.identity import devissuer
from limen.identity.devissuer import CODE_S, DEVICE_S, REFRESH_S, DevIssuer
from limen.identity.oidc import RelyingParty

NOW = 1_775_120_400
URL = "http://127.0.0.1:8460/_dev/issuer"
BACK = "http://127.0.0.1:50123/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
LOGIN = {
    "response_type": "code",
    "client_id": "limen-dev",
    "redirect_uri": BACK,
    "state": "s1",
    "nonce": "n1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "login_hint": "q03",
}


class World:
    def __init__(self):
        self.now = NOW
        self.issuer = DevIssuer(url=URL, mode="development", now=lambda: self.now)
        self.party = RelyingParty([self.issuer.config()], development=True)

    def call(self, method, path, fields=None, *, body=None):
        raw = urlencode(fields or {}).encode() if body is None else body
        scope = {
            "type": "http",
            "method": method,
            "path": f"/_dev/issuer{path}",
            "query_string": raw if method == "GET" else b"",
            "headers": [],
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": raw}

        async def send(message):
            sent.append(message)

        asyncio.run(self.issuer.app()(scope, receive, send))
        headers = dict(sent[0]["headers"])
        text = sent[1]["body"]
        return sent[0]["status"], headers, json.loads(text) if headers[b"content-type"] == b"application/json" and text else text

    def authorize(self, **changes):
        asked = {name: value for name, value in {**LOGIN, **changes}.items() if value is not ...}
        return self.call("GET", "/authorize", asked)

    def code(self, **changes):
        status, headers, _ = self.authorize(**changes)
        assert status == 302
        return {name: values[0] for name, values in parse_qs(urlsplit(headers[b"location"].decode()).query).items()}

    def redeem(self, code, **changes):
        asked = {
            "grant_type": "authorization_code",
            "client_id": "limen-dev",
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        status, _, body = self.call("POST", "/token", asked)
        return status, body

    def verify(self, token):
        return asyncio.run(self.party.verify(token, now=self.now))


@pytest.fixture(scope="module")
def shared():
    return World()


@pytest.fixture
def world(shared):
    shared.now = NOW
    return shared


@pytest.mark.parametrize("mode", ["production", "", "Development", "dev"])
def test_it_does_not_exist_outside_development_mode(mode):
    with pytest.raises(Invalid) as refusal:
        DevIssuer(url=URL, mode=mode)
    assert refusal.value.field == "server.mode"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_minted_token_passes_every_check_of_the_relying_party(world, algorithm):
    claims = world.verify(world.issuer.mint("quillwork-ci", algorithm=algorithm))
    assert (claims.issuer, claims.subject, claims.strength) == (URL, "quillwork-ci", "single")


def test_minted_tokens_can_be_made_bad_on_purpose(world):
    token = world.issuer.mint("q03", lifetime_s=60)
    world.now += 121
    with pytest.raises(IdentityExpired):
        world.verify(token)
    with pytest.raises(ClaimRejected):
        world.verify(world.issuer.mint("q03", aud="payroll"))
    with pytest.raises(ClaimRejected):
        world.verify(world.issuer.mint("q03", lifetime_s=90_000))
    with pytest.raises(BadCredential):
        world.verify(world.issuer.mint("q03", iss=None))


def test_discovery_is_exact_and_names_only_what_exists(world):
    status, _, document = world.call("GET", "/.well-known/openid-configuration")
    assert status == 200
    assert document["issuer"] == URL
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    _, _, keys = world.call("GET", "/keys")
    assert {key["kid"] for key in keys["keys"]} == {"dev-es256", "dev-rs256"}
    assert not any(private in key for key in keys["keys"] for private in ("d", "p", "q", "k"))


def test_a_code_is_redeemed_once_for_a_token_of_the_person_hinted_at(world):
    back = world.code()
    assert (back["state"], back["iss"]) == ("s1", URL)
    status, body = world.redeem(back["code"])
    assert status == 200
    assert world.verify(body["id_token"]).subject == "q03"
    assert json.loads(base64.urlsafe_b64decode(body["id_token"].split(".")[1] + "=="))["nonce"] == "n1"
    assert world.redeem(back["code"]) == (400, {"error": "invalid_grant", "error_description": "unknown, used or expired"})


def test_a_phishing_resistant_login_is_said_to_be_one(world):
    _, body = world.redeem(world.code(acr_values="phr")["code"])
    assert world.verify(body["id_token"]).strength == "hardware"


@pytest.mark.parametrize(
    "change",
    [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": BACK + "2"}, {"code": "x"}, {"client_id": "other"}],
)
def test_a_code_in_other_hands_is_worth_nothing(world, change):
    status, body = world.redeem(**{"code": world.code()["code"], **change})
    assert status == 400
    assert body["error"] in ("invalid_grant", "invalid_client")


def test_an_issuer_that_skips_the_verifier_would_redeem_a_stolen_code(world, monkeypatch):
    """Negative control: with PKCE's comparison gone, the wrong verifier works."""
    monkeypatch.setattr(devissuer.base64, "urlsafe_b64encode", lambda raw: CHALLENGE.encode() + b"=")
    code = devissuer._Grant("q03", hardware=False, expires_at=NOW + 60, challenge=CHALLENGE, redirect_uri=BACK)
    world.issuer._codes["stolen"] = code
    assert world.issuer._redeem_code({"code": "stolen", "redirect_uri": BACK, "code_verifier": "wrong"}) == code


def test_a_code_lives_a_minute(world):
    code = world.code()["code"]
    world.now += CODE_S
    assert world.redeem(code)[0] == 400


@pytest.mark.parametrize(
    "change",
    [
        {"response_type": "token"},
        {"response_type": "code id_token"},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ...},
        {"code_challenge": ...},
        {"code_challenge": "short"},
        {"client_id": "other"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://evil.example:80/callback"},
        {"redirect_uri": "http://127.0.0.1.evil.example:1/"},
        {"redirect_uri": "http://me@127.0.0.1:1/"},
        {"redirect_uri": "http://127.0.0.1:1/#x"},
        {"redirect_uri": "http://127.0.0.1:1/\r\nx: y"},
        {"redirect_uri": "http://127.0.0.1:99999/"},
        {"redirect_uri": ...},
    ],
)
def test_a_login_that_could_leak_its_code_is_never_redirected(world, change):
    status, headers, body = world.authorize(**change)
    assert status == 400
    assert b"location" not in headers
    assert body["error"]


def test_without_a_hint_a_page_asks_who_one_wants_to_be_and_keeps_the_request(world):
    status, headers, body = world.authorize(login_hint=..., state='"><script>x</script>')
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/html")
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert b"<script>" not in body
    assert CHALLENGE.encode() in body


def test_a_refresh_token_works_once_and_hands_over_to_the_next(world):
    _, first = world.redeem(world.code()["code"])
    asked = {"grant_type": "refresh_token", "client_id": "limen-dev", "refresh_token": first["refresh_token"]}
    world.now += 3000
    status, _, second = world.call("POST", "/token", asked)
    assert status == 200
    assert world.verify(second["id_token"]).subject == "q03"
    assert second["refresh_token"] != first["refresh_token"]
    assert world.call("POST", "/token", asked)[0] == 400


def test_a_refresh_token_ends(world):
    _, first = world.redeem(world.code()["code"])
    world.now += REFRESH_S
    asked = {"grant_type": "refresh_token", "client_id": "limen-dev", "refresh_token": first["refresh_token"]}
    assert world.call("POST", "/token", asked)[0] == 400


def begin(world):
    status, _, body = world.call("POST", "/device", {"client_id": "limen-dev", "scope": "openid"})
    assert status == 200
    return body


def poll(world, device_code):
    asked = {"grant_type": devissuer.DEVICE_GRANT, "client_id": "limen-dev", "device_code": device_code}
    status, _, body = world.call("POST", "/token", asked)
    return status, body


def test_a_device_waits_until_its_code_is_approved_and_then_gets_one_token(world):
    device = begin(world)
    assert poll(world, device["device_code"]) == (400, {"error": "authorization_pending", "error_description": ""})
    status, _, _ = world.call("GET", "/device", {"user_code": device["user_code"].lower(), "login_hint": "q11"})
    assert status == 200
    status, body = poll(world, device["device_code"])
    assert status == 200
    assert world.verify(body["id_token"]).subject == "q11"
    assert poll(world, device["device_code"])[1]["error"] == "invalid_grant"


def test_a_device_code_expires(world):
    device = begin(world)
    world.now += DEVICE_S
    assert poll(world, device["device_code"])[1]["error"] == "expired_token"
    assert world.call("GET", "/device", {"user_code": device["user_code"], "login_hint": "q11"})[0] == 400


def test_a_device_page_asks_for_code_and_subject(world):
    for asked in ({}, {"user_code": "BCDF-GHJK"}):
        status, _, body = world.call("GET", "/device", asked)
        assert status == 200
        assert b'name="login_hint"' in body
        assert b'name="user_code"' in body


def test_a_workload_can_have_a_token_minted_over_http(world):
    status, _, body = world.call("POST", "/mint", {"sub": "quillwork-ci", "lifetime": "900", "acr_values": "phr"})
    assert status == 200
    claims = world.verify(body["id_token"])
    assert (claims.subject, claims.strength, claims.expires_at) == ("quillwork-ci", "hardware", NOW + 900)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sub": ""},
        {"sub": "é"},
        {"sub": "a\nb"},
        {"sub": "x", "lifetime": "0"},
        {"sub": "x", "lifetime": "-1"},
        {"sub": "x", "lifetime": "9" * 40},
    ],
)
def test_minting_nonsense_is_refused(world, asked):
    assert world.call("POST", "/mint", asked)[0] == 400


@pytest.mark.parametrize("body", [b"\xff", b"a=1&a=2", b"x" * 20_000, b"&".join(b"a%d=1" % n for n in range(80))])
def test_a_request_that_is_no_form_is_refused(world, body):
    assert world.call("POST", "/token", body=body)[0] == 400


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/token"), ("POST", "/authorize"), ("DELETE", "/keys"), ("GET", "/mint")]
)
def test_there_is_nothing_else(world, method, path):
    assert world.call(method, path)[0] == 404


def test_an_unknown_grant_type_is_refused(world):
    for grant in ("password", "client_credentials", "implicit"):
        assert (
            world.call("POST", "/token", {"grant_type": grant, "client_id": "limen-dev"})[2]["error"] == "unsupported_grant_type"
        )


def test_what_is_kept_is_bounded(world, monkeypatch):
    monkeypatch.setattr(devissuer, "KEPT", 4)
    for _ in range(20):
        world.code()
    assert len(world.issuer._codes) <= 5
