"""A ledger that can't write: 503 at every path, and not a byte; it goes on by itself when it can write again.

The pause is the exception, and stands before its entry does. A killed download has an outcome after the restart.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limen.core.events import decode
from limen.ledger.stored import look
from simulator import World, records

SFT, LINES = "orchid-sft-v3/sft.jsonl", "orchid-blob/lines.jsonl"
TMPFS = 40 << 20


def entries(world, kind):
    """Entries of one kind, by index, as committed so far."""
    store = look(world.data, "limen.local/log")
    decoded = ((index, decode(raw)) for index, raw in store.entries(0, 1 << 40))
    return {index: entry for index, entry in decoded if entry["kind"] == kind}


def until(what, *, seconds=15.0):
    """Wait until `what()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
    return found


class Paths:
    """One request for every kind of access; each answers (status, body, headers)."""

    def __init__(self, world):
        self.world = world
        self.who = world.login("q01")
        self.other = world.token("q02")

    def all(self):
        def ask(method, path, body=b"", **headers):
            reply = self.who.ask(method, path, body=body, headers=headers)
            return reply.status, reply.body, reply.headers

        box = "orchid/quill-assessments"
        return {
            "GET": lambda: ask("GET", f"orchid/{SFT}"),
            "GET range": lambda: ask("GET", f"orchid/{SFT}", Range="bytes=5-90"),
            "GET past the end": lambda: ask("GET", f"orchid/{SFT}", Range="bytes=999999999-"),
            "HEAD": lambda: ask("HEAD", f"orchid/{SFT}"),
            "LIST": lambda: ask("GET", "orchid?list-type=2"),
            "LIST buckets": lambda: ask("GET", ""),
            "PUT": lambda: ask("PUT", f"{box}/one.txt", b"one"),
            "DELETE": lambda: ask("DELETE", f"{box}/none.txt"),
            "multipart begin": lambda: ask("POST", f"{box}/parts.bin?uploads"),
            "refusal, not there": lambda: ask("GET", "orchid/orchid-sft-v3/none"),
            "refusal, denied": lambda: ask("GET", "orchid/aurelia-core/weights"),
            "refusal, elsewhere": lambda: ask("GET", "helio/helio-prefs-v2/prefs.jsonl"),
            "session start": self._start,
        }

    def _start(self):
        try:
            self.world.login("q02")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(), dict(refused.headers)
        return 200, b"", {}


def register_lines(world, times):
    """A big unmarked asset of lines, too big for any socket's buffers; how many lines."""
    lines = world.data.parent / "lines.jsonl"
    lines.write_bytes(records(2000) * times)
    world.limen("asset", "register", "orchid-blob", str(lines), "--unmarked")
    return 2000 * times


@contextlib.contextmanager
def begun_download(who, key):
    """A download whose reader has taken one chunk and no more."""
    request = who.signed("GET", f"orchid/{key}")
    connection = http.client.HTTPConnection("127.0.0.1", who.world.port, timeout=30)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.sock.connect(("127.0.0.1", who.world.port))
    with contextlib.closing(connection):
        connection.request("GET", f"/orchid/{key}", headers=dict(request.headers))
        response = connection.getresponse()
        assert response.status == 200
        assert response.read(1 << 16)
        yield response


def rest_of(response):
    """How many more bytes come before the end, or the cut."""
    count = 0
    with contextlib.suppress(OSError, http.client.HTTPException):
        while chunk := response.read1(1 << 16):
            count += len(chunk)
    return count


def is_refused(answer, secret):
    """503, without an entry, and nothing of the asset in it."""
    status, body, headers = answer
    assert secret not in body
    assert "AccessKeyId" not in body.decode(errors="replace")
    return status == 503 and "x-limen-entry" not in headers


def troubled(directory, **assets):
    """A world whose ledger can be put into trouble; and how."""
    file = directory / "trouble"
    file.write_text("")
    world = World.make(directory, **assets)
    world.command = (sys.executable, str(Path(__file__).with_name("troubled_serve.py")), str(file))
    return world, file.write_text


@pytest.fixture
def world(tmp_path):
    world, trouble = troubled(tmp_path, sft=records(300))
    world.trouble = trouble
    yield world
    world.stop(kill=True)


@pytest.mark.parametrize("kind", ["hang 2", "close"])
def test_every_path_is_refused_while_commits_fail_and_open_again_after(world, kind):
    paths = Paths(world.serve())
    secret = paths.who.get(SFT).body[:60]
    before = {name: ask()[0] for name, ask in paths.all().items()}
    assert 503 not in before.values()
    paths.who = world.login("q01")  # a new session: no window is open under it

    world.trouble(kind)
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = {name: pool.submit(ask) for name, ask in paths.all().items()}
    print(f"\n{kind}: {len(answers)} paths refused within {time.monotonic() - began:.2f} s")
    assert [name for name, answer in answers.items() if not is_refused(answer.result(), secret)] == []
    world.trouble("")

    until(lambda: paths.who.get(SFT).status == 200)
    assert {name: ask()[0] for name, ask in paths.all().items()} == before
    world.stop()
    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout


def test_the_first_append_that_fails_closes_every_open_window(world):
    who = world.serve().login("q01")
    inside = who.get(SFT, start=0, end=10)

    world.trouble("close")
    under_the_window = who.get(SFT, start=20, end=30)
    refused = who.ask("HEAD", f"orchid/{SFT}")
    after = who.get(SFT, start=40, end=50)

    assert (under_the_window.status, refused.status, after.status) == (206, 503, 503)
    assert under_the_window.headers["x-limen-entry"] == inside.headers["x-limen-entry"]
    world.trouble("")
    until(lambda: who.get(SFT, start=40, end=50).status == 206)
    world.stop()
    [outcome] = [e for e in entries(world, "access.outcome").values() if e["of"] == int(inside.headers["x-limen-entry"])]
    assert [row[1:3] for row in outcome["handed"]] == [[0, 10], [20, 30]]


def test_a_ledger_that_only_pretends_to_write_fails_the_same_check(world):
    paths = Paths(world.serve())
    secret = paths.who.get(SFT).body[:60]
    get_range, start = paths.all()["GET range"], paths.all()["session start"]

    world.trouble("lie")

    assert not is_refused(get_range(), secret)
    assert not is_refused(start(), secret)


@pytest.fixture
def small_world(tmp_path):
    """A world whose data directory is a small file system of its own."""
    data = tmp_path / "data"
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS},mode=700", "tmpfs", data], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        why = f"a small file system needs mount(8), which is not permitted here: {mounted.stderr.strip()}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    world = None
    try:
        world = World.make(tmp_path, sft=records(300))
        yield world
    finally:
        if world is not None:
            world.stop(kill=True)
        subprocess.run(["umount", data], check=True)


def fill(directory):
    """Take every byte that is left."""
    with (directory / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(size))


def test_a_full_disk_refuses_every_path_and_free_space_is_enough_to_go_on(small_world):
    paths = Paths(small_world.serve())
    secret = paths.who.get(SFT).body[:60]
    before = {name: ask()[0] for name, ask in paths.all().items()}
    paths.who = small_world.login("q01")  # a new session: no window is open under it

    for name, ask in paths.all().items():
        # A commit may still find room in what is already allocated, and reopening the database may free some.
        for _ in range(100):
            fill(small_world.data)
            answer = ask()
            if answer[0] == 503:
                break
            assert answer[0] in {before[name], 500}, name
        assert is_refused(answer, secret), f"{name}: {answer[0]}"
    (small_world.data / "ballast").unlink()

    until(lambda: paths.who.get(SFT).status == 200)
    assert {name: ask()[0] for name, ask in paths.all().items()} == before
    small_world.stop()
    assert "OK" in small_world.limen("ledger", "verify", str(small_world.data)).stdout


def test_a_pause_on_a_full_disk_cuts_at_once_and_survives_a_kill(small_world):
    who = small_world.serve().login("q01")
    for _ in range(100):
        fill(small_world.data)
        if who.ask("HEAD", f"orchid/{SFT}").status == 503:
            break
    fill(small_world.data)

    small_world.limen("pause", "vendor/quillwork", "--reason", "a drill")

    assert who.get(SFT).status in {403, 503}, "the room held for the order may also hold the refusal"
    small_world.stop(kill=True)
    (small_world.data / "ballast").unlink()
    small_world.serve()
    assert (who.get(SFT).status, who.get(SFT).headers["x-limen-reason"]) == (403, "paused")
    assert until(lambda: entries(small_world, "pause.order"))


@pytest.mark.parametrize("killed", [False, True], ids=["recovers", "killed"])
def test_a_pause_stands_at_once_without_its_entry_and_the_entry_follows(world, killed):
    register_lines(world, 50)
    who = world.serve().login("q01")
    with begun_download(who, LINES) as response:
        length = response.length
        world.trouble("close")
        answer = world.ask_json("pause", "vendor/quillwork", "--reason", "a drill")
        assert (answer["entry"], answer["streams"]) == (None, 1)
        assert rest_of(response) < length
    assert who.get(SFT).status == 503, "the refusal can't be logged, so nobody is told more than that"
    assert entries(world, "pause.order") == {}

    if killed:
        world.stop(kill=True)
    world.trouble("")
    if killed:
        world.serve()

    reply = until(lambda: (reply := who.get(SFT)).status != 503 and reply)
    assert (reply.status, reply.headers["x-limen-reason"]) == (403, "paused")
    assert "a drill" in reply.message
    with pytest.raises(urllib.error.HTTPError, match="403"):
        world.login("q02")
    [order] = until(lambda: entries(world, "pause.order")).values()
    assert order["subject"] == "vendor/quillwork"


def test_a_download_that_a_kill_cut_counts_as_exposed_whole(world):
    lines = register_lines(world, 50)
    who = world.serve().login("q01")
    with begun_download(who, LINES) as response:
        entry = int(response.getheader("x-limen-entry"))
        length = int(response.getheader("content-length"))
        world.stop(kill=True)
        assert rest_of(response) < length - (1 << 16)
    assert entry in entries(world, "access.intent")
    assert entry not in {outcome["of"] for outcome in entries(world, "access.outcome").values()}

    world.serve()

    [outcome] = [outcome for outcome in entries(world, "access.outcome").values() if outcome["of"] == entry]
    assert outcome["end"] == "unknown"
    report = world.ask_json("exposure", "person/quillwork/q01")
    [asset] = [asset for asset in report["assets"] if asset["asset"] == "orchid-blob"]
    [line] = asset["people"]
    assert (line["accesses"], line["bytes"], line["uncertain"]) == (1, length, 1)
    assert asset["served_ever"]["count"] == lines
    assert asset["never_served"]["count"] == 0
    told = world.limen("exposure", "person/quillwork/q01").stdout
    assert "UNKNOWN: 1 accesses" in told
