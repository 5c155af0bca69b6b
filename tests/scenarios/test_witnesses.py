"""A gateway and its witness as real processes: what is cut off, set back or forked is seen, and stops what it must stop."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from limen.formats import note
from limen.formats import witness as codec
from limen.listening import address, bound
from simulator import World

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Watch:
    """A witness in a process of its own, on an address that it keeps."""

    world: World
    directory: Path
    address: str
    process: subprocess.Popen | None = None
    words: tuple[str, ...] = ()

    @classmethod
    def make(cls, world, directory):
        with bound("127.0.0.1:0") as probe:
            watch = cls(world, directory, address(probe))
        world.limen("witness", "init", str(directory), "--name", "witness.example/w1", "--ed25519-only")
        world.limen("witness", "add", str(directory), str(world.data / "log" / "vkey"))
        return watch

    def start(self):
        words = self.words or ("witness", "serve", str(self.directory), "--listen", self.address)
        with (self.directory.parent / "witness.log").open("ab") as log:
            self.process = subprocess.Popen([*self.world.command, *words], stdout=log, stderr=log)
        host, _, port = self.address.partition(":")
        until(lambda: self.process.poll() is not None or _listens(host, int(port)), lambda: "the witness did not answer")
        assert self.process.poll() is None
        return self

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def recorded(self):
        [log] = json.loads(self.world.limen("witness", "list", str(self.directory), "--json").stdout)["logs"]
        return log


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A gateway under a policy that asks for one witness, and that witness: neither has run yet."""
    directory = tmp_path_factory.mktemp("made")
    world = World.make(directory, blob=b"weights" * 1000)
    watch = Watch.make(world, directory / "witness")
    log = f"{world.data}/log/vkey"
    policy = world.limen("witness", "policy", str(watch.directory), "--url", f"http://{watch.address}", "--log", log)
    (world.data / "policy").write_text(policy.stdout)
    configure(world, policy="policy")
    return world, watch


@pytest.fixture
def watched(made, tmp_path):
    """The same two, in a directory of their own; the witness answers."""
    world, watch = (replace(each) for each in made)
    for each, name in ((world, "data"), (watch, "directory")):
        shutil.copytree(getattr(each, name), tmp_path / name)
        setattr(each, name, tmp_path / name)
    watch.world = world
    yield world, watch.start()
    world.stop(kill=True)
    watch.stop()


def configure(world, **keys):
    path = world.data / "limen.toml"
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    path.write_text(path.read_text().replace("[ledger]\n", f"[ledger]\n{lines}\n"))


def standing(world):
    return world.ask_json("ledger", "witnesses")


def seen(world):
    """Wait until the quorum has cosigned all that is in the log by now; its size."""
    size = world.ask_json("ledger", "head")["size"]
    return until(lambda: (s := standing(world))["stands"] and s["size"] >= size and s["size"], lambda: standing(world))


def until(condition, why):
    """Wait for something that another process is about to do."""
    for _ in range(600):
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(why())


def _listens(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_gateway_that_was_set_back_is_refused_and_its_witness_is_named(watched):
    world, watch = watched
    world.serve()
    assert standing(world)["stands"]
    world.stop()
    shutil.copytree(world.data, world.data.with_name("backup"), ignore=shutil.ignore_patterns("control.sock"))
    world.serve()
    world.login("q01").get("orchid-blob/blob.bin")
    size = seen(world)
    world.stop(kill=True)
    shutil.rmtree(world.data)
    world.data.with_name("backup").rename(world.data)  # every trace in the data directory is set back with it

    with pytest.raises(AssertionError, match="set back: the witness") as refused:
        world.serve()

    assert f"the witness witness.example-w1 at http://{watch.address}" in str(refused.value)
    assert f"shows {watch.recorded()['size']} entries" in str(refused.value)
    assert watch.recorded()["size"] >= size
    alarm = json.loads((world.data / "alarm.json").read_text())
    assert note.parse(alarm["evidence"].encode())
    watch.stop()  # the alarm stands by itself
    with pytest.raises(AssertionError, match="set back"):
        world.serve()


def test_a_second_history_is_stopped_while_it_runs(watched):
    world, watch = watched
    world.serve()
    world.stop()
    shutil.copytree(world.data, world.data.with_name("twin"), ignore=shutil.ignore_patterns("control.sock"))
    world.serve()
    for _ in range(3):
        world.login("q01").get("orchid-blob/blob.bin")
    seen(world)
    world.stop(kill=True)
    watch.stop()
    shutil.rmtree(world.data)
    world.data.with_name("twin").rename(world.data)
    world.serve()  # nobody who could know is there
    someone = world.login("q02")
    for number in range(8):
        assert someone.get(f"orchid-blob/no-{number}").status == 404, "a refusal is an entry"

    watch.start()

    until(lambda: someone.get("orchid-blob/none").status == 503, lambda: standing(world))
    [found] = standing(world)["witnesses"]
    assert "rewritten: the witness witness.example-w1" in found["error"]
    assert not standing(world)["stands"]
    assert watch.recorded()["forked_at"] is None, "no two trees of one size were shown to it"


def entries(world, kind):
    """The access entries of one kind in the order of the log, as the command prints them."""
    lines = world.limen("ledger", "tail", "-n", "500", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [one for one in found if one["entry"]["kind"] == kind]


def test_bytes_of_a_witnessed_project_wait_for_the_quorum_and_without_it_they_stay(watched):
    world, watch = watched
    configure(world, witnessed_projects=["orchid"])
    world.serve()
    someone = world.login("q01")

    assert someone.get("orchid-blob/blob.bin", start=0, end=100).status == 206

    [intent] = entries(world, "access.intent")
    assert watch.recorded()["size"] > intent["index"], "cosigned before the first byte"
    watch.stop()
    refused = world.login("q02").get("orchid-blob/blob.bin")
    assert (refused.status, b"weights" in refused.body) == (503, False)
    watch.start()
    until(lambda: standing(world)["stands"], lambda: standing(world))
    assert world.login("q02").get("orchid-blob/blob.bin").status == 200


def test_where_it_is_configured_so_bytes_go_ahead_without_the_quorum(watched):
    world, watch = watched
    configure(world, witnessed_projects=["orchid"], without_quorum="serve")
    watch.stop()
    world.serve()

    assert world.login("q01").get("orchid-blob/blob.bin").status == 200
    assert not standing(world)["stands"]


def test_a_mirror_cosigns_what_it_holds_and_is_read_in_the_logs_place(made, tmp_path):
    world = replace(made[0], data=tmp_path / "data")
    shutil.copytree(made[0].data, world.data)
    vkey, copy = str(world.data / "log" / "vkey"), tmp_path / "copy"
    with bound("127.0.0.1:0") as one, bound("127.0.0.1:0") as other:
        log, mirror = address(one), address(other)
    world.limen("mirror", "init", str(copy), "--log", f"http://{log}", "--vkey", vkey, "--name", "mirror.example/m1")
    policy = world.limen("witness", "policy", str(copy), "--url", f"http://{mirror}", "--log", vkey).stdout
    (world.data / "policy").write_text(policy)
    configure(world, listen=log)
    watch = Watch(world, copy, mirror, words=("mirror", "run", str(copy), "--every", "600", "--listen", mirror))
    try:
        world.serve()
        watch.start()
        assert world.login("q01").get("orchid-blob/blob.bin").status == 200
        until(lambda: standing(world)["stands"], lambda: standing(world))
        below = codec.monitoring_path("limen.local/log").partition("/")[0]
        for place in (str(copy), f"http://{mirror}/{below}", f"http://{log}"):
            assert "mirror.example-m1" in world.limen("ledger", "verify", place, "--policy", f"{world.data}/policy").stdout
        assert watch.recorded()["size"] == standing(world)["size"]
    finally:
        world.stop(kill=True)
        watch.stop()
