"""Checkpoints, tiles, bundles and proof files: the spellings that are written, and those that are refused."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from limen.core.errors import Invalid
from limen.formats import checkpoint, merkle, note, tiles, tlogproof
from limen.formats.cosignature import Cosigner
from limen.formats.merkle import Frontier
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Cosigned, Policy
from limen.formats.tlogproof import Proof

SIGNER = Signer("example.com/log", bytes(32))
ROOT = base64.b64encode(bytes(32)).decode()
ENTRIES = [f"entry {i}".encode() for i in range(700)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def edge_of(size):
    """The hashes of the last tile of each level, from the leaves, by definition."""
    return [
        [merkle.root_of(LEAVES[i * span : (i + 1) * span]) for i in range(size // span - width, size // span)]
        for level, width in enumerate(tiles.widths(size))
        for span in [256**level]
    ]


def read_tile(size):
    """Tiles of the tree of this size, from the leaves, by definition."""

    def read(level, index, width):
        span = 256**level
        first = index * 256
        assert (first + width) * span <= size, "asked for a hash that this tree's tiles do not have"
        return [merkle.root_of(LEAVES[i * span : (i + 1) * span]) for i in range(first, first + width)]

    return read


# --- checkpoints


def test_a_checkpoint_survives_the_way_through_text():
    assert checkpoint.decode(checkpoint.encode("example.com/log", 7, bytes(32))) == ("example.com/log", 7, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        f"\n1\n{ROOT}\n",
        f"origin\n1\n{ROOT}",
        f"origin\n01\n{ROOT}\n",
        f"origin\n+1\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n",
        f"origin\n\n{ROOT}\n",
        f"origin\n9223372036854775808\n{ROOT}\n",
        f"origin\n10000000000000000000\n{ROOT}\n",
        f"origin\n{'9' * 5000}\n{ROOT}\n",
        f"origin\n0\n{ROOT}\n",
        f"origin\n1\n{ROOT}\nno newline",
        "origin\n1\nAAAA\n",
        f"origin\n1\n{ROOT}\nextension\n",
        f"origin\n1\n{ROOT[:-2]}B=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text):
    with pytest.raises(Invalid):
        checkpoint.decode(text)


def test_an_empty_tree_and_the_largest_one_have_checkpoints():
    for size, root in ((0, merkle.EMPTY_ROOT), (1, bytes(32)), (2**63 - 1, bytes(32))):
        assert checkpoint.decode(checkpoint.encode("origin", size, root)) == ("origin", size, root)


@pytest.mark.parametrize("origin", ["", "a\nb"])
def test_an_origin_that_is_not_one_line_is_not_written(origin):
    with pytest.raises(Invalid):
        checkpoint.encode(origin, 1, bytes(32))


# --- tiles and bundles


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (0, 0, 1, "tile/0/000.p/1"),
        (None, 273, 112, "tile/entries/273.p/112"),
        (2, 1000, 256, "tile/2/x001/000"),
    ],
)
def test_a_tiles_path_is_the_specifications(level, index, width, path):
    assert tiles.path(level, index, width) == path


def test_the_widths_are_the_specifications_examples():
    assert tiles.widths(70_000) == [112, 17, 1]
    assert tiles.widths(256) == [0, 1]
    assert tiles.widths(0) == []


@pytest.mark.parametrize("size", [0, 1, 5, 255, 256, 257, 511, 512, 700])
def test_the_last_tiles_of_a_tree_give_its_frontier(size):
    assert tiles.frontier_of(edge_of(size), size) == Frontier().extended(LEAVES[:size])


def test_last_tiles_that_do_not_fit_the_size_are_refused():
    with pytest.raises(Invalid):
        tiles.frontier_of(edge_of(300), 301)
    with pytest.raises(Invalid, match="do not make a tree of 5"):
        tiles.frontier_of(edge_of(3), 5)  # as many peaks, but of another tree


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 600, 700])
def test_proofs_built_from_tiles_verify(size):
    root = merkle.root_of(LEAVES[:size])

    def range_hash(start, end):
        return tiles.range_hash(read_tile(size), start, end)

    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        proof = merkle.inclusion_proof(index, size, range_hash)
        merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
        consistency = merkle.consistency_proof(index + 1, size, range_hash)
        merkle.verify_consistency(index + 1, size, merkle.root_of(LEAVES[: index + 1]), root, consistency)


@pytest.mark.parametrize("size", [1, 3, 255, 256, 257, 300, 511, 512, 513, 700])
def test_a_whole_tree_and_its_right_part_are_hashed_from_tiles_too(size):
    assert tiles.range_hash(read_tile(size), 0, size) == merkle.root_of(LEAVES[:size])
    if size > 256:
        assert tiles.range_hash(read_tile(size), 256, size) == merkle.root_of(LEAVES[256:size])


def test_a_tile_gives_its_first_hashes_and_no_more_than_it_has():
    raw = tiles.encode_tile(LEAVES[:9])

    assert tiles.decode_tile(raw, 9) == LEAVES[:9]
    assert tiles.decode_tile(raw, 4) == LEAVES[:4]
    for bad, width in [(raw, 10), (raw + b"x", 9), (raw[:-1], 9), (bytes(257 * 32), 1)]:
        with pytest.raises(Invalid):
            tiles.decode_tile(bad, width)


def test_a_bundle_gives_its_first_entries_and_not_a_byte_is_left_over():
    entries = [b"", b"a", b"b" * 65_535]
    raw = tiles.encode_bundle(entries)

    assert tiles.decode_bundle(raw, 3) == entries
    assert tiles.decode_bundle(raw, 2) == entries[:2]
    for bad, width in [(raw, 4), (raw[:-1], 3), (raw + b"\x00", 3), (b"\x00", 0), (bytes(2 * 257), 1)]:
        with pytest.raises(Invalid):
            tiles.decode_bundle(bad, width)


@pytest.mark.parametrize("width", [-1, 0, 257])
def test_a_tile_of_no_width_or_too_wide_has_no_path(width):
    with pytest.raises(RuntimeError):
        tiles.path(0, 0, width)


# --- proof files


def a_proof(extra=b""):
    size = 300
    text = checkpoint.encode(SIGNER.name, size, merkle.root_of(LEAVES[:size]))
    hashes = merkle.inclusion_proof(17, size, lambda start, end: merkle.root_of(LEAVES[start:end]))
    return Proof(17, tuple(hashes), note.sign(text, SIGNER), extra)


@pytest.mark.parametrize("extra", [b"", b"anything"])
def test_a_proof_survives_the_way_through_its_file_and_verifies(extra):
    proof = tlogproof.decode(a_proof(extra).encode())

    assert proof == a_proof(extra)
    assert proof.verify(ENTRIES[17], [SIGNER.verifier]) == Cosigned(SIGNER.name, 300, merkle.root_of(LEAVES[:300]))


def test_a_proof_of_another_entry_or_under_another_key_is_refused():
    with pytest.raises(Invalid):
        a_proof().verify(ENTRIES[18], [SIGNER.verifier])
    with pytest.raises(Invalid):
        a_proof().verify(ENTRIES[17], [Signer(SIGNER.name, bytes(range(32))).verifier])


def test_a_proof_under_a_policy_needs_the_entry_and_the_quorum():
    witness = Cosigner.mldsa44("witness.example/w", bytes([1] * 32))
    policy = Policy.read(f"log {SIGNER.vkey}\nwitness W {witness.key.vkey}\nquorum W\n")
    bare = a_proof()
    line = witness.cosign(note.parse(bare.checkpoint)[0].encode(), 5)
    proof = replace(bare, checkpoint=note.append_signature(bare.checkpoint, line.name, line.key_id, line.blob))

    assert tlogproof.decode(proof.encode()).verify(ENTRIES[17], policy).cosigners == (("W", 5),)
    with pytest.raises(Invalid, match="no quorum"):
        bare.verify(ENTRIES[17], policy)
    with pytest.raises(Invalid, match="does not lead to the root"):
        proof.verify(ENTRIES[18], policy)


def test_a_proof_under_no_key_is_refused():
    with pytest.raises(Invalid, match="no trusted key"):
        a_proof().verify(ENTRIES[17], [])


def test_the_key_of_one_log_does_not_speak_for_another():
    text = checkpoint.encode("example.com/another", 1, LEAVES[0])
    with pytest.raises(Invalid, match="does not name the log"):
        Proof(0, (), note.sign(text, SIGNER)).verify(ENTRIES[0], [SIGNER.verifier])


def test_a_proof_of_the_longest_length_is_read_and_a_longer_one_is_not():
    fixed = b"c2sp.org/tlog-proof@v1\nextra %b\nindex %b\n\n" + a_proof().checkpoint

    def of_length(length):
        # The extra line grows by four bytes, the index by one.
        room = length - len(fixed) + len("%b%b")
        digits = 1 + (room - 1) % 4
        return fixed % (b"A" * (room - digits), b"1" * digits)

    longest = of_length(tlogproof.MAX_PROOF)
    assert len(longest) == tlogproof.MAX_PROOF
    assert tlogproof.decode(longest).extra.strip(b"\0") == b""
    with pytest.raises(Invalid, match="longer than"):
        tlogproof.decode(of_length(tlogproof.MAX_PROOF + 1))


def test_a_proof_has_at_most_63_hashes():
    root = merkle.EMPTY_ROOT
    assert len(tlogproof.decode(replace(a_proof(), hashes=(root,) * 63).encode()).hashes) == 63
    with pytest.raises(Invalid, match="more than 63"):
        tlogproof.decode(replace(a_proof(), hashes=(root,) * 64).encode())


def test_a_proof_that_ends_early_is_told_where():
    with pytest.raises(Invalid, match="no checkpoint after a blank line"):
        tlogproof.decode(b"c2sp.org/tlog-proof@v1\nindex 1\n")
    with pytest.raises(Invalid, match="index: is missing"):
        tlogproof.decode(b"c2sp.org/tlog-proof@v1\n\n" + a_proof().checkpoint)
    with pytest.raises(Invalid, match="index: is missing"):
        tlogproof.decode(b"c2sp.org/tlog-proof@v1\nextra eA==\n\n" + a_proof().checkpoint)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tlog-proof@v1", b"tlog-proof@v2"),
        (b"index 17", b"index 017"),
        (b"index 17", b"Index 17"),
        (b"index 17\n", b""),
        (b"index 17\n", b"extra \nindex 17\n"),
        (b"index 17\n", b"index 17\nAAAA\n"),
        (b"index 17\n", b"index 17\n\xff\n"),
        (b"index 17\n", b"index 17\n\n"),
        (b"index 17\n", b"index 17\n" + ROOT.encode() + b"\n" + (ROOT.encode() + b"\n") * 63),
        (b"\n\n", b"\n"),
    ],
)
def test_a_malformed_proof_is_refused(old, new):
    with pytest.raises(Invalid):
        tlogproof.decode(a_proof().encode().replace(old, new))


@pytest.mark.parametrize(
    ("level", "index", "width"), [(0, 0, 256), (None, 1234067, 1), (3, 999, 255), (None, 1000, 256), (63, 123456789, 7)]
)
def test_a_path_reads_back_as_what_it_was_made_from(level, index, width):
    assert tiles.parse_path(tiles.path(level, index, width)) == (level, index, width)


@pytest.mark.parametrize(
    "text",
    ["tile/0/0", "tile/0/x000/000", "tile/00/000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/000.p/999", "tile/entries", "x"],
)
def test_a_path_has_one_spelling_and_any_other_is_refused(text):
    with pytest.raises(Invalid):
        tiles.parse_path(text)
