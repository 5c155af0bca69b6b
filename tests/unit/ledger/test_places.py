"""A second place for the published log: behind the first, never before it, and its troubles its own. S3 by rclone's server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limen.config import Config, Log, storage_account
from limen.core.errors import Invalid, LedgerUnavailable, NotFound
from limen.formats import note
from limen.ledger.ledger import Ledger
from limen.ledger.publication import publisher
from limen.ledger.publication.bucket import Bucket
from limen.ledger.publication.places import Directory
from limen.objectstore import Account
from limen.server import _further_places
from limen.verify.published import Published, verify

ACCOUNT = Account("limen-access-key", "limen-secret-key-of-a-test")
WITNESS = note.Signer("witness.example", bytes([7]) * 32)


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class Recording(Directory):
    """A place that notes what is written in which order, fails when told to, and looks what the first place then has."""

    def __init__(self, root, first=None):
        super().__init__(root)
        self.first = first
        self.failing = False
        self.written = []
        self.seen = []

    def write(self, path, raw):
        if self.failing:
            raise OSError("no route to host")
        super().write(path, raw)
        self.written.append(path)
        if path == "checkpoint" and self.first is not None:
            self.seen.append((size_of(raw), size_of((self.first / path).read_bytes())))


def size_of(raw):
    return int(raw.split(b"\n")[1])


def fill(world, count, *copies):
    """Append, and leave: on the way out every place is brought up to date."""

    async def scene():
        ledger = Ledger.open(
            world.path, origin=world.signer.name, signer=world.signer, now=world.now, deadline_s=5.0, copies=copies
        )
        try:
            for start in range(0, count, 100):
                some = range(start, min(start + 100, count))
                await ledger.append_all([(f"entry {number}".encode(), None) for number in some])
                await ledger.flush()
        finally:
            await ledger.close()
        return ledger

    return asyncio.run(scene())


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(publisher, "RETRY_S", 0.01)


def test_a_second_directory_holds_the_same_log(world, tmp_path):
    second = Recording(tmp_path / "second", world.path / "log")

    fill(world, 700, second)

    assert verify(Published(second.root), world.signer.verifier).checkpoint.size == 700
    assert all(there <= here for there, here in second.seen)
    assert second.seen
    ours = files(world.path / "log")
    assert {name: raw for name, raw in files(second.root).items() if ".p/" not in name} == {
        name: raw for name, raw in ours.items() if ".p/" not in name
    }


def test_the_second_place_goes_on_where_it_ended_and_writes_nothing_twice(world, tmp_path):
    fill(world, 300, Recording(tmp_path / "second"))
    again = Recording(tmp_path / "second")

    fill(world, 0, again)
    assert again.written == []
    fill(world, 10, again)
    assert "tile/entries/000" not in again.written
    assert verify(Published(tmp_path / "second"), world.signer.verifier).checkpoint.size == 310


def test_a_second_place_that_was_lost_is_made_again(world, tmp_path):
    fill(world, 600, Recording(tmp_path / "second"))
    shutil.rmtree(tmp_path / "second")

    fill(world, 1, Recording(tmp_path / "second"))

    assert verify(Published(tmp_path / "second"), world.signer.verifier).checkpoint.size == 601


@pytest.mark.usefixtures("fast")
def test_a_failing_second_place_delays_only_itself_and_shows_in_the_state(world, tmp_path):
    second = Recording(tmp_path / "second")
    second.failing = True

    async def scene():
        ledger = Ledger.open(world.path, origin=world.signer.name, signer=world.signer, now=world.now, copies=[second])
        try:
            await ledger.append(b"one")
            await ledger.flush()
            follower = ledger._publisher._followers[0]
            with pytest.raises(LedgerUnavailable, match="no route to host"):
                await asyncio.wrap_future(follower.reached(1))
            behind = ledger.published()
            second.failing = False
            async with asyncio.timeout(5):
                while True:
                    with contextlib.suppress(LedgerUnavailable):
                        await asyncio.wrap_future(follower.reached(1))
                        break
            await ledger.flush()
            await asyncio.wrap_future(follower.reached(1))
            caught_up = ledger.published()
        finally:
            await ledger.close()
        return behind, caught_up

    behind, caught_up = asyncio.run(scene())

    assert behind[0] == publisher.Progress(str(world.path / "log"), 1, "")
    assert behind[1].size is None
    assert "no route to host" in behind[1].error
    assert caught_up[1] == publisher.Progress(str(second.root), 1, "")


@pytest.mark.parametrize("forked", [False, True])
def test_a_second_place_that_is_ahead_or_differs_stops_the_log(world, module_world, tmp_path, forked):
    """Another place remembers more than the database: that is what a restored old backup looks like."""
    other = module_world(tmp_path / "other")
    other.path.mkdir()
    fill(other, 60, Recording(tmp_path / "second"))
    world.path.joinpath("data").mkdir()
    world.path = world.path / "data"

    async def scene():
        ledger = Ledger.open(
            world.path,
            origin=world.signer.name,
            signer=world.signer,
            now=world.now,
            copies=[Directory(tmp_path / "second")],
        )
        try:
            await ledger.append_all([(f"{number}".encode(), None) for number in range(60 if forked else 50)])
            with pytest.raises(LedgerUnavailable, match="differ at size 60" if forked else "set back"):
                await asyncio.wrap_future(ledger._publisher._followers[0].reached(1))
            await ledger.append(b"another")
        finally:
            await ledger.close()

    with pytest.raises(LedgerUnavailable, match="stopped"):
        asyncio.run(scene())
    assert size_of((tmp_path / "second" / "checkpoint").read_bytes()) == 60, "what it held is the evidence"


# --- cosigned checkpoints


class Cosigned:
    """A publisher of its own over a filled log, and the checkpoint that is out."""

    def __init__(self, world, *copies):
        self.world = world
        self.copies = copies

    @contextlib.asynccontextmanager
    async def open(self):
        ledger = Ledger.open(
            self.world.path, origin=self.world.signer.name, signer=self.world.signer, now=self.world.now, copies=self.copies
        )
        try:
            yield ledger
        finally:
            await ledger.close()

    def out(self):
        return (self.world.path / "log" / "checkpoint").read_bytes()


def with_cosignature(checkpoint):
    text = checkpoint.note.split(b"\n\n")[0].decode() + "\n"
    theirs = note.sign(text, WITNESS).split(b"\n\n", 1)[1]
    return checkpoint.note + theirs


def test_a_cosigned_checkpoint_takes_the_place_of_the_same_one_everywhere_and_stays_over_a_restart(world, tmp_path):
    second = Recording(tmp_path / "second", world.path / "log")
    stage = Cosigned(world, second)

    async def scene():
        async with stage.open() as ledger:
            await ledger.append(b"one")
            await ledger.flush()
            cosigned = with_cosignature(ledger.head())
            ledger._publisher.publish_cosigned(cosigned, 1)
            ledger._publisher.publish_cosigned(cosigned, 1)
        async with stage.open():
            pass
        return cosigned

    cosigned = asyncio.run(scene())

    assert stage.out() == cosigned
    assert (second.root / "checkpoint").read_bytes() == cosigned
    assert note.open_note(stage.out(), [WITNESS.verifier])


def test_a_cosigned_checkpoint_that_comes_late_is_not_put_back(world):
    stage = Cosigned(world)

    async def scene():
        async with stage.open() as ledger:
            await ledger.append(b"one")
            late = with_cosignature(ledger.head())
            await ledger.append(b"two")
            await ledger.flush()
            ledger._publisher.publish_cosigned(late, 1)
            with pytest.raises(Invalid, match="not 2"):
                ledger._publisher.publish_cosigned(late, 2)
            with pytest.raises(Invalid, match="trusted key"):
                ledger._publisher.publish_cosigned(note.sign(late.split(b"\n\n")[0].decode() + "\n", WITNESS), 1)

    asyncio.run(scene())
    assert size_of(stage.out()) == 2


def test_a_checkpoint_that_waits_for_its_cosignatures_is_not_replaced_before_they_come(world, monkeypatch):
    """However fast the log grows, what is out gets its cosignatures; and if they never come, it goes on without."""
    monkeypatch.setattr(publisher, "HOLD_S", 60.0)
    place = Recording(world.path / "elsewhere")
    world.fill(3)
    head = world.run(lambda ledger: asyncio.sleep(0, ledger._sequencer.head))
    published = []
    store = world.store_of()
    own = publisher.Publisher(
        store, place, world.signer.verifier, tampered=published.append, published=published.append, cosigned=True
    )
    own.start(head)
    own.reached(3).result(5)
    world.fill(2)
    later = world.run(lambda ledger: asyncio.sleep(0, ledger._sequencer.head))
    own.publish(later)
    waiting = own.reached(5)
    assert not waiting.done()
    own.publish_cosigned(with_cosignature(head.checkpoint), 3)
    waiting.result(5)
    own.close(timeout_s=5)

    assert [found.size for found in published] == [3, 5]
    assert place.written.count("checkpoint") == 3


# --- S3


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """rclone's S3 server over a directory: (endpoint, directory)."""
    root = tmp_path_factory.mktemp("s3")
    (root / "bucket").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keys = f"--auth-key={ACCOUNT.access_key},{ACCOUNT.secret}"
    program = Path(sys.executable).with_name("rclone")
    server = subprocess.Popen(
        [program, "serve", "s3", keys, f"--addr=127.0.0.1:{port}", "--vfs-cache-mode=off", "--etag-hash=", str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(root), "RCLONE_CONFIG": "/dev/null"},
    )
    try:
        listening(port, server)
        yield f"http://127.0.0.1:{port}", root / "bucket"
    finally:
        server.terminate()
        server.wait(10)


def listening(port, server):
    while server.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
    raise AssertionError("rclone did not start")


def bucket(s3, prefix):
    return Bucket(f"s3://bucket/{prefix}", Account(ACCOUNT.access_key, ACCOUNT.secret, endpoint=s3[0]))


def test_a_bucket_keeps_the_promises_of_a_place(s3):
    place = bucket(s3, "plain")

    with pytest.raises(NotFound):
        place.read("checkpoint")
    for number in range(100):
        place.write(f"tile/0/000.p/{number}", bytes([number]))
    place.settle()
    place.write("tile/0/000", b"full")
    place.settle()

    assert place.read("tile/0/000.p/99") == b"c"
    place.remove("tile/0/000.p")
    place.remove("tile/0/none.p")
    assert files(s3[1] / "plain") == {"tile/0/000": b"full"}


def test_the_log_is_published_to_a_bucket_and_verifies_there(world, s3):
    fill(world, 700, bucket(s3, "log"))
    fill(world, 5, bucket(s3, "log"))

    assert verify(Published(s3[1] / "log"), world.signer.verifier).checkpoint.size == 705


def test_a_bucket_out_of_reach_or_with_other_keys_delays_only_itself(world, s3):
    wrong = Bucket("s3://bucket/wrong", Account("limen-access-key", "another secret", endpoint=s3[0]))

    with pytest.raises(OSError, match="checkpoint can't be read from s3://bucket/wrong"):
        wrong.read("checkpoint")
    ledger = fill(world, 20, wrong)
    assert world.verify().checkpoint.size == 20
    assert ledger.published()[1].size is None


def test_without_keys_a_bucket_is_only_behind(world):
    """And nobody else's keys are looked for: obstore by itself would ask a cloud's metadata address."""
    ledger = fill(world, 20, Bucket("s3://bucket/log", None))

    assert world.verify().checkpoint.size == 20
    assert ledger.published()[1].size is None


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "https://bucket"])
def test_what_is_no_address_of_a_bucket_is_refused(url):
    with pytest.raises(Invalid, match=r"ledger\.publish"):
        Bucket(url, ACCOUNT)


# --- configured


@pytest.mark.parametrize(
    ("where", "place"), [("", None), ("second", "second"), ("s3://bucket/log", "s3://bucket/log"), ("log", Invalid)]
)
def test_the_second_place_is_named_in_the_configuration(tmp_path, monkeypatch, where, place):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    configured = Config(data=tmp_path, ledger=Log(publish=where))

    if place is Invalid:
        with pytest.raises(Invalid, match="published already"):
            _further_places(configured)
    else:
        names = [found.name.removeprefix(f"{tmp_path}/") for found in _further_places(configured)]
        assert names == ([place] if place else [])


def test_the_keys_of_storage_come_from_the_environment_alone(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    assert storage_account() is None
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert storage_account() == Account("one", "two", endpoint="http://127.0.0.1:1")
    assert "two" not in repr(storage_account())


# --- how far behind


class Timed(Directory):
    """Notes when each size was published."""

    def __init__(self, root):
        super().__init__(root)
        self.out = []

    def write(self, path, raw):
        super().write(path, raw)
        if path == "checkpoint":
            self.out.append((time.monotonic(), size_of(raw)))

    def lags(self, commits):
        """For each commit, how long until a checkpoint that covers it was out."""
        return [next(at for at, size in self.out if size >= commit) - began for began, commit in commits]


def test_news_is_out_soon_in_both_places(world, tmp_path, monkeypatch):
    """Prints how far behind; what it promises is only the order, for a busy machine is no reason to fail."""
    places, commits = [], []

    def timed(root):
        places.append(Timed(root))
        return places[-1]

    monkeypatch.setattr("limen.ledger.ledger.Directory", timed)
    second = Timed(tmp_path / "second")

    async def scene():
        ledger = Ledger.open(world.path, origin=world.signer.name, signer=world.signer, now=world.now, copies=[second])
        try:
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                await ledger.append(b"{}")
                commits.append((time.monotonic(), ledger.head().size))
                await asyncio.sleep(0.005)
        finally:
            await ledger.close()

    asyncio.run(scene())

    for name, place in (("first", places[0]), ("second", second)):
        lags = sorted(place.lags(commits))
        print(f"\n{name} place: {len(commits)} commits, {len(place.out)} checkpoints; ", end="")
        print(f"behind by {1000 * lags[len(lags) // 2]:.0f} ms in the median, {1000 * lags[-1]:.0f} ms at most", end="")
    firsts = {size: at for at, size in reversed(places[0].out)}
    assert all(firsts[size] <= at for at, size in second.out)
    assert len(places[0].out) < len(commits)
