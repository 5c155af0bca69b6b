"""An endpoint is asked as its owner was told, with its key, and patiently; what isn't a completion is refused."""

from contextlib import contextmanager

import pytest

from endpoints import answering
from limen.core.errors import Failed, Invalid
from limen.models.endpoint import Endpoint, candidates_of, key_from


@contextmanager
def door(*replies):
    """A server on this machine that gives these replies in turn: (status, headers, body). `asked` holds requests."""
    asked, left = [], list(replies)

    def reply(*request):
        asked.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    with answering(reply) as url:
        yield url, asked


def said(*texts, **told):
    return {"choices": [{"text": text, "logprobs": {"top_logprobs": [told]} if told else None} for text in texts]}


def ask(url, *, key="", waits=None):
    endpoint = Endpoint.parse(f"{url}#m", key=key)
    return dict(candidates_of(endpoint, {"q": "once upon a"}, top=3, wait=(waits if waits is not None else []).append))["q"]


def test_the_likeliest_first_tokens_are_the_candidates():
    with door((200, {}, said(" time there", **{" time": -0.1, " day": -2.0, " hill": -1.0, " dog": -9.0}))) as (url, asked):
        assert ask(url, key="k1") == (" time", " hill", " day")
    [(path, headers, request)] = asked
    assert path == "/v1/completions"
    assert headers["Authorization"] == "Bearer k1"
    assert (request["model"], request["prompt"], request["temperature"], request["logprobs"]) == ("m", "once upon a", 0, 3)


def test_without_logprobs_the_choices_texts_are():
    with door((200, {}, said(" time there", " day"))) as (url, asked):
        assert ask(url) == (" time there", " day")
    assert "Authorization" not in asked[0][1]


def test_a_busy_endpoint_is_asked_again_after_as_long_as_it_says():
    waits = []
    with door((429, {"Retry-After": "7"}, b""), (503, {}, b""), (429, {"Retry-After": "999"}, b""), (200, {}, said(" a"))) as (
        url,
        _,
    ):
        assert ask(url, waits=waits) == (" a",)
    assert waits == [7.0, 2.0, 60.0]


def test_one_that_stays_busy_fails():
    with door((500, {"Retry-After": "0"}, b"sorry")) as (url, asked), pytest.raises(Failed, match="500: 'sorry'"):
        ask(url)
    assert len(asked) == 6


def test_a_redirect_is_not_followed():
    with door((200, {}, said(" never"))) as (elsewhere, reached):
        moved = (307, {"Location": f"{elsewhere}/completions"}, b"")
        with door(moved) as (url, _), pytest.raises(Failed, match="answered 307"):
            ask(url, key="k1")
    assert reached == []


def test_a_refused_key_is_said_at_once():
    with door((401, {}, b"")) as (url, asked), pytest.raises(Invalid, match="refuses the key"):
        ask(url)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"text": 1, "logprobs": 7}]}', b"{" * 9999]
)
def test_what_is_no_completion_is_refused(body):
    with door((200, {}, body)) as (url, _), pytest.raises(Failed, match="no completion"):
        ask(url)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://192.0.2.7/v1#m", "in clear"),
        ("http://models.example/v1#m", "in clear"),
        ("https://models.example/v1", "is not http"),
        ("ftp://models.example/v1#m", "is not http"),
        ("https://me:secret@models.example/v1#m", "a key belongs"),
        ("https://models.example/v1?key=secret#m", "a key belongs"),
        ("https://models.example:port/v1#m", "no address"),
    ],
)
def test_where_texts_may_not_go_is_refused(address, why):
    with pytest.raises(Invalid, match=why):
        Endpoint.parse(address)


def test_https_and_this_machine_are_fine():
    assert Endpoint.parse("https://models.example/v1#org/m").port == 443
    assert Endpoint.parse("http://localhost:8000/v1/#m").path == "/v1"
    assert "k1" not in repr(Endpoint.parse("https://models.example/v1#m", key="k1"))


def test_a_key_comes_from_its_owners_file_or_the_environment(tmp_path):
    assert key_from(None, {}) == ""
    assert key_from(None, {"LIMEN_MODEL_KEY": "k2"}) == "k2"
    path = tmp_path / "key"
    path.write_text("k3\n")
    path.chmod(0o644)
    with pytest.raises(Invalid, match="chmod 600"):
        key_from(path, {})
    path.chmod(0o600)
    assert key_from(path, {"LIMEN_MODEL_KEY": "k2"}) == "k3"
    path.write_text("two\nlines")
    with pytest.raises(Invalid, match="no key on one line"):
        key_from(path, {})
    with pytest.raises(Invalid, match="can't be read"):
        key_from(tmp_path / "none", {})
