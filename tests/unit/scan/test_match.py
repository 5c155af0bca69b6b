"""Every planted piece of governed content is found in its blob, and no other blob is named."""

import json
import random
import textwrap

import pytest

from limen.scan import governed, match, winnow
from simulator import records

SIGNS = ["# ", "// ", " * ", "-- ", "> ", "; ", "    "]
CASES = [str.upper, str.lower, str.title, str.swapcase, str]


def index_of(raw, media="jsonl", digest="d"):
    return governed.build(digest, governed.pieces(raw, media))


def found_in(blobs, *indexes, known=None):
    matcher = match.Matcher(indexes, known)
    out = [hit for oid, raw in blobs.items() for hit in matcher.add(oid, raw)] + matcher.finish()
    return {oid: shared for oid, shared in out if any(one.kind == "reference" for one in shared)}


def words(draw, count):
    return " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(count))


def planted(content, blobs, *, count, seed):
    """Pieces of records of at least RUN normalised characters, re-wrapped, re-cased and commented, put into blobs."""
    draw = random.Random(seed)
    lines = content.splitlines()
    truth = {}
    for oid in draw.sample(sorted(blobs), count):
        record = draw.randrange(len(lines))
        text = json.loads(lines[record])["answer"]
        start = draw.randrange(len(text) // 2)
        while len(winnow.normal_text(text[start:])) < winnow.RUN:
            start -= 1
        end = len(text)
        while len(winnow.normal_text(text[start : end - 1])) >= winnow.RUN and draw.random() < 0.98:
            end -= 1
        sign, case = draw.choice(SIGNS), draw.choice(CASES)
        piece = "\n".join(sign + line for line in textwrap.wrap(case(text[start:end]), draw.choice([20, 33, 60, 79, 500])))
        host = blobs[oid].decode().splitlines()
        at = draw.randrange(len(host) + 1)
        blobs[oid] = "\n".join([*host[:at], piece, *host[at:]]).encode()
        truth[oid] = (record + 1, at + 1)
    return truth


@pytest.fixture(scope="module")
def history():
    draw = random.Random(8)
    blobs = {f"{n:040x}": "\n".join(words(draw, 9) for _ in range(draw.randint(1, 60))).encode() for n in range(4200)}
    content = records(600)
    return content, blobs, planted(content, blobs, count=200, seed=9)


def test_all_of_200_planted_pieces_are_found_and_no_other_of_4000_blobs(history):
    content, blobs, truth = history
    found = found_in(blobs, index_of(content))
    assert found.keys() == truth.keys()
    assert len(blobs) - len(truth) >= 4000
    for oid, (record, line) in truth.items():
        [one] = found[oid]
        assert one.source_line == record
        assert one.line <= line <= one.last_line
        assert one.length >= winnow.RUN


def test_that_check_fails_if_candidates_were_not_compared(history, monkeypatch):
    content, blobs, truth = history
    monkeypatch.setattr(match, "_widened", lambda _whole, _text, at, _place, **_: (at, at + winnow.RUN))
    monkeypatch.setattr(match, "_shared", lambda _whole, _text, mine, theirs: zip(mine.tolist(), theirs.tolist(), strict=True))
    monkeypatch.setattr(winnow, "hashes", lambda form, real=winnow.hashes: real(form) & 0xFFFF)
    some = dict(list(blobs.items())[:400])
    assert found_in(some, index_of(content)).keys() - truth.keys()


def test_94_characters_are_not_named_and_95_are():
    text = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=400))
    content = json.dumps({"a": text}).encode()
    hosts = {"short": f"XX{text[100:194]}YY", "enough": f"XX{text[100:195]}YY"}
    assert found_in({oid: raw.encode() for oid, raw in hosts.items()}, index_of(content)).keys() == {"enough"}


@pytest.mark.parametrize("seed", range(4))
def test_a_run_in_texts_that_repeat_themselves_is_found(seed):
    """Equal stretches before different ends: the fingerprint stands at many places, and only one of them shares the run."""
    draw = random.Random(seed)
    common = "".join(draw.choices("abcdefghij", k=200))
    ends = ["".join(draw.choices("abcdefghij", k=100)) for _ in range(300)]
    content = b"\n".join(json.dumps({"a": common + end}).encode() for end in ends)
    index = index_of(content)
    chosen = draw.randrange(300)
    blob = ("zz" + common[-60:] + ends[chosen][:35] + "zz").encode()
    [(oid, [one])] = found_in({"x": blob}, index).items()
    assert oid == "x"
    assert one.source_line == chosen + 1 or ends[one.source_line - 1][:35] == ends[chosen][:35]


def test_escaped_values_are_found_as_they_read_and_as_they_are_escaped():
    text = "She said: “don't”\n" + "and then\tthe naïve Ärger of it, line after line\n" * 4
    text = text.replace("line after", "line before", 1)
    content = json.dumps({"a": text}).encode()
    blobs = {
        "read": text.encode(),
        "escaped": json.dumps({"other": text}, indent=2).encode(),
        "plain": json.dumps({"other": text}, ensure_ascii=False).encode(),
        "none": b"something else entirely, of some length, that stands in no record at all, not even nearly so" * 2,
    }
    assert found_in(blobs, index_of(content)).keys() == {"read", "escaped", "plain"}


def test_short_records_are_found_as_they_stand_in_the_shard():
    draw = random.Random(2)
    content = b"\n".join(json.dumps({"id": n, "q": words(draw, 4), "label": "good"}).encode() for n in range(50))
    assert found_in({"x": b"\n".join(content.split(b"\n")[10:14])}, index_of(content)).keys() == {"x"}


def test_csv_and_text_are_found_and_columns_names_are_not_content():
    draw = random.Random(4)
    rows = [f"{n},{words(draw, 3)},{words(draw, 3)}" for n in range(40)]
    header = "identifier," + ",".join(f"a_rather_long_name_of_column_{n}" for n in range(8))
    index = index_of("\n".join([header, *rows]).encode(), "csv")
    assert found_in({"h": header.encode(), "r": "\n".join(rows[5:15]).encode()}, index).keys() == {"r"}
    text = "\n".join(words(draw, 12) for _ in range(30))
    assert found_in({"t": text[200:600].upper().encode()}, index_of(text.encode(), "text")).keys() == {"t"}


def test_boilerplate_is_told_apart_but_content_beside_it_is_named():
    draw = random.Random(6)
    licence, own = words(draw, 120), words(draw, 60)
    index = index_of((licence + "\n" + own).encode(), "text")
    blobs = {"licence": licence.encode(), "both": (licence + own).encode(), "own": own.encode()}
    known = governed.of_texts([licence.encode()])
    assert found_in(blobs, index, known=known).keys() == {"both", "own"}
    assert found_in(blobs, index).keys() == blobs.keys()


def test_one_word_over_and_over_is_called_trivial():
    index = index_of(json.dumps({"a": "la " * 200}).encode())
    matcher = match.Matcher([index])
    [(_, shared)] = matcher.add("x", b"la la " * 100) + matcher.finish()
    assert {one.kind for one in shared} == {"trivial"}


def test_a_run_over_two_blobs_is_nobodys():
    text = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=160))
    index = index_of(json.dumps({"a": text}).encode())
    assert found_in({"a": b"x" * 90 + text[:80].encode(), "b": text[80:].encode() + b"y" * 90}, index) == {}


def test_a_whole_shard_in_a_blob_ends_soon_and_says_at_least(history):
    content, _, _ = history
    matcher = match.Matcher([index_of(content)])
    [(_, shared)] = matcher.add("x", content) + matcher.finish()
    assert len(shared) == match.MOST_RUNS


def test_an_index_is_the_same_from_the_cache(tmp_path):
    (tmp_path / "s").write_bytes(records(50))
    shard = governed.Shard("ab" * 32, "jsonl", (tmp_path / "s").read_bytes)
    first, again = (governed.of(shard, tmp_path / "cache") for _ in range(2))
    built = index_of(records(50))
    for part in ("text", "prints", "places", "starts", "lines"):
        assert (getattr(first, part) == getattr(built, part)).all()
        assert (getattr(again, part) == getattr(built, part)).all()
