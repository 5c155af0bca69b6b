import asyncio

from inprocess import a_gateway, a_session
from limen.verbs import VERBS

ASKED_S = 3600


def lived(tmp_path, monkeypatch):
    """How long a session of q01's may be used that was opened in the very second in which a pause was lifted."""

    async def run():
        gateway = await a_gateway(tmp_path)
        now = gateway.custody.clock.now()
        monkeypatch.setattr(gateway.custody.clock, "now", lambda: now)
        try:
            order = await VERBS["pause"](gateway, {"subject": "person/quillwork/q01", "reason": "a drill"}, "uid:0")
            await VERBS["resume"](gateway, {"subject": "person/quillwork/q01", "reason": "over"}, "uid:0")
            session = await a_session(gateway, "q01")
            gateway.custody.live.check(session)
            return order["entry"], session.issued_at - now, session.expires_at - now
        finally:
            await gateway.close()

    return asyncio.run(run())


def test_a_session_that_begins_just_after_a_pause_ends_no_later_for_that(tmp_path, monkeypatch):
    _, begins, ends = lived(tmp_path, monkeypatch)

    assert begins == 1
    assert ends == ASKED_S


def test_a_session_without_a_pause_before_it_lives_as_long_as_asked(tmp_path):
    async def run():
        gateway = await a_gateway(tmp_path)
        try:
            return await a_session(gateway, "q01")
        finally:
            await gateway.close()

    session = asyncio.run(run())
    assert session.expires_at - session.issued_at == ASKED_S
