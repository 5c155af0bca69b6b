"""Asking another log or witness: bounded, one connection, and nobody but the one that was named."""

from __future__ import annotations

import asyncio

import pytest

from limen.core.errors import Invalid
from limen.ledger.witnesses import web
from limen.ledger.witnesses.web import Unreachable, Web
from serving import Served


class Peer:
    """Answers what a test wants, and remembers what it was asked, by connection."""

    def __init__(self):
        self.asked = []
        self.status, self.headers, self.body = 200, [], [b"yes"]

    async def __call__(self, scope, receive, send):
        self.asked.append((scope["client"], scope["method"], scope["path"]))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for part in self.body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})


@pytest.fixture
def peer():
    peer = Peer()
    with Served(peer) as served:
        peer.url = served.url
        yield peer


def test_one_connection_serves_many_questions(peer):
    with Web(f"{peer.url}/below/", timeout_s=5) as asked:
        for _ in range(3):
            assert asked.get("x", limit=10).body == b"yes"
            assert asked.post("y", b"body", limit=10).status == 200

    assert len({client for client, _, _ in peer.asked}) == 1
    assert {path for _, _, path in peer.asked} == {"/below/x", "/below/y"}


def test_a_connection_that_was_closed_meanwhile_is_opened_again(peer):
    peer.headers = [(b"connection", b"close")]
    with Web(peer.url, timeout_s=5) as asked:
        assert [asked.get("x", limit=10).status for _ in range(2)] == [200, 200]
    assert len({client for client, _, _ in peer.asked}) == 2


def test_no_redirect_is_followed(peer):
    peer.status, peer.headers = 302, [(b"location", f"{peer.url}/elsewhere".encode())]
    with Web(peer.url, timeout_s=5) as asked:
        reply = asked.get("x", limit=10)

    assert (reply.status, reply.why()) == (302, "302 yes")
    assert [path for _, _, path in peer.asked] == ["/x"]


def test_an_answer_that_is_too_long_or_too_slow_is_none(peer, monkeypatch):
    peer.body = [b"x" * 50] * 10
    with Web(peer.url, timeout_s=5) as asked:
        with pytest.raises(Unreachable, match="more than 100 bytes"):
            asked.get("x", limit=100)
        clock = iter(range(0, 10_000, 100))
        monkeypatch.setattr(web.time, "monotonic", lambda: next(clock))
        with pytest.raises(Unreachable, match="too slow"):
            asked.get("x", limit=10_000)


def test_nobody_there_is_said_as_such():
    with Served(Peer()) as gone:
        url = gone.url
    with Web(url, timeout_s=1) as asked, pytest.raises(Unreachable, match="refused"):
        asked.get("x", limit=10)


@pytest.mark.parametrize("prefix", ["", "witness", "ftp://w", "http://", "http://u:p@w", "http://w?x", "http://w#x"])
def test_what_is_no_prefix_is_refused(prefix):
    with pytest.raises(Invalid, match="url"):
        Web(prefix, timeout_s=1)
