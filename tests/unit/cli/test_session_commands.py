"""login, creds and whoami against a small gateway on 127.0.0.1: the real STS door, the real development issuer."""

import dataclasses
import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest
import uvicorn
from click.testing import CliRunner

from limen.cli import _cache, _signin, _web
from limen.cli import main as entry
from limen.cli.creds import creds
from limen.cli.login import login
from limen.cli.whoami import whoami
from limen.core.errors import Denied, Invalid, NotFound, Paused
from limen.core.types import Session
from limen.doors.sts.app import StsDoor
from limen.identity.devissuer import DevIssuer
from limen.identity.oidc import RelyingParty
from limen.identity.sessions import Sessions, new_access_key


class SmallGateway:
    """One address with a well-known page, STS and an issuer. `refusal` and `cut` are raised when set; `length_s` caps."""

    def __init__(self):
        self.refusal = None
        self.cut = None
        self.length_s = 3600
        self.started = 0
        self.lie = {}
        self.server = uvicorn.Server(
            uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", interface="asgi3")
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
        self.issuer = DevIssuer(url=f"{self.url}/_dev/issuer", mode="development")
        self.issue = self.issuer.app()
        party = RelyingParty([self.issuer.config()], development=True)
        self.sts = StsDoor(
            party, Sessions(bytes(32)), self.start, admit=self.admit, now=lambda: int(time.time()), region="limen-1"
        )

    async def app(self, scope, receive, send):
        if scope["path"].startswith("/_dev/issuer"):
            await self.issue(scope, receive, send)
        elif scope["path"] == "/.well-known/limen":
            issuers = [{"url": self.issuer.url, "client_id": self.issuer.client_id}]
            body = json.dumps({"issuers": issuers, "region": "limen-1", "sts": self.url, **self.lie}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        else:
            await self.sts(scope, receive, send)

    async def start(self, claims, project, *, name, duration_s, client):
        if self.refusal:
            raise self.refusal
        self.started += 1
        now = int(time.time())
        return Session(
            id="s01",
            holder=f"quillwork/{claims.subject}",
            vendor="quillwork",
            sponsor=None,
            project=project,
            pseudonym="p1",
            access_key=new_access_key(random.Random(self.started).randbytes),
            strength=claims.strength,
            issued_at=now,
            expires_at=now + min(duration_s, self.length_s),
        )

    async def admit(self, session, client):
        if self.cut:
            raise self.cut

    def stop(self):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def running():
    gateway = SmallGateway()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(running, tmp_path, monkeypatch):
    running.refusal = running.cut = None
    running.length_s = 3600
    running.lie = {}
    monkeypatch.setenv("LIMEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be used for this machine
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("a browser was opened"))
    return running


def run(command, *args):
    return CliRunner().invoke(command, args, catch_exceptions=False)


def log_in(gateway, *args, subject="q03", project="orchid"):
    return run(login, "--endpoint", gateway.url, "--project", project, "--as", subject, *args)


def kept(profile="orchid"):
    return _cache.read(profile)


def keep(profile="orchid", **changes):
    _cache.write(profile, kept(profile)._replace(**changes))


def test_a_login_keeps_a_session_and_prints_the_profile_that_uses_it(gateway):
    result = log_in(gateway)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == ["[profile orchid]", "region = limen-1", f"endpoint_url = {gateway.url}"]
    assert lines[3].startswith("credential_process = ")
    assert lines[3].endswith("limen creds --profile orchid")
    assert "Logged in to orchid until" in result.stderr
    assert kept().project == "orchid"


def test_a_device_login_does_the_same(gateway):
    result = log_in(gateway, "--device", subject="q11")
    assert result.exit_code == 0
    assert "enter the code" in result.stderr
    assert json.loads(run(whoami, "--json").stdout)["person"] == "quillwork/q11"


def test_a_login_can_ask_for_a_hardware_key(gateway):
    log_in(gateway)
    assert json.loads(run(whoami, "--json").stdout)["strength"] == "single"
    log_in(gateway, "--hardware")
    assert json.loads(run(whoami, "--json").stdout)["strength"] == "hardware"


def test_what_is_kept_can_be_read_by_its_owner_only(gateway, tmp_path):
    before = os.umask(0)
    try:
        log_in(gateway)
    finally:
        os.umask(before)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in (tmp_path / "cache").iterdir()} == {
        "orchid.json": "0o600",
        ".current": "0o600",
    }


def test_a_kept_session_that_others_could_read_is_not_used(gateway, tmp_path):
    log_in(gateway)
    (tmp_path / "cache" / "orchid.json").chmod(0o644)
    with pytest.raises(Invalid):
        kept()


def test_creds_prints_what_credential_process_wants(gateway):
    log_in(gateway)
    printed = json.loads(run(creds).stdout)
    assert set(printed) == {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert printed["Version"] == 1
    assert printed["AccessKeyId"] == kept().access_key_id
    assert printed["Expiration"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept().expires_at))
    assert gateway.started


def test_creds_of_a_fresh_session_asks_nobody(gateway, monkeypatch):
    log_in(gateway)
    monkeypatch.setattr(_web, "_ask", lambda _: pytest.fail("the network was used"))
    assert run(creds, "--project", "orchid").exit_code == 0


def test_creds_renews_a_session_about_to_end(gateway):
    log_in(gateway)
    old = kept()
    keep(expires_at=int(time.time()) + 200)
    assert json.loads(run(creds).stdout)["AccessKeyId"] != old.access_key_id
    assert kept().refresh_token != old.refresh_token
    assert kept().expires_at > time.time() + 3000


def test_creds_renews_with_the_identity_token_where_the_issuer_gives_no_refresh_token(gateway):
    log_in(gateway)
    keep(expires_at=1, refresh_token="", id_token=gateway.issuer.mint("q03"))
    assert run(creds).exit_code == 0
    assert kept().expires_at > time.time()


def test_creds_gives_a_session_its_last_minutes_when_it_can_not_be_renewed(gateway):
    log_in(gateway)
    keep(expires_at=int(time.time()) + 100, refresh_token="used-up")
    assert json.loads(run(creds).stdout)["AccessKeyId"] == kept().access_key_id


@pytest.mark.parametrize("changes", [{"refresh_token": ""}, {"refresh_token": "used-up"}, {"issuer": "http://127.0.0.1:9"}])
def test_an_ended_session_says_in_one_sentence_what_to_run(gateway, changes):
    log_in(gateway)
    keep(expires_at=int(time.time()) - 1, **changes)
    result = run(creds)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"session ended: run limen login --endpoint {gateway.url} --project orchid\n"


def test_a_paused_vendor_can_not_renew(gateway):
    log_in(gateway)
    keep(expires_at=int(time.time()) - 1)
    gateway.refusal = Paused(subject="vendor/quillwork", since="2026-04-02T09:00:00Z", contact="sec@lab", reason="drill")
    assert run(creds).exit_code == 1


def test_many_tools_at_once_cause_one_renewal(gateway):
    log_in(gateway)
    keep(expires_at=1)
    before = gateway.started
    script = [sys.executable, "-m", "limen", "creds"]
    running = [subprocess.Popen(script, stdout=subprocess.PIPE) for _ in range(4)]
    printed = {p.communicate(timeout=30)[0] for p in running}
    assert [p.returncode for p in running] == [0, 0, 0, 0]
    assert len(printed) == 1
    assert gateway.started == before + 1


def test_several_profiles_stand_beside_each_other_and_the_last_login_is_the_default(gateway):
    log_in(gateway)
    log_in(gateway, "--profile", "second", project="helio", subject="q11")
    assert json.loads(run(whoami, "--json").stdout)["project"] == "helio"
    assert json.loads(run(whoami, "--json", "--project", "orchid").stdout)["project"] == "orchid"
    run(creds, "--profile", "orchid")
    assert json.loads(run(whoami, "--json").stdout)["project"] == "helio"


def test_whoami_says_it_in_lines_and_in_json(gateway):
    log_in(gateway, "--hardware")
    said = json.loads(run(whoami, "--json").stdout)
    assert said["schema"] == "limen/whoami/v1"
    assert (said["person"], said["vendor"], said["project"], said["session"]) == ("quillwork/q03", "quillwork", "orchid", "s01")
    assert said["until"].endswith("Z")
    lines = run(whoami).stdout
    assert "quillwork/q03" in lines
    assert "sponsor" not in lines


def test_whoami_of_a_paused_session_is_refused_with_the_reason(gateway):
    log_in(gateway)
    gateway.cut = Paused(subject="vendor/quillwork", since="2026-04-02T09:00:00Z", contact="sec@lab", reason="drill")
    with pytest.raises(Denied, match="vendor/quillwork is paused since"):
        run(whoami)


def test_a_refused_login_keeps_nothing_and_passes_the_reason_on(gateway):
    gateway.refusal = Denied("no grant in this project; ask the project's owner")
    with pytest.raises(Denied, match="no grant in this project"):
        log_in(gateway)
    with pytest.raises(NotFound):
        kept()


@pytest.mark.parametrize("command", [creds, whoami])
def test_without_a_login_the_next_step_is_named(gateway, command):
    with pytest.raises(NotFound, match="limen login"):
        run(command)
    with pytest.raises(NotFound, match="--project orchid"):
        run(command, "--project", "orchid")


@pytest.mark.parametrize("profile", ["../x", "a/b", "", ".hidden", "A", "x" * 64, "a\n"])
def test_a_profile_can_not_reach_outside_the_cache(gateway, profile):
    with pytest.raises(Invalid):
        _cache.check_profile(profile)


@pytest.mark.parametrize(
    "text", ["", "[]", "not json", "{}", '{"schema":"limen/session/v1"}', '{"schema":"limen/session/v1","expires_at":1,"x":2}']
)
def test_a_damaged_cache_says_to_log_in_again(gateway, text):
    log_in(gateway)
    _cache._replace(f"{_cache.directory()}/orchid.json", text)
    with pytest.raises(Invalid, match="log in again"):
        kept()


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("LIMEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _cache.directory() == str(tmp_path / "xdg" / "limen")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _cache.directory() == str(tmp_path / "home" / ".cache" / "limen")


@pytest.mark.parametrize("endpoint", ["http://gateway.example", "ftp://127.0.0.1", "gateway", "http://[", "file:///etc"])
def test_credentials_are_never_sent_where_they_could_be_read(gateway, endpoint):
    with pytest.raises(Invalid):
        run(login, "--endpoint", endpoint, "--project", "orchid")


@pytest.mark.parametrize("lie", [{"issuers": 7}, {"issuers": None}, {"issuers": [{"url": "https://a"}]}])
def test_a_gateway_that_describes_itself_badly_ends_in_one_line(gateway, lie):
    gateway.lie = lie
    result = log_in(gateway)
    assert result.exit_code == 1
    assert result.stderr.startswith("limen: error: ")


@pytest.mark.parametrize(
    ("issuers", "field"),
    [
        ([], "--issuer"),
        ([{"url": "https://a", "client_id": "x"}, {"url": "https://b", "client_id": "x"}], "--issuer"),
        ([{"url": "http://id.example", "client_id": "x"}], "issuer"),
    ],
)
def test_an_issuer_must_be_one_of_the_gateways_and_safe_to_talk_to(gateway, issuers, field):
    gateway.lie = {"issuers": issuers}
    with pytest.raises(Invalid) as refusal:
        log_in(gateway)
    assert refusal.value.field == field


def test_an_address_where_nobody_answers_is_one_line_and_exit_1(gateway):
    result = run(login, "--endpoint", "http://127.0.0.1:9", "--project", "orchid")
    assert result.exit_code == 1
    assert result.stderr.startswith("limen: error: http://127.0.0.1:9 does not answer")


def test_an_issuer_that_calls_itself_something_else_is_not_logged_in_at(gateway):
    gateway.lie = {"issuers": [{"url": gateway.issuer.url + "/", "client_id": "limen-dev"}]}
    with pytest.raises(Denied, match="calls itself"):
        log_in(gateway)


def test_a_token_that_answers_another_login_is_not_kept(gateway, monkeypatch):
    monkeypatch.setattr(_signin, "_claim", lambda token, name: "another nonce")
    with pytest.raises(Denied, match="another login"):
        log_in(gateway)


def test_without_the_nonce_check_that_token_would_be_kept(gateway, monkeypatch):
    """Negative control for the test above: the comparison is what stops it."""
    monkeypatch.setattr(_signin.secrets, "token_urlsafe", lambda n: "x" * 43)
    monkeypatch.setattr(_signin, "_claim", lambda token, name: "x" * 43)
    assert log_in(gateway).exit_code == 0


def test_an_answer_with_another_state_does_not_end_the_wait(gateway):
    with _signin._Landing(0) as landing:
        _web.get(f"{landing.address}?state=forged&code=evil")
        _web.get(f"{landing.address}?code=evil")
        _web.get(f"{landing.address}?state=a&state=mine&code=evil")
        assert _web.get(landing.address.replace("/callback", "/favicon.ico")).status == 404
        _web.get(f"{landing.address}?state=mine&code=good")
        assert landing.wait("mine")["code"] == "good"


def test_nobody_logging_in_ends_the_wait(monkeypatch):
    monkeypatch.setattr(_signin, "WAIT_S", 0.05)
    with _signin._Landing(0) as landing, pytest.raises(Denied, match="nobody logged in"):
        landing.wait("mine")


def test_an_issuers_refusal_reaches_the_screen(gateway, monkeypatch):
    monkeypatch.setattr(_signin._Landing, "wait", lambda self, state: {"error": "access_denied", "error_description": "no"})
    with pytest.raises(Denied, match="access_denied"):
        log_in(gateway)


def test_an_answer_from_another_issuer_is_not_followed(gateway, monkeypatch):
    monkeypatch.setattr(_signin._Landing, "wait", lambda self, state: {"code": "x", "iss": "https://evil.example"})
    with pytest.raises(Denied, match="another issuer"):
        log_in(gateway)


def test_a_redirect_is_never_followed_with_a_form(gateway):
    asked = {
        "response_type": "code",
        "client_id": "limen-dev",
        "redirect_uri": "http://127.0.0.1:9/x",
        "code_challenge": "A" * 43,
    }
    url = f"{gateway.issuer.url}/authorize?" + "&".join(f"{k}={v}" for k, v in asked.items())
    assert _web.get(url + "&code_challenge_method=S256&login_hint=q03").status == 302


def test_the_commands_are_reached_by_their_names(gateway, capsys):
    log_in(gateway)
    entry(["whoami"])
    assert "quillwork/q03" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        entry(["creds", "--project", "nothing"])
    assert left.value.code == 4


HEAVY = {
    "urllib.request",
    "ssl",
    "http.client",
    "msgspec",
    "cryptography",
    "joserfc",
    "asyncio",
    "sqlalchemy",
    "numpy",
    "pathlib",
}


def test_a_cached_creds_imports_nothing_heavy(gateway):
    log_in(gateway)
    script = "import sys\nfrom limen.cli import main\nmain(['creds'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["Version"] == 1
    assert HEAVY.isdisjoint(done.stderr.split())


def test_every_field_that_is_kept_is_read_back(gateway):
    log_in(gateway)
    assert kept()._asdict().keys() == set(_cache.Kept._fields)
    assert dataclasses.is_dataclass(Session)
