"""Outside bytes into marks: leaked samples, sources to prepare, and stored registries. Only our own errors come out."""

import gzip
import json
import random

import numpy as np
import pytest

from limen.core.errors import LimenError
from limen.core.types import Recipient
from limen.marks.copy import Prepared, copy_of
from limen.marks.index import Index
from limen.marks.keys import MarkKey
from limen.marks.pieces import Pieces
from limen.marks.prepare import Unmarked, prepare
from limen.marks.registry import Registry
from limen.marks.sample import sample_of
from limen.marks.unpack import Limits

KEY = MarkKey("k", b"k" * 32, b"s" * 32)
ODD = [1.5, None, True, {"é": "ß & <b>"}]
ROWS = [{"id": n, "prompt": f"what is the colour of number {n}?", "answer": ["it is", n, *ODD]} for n in range(6)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = (
    b'id,text\r\n1,"a ""quoted"" one\r\nwith two lines and more"\r\n'
    b"2,plain but long enough to count\r\n3,other but long enough to count\r\n"
)
TEXT = "A paragraph of some length\nin two lines.\n\nAnother one — with more words — in it.\n\n\nLast".encode()
SAMPLES = [JSONL, CSV, TEXT, gzip.compress(JSONL), json.dumps(ROWS).encode(), TEXT.decode().encode("utf-16"), b""]
SPICE = [
    b'"',
    b"\n",
    b"\r\n",
    b"\r",
    b"{",
    b"[" * 200,
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"&amp;",
    b"<",
    b"](",
    b"\x1e",
    b",",
    b"\\ud800",
    b"1e999",
]


def mutated(rng, sample):
    raw = bytearray(sample)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                raw[at:at] = rng.choice(SPICE)
            case 2:
                del raw[at : at + rng.randrange(12)]
            case 3:
                del raw[at:]
            case 4:
                raw[at:at] = raw[: rng.randrange(40)]
    return bytes(raw)


def outcome(act):
    """What it gave, or our own error; anything else is a bug and comes out."""
    try:
        return act()
    except LimenError as refusal:
        return refusal


def test_a_hundred_thousand_samples_are_read_or_refused():
    rng = random.Random(1)
    for n in range(100_000):
        sample = rng.randbytes(rng.randrange(60)) if n % 10 == 0 else mutated(rng, rng.choice(SAMPLES))
        reading = sample_of(sample, limits=Limits(total=5000)).read()
        assert all(isinstance(pieces, Pieces) for pieces in reading.batches())


def test_samples_are_looked_up_without_a_fault(tmp_path):
    (tmp_path / "source").write_bytes(JSONL + CSV)
    index = Index([prepare(tmp_path / "source", media="jsonl", key=KEY, registry=tmp_path / "r", out=tmp_path / "o", least=1)])
    rng = random.Random(2)
    for _ in range(2500):
        sample = mutated(rng, rng.choice(SAMPLES))
        index.observe(sample)


@pytest.mark.parametrize(("media", "sample"), [("jsonl", JSONL), ("csv", CSV), ("text", TEXT)])
def test_any_source_is_served_in_copies_whose_common_part_is_untouched(tmp_path, media, sample):
    rng = random.Random(3)
    people = [Recipient(f"v/{n}", "v", f"c{n}", "f") for n in range(2)]
    for n in range(120):
        raw = mutated(rng, sample * 2 if media != "csv" else sample)
        (tmp_path / "source").write_bytes(raw)
        made = outcome(
            lambda n=n: prepare(
                tmp_path / "source",
                media=media,
                key=KEY,
                registry=tmp_path / f"r{n}",
                out=tmp_path / "o",
                least=1,
                withhold=0.3 if media == "jsonl" else 0.0,
                pairs=0.7,
            )
        )
        assert isinstance(made, Prepared | Unmarked)
        if isinstance(made, Unmarked):
            continue
        copies = [copy_of(made, p, key=KEY, version_id="v") for p in people]
        texts = [b"".join(copy.read(0, copy.length)) for copy in copies]
        assert len(texts[0]) == len(texts[1]) == made.length
        for copy, text in zip(copies, texts, strict=True):
            for _, start, end in copy.spans(np.arange(made.records)).tolist():
                assert text[start:end] in raw


def test_registries_are_loaded_or_refused(tmp_path):
    (tmp_path / "source").write_bytes(JSONL)
    prepare(tmp_path / "source", media="jsonl", key=KEY, registry=tmp_path / "r", out=tmp_path / "o", least=1)
    whole = (tmp_path / "r").read_bytes()
    rng = random.Random(4)
    for _ in range(2000):
        (tmp_path / "r").write_bytes(mutated(rng, whole))
        got = outcome(lambda: Registry.load(tmp_path / "r"))
        assert isinstance(got, Registry | LimenError)
