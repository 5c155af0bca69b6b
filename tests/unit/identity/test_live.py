from __future__ import annotations

import pytest

from limen.core.errors import Paused, SessionEnded
from limen.core.types import Session
from limen.identity.live import Live, Pause


def session(holder="quillwork/q03", vendor="quillwork", project="orchid", id_="s1", issued_at=100, sponsor=None):
    return Session(id_, holder, vendor, sponsor, project, "p-1", "LMN", "single", issued_at, issued_at + 3600)


def order(subject, *, since=200, essential=()):
    return Pause(subject, "breach", since, "security", frozenset(essential))


@pytest.mark.parametrize(
    "subject", ["vendor/quillwork", "project/orchid", "person/quillwork/q03", "session/s1", "person/quillwork/q11"]
)
def test_every_name_of_a_session_cuts_it_and_nothing_else_does(subject):
    live, mine = Live(), session(sponsor="quillwork/q11")
    other = session(holder="tessel/t1", vendor="tessel", project="helio", id_="s2")
    live.check(mine)

    live.pause(order(subject))

    with pytest.raises(Paused) as refused:
        live.check(mine)
    assert (refused.value.subject, refused.value.contact) == (subject, "security")
    assert "1970-01-01T00:03:20Z" in refused.value.reason
    live.check(other)


def test_a_pause_aborts_the_streams_it_covers_and_leaves_the_rest():
    live, aborted = Live(), []
    ours = live.register(session(), lambda: aborted.append("ours"))
    live.register(session(vendor="tessel", holder="tessel/t1", id_="s2"), lambda: aborted.append("theirs"))

    assert live.pause(order("vendor/quillwork")) == 1
    assert aborted == ["ours"]
    live.unregister(ours)
    assert live.pause(order("vendor/quillwork")) == 0


def test_sessions_from_before_a_lifted_pause_stay_ended_and_later_ones_are_free():
    live = Live()
    live.pause(order("vendor/quillwork", since=200))
    live.lift("vendor/quillwork")

    with pytest.raises(SessionEnded):
        live.check(session(issued_at=200))
    live.check(session(issued_at=live.issue_after(session())))
    assert live.issue_after(session()) == 201


def test_an_ended_person_is_cut_for_good():
    live, aborted = Live(), []
    live.register(session(), lambda: aborted.append(1))

    assert live.end("person/quillwork/q03", at=150) == 1
    with pytest.raises(SessionEnded):
        live.check(session(issued_at=10_000))


def test_essential_work_goes_on():
    live = Live()
    live.pause(order("vendor/quillwork", essential=["person/quillwork/q03"]))

    live.check(session())
    with pytest.raises(Paused):
        live.check(session(holder="quillwork/q04"))


def test_what_was_in_force_is_put_back_after_a_restart():
    before, after = Live(), Live()
    before.pause(order("vendor/quillwork"))
    before.pause(order("project/helio"))
    before.lift("project/helio")
    before.end("session/s9", at=5)

    after.restore(before.pauses(), before.cuts(), before.ended_sessions())

    for cut in (session(), session(vendor="tessel", project="helio"), session(vendor="tessel", project="x", id_="s9")):
        with pytest.raises((Paused, SessionEnded)):
            after.check(cut)
