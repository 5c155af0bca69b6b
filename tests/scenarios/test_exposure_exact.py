"""What the exposure report says was served is what clients hold: recomputed from their own logs, over random histories.

A client knows what it asked for, what came, and (from its whole copy, read after the report) where each of its lines lies.
Nothing of limen's own arithmetic is used on that side.
"""

import asyncio
import random
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.cli.link import call
from limen.core.errors import Denied
from limen.core.types import Action, Span
from limen.response import exposure
from limen.transport import SEND_BUFFER
from limen.verbs import VERBS
from simulator import World, records

KEY = "orchid-sft-v3/sft.jsonl"
OURS = [*(f"q{n:02}" for n in range(1, 13)), "ci"]
CHUNK, RECEIVE_BUFFER = 1 << 20, 32 << 10


@dataclass
class Log:
    """What the clients noted: who, in which session, when, from which byte, how many came."""

    lines: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    copies: dict[str, bytes] = field(default_factory=dict)  # whole copies, read after the report

    def note(self, subject, session, at_us, start, got):
        self.lines.append((subject, session, at_us, start, got))

    def held(self, source, chosen):
        """Record ids by subject in the lines that `chosen` picks."""
        numbers = {line: n for n, line in enumerate(source.splitlines())}
        places = {who: _places(copy, numbers) for who, copy in self.copies.items()}
        held = defaultdict(set)
        for subject, session, at_us, start, got in self.lines:
            if subject in OURS and chosen(session, at_us):
                inside = (n for first, last, n in places[subject] if first < start + got and last > start)
                held[subject].update(f"sft.jsonl@1#{n}" for n in inside)
        return held

    def granted(self, source):
        numbers = {line: n for n, line in enumerate(source.splitlines())}
        return {f"sft.jsonl@1#{n}" for who in OURS for *_, n in _places(self.copies[who], numbers)}


def _places(copy, numbers):
    """(start, end, record number) of every line's content; blanks after it are padding."""
    places, at = [], 0
    for line in copy.splitlines(keepends=True):
        content = line.rstrip()
        if content:
            places.append((at, at + len(content), numbers[content]))
        at += len(line)
    return places


def differences(report, log, source, *, since_us, suspect):
    """Every figure and set of the report that the clients' logs don't bear out."""
    asset = next(a for a in report["assets"] if a["asset"] == "orchid-sft-v3")
    ever = log.held(source, lambda session, at: True)
    since = log.held(source, lambda session, at: at >= since_us)
    session = log.held(source, lambda session, at: session == suspect)
    granted = log.granted(source)
    expected = {
        "granted": granted,
        "served_ever": set().union(*ever.values()),
        "served_since": set().union(*since.values()),
        "by_session": set().union(*session.values()),
    }
    expected["never_served"] = granted - expected["served_ever"]
    found = [tier for tier, ids in expected.items() if set(asset[tier]["records"]) != ids or asset[tier]["count"] != len(ids)]
    for line in asset["people"]:
        who = line["person"].partition("/")[2]
        figures = {"served_ever": len(ever[who]), "served_since": len(since[who]), "by_session": len(session[who])}
        figures["bytes"] = sum(got for subject, _, _, _, got in log.lines if subject == who)
        found += [f"{who} {name}" for name, count in figures.items() if line[name] != count]
    return found + report["unknown"]


def a_range(draw, length):
    start = draw.randrange(length)
    longest = draw.choice((1, 30, 400, 4000))
    return start, min(length, start + draw.randint(1, longest))


async def a_history(directory, seed):
    """One random history on a gateway of its own; returns the report's differences from what the clients noted."""
    draw, log, source = random.Random(seed), Log(), records(600)
    gateway = await a_gateway(directory / "data")
    try:
        now_us = gateway.custody.clock.now_us
        subjects = [*draw.sample(OURS, draw.randint(2, 6)), "t01"]
        sessions = [(who, await a_session(gateway, who)) for who in subjects for _ in range(draw.randint(1, 2))]
        length = gateway.custody.catalog.snapshot.version("orchid-sft-v3").shards[0].length
        count, since_us = draw.randint(60, 180), 0
        turn = draw.randrange(count)
        for number in range(count):
            if number == turn:
                since_us = now_us()
            who, session = draw.choice(sessions)
            await _ask(gateway, draw, log, who, session, length)
        suspect = draw.choice([session.id for who, session in sessions if who != "t01"])
        args = {"subject": "vendor/quillwork", "since_us": since_us, "session": suspect}
        report = await VERBS["exposure"](gateway, args, "test")
        for who in OURS:
            log.copies[who] = await _read(gateway, await a_session(gateway, who), 0, length)
        return differences(report, log, source, since_us=since_us, suspect=suspect)
    finally:
        await gateway.close()


async def _ask(gateway, draw, log, who, session, length):
    """One random request: mostly ranges; some looks, unmet conditions and refusals, which hand over nothing."""
    start, end = a_range(draw, length)
    match draw.randrange(12):
        case 0:
            delivery = await gateway.access.open(
                session, KEY, choose=lambda copy, at: Span(200, 0, copy.length), client=DESK, action=Action.HEAD
            )
            delivery.close()
        case 1:
            status = draw.choice((304, 412, 416))
            delivery = await gateway.access.open(session, KEY, choose=lambda copy, at: Span(status, 0, 0), client=DESK)
            delivery.close()
        case 2:
            with pytest.raises(Denied):
                await gateway.access.open(
                    session, "aurelia-core/x", choose=lambda copy, at: Span(200, 0, copy.length), client=DESK
                )
        case _:
            at_us = gateway.custody.clock.now_us()
            got = await _read(gateway, session, start, end)
            log.note(who, session.id, at_us, start, len(got))


async def _read(gateway, session, start, end):
    delivery = await gateway.access.open(session, KEY, choose=lambda copy, at: Span(206, start, end), client=DESK)
    got = []

    async def send(chunk):
        got.append(bytes(chunk))

    await delivery.send_to(send, lambda: None)
    return b"".join(got)


@pytest.mark.parametrize("seed", range(17))
def test_every_set_and_figure_of_the_report_is_what_the_clients_hold(tmp_path, seed):
    assert asyncio.run(a_history(tmp_path, seed)) == []


def test_the_comparison_notices_a_report_that_forgets_a_range(tmp_path, monkeypatch):
    merged = exposure._merged
    monkeypatch.setattr(exposure, "_merged", lambda ranges: merged(ranges)[:-1] or [(0, 0)])
    assert "served_ever" in asyncio.run(a_history(tmp_path, 1))


BIG = records(30_000, seed=8)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("exposure"), sft=BIG).serve()
    yield world
    world.stop()


def settled(world):
    """Return once no download runs any more."""
    deadline = time.monotonic() + 10
    while call(world.data, "status", {})["streams"] and time.monotonic() < deadline:
        time.sleep(0.01)


def an_http_history(world, log, seed):
    """120 ranges by four people and one of another vendor; returns the command's report, its moment and its session."""
    draw, sessions, since_us = random.Random(seed), [], 0
    for who in [*draw.sample(OURS, 4), "t02"]:
        known = {s["id"] for s in call(world.data, "show", {"what": "sessions"})}
        someone = world.login(who)
        [own] = [s["id"] for s in call(world.data, "show", {"what": "sessions"}) if s["id"] not in known]
        sessions.append((who, own, someone))
    length = int(sessions[0][2].ask("HEAD", f"orchid/{KEY}").headers["content-length"])
    for number in range(120):
        if number == 70:
            settled(world)  # a read lasts until limen has done with it, a moment after its last byte came
            since_us = time.time_ns() // 1000
        who, own, someone = draw.choice(sessions)
        start, end = a_range(draw, length)
        at_us = time.time_ns() // 1000
        reply = someone.get(KEY, start=start, end=end)
        assert reply.status == 206
        log.note(who, own, at_us, start, len(reply.body))
    settled(world)
    since = datetime.fromtimestamp(since_us / 1e6, UTC).isoformat(timespec="microseconds")
    report = world.ask_json("exposure", "vendor/quillwork", "--since", since, "--session", sessions[0][1])
    return report, report["window"]["since_us"], sessions[0][1]


def test_over_http_the_command_reports_what_the_clients_hold(world):
    log, told = Log(), []
    for seed in (101, 102, 103):
        report = an_http_history(world, log, seed)
        told.append((*report, len(log.lines)))
    copies = {who: world.login(who).get(KEY).body for who in OURS}  # only now: these reads would count too
    for report, since_us, suspect, upto in told:
        so_far = Log(log.lines[:upto], copies)
        assert differences(report, so_far, BIG, since_us=since_us, suspect=suspect) == []


def test_of_a_download_that_its_reader_broke_off_the_report_holds_what_came_and_little_more(world):
    t01 = world.login("t01")
    request = t01.signed("GET", f"orchid/{KEY}")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        connection.connect(("127.0.0.1", world.port))
        lines = [f"GET /orchid/{KEY} HTTP/1.1", f"Host: 127.0.0.1:{world.port}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        got = b""
        while len(got) < 100_000:
            got += connection.recv(8192)
    body = got.partition(b"\r\n\r\n")[2]
    settled(world)
    [asset] = [a for a in world.ask_json("exposure", "person/tessel/t01")["assets"] if a["asset"] == "orchid-sft-v3"]
    whole = t01.get(KEY).body
    assert whole.startswith(body)
    reported = set(asset["served_ever"]["records"])
    places = _places(whole, {line: n for n, line in enumerate(BIG.splitlines())})
    # One chunk in the server's buffer, one waiting for room behind it, one that found nobody.
    most = len(body) + 2 * RECEIVE_BUFFER + SEND_BUFFER + 3 * CHUNK
    came, may_have_come = ({f"sft.jsonl@1#{n}" for start, _, n in places if start < reach} for reach in (len(body), most))
    assert came <= reported <= may_have_come
    assert len(may_have_come) < len(places)
