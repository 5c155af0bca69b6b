"""100,000 bent inputs for each parser of the log's formats: it answers, or it raises an error of ours."""

from __future__ import annotations

import random

import pytest

from limen.core.errors import LimenError
from limen.formats import checkpoint, merkle, note, tiles, tlogproof, witness
from limen.formats.cosignature import Cosigner, CosignerKey
from limen.formats.note import Signer, Verifier
from limen.formats.tlogpolicy import Policy
from limen.formats.tlogproof import Proof

INPUTS = 100_000
SIGNER = Signer("example.com/log", bytes(32))
LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(11)]
TEXT = checkpoint.encode(SIGNER.name, 11, merkle.root_of(LEAVES))
NOTE = note.sign(TEXT, SIGNER)
PATH = merkle.inclusion_proof(4, 11, lambda start, end: merkle.root_of(LEAVES[start:end]))
PROOF = Proof(4, tuple(PATH), NOTE, b"extra").encode()
BUNDLE = tiles.encode_bundle([b"", b"one", b"two" * 40])
TILE = tiles.encode_tile(LEAVES)
WITNESSES = [Cosigner.ed25519(f"w.example/{i}", bytes([i] * 32)) for i in (1, 2, 3)]
COSIGNATURE = WITNESSES[0].cosign(TEXT.encode(), 5)
LINES = b"".join(note.line(one.cosign(TEXT.encode(), 5)) for one in WITNESSES)
POLICY = f"log {SIGNER.vkey} http://log/\n" + "".join(f"witness W{i} {one.key.vkey}\n" for i, one in enumerate(WITNESSES))
POLICY += "group both all W0 W1\ngroup most 1 both W2\nquorum most\n"
REQUEST = witness.Request(4, tuple(PATH), NOTE).encode()
PIECES = [b"\n", b"\n\n", "— ".encode(), b" ", b"=", b"+", b"0", b"\x00", b"\xff", b"\xff\xff", b"index 1", b"extra ", b"A" * 44]


def bent(sample, rng):
    """A few random edits of a sample, or now and then plain noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(80))
    raw = bytearray(sample)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0 if raw:
                raw[at % len(raw)] ^= 1 << rng.randrange(8)
            case 1:
                raw[at:at] = rng.choice(PIECES)
            case 2:
                del raw[at : at + rng.randrange(1, 20)]
            case 3:
                raw[at:at] = raw[at : at + rng.randrange(1, 60)]
            case _:
                del raw[at:]
    return bytes(raw)


def read_vkey(raw):
    Verifier.from_vkey(raw.decode("utf-8", "surrogateescape"))


def read_checkpoint(raw):
    checkpoint.decode(raw.decode("utf-8", "surrogateescape"))


def read_note(raw):
    text, _ = note.open_note(raw, [SIGNER.verifier])
    assert text == TEXT


def read_proof(raw):
    proof = tlogproof.decode(raw)
    assert tlogproof.decode(proof.encode()) == proof


def read_bundle(raw):
    entries = tiles.decode_bundle(raw, 2)
    assert raw.startswith(tiles.encode_bundle(entries))


def read_tile(raw):
    assert tiles.encode_tile(tiles.decode_tile(raw, 11)) == raw[: 11 * 32]


def read_cosigner_key(raw):
    CosignerKey.from_vkey(raw.decode("utf-8", "surrogateescape"))


def read_cosignature(raw):
    WITNESSES[0].key.verify(TEXT.encode(), raw)
    assert raw == COSIGNATURE.blob


def read_policy(raw):
    assert Policy.read(raw) == Policy.read(raw.decode("utf-8", "surrogateescape"))


def read_lines(raw):
    assert b"".join(note.line(one) for one in witness.cosignatures(raw)) == raw


def read_request(raw):
    request = witness.decode(raw)
    assert request.encode() == raw


def read_recorded_size(raw):
    assert b"%d\n" % witness.recorded_size(raw) == raw


@pytest.mark.parametrize(
    ("read", "sample"),
    [
        (read_note, NOTE),
        (read_proof, PROOF),
        (read_bundle, BUNDLE),
        (read_tile, TILE),
        (read_checkpoint, TEXT.encode()),
        (read_vkey, SIGNER.vkey.encode()),
        (read_cosigner_key, WITNESSES[0].key.vkey.encode()),
        (read_cosignature, COSIGNATURE.blob),
        (read_policy, POLICY.encode()),
        (read_lines, LINES),
        (read_request, REQUEST),
        (read_recorded_size, b"20852163\n"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_whatever_bytes_come_only_our_errors_go_out(read, sample):
    rng = random.Random(f"limen {read.__name__}")
    read(sample)
    answered = 0
    for _ in range(INPUTS):
        try:
            read(bent(sample, rng))
        except LimenError:
            continue
        answered += 1
    assert answered < INPUTS
