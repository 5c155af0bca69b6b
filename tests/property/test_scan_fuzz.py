"""Whatever a blob holds it is read, and what is named is exactly what shares a run: against a search that tries every place."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile

import numpy as np

from limen.core.errors import Invalid
from limen.scan import governed, manifest, match, winnow
from limen.scan.keyring import Keyring
from limen.scan.secrets import secret_at, unpacked

INPUTS = 100_000


def zipped(raw):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", raw)
    return packed.getvalue()


SAMPLES = [
    json.dumps({"a": "text “quoted” and\n long enough " * 4, "b": [1, {"c": "d" * 120}]}).encode(),
    b"-----BEGIN RSA PRIVATE KEY-----\nMIIEvgIBADANBgkqhkiG9w0BAQEFAASC\n-----END RSA PRIVATE KEY-----\n",
    b"token = dG9rZW49Z2hwX0FCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFla # base64\n" * 3,
    "Größe, naïve café, ﬁne ẞ\n".encode() * 5,
    "utf sixteen text\n".encode("utf-16") * 3,
    gzip.compress(b"packed text\n" * 9),
    zipped(b"packed text\n" * 9),
    bytes(range(256)) * 2,
]


def bent(draw, raw):
    out = bytearray(raw)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(out) + 1)
        match draw.randrange(4):
            case 0:
                out[at : at + draw.randint(0, 9)] = b""
            case 1:
                out[at:at] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 5)))
            case 2:
                out[at : at + 1] = draw.choice([b"\0", b"\n", b"\\", b'"', b"{", b"\xff\xfe", b"-----BEGIN X-----", b"="])
            case _:
                out = out[:at] or out
    return bytes(out)


def test_a_hundred_thousand_blobs_are_read_whatever_they_hold():
    draw = random.Random(1)
    keyring = Keyring.of(b"k" * 32)
    for number in range(INPUTS):
        raw = bent(draw, draw.choice(SAMPLES))
        if number % 10 == 0:
            assert b"".join(winnow.lines(raw)) == winnow.normal(raw), raw
            list(governed.pieces(raw, draw.choice(["jsonl", "csv", "text"])))
        text = unpacked(raw, "a" if number % 50 == 0 else "")
        first = draw.randrange(60)
        found = text and secret_at(text, draw.randrange(1, 6), first, first + draw.randrange(60), draw.choice([None, "base64"]))
        if found and number % 10 == 0:
            keyring.seal(found)


def test_a_manifest_that_was_bent_is_refused_by_its_digest_and_by_its_form():
    draw = random.Random(2)
    whole = manifest.encode(manifest.Manifest(repo="r", subject="git", keys=(manifest.Key(key="k", kind="x"),)))
    for _ in range(2000):
        raw = bent(draw, whole)
        try:
            manifest.decode(raw, sha256=hashlib.sha256(raw).hexdigest())
        except Invalid:
            continue


def shares(content, blob):
    """Whether a blob has a run of RUN characters of one of the pieces, by trying every place."""
    return any(piece[at : at + winnow.RUN] in blob for piece in content for at in range(len(piece) - winnow.RUN + 1))


def stitched(draw, stretches):
    """A text of stretches of the same few, cut anywhere: full of runs that are nearly long enough."""
    out = ""
    while len(out) < 600:
        some = draw.choice(stretches)
        begin = draw.randrange(len(some) - 20)
        out += some[begin : begin + draw.choice([20, 60, 90, 94, 95, 96, 150])]
        out += draw.choice(["", "x", "qq"])
    return out


def outcomes(count):
    """(what every place tried says, what the matcher says) of many small worlds."""
    draw = random.Random(3)
    for _ in range(count):
        letters = draw.choice(["ab", "abcdefghijklmnopqrstuvwxyz"])
        stretches = ["".join(draw.choices(letters, k=200)) for _ in range(4)]
        content = [stitched(draw, stretches) for _ in range(3)]
        blob = stitched(draw, [*stretches[:2], "".join(draw.choices(letters, k=200))])
        index = governed.build("d", governed.pieces(b"\n".join(json.dumps({"a": c}).encode() for c in content), "jsonl"))
        matcher = match.Matcher([index])
        yield shares(content, blob), bool(matcher.add("x", blob.encode()) + matcher.finish())


def test_what_is_named_is_what_a_search_of_every_place_finds():
    told = list(outcomes(400))
    assert [one for one, _ in told] == [other for _, other in told]
    assert {True, False} == {one for one, _ in told}


def test_a_matcher_that_keeps_one_place_of_each_fingerprint_is_caught(monkeypatch):
    def first_only(_text, prints, places):
        some, at = np.unique(prints, return_index=True)
        return some, places[at]

    monkeypatch.setattr(governed, "_distinct", first_only)
    told = list(outcomes(400))
    assert [one for one, _ in told] != [other for _, other in told]
