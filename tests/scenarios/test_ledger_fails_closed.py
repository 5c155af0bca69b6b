"""A ledger that can't write: 503 at every path, and not a byte; it goes on by itself when it can write again.

The pause is the exception, and stands before its entry does. A killed download has an outcome after the restart.
"""

from __future__ import annotations

import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limen.core.events import decode
from limen.ledger.sqlite import SqliteStore
from simulator import World, records

SFT = "orchid-sft-v3/sft.jsonl"


def entries(world, kind):
    """Entries of one kind, by index, as committed so far."""
    store = SqliteStore.to_look_at(world.data / "ledger.db", "limen.local/log")
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
