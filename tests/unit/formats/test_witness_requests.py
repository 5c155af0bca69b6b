"""What is said to a witness and heard from it."""

from __future__ import annotations

import base64
import hashlib

import pytest

from limen.core.errors import Invalid
from limen.formats import checkpoint, merkle, note, witness
from limen.formats.cosignature import Cosigner

LOG = note.Signer("log.example/one", bytes(range(32)))
NOTE = note.sign(checkpoint.encode(LOG.name, 7, bytes(32)), LOG)
HASHES = tuple(merkle.leaf_hash(bytes([i])) for i in range(63))
LINE = base64.b64encode(HASHES[0]) + b"\n"


@pytest.mark.parametrize("count", [0, 1, 63])
def test_a_request_comes_back_as_it_was_sent(count):
    request = witness.Request(5, HASHES[:count], NOTE)

    assert witness.decode(request.encode()) == request


def test_a_request_reads_as_the_specification_shows_it():
    assert witness.Request(5, HASHES[:1], NOTE).encode() == b"old 5\n" + LINE + b"\n" + NOTE


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "request"),
        (b"old 5\n" + LINE, "request"),
        (b"new 5\n\n" + NOTE, "old size"),
        (b"\n\n" + NOTE, "old size"),
        (b"old 05\n\n" + NOTE, "old size"),
        (b"old -5\n\n" + NOTE, "old size"),
        (b"old 5 \n\n" + NOTE, "old size"),
        (b"old \n\n" + NOTE, "old size"),
        (b"old 5\n" + LINE + b"!\n\n" + NOTE, "proof line 2"),
        (b"old 5\nAAAA\n\n" + NOTE, "proof line 1"),
        (b"old 5\n" + LINE * 64 + b"\n" + NOTE, "proof"),
        ("old 5\n— \n\n".encode() + NOTE, "request"),
        (b"old 5\n\n" + NOTE[:20], "note"),
        (b"old 5\n\n", "note"),
        (b"old 5\n\n" + b"a" * (witness.MAX_REQUEST - 7), "note"),
        (b"old 5\n\n" + b"a" * (witness.MAX_REQUEST - 6), "request"),
    ],
)
def test_a_malformed_request_is_refused_and_the_line_named(raw, field):
    with pytest.raises(Invalid) as refused:
        witness.decode(raw)
    assert refused.value.field == field


def test_a_witnesss_answer_is_its_signature_lines():
    one = Cosigner.ed25519("w.example/1", bytes(32)).cosign(note.parse(NOTE)[0].encode(), 5)

    assert witness.cosignatures(note.line(one) + note.line(one)) == (one, one)


@pytest.mark.parametrize("raw", [b"", b"\n", b"no dash\n", NOTE, b"\xff\n", b"a" * (note.MAX_NOTE + 1)])
def test_an_answer_that_is_no_signature_lines_is_refused(raw):
    with pytest.raises(Invalid):
        witness.cosignatures(raw)
    whole = note.line(note.Signature("w", bytes(4), b"1"))
    with pytest.raises(Invalid, match="no newline"):
        witness.cosignatures(whole[:-1])


def test_a_recorded_size_is_one_plain_number():
    assert witness.recorded_size(b"20852163\n") == 20852163
    for raw in (b"", b"5", b"55", b"5\n\n", b"05\n", b"-1\n", b"\xff\n"):
        with pytest.raises(Invalid):
            witness.recorded_size(raw)


def test_a_witness_shows_a_log_under_the_hash_of_its_origin():
    assert witness.monitoring_path(LOG.name) == hashlib.sha256(b"log.example/one").hexdigest() + "/checkpoint"
