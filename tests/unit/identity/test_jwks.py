import asyncio
import http.server
import json
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from small_issuer import NOW, URL, SmallIssuer, b64, make_key

from limen.core.errors import BadCredential, IssuerUnavailable
from limen.identity import jwks
from limen.identity.jwks import FRESH_S, REFETCH_S, STALE_S, KeySource, discover, fetch_off_loop, read_key_set

KEYS = f"{URL}/keys"
DISCOVERY = f"{URL}/.well-known/openid-configuration"


def source(issuer, *, jwks_uri=None):
    return KeySource(issuer.url, jwks_uri=jwks_uri, fetch=issuer.fetch, development=False)


def ids(found):
    return [key.kid for key in found]


def test_keys_are_discovered_once_and_then_kept(issuer):
    async def run():
        keys = source(issuer)
        assert ids(await keys.find("k1", now=NOW)) == ["k1"]
        assert ids(await keys.find("k1", now=NOW + FRESH_S - 1)) == ["k1"]

    asyncio.run(run())
    assert issuer.asked == [DISCOVERY, KEYS]


def test_a_configured_key_address_needs_no_discovery(issuer):
    asyncio.run(source(issuer, jwks_uri=KEYS).find("k1", now=NOW))
    assert issuer.asked == [KEYS]


def test_an_unknown_key_id_causes_one_refetch_and_then_none_for_a_while(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        await keys.find("k1", now=NOW)
        for second in range(REFETCH_S):
            assert await keys.find(f"x{second}", now=NOW + second) == ()
        assert issuer.asked == [KEYS]
        await keys.find("x", now=NOW + REFETCH_S)
        await keys.find("y", now=NOW + REFETCH_S)

    asyncio.run(run())
    assert issuer.asked == [KEYS, KEYS]


def test_without_the_rate_limit_a_flood_of_key_ids_would_be_a_flood_of_fetches(issuer, monkeypatch):
    """Negative control for the test above."""
    monkeypatch.setattr(jwks, "REFETCH_S", 0)

    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        for number in range(20):
            await keys.find(f"x{number}", now=NOW)

    asyncio.run(run())
    assert len(issuer.asked) == 20


def test_a_rotated_key_is_found_by_the_refetch_and_the_old_one_is_gone(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        await keys.find("k1", now=NOW)
        issuer.kid = "k2"
        issuer.publish(issuer.jwks())
        assert ids(await keys.find("k2", now=NOW + REFETCH_S)) == ["k2"]
        assert await keys.find("k1", now=NOW + REFETCH_S) == ()

    asyncio.run(run())


def test_a_withdrawn_key_is_believed_no_longer_than_a_key_set_is_fresh(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        await keys.find("k1", now=NOW)
        issuer.kid = "k2"
        issuer.publish(issuer.jwks())
        assert await keys.find("k1", now=NOW + FRESH_S) == ()

    asyncio.run(run())


def test_while_the_issuer_is_down_its_keys_hold_for_a_while_and_then_nothing_is_believed(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        await keys.find("k1", now=NOW)
        issuer.documents[KEYS] = IssuerUnavailable("down")
        assert ids(await keys.find("k1", now=NOW + STALE_S - 1)) == ["k1"]
        with pytest.raises(IssuerUnavailable):
            await keys.find("k1", now=NOW + STALE_S)
        with pytest.raises(IssuerUnavailable):
            await keys.find("k1", now=NOW + STALE_S + 1)

    asyncio.run(run())


def test_an_issuer_that_was_down_is_asked_again_and_then_believed(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        good, issuer.documents[KEYS] = issuer.documents[KEYS], IssuerUnavailable("down")
        for second in range(REFETCH_S):
            with pytest.raises(IssuerUnavailable):
                await keys.find("k1", now=NOW + second)
        assert len(issuer.asked) == 1
        issuer.documents[KEYS] = good
        assert ids(await keys.find("k1", now=NOW + REFETCH_S)) == ["k1"]

    asyncio.run(run())


def test_a_new_key_id_while_the_issuer_is_down_is_a_transient_fault(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)
        await keys.find("k1", now=NOW)
        issuer.documents[KEYS] = IssuerUnavailable("down")
        with pytest.raises(IssuerUnavailable):
            await keys.find("k2", now=NOW + REFETCH_S)
        assert ids(await keys.find("k1", now=NOW + REFETCH_S)) == ["k1"]

    asyncio.run(run())


def test_many_waiting_callers_share_one_fetch(issuer):
    async def run():
        keys = source(issuer, jwks_uri=KEYS)

        async def slow(url):
            issuer.asked.append(url)
            await asyncio.sleep(0.01)
            return issuer.documents[url]

        keys._fetch = slow
        found = await asyncio.gather(*(keys.find("k1", now=NOW) for _ in range(50)))
        assert all(ids(f) == ["k1"] for f in found)

    asyncio.run(run())
    assert issuer.asked == [KEYS]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not json",
        b"[]",
        b"[" * 5000,
        b"\xff\xfe",
        b"{}",
        json.dumps({"issuer": URL}).encode(),
        json.dumps({"issuer": URL + "/", "jwks_uri": KEYS}).encode(),
        json.dumps({"issuer": "https://evil.example", "jwks_uri": KEYS}).encode(),
        json.dumps({"issuer": URL, "jwks_uri": "http://id.quillwork.example/keys"}).encode(),
        json.dumps({"issuer": URL, "jwks_uri": "http://127.0.0.1:9/keys"}).encode(),
        json.dumps({"issuer": URL, "jwks_uri": "file:///etc/passwd"}).encode(),
        json.dumps({"issuer": URL, "jwks_uri": 7}).encode(),
    ],
)
def test_a_discovery_document_that_is_not_exactly_ours_is_refused(issuer, document):
    issuer.documents[DISCOVERY] = document
    with pytest.raises(BadCredential) as refusal:
        asyncio.run(discover(URL, fetch=issuer.fetch, development=False))
    assert refusal.value.step == "discovery"


def test_a_path_in_the_issuer_stays_before_the_well_known_part():
    issuer = SmallIssuer("https://id.example/realms/lab/")
    issuer.documents["https://id.example/realms/lab/.well-known/openid-configuration"] = json.dumps(
        {"issuer": issuer.url, "jwks_uri": "https://keys.example/lab"}
    ).encode()
    assert asyncio.run(discover(issuer.url, fetch=issuer.fetch, development=False)) == "https://keys.example/lab"


def entry(**changes):
    return {**make_key("ES256").as_dict(private=False), "kid": "k", **changes}


UNUSABLE = {
    "no key": lambda: 7,
    "for encryption": lambda: entry(use="enc"),
    "not for verifying": lambda: entry(key_ops=["encrypt"]),
    "operations that are no list": lambda: entry(key_ops="verify"),
    "a shared secret": lambda: {"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"},
    "no id": lambda: {name: value for name, value in entry().items() if name != "kid"},
    "an id that is a number": lambda: entry(kid=7),
    "an unknown kind": lambda: entry(kty="ML-DSA"),
    "a kind that is a list": lambda: entry(kty=["EC"]),
    "an unknown curve": lambda: entry(crv="P-192"),
    "a point off the curve": lambda: entry(x="AAAA"),
    "numbers that are no base64": lambda: entry(x="!!"),
    "a missing number": lambda: {name: value for name, value in entry().items() if name != "y"},
    "a huge number": lambda: entry(x="A" * 5000),
    "an algorithm that is no text": lambda: entry(alg=7),
    "a short RSA key": lambda: {**rsa_public(1024), "kid": "k"},
}


def rsa_public(bits):
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "n": as_base64(numbers.n), "e": as_base64(numbers.e)}


def as_base64(number):
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_key_is_passed_over_and_alone_it_refuses(name):
    with pytest.raises(BadCredential) as refusal:
        read_key_set({"keys": [UNUSABLE[name]()]})
    assert refusal.value.step == "key-set"
    assert ids(read_key_set({"keys": [UNUSABLE[name](), entry(kid="good")]})) == ["good"]


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": []}, {"keys": [{}] * 65}])
def test_an_empty_or_endless_key_set_refuses(document):
    with pytest.raises(BadCredential):
        read_key_set(document)


def test_only_the_public_numbers_of_a_key_are_read():
    private = {**make_key("ES256").as_dict(private=True), "kid": "k"}
    (key,) = read_key_set({"keys": [private]})
    assert not key.key.is_private


class Answers(http.server.BaseHTTPRequestHandler):
    """One path for each way that a web server can fail us."""

    def do_GET(self):
        match self.path:
            case "/good":
                self.answer(200, b"{}")
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/good")
                self.end_headers()
            case "/drip":
                self.send_response(200)
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.02)
            case "/endless":
                self.answer(200, b" " * (jwks.MAX_BODY + 1))
            case "/silent":
                time.sleep(0.5)
            case path:
                self.answer(int(path[1:]), b"no")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            return  # the other side has hung up, as these tests make it


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(jwks, "TIMEOUT_S", 0.2)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be used
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_fetch_uses_no_proxy_and_returns_the_body(web):
    assert asyncio.run(fetch_off_loop(f"{web}/good")) == b"{}"


@pytest.mark.parametrize("path", ["500", "502", "503", "429", "silent", "drip"])
def test_a_transient_fault_says_that_it_is_one(web, path):
    with pytest.raises(IssuerUnavailable):
        asyncio.run(fetch_off_loop(f"{web}/{path}"))


def test_an_unreachable_address_is_a_transient_fault():
    with pytest.raises(IssuerUnavailable):
        asyncio.run(fetch_off_loop("http://127.0.0.1:9/keys"))


@pytest.mark.parametrize("path", ["404", "403", "moved", "endless"])
def test_a_lasting_fault_is_no_reason_to_try_again_and_redirects_are_not_followed(web, path):
    with pytest.raises(BadCredential) as refusal:
        asyncio.run(fetch_off_loop(f"{web}/{path}"))
    assert refusal.value.step == "fetch"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://127.0.0.1:x/"])
def test_a_fetch_speaks_http_only(url):
    with pytest.raises((BadCredential, IssuerUnavailable)):
        asyncio.run(fetch_off_loop(url))
