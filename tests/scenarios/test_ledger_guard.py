"""One history or none: what could give the log a second one ends in a refusal, or in an alarm that says what it saw.

Real processes and a real disk. Beside each case stands its control: with the part that refuses taken out, the same course
of things signs two different histories, or serves from one that is not the log's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limen.core.events import decode
from limen.core.types import Receipt
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note
from limen.formats import receipt as receipts
from limen.formats.note import Signer
from limen.ledger.sequencer import sign_checkpoint
from limen.ledger.sqlite import SqliteStore
from simulator import Someone, World

ORIGIN = "limen.local/log"


def until(what, *, seconds=20.0):
    """Wait until `what()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


def head_of(data, origin=ORIGIN):
    return SqliteStore.to_look_at(data / "ledger.db", origin).head()


def entries(data):
    return [decode(raw) for _, raw in SqliteStore.to_look_at(data / "ledger.db", ORIGIN).entries(0, 1 << 40)]


def signer_of(data, origin=ORIGIN):
    return Signer(origin, (data / "keys" / "log.key").read_bytes())


def forked(*notes):
    """Whether two of these signed notes have one name and size and different roots."""
    seen = {}
    for raw in notes:
        origin, size, root = checkpoints.decode(note.parse(raw)[0])
        if seen.setdefault((origin, size), root) != root:
            return True
    return False


def receipt(data):
    """What somebody whose access was the newest entry holds: a document in the form of `limen ledger check-receipt`."""
    head = head_of(data)
    [(index, raw)] = SqliteStore.to_look_at(data / "ledger.db", ORIGIN).entries(head.size - 1, head.size)
    return receipts.header(Receipt(index, merkle.leaf_hash(raw), head.checkpoint))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A world at rest, made once: each test has a copy of its data directory."""
    return World.make(tmp_path_factory.mktemp("made"), blob=b"some bytes of an asset\n" * 100)


@pytest.fixture
def world(tmp_path, made):
    """A world at rest whose second high-water note is on `tmp_path / "other-disk"`; its commits can be troubled."""
    shutil.copytree(made.data, tmp_path / "data")
    world = World(tmp_path / "data", made.port)
    (tmp_path / "other-disk").mkdir()
    config = world.data / "limen.toml"
    config.write_text(config.read_text().replace("[ledger]\n", f'[ledger]\nhigh_water = "{tmp_path}/other-disk/high-water"\n'))
    world.trouble = tmp_path / "trouble"
    world.trouble.write_text("")
    bent(world, "whole")
    yield world
    world.stop(kill=True)


def bent(world, parts):
    """From now on the world's commands run with these parts taken out."""
    script = str(Path(__file__).with_name("bent_serve.py"))
    world.command = (sys.executable, script, parts, str(world.trouble))
    return world


def look(who):
    """An access with an entry of its own: reads may share one."""
    return who.ask("HEAD", "orchid/orchid-blob/blob.bin")


def looks(world, count, *, who=None):
    who = who or world.login("q01")
    for _ in range(count):
        assert look(who).status == 200
    return who


def refusal(world, *more):
    """How `limen serve` ends when it must not start: exit code, and what it says."""
    command = [*world.command, "serve", "--data", str(world.data), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def second(world, who):
    """Another gateway over the same directory, past its lock, on another port; the same person's session at its door."""
    other = World(world.data, free_port())
    script = str(Path(__file__).with_name("bent_serve.py"))
    parts = f"lock,{world.command[2]}"
    listen = ["--listen", f"127.0.0.1:{other.port}"]
    with (world.data.parent / "second.log").open("ab") as log:
        other.server = subprocess.Popen(
            [sys.executable, script, parts, str(world.trouble), "serve", "--data", str(world.data), *listen],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(other))
        yield Someone(other, who.subject, who.project, who.credentials)
    finally:
        other.stop(kill=True)


def answers(world):
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"{world.url}/.well-known/limen", timeout=5).close()
        return True
    return False


def served(who, count):
    """The entries that cover what was served, of this many attempts."""
    replies = [look(who) for _ in range(count)]
    return [int(reply.headers["x-limen-entry"]) for reply in replies if reply.status == 200]


# --- a stop


def test_a_stop_publishes_and_notes_the_newest_checkpoint(world):
    looks(world.serve(), 3)
    server = world.server
    world.stop()

    newest = head_of(world.data).checkpoint.note
    assert server.returncode == 0
    for place in ("data/high-water", "other-disk/high-water", "data/log/checkpoint"):
        assert (world.data.parent / place).read_bytes() == newest


# --- a second process


def test_a_second_process_is_refused(world):
    looks(world.serve(), 1)

    code, said = refusal(world, "--listen", f"127.0.0.1:{free_port()}")

    assert (code, "another process owns" in said) == (2, True)


@pytest.mark.parametrize("stopped", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["while it is stopped", "beside it"])
def test_a_second_process_past_the_lock_makes_no_second_history(world, stopped):
    who = looks(world.serve(), 1)
    if stopped:
        world.server.send_signal(signal.SIGSTOP)
    with second(world, who) as them:
        theirs = served(them, 3)
        if stopped:
            world.server.send_signal(signal.SIGCONT)
        ours = served(who, 3)
        alarm = until(lambda: (world.data / "alarm.json").exists() and (world.data / "alarm.json").read_text())
        theirs += served(them, 3)

    assert "did not write" in alarm or "set back" in alarm or "rewritten" in alarm
    assert ours == [], "the first one finds a head that is not its own, and stops"
    assert len(theirs) == 6
    assert look(who).status == 503
    world.stop(kill=True)
    world.serve()
    assert [entries(world.data)[index]["kind"] for index in theirs] == ["access.intent"] * 6
    world.stop()
    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout


def test_without_the_comparison_of_heads_both_sign_the_same_indexes(world):
    """The control: the head is replaced without a look at what it was."""
    who = looks(bent(world, "guard,swap").serve(), 1)
    with second(world, who) as them:
        theirs, ours = served(them, 3), served(who, 3)

    assert set(theirs) & set(ours)


# --- a process that is stopped inside a commit


def test_a_process_stopped_inside_a_commit_lets_nobody_in_and_goes_on(world):
    who = looks(world.serve(), 2)
    world.trouble.write_text("stop")
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(look, who)
        until(lambda: world.trouble.read_text() == "stopped")

        elsewhere = ["--listen", f"127.0.0.1:{free_port()}"]
        assert refusal(world, *elsewhere)[0] == 2
        bent(world, "lock")
        code, said = refusal(world, *elsewhere)
        assert (code, "ledger unavailable" in said) == (1, True), said

        world.server.send_signal(signal.SIGCONT)
        assert cut.result().status in {200, 503}

    until(lambda: look(who).status == 200)
    assert not (world.data / "alarm.json").exists()
    world.stop()
    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout


# --- a commit whose answer is lost


def test_a_failed_commit_whose_batch_is_there_is_found_and_not_written_twice(world):
    who = looks(world.serve(), 2)
    world.trouble.write_text("lost")

    assert look(who).status == 503
    assert len(until(lambda: served(who, 3))) == 3

    world.stop()
    intents = [entry for entry in entries(world.data) if entry["kind"] == "access.intent"]
    assert len(intents) == 6
    assert not (world.data / "alarm.json").exists()
    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout


# --- an old backup


def backed_up(world, *, after=3):
    """The size of a backup; the newest checkpoint so many accesses later, and what the last of those was given."""
    looks(world.serve(), 2)
    backup = world.data.parent / "backup"
    made = json.loads(world.limen("backup", str(backup), "--with-keys", "--json").stdout)
    looks(world, after)
    world.stop()
    return made["size"], head_of(world.data).checkpoint, receipt(world.data)


def put_back(world, *, forget=()):
    """The data directory is gone, and the backup is put back in its place; the exit code, and what it said."""
    shutil.rmtree(world.data)
    for name in forget:
        (world.data.parent / name).unlink()
    done = world.limen("restore", str(world.data.parent / "backup"), str(world.data), check=False)
    return done.returncode, done.stderr


def test_an_old_backup_is_told_refused_and_goes_on_only_in_a_new_epoch(world):
    kept, newest, _ = backed_up(world)

    code, said = put_back(world)
    assert (code, f"THE LOG HAD COME FURTHER: the high-water note {world.data.parent}/other-disk/high-water" in said) == (6, True)
    code, said = refusal(world)
    assert code == 5
    assert f"shows {newest.size} entries of {ORIGIN}" in said
    assert "limen ledger new-epoch" in said
    assert head_of(world.data).size == kept, "nothing was signed"
    assert json.loads((world.data / "alarm.json").read_bytes())["evidence"] == newest.note.decode()

    answer = json.loads(world.limen("ledger", "new-epoch", "--reason", "the disk died", "--json").stdout)
    assert (answer["kept"], answer["lost"], answer["origin"]) == (kept, newest.size - kept, f"{ORIGIN}/epoch-1")
    looks(world.serve(), 2)
    unknown = world.ask_json("exposure", "vendor/quillwork")["unknown"]
    assert f"entries {kept} to {newest.size - 1} of {ORIGIN} were lost before epoch 1" in unknown[0]
    world.stop()

    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout
    mine = head_of(world.data, f"{ORIGIN}/epoch-1").checkpoint
    assert mine.size > kept
    assert not forked(newest.note, mine.note)


def test_without_the_guard_the_same_backup_signs_a_second_history(world):
    """The control: two checkpoints of one name and size, both by the log's key, with different roots."""
    kept, newest, _ = backed_up(world)
    put_back(world)
    assert head_of(world.data).size == kept
    who = looks(bent(world, "guard").serve(), 1)
    notes = [newest.note]
    while head_of(world.data).size < newest.size:
        looks(world, 1, who=who)
        notes.append(until(lambda: head_of(world.data).checkpoint.note))
    world.stop()

    # The log passes the size of the newest checkpoint; its tree of that size is not the tree that was signed.
    store = SqliteStore.to_look_at(world.data / "ledger.db", ORIGIN)
    leaves = [merkle.leaf_hash(raw) for _, raw in store.entries(0, newest.size)]
    assert merkle.root_of(leaves) != newest.root


def test_a_receipt_alone_betrays_an_old_backup_before_it_is_served(world):
    _, newest, held = backed_up(world)
    code, _ = put_back(world, forget=["other-disk/high-water"])
    assert code == 0, "nothing in reach knows better"
    (world.data.parent / "receipt.json").write_text(held)

    done = world.limen("ledger", "check-receipt", str(world.data.parent / "receipt.json"), check=False)

    assert done.returncode == 5
    assert f"the receipt of entry {newest.size - 1} shows {newest.size} entries" in done.stderr
    code, said = refusal(world)
    assert (code, "the alarm that stands" in said) == (5, True)


@pytest.mark.slow
def test_a_receipt_stops_a_gateway_that_runs_on_an_old_backup(world):
    _, _, held = backed_up(world, after=5)
    put_back(world, forget=["other-disk/high-water"])
    who = looks(world.serve(), 1)

    assert world.limen("ledger", "check-receipt", held, check=False).returncode == 5

    assert look(who).status == 503
    world.stop()
    assert refusal(world)[0] == 5


@pytest.mark.slow
def test_a_receipt_of_the_log_as_it_is_raises_nothing(world):
    """The control of the two above."""
    looks(world.serve(), 2)
    held = until(lambda: receipt(world.data))

    assert world.limen("ledger", "check-receipt", held).stdout.endswith("OK\n")
    world.stop()
    assert "OK" in world.limen("ledger", "check-receipt", held).stdout
    assert not (world.data / "alarm.json").exists()


# --- a witness


@contextlib.contextmanager
def witness(world):
    """A witness of another's, served, whom the world's policy names."""
    directory, port = str(world.data.parent / "witness"), free_port()
    world.limen("witness", "init", directory, "--name", "witness.example/w1", "--ed25519-only")
    trust(world, port)
    config = world.data / "limen.toml"
    config.write_text(config.read_text().replace("[ledger]\n", '[ledger]\npolicy = "policy"\n'))
    command = [*world.command, "witness", "serve", directory, "--listen", f"127.0.0.1:{port}"]
    with (world.data.parent / "witness.log").open("ab") as log:
        served = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: listens(port))
        yield port
    finally:
        served.kill()
        served.wait()


def trust(world, port):
    """The witness watches the log under its name of this moment, and the log's policy asks for the witness."""
    directory, key = str(world.data.parent / "witness"), str(world.data / "log" / "vkey")
    world.limen("witness", "add", directory, key)
    policy = world.limen("witness", "policy", directory, "--url", f"http://127.0.0.1:{port}", "--log", key).stdout
    (world.data / "policy").write_text(policy)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def cosigned(data, origin=ORIGIN):
    """The newest checkpoint, once it is published with the witness's signature."""
    raw = (data / "log" / "checkpoint").read_bytes()
    text, signatures = note.parse(raw)
    return raw if len(signatures) > 1 and checkpoints.decode(text)[1] == head_of(data, origin).size else None


@pytest.mark.slow
def test_a_witness_alone_betrays_an_old_backup_and_cosigns_the_epoch_after_it(world):
    with witness(world) as port:
        looks(world.serve(), 2)
        world.limen("backup", str(world.data.parent / "backup"), "--with-keys")
        looks(world, 3)
        newest = until(lambda: cosigned(world.data))
        world.stop()
        size = checkpoints.decode(note.parse(newest)[0])[1]
        put_back(world, forget=["other-disk/high-water"])

        code, said = refusal(world)
        assert code == 5
        assert "the log was set back" in said
        assert "the witness witness.example-w1" in said
        answer = json.loads(world.limen("ledger", "new-epoch", "--reason", "the disk died", "--json").stdout)
        assert answer["kept"] + answer["lost"] == size
        code, said = refusal(world)
        assert (code, "policy" in said) == (2, True), "the policy still asks for the old name"

        trust(world, port)
        looks(world.serve(), 1)
        raw = until(lambda: cosigned(world.data, f"{ORIGIN}/epoch-1"))
        world.stop()

    store = SqliteStore.to_look_at(world.data / "ledger.db", f"{ORIGIN}/epoch-1")
    [(_, begun)] = store.entries(answer["kept"], answer["kept"] + 1)
    for named in (decode(begun)["previous"], decode(begun)["witnessed"]):
        assert (named["origin"], named["size"]) == (ORIGIN, size)
    assert not forked(newest, raw)


# --- an entry rewritten with the real key


def rewritten(world, *, hide):
    """One entry is changed, and the whole database signed again with the log's own key; its index."""
    looks(world.serve(), 3)
    world.stop()
    index = head_of(world.data).size - 3
    with contextlib.closing(sqlite3.connect(world.data / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = CAST(replace(raw, 'orchid', 'helios') AS BLOB) WHERE idx = ?", (index,))
        assert connection.execute("SELECT changes()").fetchone() == (1,)
        leaves = [merkle.leaf_hash(raw) for (raw,) in connection.execute("SELECT raw FROM entry ORDER BY idx")]
        frontier = merkle.Frontier().extended(leaves)
        made = sign_checkpoint(signer_of(world.data), frontier)
        connection.execute("UPDATE head SET root = ?, frontier = ?, note = ?", (made.root, frontier.to_bytes(), made.note))
    if hide:
        shutil.rmtree(world.data / "log")
        (world.data / "log.synced").unlink()
        (world.data / "high-water").unlink()
    return index


def test_an_entry_rewritten_with_the_real_key_is_named(world):
    index = rewritten(world, hide=False)

    code, said = refusal(world)

    assert code == 5
    assert "the log was rewritten: " in said
    assert f"its entry {index} is not the one that was published" in said
    assert json.loads((world.data / "alarm.json").read_bytes())["first_bad"] == index
    assert world.limen("ledger", "new-epoch", "--reason", "go on", check=False).returncode == 5, "nor does an epoch begin on it"


@pytest.mark.slow
def test_with_every_trace_in_the_directory_gone_the_note_on_another_disk_still_tells(world):
    rewritten(world, hide=True)

    code, said = refusal(world)

    assert (code, "other-disk/high-water shows" in said, "another root" in said) == (5, True, True)


def test_without_the_guard_the_rewritten_log_is_served(world):
    """The control."""
    rewritten(world, hide=True)

    looks(bent(world, "guard").serve(), 1)


# --- an epoch that is killed on its way


@pytest.mark.slow
def test_an_epoch_killed_at_any_moment_is_completed_by_the_next_try(world):
    kept, _, _ = backed_up(world)
    put_back(world)
    command = [*world.command, "ledger", "new-epoch", "--data", str(world.data), "--reason", "the disk died"]
    kills = 0
    for step in ("epoch.next", "log.epoch-0", "epoch", "log/checkpoint"):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and not (world.data / step).exists():
            pass
        running.kill()
        kills += running.wait() == -signal.SIGKILL
        if not (world.data / "epoch.next").exists() and (world.data / "epoch").exists():
            break
    if (world.data / "epoch.next").exists():
        assert refusal(world)[0] == 2
        world.limen("ledger", "new-epoch", "--reason", "again")

    print(f"\n{kills} kills")
    assert kills
    looks(world.serve(), 1)
    world.stop()
    store = SqliteStore.to_look_at(world.data / "ledger.db", f"{ORIGIN}/epoch-1")
    begun = [index for index, raw in store.entries(0, 1 << 40) if decode(raw)["kind"] == "epoch.begin"]
    assert begun == [kept]
    assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout
