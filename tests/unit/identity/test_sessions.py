import dataclasses
import random

import pytest

from limen.core.errors import BadCredential, SessionEnded
from limen.core.types import Session
from limen.identity import sessions as module
from limen.identity.sessions import Sessions, new_access_key

KEY = bytes(range(32))
NOW = 1_775_120_400


def make(number=0, **changes):
    fields = {
        "id": f"s{number:020x}",
        "holder": "quillwork/q03",
        "vendor": "quillwork",
        "sponsor": None,
        "project": "orchid",
        "pseudonym": "p-71ab",
        "access_key": new_access_key(random.Random(number).randbytes),
        "strength": "hardware",
        "issued_at": NOW,
        "expires_at": NOW + 3600,
    }
    return Session(**{**fields, **changes})


def test_a_session_comes_back_from_its_token_unchanged():
    session = make(sponsor="quillwork/q11", sponsor_pseudonym="p-99", vendor=None)
    sessions = Sessions(KEY)
    issued = sessions.issue(session)
    assert sessions.resolve(issued.access_key_id, issued.session_token, now=NOW) == session
    assert Sessions(KEY).resolve(issued.access_key_id, issued.session_token, now=NOW + 3599) == session


def test_every_field_of_a_session_is_sealed_or_authenticated():
    assert [f.name for f in dataclasses.fields(Session) if f.name != "access_key"] == list(module._Sealed.__struct_fields__)


def test_the_strings_have_the_shapes_that_tools_expect():
    issued = Sessions(KEY).issue(make())
    assert len(issued.access_key_id) == 20
    assert issued.access_key_id.startswith("LMN")
    assert len(issued.secret_access_key) == 40
    assert len(issued.session_token) < 512
    assert issued.expires_at == NOW + 3600


def test_the_secret_can_be_computed_again_and_differs_by_key():
    sessions = Sessions(KEY)
    issued = sessions.issue(make())
    assert sessions.secret_for(issued.access_key_id) == issued.secret_access_key
    assert Sessions(bytes(32)).secret_for(issued.access_key_id) != issued.secret_access_key
    assert sessions.secret_for(make(1).access_key) != issued.secret_access_key


def test_an_expired_session_is_over_even_when_its_token_was_opened_before():
    sessions = Sessions(KEY)
    issued = sessions.issue(make())
    sessions.resolve(issued.access_key_id, issued.session_token, now=NOW)
    with pytest.raises(SessionEnded):
        sessions.resolve(issued.access_key_id, issued.session_token, now=NOW + 3600)


@pytest.mark.parametrize(
    ("bend", "step"),
    [
        (lambda t: "", "session-token-missing"),
        (lambda t: "A" * 5000, "session-token-size"),
        (lambda t: "not base64 !", "session-token-shape"),
        (lambda t: "Zm9v", "session-token-shape"),
        (lambda t: t + "=", "session-token-shape"),
        (lambda t: t + "é", "session-token-shape"),
        (lambda t: "C" + t[1:], "session-token-shape"),  # another version
        (lambda t: t[:2] + ("A" if t[2] != "A" else "B") + t[3:], "session-token-key"),
        (lambda t: t[:60] + ("A" if t[60] != "A" else "B") + t[61:], "session-token-seal"),
        (lambda t: t[:-4], "session-token-seal"),
    ],
)
def test_a_bent_token_is_no_credential_and_says_which_check_failed(bend, step):
    sessions = Sessions(KEY)
    issued = sessions.issue(make())
    with pytest.raises(BadCredential) as refusal:
        sessions.resolve(issued.access_key_id, bend(issued.session_token), now=NOW)
    assert refusal.value.step == step


def test_no_single_changed_character_leaves_a_token_valid():
    sessions = Sessions(KEY)
    issued = sessions.issue(make())
    token = issued.session_token
    for at, char in enumerate(token):
        bent = token[:at] + ("A" if char != "A" else "B") + token[at + 1 :]
        with pytest.raises(BadCredential):
            sessions.resolve(issued.access_key_id, bent, now=NOW)


def test_a_token_fits_its_own_access_key_only():
    sessions = Sessions(KEY)
    mine, theirs = sessions.issue(make(1)), sessions.issue(make(2))
    with pytest.raises(BadCredential) as refusal:
        sessions.resolve(mine.access_key_id, theirs.session_token, now=NOW)
    assert refusal.value.step == "session-token-seal"


def test_a_seal_that_forgets_the_access_key_would_let_tokens_be_swapped():
    """Negative control for the test above: without the associated bytes the swap succeeds."""

    class Forgetful:
        def __init__(self, seal):
            self._seal = seal

        def encrypt(self, nonce, plain, aad):
            return self._seal.encrypt(nonce, plain, None)

        def decrypt(self, nonce, sealed, aad):
            return self._seal.decrypt(nonce, sealed, None)

    sessions = Sessions(KEY)
    sessions._seal = Forgetful(sessions._seal)
    mine, theirs = sessions.issue(make(1)), sessions.issue(make(2))
    assert sessions.resolve(mine.access_key_id, theirs.session_token, now=NOW).id == make(2).id


def test_another_servers_token_is_refused_by_its_key_id():
    issued = Sessions(bytes(32)).issue(make())
    with pytest.raises(BadCredential) as refusal:
        Sessions(KEY).resolve(issued.access_key_id, issued.session_token, now=NOW)
    assert refusal.value.step == "session-token-key"


@pytest.mark.parametrize(
    "access_key", ["", "AKIAIOSFODNN7EXAMPLE", "LMN", "LMN" + "1" * 17, "LMN" + "A" * 18, "LMN" + "A" * 16 + "\n"]
)
def test_an_access_key_of_another_shape_is_refused_before_anything_is_computed(access_key):
    sessions = Sessions(KEY)
    for attempt in (lambda: sessions.secret_for(access_key), lambda: sessions.resolve(access_key, "x", now=NOW)):
        with pytest.raises(BadCredential) as refusal:
            attempt()
        assert refusal.value.step == "access-key-shape"


def test_a_token_sealed_by_another_release_asks_for_a_new_login():
    sessions = Sessions(KEY)
    access_key = make().access_key
    nonce = bytes(12)
    raw = sessions._head + nonce + sessions._seal.encrypt(nonce, b'["only","two"]', sessions._head + access_key.encode())
    with pytest.raises(SessionEnded):
        sessions.resolve(access_key, module._b64(raw), now=NOW)


def test_the_memory_of_opened_tokens_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 8)
    sessions = Sessions(KEY)
    for number in range(40):
        issued = sessions.issue(make(number))
        sessions.resolve(issued.access_key_id, issued.session_token, now=NOW)
    assert len(sessions._opened) == 8


def test_a_refused_token_is_not_remembered():
    sessions = Sessions(KEY)
    issued = sessions.issue(make())
    with pytest.raises(BadCredential):
        sessions.resolve(issued.access_key_id, issued.session_token[:-4], now=NOW)
    assert not sessions._opened


def test_a_server_key_of_the_wrong_length_is_our_own_mistake():
    with pytest.raises(RuntimeError):
        Sessions(b"short")


def test_access_keys_use_all_their_randomness():
    keys = {new_access_key(random.Random(n).randbytes) for n in range(2000)}
    assert len(keys) == 2000
