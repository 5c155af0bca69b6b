"""Offline verification: every change to a published log is found, and the first bad index is named."""

from __future__ import annotations

import random

import pytest
from laid_out import ENTRIES, lay_out

from limen.core.errors import NotFound, TamperDetected
from limen.formats import checkpoint, merkle, note, tiles
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Policy
from limen.verify.published import Published, key_of, prove, verify

SIZE = 600
KEY = Signer("example.com/log", bytes(32)).verifier


def first_bad(log):
    with pytest.raises(TamperDetected) as found:
        verify(log, KEY)
    return found.value.index


def rewrite(log, number, change):
    """Change the list of entries of one bundle."""
    width = min(256, SIZE - number * 256)
    entries = log.bundle(number, width)
    change(entries)
    (log.reader.root / tiles.path(None, number, width)).write_bytes(tiles.encode_bundle(entries))


def test_an_untouched_log_verifies_with_nothing_but_its_files(log):
    verified = verify(log, log.verifier())

    assert verified.checkpoint.size == SIZE
    assert b"entry 0" in verified.first
    assert b"entry 599" in verified.last


def test_an_edited_entry_is_named(log):
    rewrite(log, 1, lambda entries: entries.__setitem__(44, entries[44].replace(b"entry", b"ENTRY")))

    assert first_bad(log) == 300


def test_a_deleted_entry_is_named(log):
    rewrite(log, 0, lambda entries: entries.pop(17))

    assert first_bad(log) == 17


def test_swapped_entries_are_named_by_the_first(log):
    def swap(entries):
        entries[3], entries[9] = entries[9], entries[3]

    rewrite(log, 2, swap)

    assert first_bad(log) == 515


def test_a_truncated_bundle_is_named_by_the_first_entry_that_is_gone(log):
    path = log.reader.root / tiles.path(None, 2, 88)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])

    assert 512 < first_bad(log) < 600


@pytest.mark.parametrize(
    ("path", "index"), [("tile/entries/001", 256), ("tile/0/001", 256), ("tile/1/000.p/2", 0), ("tile/0/002.p/88", 512)]
)
def test_a_missing_part_is_named_by_its_first_entry(log, path, index):
    (log.reader.root / path).unlink()

    assert first_bad(log) == index


@pytest.mark.parametrize(("path", "span"), [("tile/0/000", 1), ("tile/0/002.p/88", 1), ("tile/1/000.p/2", 256)])
def test_any_flipped_bit_in_a_tile_is_named(log, path, span):
    raw = (log.reader.root / path).read_bytes()
    rng = random.Random(path)
    start = int(path.split("/")[2][:3]) * 256 * span
    for _ in range(30):
        position = rng.randrange(len(raw))
        bent = bytearray(raw)
        bent[position] ^= 1 << rng.randrange(8)
        (log.reader.root / path).write_bytes(bent)
        assert first_bad(log) == start + position // 32 * span


def test_any_flipped_bit_in_a_bundle_is_named(log):
    path = log.reader.root / "tile/entries/001"
    raw = path.read_bytes()
    ends = []
    at = 0
    for entry in tiles.decode_bundle(raw, 256):
        at += 2 + len(entry)
        ends.append(at)
    rng = random.Random("bundle")
    for _ in range(30):
        position = rng.randrange(len(raw))
        bent = bytearray(raw)
        bent[position] ^= 1 << rng.randrange(8)
        path.write_bytes(bent)
        assert first_bad(log) == 256 + next(i for i, end in enumerate(ends) if position < end)


def test_any_flipped_bit_in_the_checkpoint_is_noticed(log):
    path = log.reader.root / "checkpoint"
    raw = path.read_bytes()
    for position in range(len(raw)):
        bent = bytearray(raw)
        bent[position] ^= 1
        path.write_bytes(bent)
        assert first_bad(log) == -1


def test_a_log_rewritten_as_a_whole_does_not_make_the_signed_root(log):
    """Entry, leaf and every tile above agree with each other again: only the signature knows better."""
    rewrite(log, 0, lambda entries: entries.__setitem__(5, b"another"))
    leaves = [merkle.leaf_hash(entry) for _, entry in log.entries(0, SIZE)]
    (log.reader.root / "tile/0/000").write_bytes(tiles.encode_tile(leaves[:256]))
    (log.reader.root / "tile/1/000.p/2").write_bytes(
        tiles.encode_tile([merkle.root_of(leaves[:256]), merkle.root_of(leaves[256:512])])
    )

    with pytest.raises(TamperDetected, match="rewritten as a whole"):
        verify(log, KEY)


def test_a_log_rewritten_and_signed_by_somebody_else_does_not_verify_under_the_real_key(log):
    forger = Signer(KEY.name, b"f" * 32)
    text = checkpoint.encode(KEY.name, SIZE, bytes(32))
    (log.reader.root / "checkpoint").write_bytes(note.sign(text, forger))
    (log.reader.root / "vkey").write_text(forger.vkey)

    assert first_bad(log) == -1


def test_a_wider_partial_tile_serves_for_a_narrower_one(log):
    """A copy taken while the log grew may hold an older checkpoint than its tiles."""
    leaves = [merkle.leaf_hash(entry) for _, entry in log.entries(0, SIZE)]
    signer = Signer(KEY.name, bytes(32))
    for size in (599, 513, 512, 300, 256, 1, 0):
        older = checkpoint.encode(KEY.name, size, merkle.root_of(leaves[:size]))
        (log.reader.root / "checkpoint").write_bytes(note.sign(older, signer))
        assert verify(log, KEY).checkpoint.size == size


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (255, 257), (300, 302), (511, 600), (599, 600), (600, 600)])
def test_entries_come_with_their_indexes_from_start_to_end(log, start, end):
    assert list(log.entries(start, end)) == [(index, ENTRIES[index]) for index in range(start, end)]


def test_a_third_level_of_tiles_is_checked_too(tmp_path):
    size = 65_537
    lay_out(tmp_path, [b"%d" % index for index in range(size)])
    log = Published(tmp_path)

    assert verify(log, KEY).last == b"%d" % (size - 1)
    (tmp_path / "tile/2/000.p/1").write_bytes(bytes(32))
    assert first_bad(log) == 0
    (tmp_path / "tile/2/000.p/1").unlink()
    assert first_bad(log) == 0


def test_only_wider_partial_tiles_are_offered_for_a_narrower_one(log):
    folder = log.reader.root / "tile/0/002.p"
    for name in ("3", "40", "255", "256", "300", "0", "007", "1e1", "new"):
        (folder / name).write_bytes(b"not a tile")

    assert log.reader.wider("tile/0/002", 40) == ["tile/0/002.p/88", "tile/0/002.p/255"]
    assert log.tile(0, 2, 41) == log.tile(0, 2, 88)[:41]
    for name in ("88", "255"):
        (folder / name).unlink()
    with pytest.raises(NotFound):
        log.tile(0, 2, 41)


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 599])
def test_every_entry_can_be_proved(log, index):
    proof, entry = prove(log, KEY, index)

    assert proof.verify(entry, [KEY]).size == SIZE
    assert proof.extra == entry


def test_an_entry_that_is_not_there_can_not_be_proved(log):
    for index in (SIZE, -1):
        with pytest.raises(NotFound):
            prove(log, KEY, index)


def test_a_proof_over_damaged_tiles_is_not_given_out(log):
    (log.reader.root / "tile/0/001").write_bytes(bytes(8192))

    with pytest.raises(TamperDetected):
        prove(log, KEY, 300)


def test_a_directory_without_a_log_says_what_is_missing(tmp_path):
    with pytest.raises(NotFound, match="vkey"):
        Published(tmp_path).verifier()
    with pytest.raises(NotFound, match="is this a published log"):
        verify(Published(tmp_path), KEY)


@pytest.mark.parametrize("raw", [b"", b"no key\n", b"\xff\n"])
def test_a_damaged_key_beside_the_log_is_damage(log, raw):
    (log.reader.root / "vkey").write_bytes(raw)
    with pytest.raises(TamperDetected, match="is no key"):
        log.verifier()


def test_a_policy_of_several_logs_has_the_key_of_this_one(log):
    other = Signer("example.com/another", bytes([1] * 32)).verifier
    policy = Policy.of_logs([other, KEY])

    assert log.key(policy) == key_of(policy, KEY.name) == log.key(KEY) == KEY
    assert key_of(policy, other.name) == other
    (log.reader.root / "checkpoint").unlink()
    assert log.key(KEY) == KEY, "a key that was given needs no checkpoint to be known"
    with pytest.raises(NotFound, match="a trusted key of"):
        key_of(policy, "example.com/third")


def test_a_verifier_that_trusts_the_tiles_is_caught(log, monkeypatch):
    """The negative control: without the comparison of entry and leaf, an edited entry would pass as far as the root."""
    rewrite(log, 0, lambda entries: entries.__setitem__(5, b"another"))
    monkeypatch.setattr(
        "limen.verify.published._verified_leaves",
        lambda log, number, width: (log.bundle(number, width), log.tile(0, number, width)),
    )

    assert verify(log, KEY), "the broken verifier accepts what the real one refuses"


@pytest.mark.parametrize("index", [0, 65_535, 524_288, 983_039, 983_040, 999_935, 999_936, 999_999])
def test_a_proof_among_a_million_entries_reads_at_most_five_tiles_each_once(tmp_path, monkeypatch, index):
    asked = []

    def tile(_, level, number, width):
        asked.append((level, number))
        return [bytes(32)] * width

    monkeypatch.setattr(Published, "tile", tile)
    log = Published(tmp_path)

    proof = merkle.inclusion_proof(index, 1_000_000, log.tree(1_000_000))

    assert len(proof) == len(merkle.inclusion_proof(index, 1_000_000, lambda *_: b""))
    assert len(asked) <= 5
    assert len(set(asked)) == len(asked)
    asked.clear()
    merkle.inclusion_proof(index, 1_000_000, log.range_hash)
    assert len(asked) > 5, "without what has been read they are read again"
