"""limen with an issuer that is not its own: npm `oidc-provider`, logged in at through its own pages.

The lock beside `issuer.mjs` pins every package by hash; they are installed under `.make/` and are no part of limen. Where
there is no Node.js 20 or no npm, these tests say so and are skipped, but never in CI.
"""

import asyncio
import configparser
import hashlib
import html.parser
import http.cookiejar
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
import botocore.session
import pytest
import uvicorn
from click.testing import CliRunner

from limen.cli import _cache, _signin
from limen.cli.creds import creds
from limen.cli.login import login
from limen.cli.whoami import whoami
from limen.core.errors import BadCredential, ClaimRejected, IssuerUnavailable
from limen.core.types import Session
from limen.doors.sts.app import StsDoor
from limen.identity.jwks import REFETCH_S
from limen.identity.oidc import IssuerConfig, RelyingParty
from limen.identity.sessions import Sessions, new_access_key

HERE = Path(__file__).parent / "oidc-provider"
CACHE = Path(__file__).parents[2] / ".make"


def missing(what):
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI must run these tests")
    pytest.skip(what)


def installed():
    """The issuer's directory with its packages, installed once for each lock."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("Node.js and npm are not installed")
    if int(subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.lstrip("v").split(".")[0]) < 20:
        missing("Node.js is older than 20")
    pinned = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in pinned)).hexdigest()[:16]
    place = CACHE / f"oidc-provider-{digest}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for path in pinned:
            shutil.copy(path, place)
        done = subprocess.run([npm, "ci", "--no-progress"], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"npm could not install the issuer: {done.stderr.strip().splitlines()[-1:]}")
        (place / "done").touch()
    shutil.copy(HERE / "issuer.mjs", place)
    return place


class ForeignIssuer:
    """The process that is the issuer."""

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = [shutil.which("node"), "issuer.mjs", str(self.port)]
        self.process = subprocess.Popen(command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, and its fields."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self._open = None, {}, False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form" and self.action is None:
            self.action, self._open = given["action"], True
        elif tag == "input" and self._open and given.get("name"):
            self.fields[given["name"]] = given.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "form":
            self._open = False


class Browser:
    """A person at a browser: follows redirects, fills in the login page, agrees, until there is no form left."""

    def __init__(self, person):
        self.person = person
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(jar, urllib.request.ProxyHandler({}))

    def visit(self, url, *, code=""):
        page = self.fetch(url)
        for _ in range(8):
            form = Form(page)
            if form.action is None:
                return page
            filled = {**form.fields}
            for name, value in (("login", self.person), ("password", "any"), ("user_code", code)):
                if name in filled:
                    filled[name] = value or filled[name]
            page = self.fetch(urllib.parse.urljoin(self.at, form.action), urllib.parse.urlencode(filled).encode())
        raise AssertionError(f"lost at {self.at}")

    def fetch(self, url, body=None):
        try:
            with self.opener.open(url, body, timeout=10) as answer:
                self.at = answer.url
                return answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                raise AssertionError(f"{url} answered {e.code}: {e.read()[:500]}") from e


class SmallGateway:
    """A well-known page and the STS door, believing the foreign issuer and nobody else."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.client_id = "limen-cli"
        self.sts_calls = 0
        self.starts = 0
        config = IssuerConfig(issuer.url, ("limen-cli", "limen-rsa"), ("ES256", "RS256"))
        self.party = RelyingParty([config], development=True)
        self.door = StsDoor(
            self.party,
            Sessions(bytes(32)),
            self.start,
            admit=self.admit,
            now=lambda: int(time.time()),
            region="limen-1",
        )
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", interface="asgi3")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    async def app(self, scope, receive, send):
        if scope["path"] == "/.well-known/limen":
            issuers = [{"url": self.issuer.url, "client_id": self.client_id}]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            body = json.dumps({"issuers": issuers, "region": "limen-1", "sts": self.url}).encode()
            await send({"type": "http.response.body", "body": body})
            return
        assert self.door.speaks(scope)
        self.sts_calls += 1
        await self.door(scope, receive, send)

    async def start(self, claims, project, *, name, duration_s, client):
        self.starts += 1
        now = int(time.time())
        return Session(
            id="s01",
            holder=f"quillwork/{claims.subject}",
            vendor="quillwork",
            sponsor=None,
            project=project,
            pseudonym="p1",
            access_key=new_access_key(os.urandom),
            strength=claims.strength,
            issued_at=now,
            expires_at=now + duration_s,
        )

    async def admit(self, session, client):
        return

    def stop(self):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def issuer():
    running = ForeignIssuer(installed())
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(issuer):
    gateway = SmallGateway(issuer)
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(served, tmp_path, monkeypatch):
    served.client_id = "limen-cli"
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return served


@pytest.fixture
def at_browser(monkeypatch):
    """`webbrowser.open` becomes a person who logs in, on a thread of their own as a browser would be."""
    threads, wrong = [], []

    def be(person):
        def visit(url):
            try:
                assert "Logged in" in Browser(person).visit(url)
            except BaseException as e:  # noqa: BLE001  carried over to the test's own thread
                wrong.append(e)

        def opened(url):
            thread = threading.Thread(target=visit, args=(url,))
            thread.start()
            threads.append(thread)

        monkeypatch.setattr("webbrowser.open", opened)

    yield be
    for thread in threads:
        thread.join()
    assert wrong == []


def run(command, *args):
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def log_in(gateway, *args):
    return run(login, "--endpoint", gateway.url, "--project", "orchid", *args)


def tokens_for(issuer, client_id, person="q03"):
    """Tokens by authorization code, without the gateway."""
    at = _signin.discover(issuer.url, client_id)

    def say(text):
        url = next(line.strip() for line in text.splitlines() if line.strip().startswith("http"))
        threading.Thread(target=Browser(person).visit, args=(url,)).start()

    return _signin.by_browser(at, _signin.Wish(browser=False), say=say)


def verify(gateway, token, now=None):
    party = RelyingParty(gateway.party._issuers.values(), development=True)
    return asyncio.run(party.verify(token, now=now or int(time.time())))


def test_a_person_logs_in_through_the_issuers_own_pages(gateway, at_browser):
    at_browser("q03")
    log_in(gateway)
    assert json.loads(run(whoami, "--json"))["person"] == "quillwork/q03"
    assert _cache.read("orchid").refresh_token


def test_a_person_logs_in_with_a_device_code(gateway, monkeypatch):
    real = _signin.by_device

    def by_device(issuer, wish, *, say):
        def approve(text):
            lines = text.split()
            where = next(word for word in lines if word.startswith("http"))
            Browser("q11").visit(where, code=lines[-1])

        return real(issuer, wish, say=approve)

    monkeypatch.setattr(_signin, "by_device", by_device)
    log_in(gateway, "--device")
    assert json.loads(run(whoami, "--json"))["person"] == "quillwork/q11"


def test_a_session_about_to_end_is_renewed_by_the_refresh_token(gateway, at_browser):
    at_browser("q03")
    log_in(gateway)
    old = _cache.read("orchid")
    _cache.write("orchid", old._replace(expires_at=int(time.time()) + 60))
    assert json.loads(run(creds))["AccessKeyId"] != old.access_key_id


def test_boto3_works_from_the_printed_profile_alone(gateway, at_browser, monkeypatch):
    at_browser("q03")
    printed = log_in(gateway)
    profile = configparser.ConfigParser()
    profile.read_string(printed)
    with Path(os.environ["AWS_CONFIG_FILE"]).open("w") as out:
        profile.write(out)
    sts = boto3.Session(profile_name="orchid").client("sts")
    assert sts.get_caller_identity()["Arn"].endswith(":assumed-role/orchid/quillwork/q03")


def test_boto3_works_by_web_identity_with_environment_variables_only(gateway, issuer, monkeypatch, tmp_path):
    (tmp_path / "token").write_text(tokens_for(issuer, "limen-cli", "quillwork-ci").id_token)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/orchid")
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "ci-run-7")
    monkeypatch.setenv("AWS_REGION", "limen-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "limen-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.url)
    before = gateway.starts
    sts = botocore.session.Session().create_client("sts")
    for _ in range(5):
        assert sts.get_caller_identity()["Arn"].endswith("/quillwork/quillwork-ci")
    assert gateway.starts == before + 1


@pytest.mark.parametrize("client_id", ["limen-cli", "limen-rsa"])
def test_both_of_the_issuers_algorithms_are_verified(gateway, issuer, client_id):
    claims = verify(gateway, tokens_for(issuer, client_id).id_token)
    assert (claims.issuer, claims.subject, claims.audience, claims.strength) == (issuer.url, "q03", client_id, "single")


def test_a_token_for_the_issuers_other_client_is_refused(gateway, issuer):
    with pytest.raises(ClaimRejected) as refusal:
        verify(gateway, tokens_for(issuer, "payroll").id_token)
    assert refusal.value.step == "audience"


def test_a_token_that_the_issuer_signed_with_a_shared_secret_is_refused(gateway, issuer):
    with pytest.raises(BadCredential) as refusal:
        verify(gateway, tokens_for(issuer, "shared-secret").id_token)
    assert refusal.value.step == "algorithm"


def test_a_changed_token_of_the_issuer_is_refused(gateway, issuer):
    head, body, signature = tokens_for(issuer, "limen-cli").id_token.split(".")
    other = tokens_for(issuer, "limen-cli", "q11").id_token.split(".")[1]
    assert other != body
    with pytest.raises(BadCredential) as refusal:
        verify(gateway, f"{head}.{other}.{signature}")
    assert refusal.value.step == "signature"


def test_the_issuer_may_change_its_keys_and_be_away_for_a_while(gateway, issuer):
    """The last test: it ends the issuer's process, starts it with new keys, and ends it again."""
    party = RelyingParty(gateway.party._issuers.values(), development=True)
    now = int(time.time())
    old = tokens_for(issuer, "limen-cli").id_token
    asyncio.run(party.verify(old, now=now))
    issuer.stop()
    asyncio.run(party.verify(old, now=now + 30))  # while it is away, its keys still hold
    with pytest.raises(IssuerUnavailable):
        asyncio.run(RelyingParty(gateway.party._issuers.values(), development=True).verify(old, now=now))
    issuer.start()
    new = tokens_for(issuer, "limen-cli").id_token
    later = now + REFETCH_S + 1
    assert asyncio.run(party.verify(new, now=later)).subject == "q03"
    with pytest.raises(BadCredential) as refusal:
        asyncio.run(party.verify(old, now=later))
    assert refusal.value.step == "key-id"
