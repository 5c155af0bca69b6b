"""kill -9 of a serving gateway: no byte has ever left without an entry that was on disk before it.

Readers note every byte that reached them, from cut connections too. Then the log that the kills left is read offline.
`LIMEN_KILLS` sets how many times (50 in `make test`).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from limen.cli.link import call
from limen.core.events import decode
from limen.ledger.stored import look
from simulator import World, records

KILLS = int(os.environ.get("LIMEN_KILLS", "50"))
PEOPLE = ("q01", "q02", "q03", "t01")
SLOW = {"q03", "t01"}  # what they read is under way when the kill comes
SESSION_KILLS = 200
SFT, BLOB = "orchid-sft-v3/sft.jsonl", "orchid-blob/blob.bin"
LOGGED = {200, 206, 304, 416}
CUT = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Got:
    """One answer, as far as it came: what its reader knows of the access."""

    session: str
    key: str
    status: int
    start: int
    received: int
    whole: bool
    entry: int | None


class Reader:
    """Reads at random on one connection until it is cut, and notes everything that arrives."""

    def __init__(self, who, session):
        self.who, self.session, self.rng = who, session, random.Random(who.subject)
        self.dawdle_s = 0.004 if who.subject in SLOW else 0
        self.copies, self.etags = {}, {}
        self.got, self.odd = [], []
        self.buffer = memoryview(bytearray(1 << 16))

    def learn(self):
        """Its own copies, to compare every later byte with."""
        for key in (SFT, BLOB):
            reply = self.who.get(key)
            assert reply.status == 200, reply
            self.copies[key], self.etags[key] = reply.body, reply.headers["etag"]
            self.got.append(Got(self.session, key, 200, 0, len(reply.body), whole=True, entry=_index(reply.headers.get)))

    def read_until_cut(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.who.world.port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(*CUT):
            while True:
                self._one(connection)

    def _one(self, connection):
        key = self.rng.choice((SFT, SFT, BLOB))
        copy, method, headers, start, end = self.copies[key], "GET", {}, 0, len(self.copies[key])
        match self.rng.randrange(10):
            case 0:
                pass
            case 1:
                headers["If-None-Match"] = self.etags[key]
            case 2:
                headers["Range"] = f"bytes={len(copy)}-"
            case 3:
                method = "HEAD"
            case _:
                start = self.rng.randrange(len(copy))
                end = min(len(copy), start + self.rng.choice((1, 500, 70_000, 1 << 20)))
                headers["Range"] = f"bytes={start}-{end - 1}"
        request = self.who.signed(method, f"orchid/{key}", headers=headers)
        connection.request(method, f"/orchid/{key}", headers=dict(request.headers))
        response = connection.getresponse()
        opens = method == "GET" and response.status in {200, 206}
        body = bytearray()
        try:
            while count := response.readinto(self.buffer):
                body += self.buffer[:count]
                time.sleep(self.dawdle_s)
        finally:
            if opens and bytes(body) != copy[start : start + len(body)]:
                self.odd.append(f"{key} from {start}: {len(body)} bytes that are not the reader's own copy")
            if response.status not in LOGGED:
                self.odd.append(f"{key}: {response.status} {bytes(body)!r}")
            received, whole = (len(body), len(body) == end - start) if opens else (0, True)
            entry = _index(response.getheader)
            self.got.append(Got(self.session, key, response.status, start, received, whole, entry))


def _index(header):
    value = header("x-limen-entry")
    return None if value is None else int(value)


class Nursery:
    """The process that forks gateways."""

    def __init__(self, log):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # no thread may run when it forks
        command = [sys.executable, str(Path(__file__).with_name("serve_nursery.py")), str(log)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Born:
    """A gateway of a nursery, as far as the world needs to know it."""

    def __init__(self, nursery, directory):
        self.nursery, self.returncode = nursery, None
        self.pid = nursery.ask(f"serve {directory}")

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout):
        self.returncode = self.nursery.ask("reap")


@dataclass
class Nursed(World):
    """A world whose gateways come from a nursery: real processes, without the second that imports take."""

    nursery: Nursery | None = None

    def start(self):
        return Born(self.nursery, self.data)


def readers_of(world):
    """Everybody logged in, with the session id that their entries bear."""
    readers = [Reader(*pair) for pair in sessions_of(world)]
    for reader in readers:
        reader.learn()
    return readers


def sessions_of(world):
    """A new session for each, and its id."""
    known = {line["id"] for line in call(world.data, "show", {"what": "sessions"})}
    people = [world.login(person) for person in PEOPLE]
    new = [line for line in call(world.data, "show", {"what": "sessions"}) if line["id"] not in known]
    ids = {line["holder"].partition("/")[2]: line["id"] for line in new}
    return [(who, ids[who.subject]) for who in people]


def kill_under_load(world, readers, rng):
    threads = [threading.Thread(target=reader.read_until_cut) for reader in readers]
    for thread in threads:
        thread.start()
    time.sleep(0.1 + rng.random() * 0.3)
    world.stop(kill=True)
    for thread in threads:
        thread.join()


def stored(world):
    """The log's entries by index, as they lie on disk; nobody serves."""
    store = look(world.data, "limen.local/log")
    return {index: decode(raw) for index, raw in store.entries(0, 1 << 40)}


def uncovered(got, entries):
    """What was received and stands in no durable intent of that very session, key, status and range."""

    def covers(g):
        intent = entries.get(g.entry, {})
        asset, _, shard = g.key.partition("/")
        named = (intent.get("kind"), intent.get("session"), intent.get("asset"))
        if named != ("access.intent", g.session, asset):
            return False
        if "window" in intent:  # a read window: bytes only, of this shard, within its bounds
            reach = dict(intent.get("run", [[intent.get("shard"), 0]]))
            begin, end = intent.get("span", (0, reach.get(shard, -1)))
            return g.status in {200, 206} and shard in reach and begin <= g.start and g.start + g.received <= end
        if (intent.get("shard"), intent.get("status")) != (shard, g.status):
            return False
        begin, end = intent.get("span", (0, 0))
        return not g.received or (begin == g.start and g.start + g.received <= end)

    return [g for g in got if not covers(g)]


def accounted(g, outcome):
    """Whether an outcome says at least what its reader received."""
    if outcome["end"] == "unknown":
        return True
    if "handed" in outcome:
        return any(start == g.start and g.start + g.received <= end for _, start, end, *_ in outcome["handed"])
    return outcome["sent"] >= g.received


@pytest.fixture
def world(tmp_path):
    world = World.make(tmp_path, sft=records(800), blob=random.Random("blob").randbytes(8 << 20))
    yield world
    world.stop(kill=True)


@pytest.fixture
def nursed(world):
    nursery = Nursery(world.data.parent / "serve.log")
    nursed = Nursed(world.data, world.port, nursery=nursery)
    yield nursed
    nursed.stop(kill=True)
    nursery.close()


def test_no_byte_has_left_without_an_entry_that_survives_the_kill(nursed):
    world, rng = nursed, random.Random("moments")
    readers = readers_of(world.serve())
    for number in range(KILLS):
        if number % SESSION_KILLS == SESSION_KILLS - 1:  # a session lives an hour, a soak longer
            for reader, (who, session) in zip(readers, sessions_of(world), strict=True):
                reader.who, reader.session = who, session
        kill_under_load(world, readers, rng)
        world.serve()  # recovers on the same directory, under the same sessions
    world.stop()

    got = [g for reader in readers for g in reader.got]
    entries = stored(world)
    assert uncovered(got, entries) == []
    assert [line for reader in readers for line in reader.odd] == []
    cut = [g for g in got if not g.whole]
    print(f"\n{KILLS} kills: {len(got)} answers ({len(cut)} cut), {sum(g.received for g in got)} bytes, all covered")
    assert {g.status for g in got} == LOGGED
    assert len(got) > 10 * KILLS
    assert cut, "no kill hit a running transfer: the load is too light to prove anything"

    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout
    outcomes = {entry["of"]: entry for entry in entries.values() if entry["kind"] == "access.outcome"}
    spans = {i for i, entry in entries.items() if entry["kind"] == "access.intent" and "span" in entry}
    assert spans == outcomes.keys(), "an access without an outcome, or an outcome without its access"
    assert [g for g in got if g.received and not accounted(g, outcomes[g.entry])] == []
    assert any(outcome["end"] == "unknown" for outcome in outcomes.values())


def test_a_gateway_that_serves_before_commit_is_caught_by_the_same_check(world):
    world.command = (sys.executable, str(Path(__file__).with_name("unsafe_serve.py")))
    readers = readers_of(world.serve())

    world.stop(kill=True)  # at once: what was read last was read under the last entries

    got = [g for reader in readers for g in reader.got]
    assert any(g.received for g in uncovered(got, stored(world)))
