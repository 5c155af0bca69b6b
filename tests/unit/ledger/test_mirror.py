"""A mirror over real HTTP: it holds what the log signed, all of it, and nothing that the log merely says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import time

import pytest

from limen.core import events
from limen.core.errors import LedgerUnavailable, TamperDetected
from limen.core.types import Checkpoint
from limen.doors.log.app import LogDoor
from limen.formats import merkle, note, tiles
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE
from limen.formats.tlogpolicy import Policy
from limen.ledger.ledger import Ledger
from limen.ledger.witnesses.mirror import Forked, Mirror, SignedTree
from limen.ledger.witnesses.witness import Witness
from limen.verify.published import Published, verify
from limen.verify.remote import Remote
from serving import Served
from witnessing import LOG

NOW = 1_780_000_000


class Logs:
    """Logs in directories, each history made once and then copied: a test may ask for the same one again."""

    def __init__(self, path):
        self._path = path
        self._grown = {}  # what each directory has been through
        self._kept = {}

    def grow(self, data, count, history=""):
        """A log in a directory, longer by so many entries, published."""
        been = (*self._grown.get(data, ()), (count, history))
        if been in self._kept:
            shutil.rmtree(data, ignore_errors=True)
        else:
            asyncio.run(self._append(data, count, history))
            self._kept[been] = shutil.copytree(data, self._path / str(len(self._kept)))
        shutil.copytree(self._kept[been], data, dirs_exist_ok=True)
        self._grown[data] = been

    def branch(self, data, other):
        """The same log a second time: what follows makes a fork of it."""
        shutil.copytree(data, other)
        self._grown[other] = self._grown[data]

    async def _append(self, data, count, history):
        data.mkdir(exist_ok=True)
        ledger = Ledger.open(data, origin=LOG.name, signer=LOG, now=time.time)
        start = ledger.head().size
        fields = [{"n": start + i, "history": history} for i in range(count)]
        await ledger.append_all([(events.encode("server.start", 1, bytes(16), each), None) for each in fields])
        await ledger.flush()
        await ledger.close()


class Shop(LogDoor):
    """The log's server; a test swaps the directory that it serves, counts what is fetched, and bends answers."""

    def __init__(self, root):
        super().__init__(root)
        self.fetched = []
        self.bend = lambda _path, raw: raw

    def serve(self, root):
        self._root, self._log = root, Published(root)

    def _read(self, path):
        self.fetched.append(path)
        return self.bend(path, super()._read(path))


class Place:
    """A log's data directory, its server, and where the mirror keeps its copy."""

    def __init__(self, path, logs):
        self.data, self.directory = path / "data", path / "mirror"
        self.shop = Shop(self.data / "log")
        self.witness = None
        self.lives = contextlib.ExitStack()
        self.logs = logs

    def grow(self, count):
        self.logs.grow(self.data, count)

    def mirror(self):
        self.directory.mkdir(exist_ok=True)
        remote = self.lives.enter_context(contextlib.closing(Remote(self.url)))
        return Mirror(self.directory, Published(remote), LOG.verifier, witness=self.witness)

    def cosigns(self):
        self.witness = Witness.create(
            self.directory / "witness.db", name="m.example", random=os.urandom, kinds=(ED25519_COSIGNATURE,)
        )
        self.witness.trust(LOG.vkey)

    def copied(self):
        """Every file of the copy; it verifies, or this does not return."""
        root = self.directory / "log"
        verify(Published(root), LOG.verifier)
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def evidence(self):
        return {p.suffix: p.read_bytes() for p in (self.directory / "evidence").glob("*")}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return Logs(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def street():
    """One server; each test opens its own shop behind it."""

    class Street:
        shop = None

        async def __call__(self, scope, receive, send):
            await self.shop(scope, receive, send)

    street = Street()
    with Served(street) as served:
        street.url = served.url
        yield street


@pytest.fixture
def place(tmp_path, logs, street):
    place = Place(tmp_path, logs)
    street.shop, place.url = place.shop, street.url
    with place.lives:
        yield place
    if place.witness:
        place.witness.close()


@pytest.mark.parametrize("size", [0, 1, 256, 700])
def test_a_copy_is_the_log_itself(place, size):
    place.grow(size)

    assert place.mirror().update(NOW).size == size

    published = {p.relative_to(place.data / "log").as_posix() for p in (place.data / "log").rglob("*") if p.is_file()}
    copied = place.copied()
    assert published == copied.keys()
    assert all((place.data / "log" / path).read_bytes() == raw for path, raw in copied.items())


def test_it_follows_the_log_and_fetches_no_full_bundle_twice(place):
    mirror = place.mirror()
    for count in (300, 300, 1, 0):
        place.grow(count)
        mirror.update(NOW)
        assert place.copied()

    entries = [path for path in place.shop.fetched if path.startswith("tile/entries/")]
    assert entries == [
        *("tile/entries/000", "tile/entries/001.p/44"),
        *("tile/entries/001", "tile/entries/002.p/88", "tile/entries/002.p/89"),
    ]
    assert not list((place.directory / "log").rglob("001.p"))


class Hashes:
    """The tiles of a tree of 70,000 leaves, in memory: three levels. One hash may be bent."""

    def __init__(self):
        self.levels = [[merkle.leaf_hash(b"%d" % i) for i in range(70_000)]]
        while len(self.levels[-1]) >= 256:
            below = self.levels[-1]
            whole = len(below) // 256
            self.levels.append([merkle.root_of(below[i * 256 : i * 256 + 256]) for i in range(whole)])
        self.checkpoint = Checkpoint(LOG.name, 70_000, merkle.root_of(self.levels[0]), b"")

    def tile(self, level, index, width):
        return self.levels[level][index * 256 : index * 256 + width]


def test_every_hash_of_a_deep_tree_is_led_to_the_root():
    hashes = Hashes()
    tree = SignedTree(hashes, hashes.checkpoint)

    assert tree.tile(0, 100, 256) == hashes.tile(0, 100, 256)
    assert tiles.range_hash(tree.tile, 0, 1000) == merkle.root_of(hashes.levels[0][:1000])


@pytest.mark.parametrize(("level", "place", "first"), [(0, 100 * 256 + 7, 100 * 256), (1, 3, 0)])
def test_a_hash_that_does_not_lead_there_is_named_by_its_first_entry(level, place, first):
    hashes = Hashes()
    hashes.levels[level][place] = bytes(32)
    tree = SignedTree(hashes, hashes.checkpoint)

    with pytest.raises(TamperDetected) as caught:
        tree.tile(0, place // 256 if level == 0 else 3, 256)
    assert caught.value.index == first


def test_a_copy_that_was_cut_off_goes_on_with_what_it_has(place):
    place.grow(1200)

    def fail(path, raw):
        if path == "tile/entries/003":
            raise OSError("the server went away")
        return raw

    place.shop.bend = fail
    with pytest.raises(LedgerUnavailable, match="can't be read now"):
        place.mirror().update(NOW)
    assert not (place.directory / "log" / "checkpoint").exists()
    place.shop.bend = lambda _, raw: raw
    place.shop.fetched.clear()

    place.mirror().update(NOW)  # another life

    assert place.copied()
    assert {"tile/entries/003", "tile/entries/004.p/176"} == {p for p in place.shop.fetched if p.startswith("tile/entries/")}


def test_damage_in_the_copy_is_found_and_mended_when_a_life_begins(place):
    place.grow(700)
    place.mirror().update(NOW)
    for part in ("tile/entries/001", "tile/0/000", "tile/1/000.p/2"):
        (place.directory / "log" / part).write_bytes(b"damaged")

    place.mirror().update(NOW)

    assert place.copied()


# --- what a server can do


BENT = {
    "checkpoint": "does not verify",
    "tile/entries/000": "another entry 3",
    "tile/entries/002.p/188": "another entry 515",
    "tile/0/001": "level 0",
    "tile/0/002.p/188": "do not make the root",
    "tile/1/000.p/2": "do not make the root",
}


def changed(path, raw):
    """One byte of the fourth entry, or of the last hash, or of the root."""
    at = _fourth(raw) if "entries" in path else len(raw) - 40
    if path == "checkpoint":
        at = raw.index(b"\n700\n") + 6
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def _fourth(bundle):
    at = 0
    for _ in range(3):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
    return at + 10


@pytest.mark.parametrize("part", BENT)
def test_what_is_not_what_was_signed_is_not_stored(place, part):
    place.grow(700)
    place.shop.bend = lambda path, raw: changed(path, raw) if path == part else raw

    with pytest.raises(TamperDetected, match=BENT[part]) as caught:
        place.mirror().update(NOW)

    assert not isinstance(caught.value, Forked)
    assert not (place.directory / "log" / "checkpoint").exists()
    assert not place.evidence()


@pytest.mark.parametrize("part", [part for part in BENT if part != "checkpoint"])
def test_a_part_that_is_missing_or_short_is_waited_for(place, part):
    place.grow(700)
    place.shop.bend = lambda path, raw: raw[:-1] if path == part else raw

    with pytest.raises(LedgerUnavailable):
        place.mirror().update(NOW)
    place.shop.bend = lambda _, raw: raw
    assert place.mirror().update(NOW).size == 700


class Trusting(Mirror):
    """The control: takes the log's word for its own consistency."""

    def _hold(self, shown):
        self.held = None
        super()._hold(shown)


def fork(place, *, held, shown):
    """The mirror holds one history; what the server shows next is another, genuinely signed."""
    place.grow(5)
    place.logs.branch(place.data, place.data.with_name("fork"))
    place.grow(held - 5)
    place.logs.grow(place.data.with_name("fork"), shown - 5, history="second")
    mirror = place.mirror()
    mirror.update(NOW)
    place.shop.serve(place.data.with_name("fork") / "log")
    return mirror


@pytest.mark.parametrize("shown", [299, 300, 301, 700])
def test_a_fork_or_a_rollback_is_refused_for_good_and_both_checkpoints_are_kept(place, shown):
    mirror = fork(place, held=300, shown=shown)
    before = place.copied()

    for _ in range(2):
        with pytest.raises(Forked, match="contradicts itself"):
            mirror.update(NOW)

    assert place.copied() == before
    kept = place.evidence()
    sizes = {suffix: note.open_note(raw, [LOG.verifier])[0].split("\n")[1] for suffix, raw in kept.items()}
    assert sizes == {".held": "300", ".shown": str(shown)}
    place.shop.serve(place.data / "log")
    with pytest.raises(TamperDetected, match="two histories"):
        place.mirror()


def test_a_mirror_that_takes_the_logs_word_is_caught_by_the_same_fork(place):
    mirror = fork(place, held=300, shown=700)
    mirror.__class__ = Trusting

    assert mirror.update(NOW).size == 700


# --- its word


def test_the_copy_carries_the_mirrors_own_cosignature(place):
    place.cosigns()
    [key] = place.witness.keys
    policy = Policy.read(f"log {LOG.vkey}\nwitness m {key.vkey}\nquorum m\n")
    mirror = place.mirror()
    for count in (300, 5):
        place.grow(count)
        mirror.update(NOW)
        assert verify(Published(place.directory / "log"), policy)
        assert place.witness.recorded(LOG.name).size == mirror.held.size


def asked(place, mirror, old):
    """What the mirror answers to the log's newest checkpoint."""
    log = Published(place.shop._root)
    shown = log.checkpoint(LOG.verifier)
    proof = merkle.consistency_proof(old, shown.size, log.range_hash) if 0 < old < shown.size else ()
    return mirror.add_checkpoint(codec.Request(old, tuple(proof), shown.note).encode(), NOW)


def test_asked_to_cosign_it_copies_first(place):
    place.cosigns()
    mirror = place.mirror()
    place.grow(300)

    answer = asked(place, mirror, 0)

    assert answer.status == 200
    assert len(place.copied()) > 4
    assert mirror.shown(codec.monitoring_path(LOG.name)) == (place.directory / "log" / "checkpoint").read_bytes()
    place.grow(10)
    assert asked(place, mirror, 300).status == 200
    assert asked(place, mirror, 310).status == 200  # the same again
    assert asked(place, mirror, 300).status == 409
    assert verify(Published(place.directory / "log"), LOG.verifier).checkpoint.size == 310


def test_what_it_can_not_copy_it_does_not_cosign(place):
    place.cosigns()
    mirror = place.mirror()
    place.grow(300)
    place.shop.bend = lambda path, raw: raw[:-1] if path == "tile/entries/000" else raw

    with pytest.raises(LedgerUnavailable):
        asked(place, mirror, 0)
    assert place.witness.recorded(LOG.name).size == 0


@pytest.mark.parametrize("shown", [300, 301])
def test_asked_to_cosign_a_fork_it_refuses_and_keeps_the_evidence(place, shown):
    place.cosigns()
    mirror = fork(place, held=300, shown=shown)

    assert asked(place, mirror, 300).status == 422
    assert place.evidence().keys() == {".held", ".shown"}
    with pytest.raises(Forked):
        mirror.update(NOW)


def test_asked_to_cosign_a_log_that_it_does_not_hold_it_refuses(place):
    place.cosigns()
    other = note.Signer("example.com/other", bytes([3]) * 32)
    place.witness.trust(other.vkey)  # as nobody can by the command
    text = f"{other.name}\n0\n{base64.b64encode(merkle.EMPTY_ROOT).decode()}\n"

    assert place.mirror().add_checkpoint(codec.Request(0, (), note.sign(text, other)).encode(), NOW).status == 404


def test_cosignatures_that_come_later_are_put_out_too(place):
    place.cosigns()
    place.grow(300)
    mirror = place.mirror()
    mirror.update(NOW)
    late = note.line(note.Signature("late.example", b"abcd", bytes(72)))
    place.shop.bend = lambda path, raw: raw + late if path == "checkpoint" else raw

    mirror.update(NOW)

    put_out = place.copied()["checkpoint"]
    assert late in put_out
    assert put_out.count(b"m.example") == 1
    place.shop.bend = lambda _, raw: raw
    mirror.update(NOW)
    assert place.copied()["checkpoint"] == put_out, "none is given up"


def test_an_older_checkpoint_that_comes_late_is_no_rollback(place):
    place.cosigns()
    mirror = place.mirror()
    place.grow(300)
    late = Published(place.data / "log").checkpoint(LOG.verifier)
    place.grow(10)
    mirror.update(NOW)

    answer = mirror.add_checkpoint(codec.Request(0, (), late.note).encode(), NOW)

    assert (answer.status, answer.body) == (409, b"310\n")
    assert not place.evidence()


def test_a_stranger_makes_it_fetch_nothing(place):
    place.cosigns()
    mirror = place.mirror()
    place.grow(300)
    signed = Published(place.data / "log").checkpoint(LOG.verifier).note
    forged = note.sign(note.parse(signed)[0], note.Signer(LOG.name, bytes([7]) * 32))

    assert mirror.add_checkpoint(codec.Request(0, (), forged).encode(), NOW).status == 403
    assert mirror.add_checkpoint(b"nonsense", NOW).status == 400
    assert place.shop.fetched == []


def test_killed_between_its_word_and_its_checkpoint_it_goes_on(place):
    place.cosigns()
    place.grow(300)
    place.mirror().update(NOW)
    older = (place.directory / "log" / "checkpoint").read_bytes()
    place.grow(10)
    place.mirror().update(NOW)
    (place.directory / "log" / "checkpoint").write_bytes(older)

    mirror = place.mirror()
    assert asked(place, mirror, 310).status == 200
    assert place.mirror().update(NOW).size == 310
    assert not place.evidence()


# --- the command


def test_the_command_makes_a_copy_that_the_verifier_takes(place, limen):
    place.grow(300)
    code, out, err = limen("mirror", "init", place.directory, "--log", place.url, "--vkey", LOG.vkey, "--name", "m.example")
    assert (code, out.count("witness m.example")) == (0, 2)
    assert "limen mirror run" in err

    assert limen("mirror", "run", place.directory, "--once")[0] == 0
    code, out, _ = limen("ledger", "verify", place.directory, "--vkey", LOG.vkey)
    assert (code, "300" in out) == (0, True)
    assert limen("mirror", "init", place.directory, "--log", place.url, "--vkey", LOG.vkey)[0] == 2
    for words in (("add", place.directory, LOG.vkey), ("serve", place.directory)):
        code, _, err = limen("witness", *words)
        assert (code, "only what it holds" in err) == (2, True)


def test_the_command_says_5_of_a_fork_and_4_of_no_mirror(place, limen):
    assert limen("mirror", "run", place.directory, "--once")[0] == 4
    limen("mirror", "init", place.directory, "--log", place.url, "--vkey", LOG.vkey)
    fork(place, held=300, shown=301)

    code, _, err = limen("mirror", "run", place.directory, "--once")
    assert (code, "contradicts itself" in err) == (5, True)
    assert limen("mirror", "init", place.directory.with_name("x"), "--log", "ftp://x", "--vkey", LOG.vkey)[0] == 2
