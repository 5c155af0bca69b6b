"""Whatever is in a log, its importer goes on: fuzzed lines, broken arrays, lines longer than memory, damaged gzip.

Between the fuzzed lines stand whole ones, and each of these must be found; every piece that could not be read must be told
by its input and a true offset. The control readers, which give up, or which tell nothing, fail the same checks.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import time
import tracemalloc
import zlib

import pytest

from limen.observe.generic import Generic, Mapping
from limen.observe.inputs import Feed, Input
from limen.observe.kinds import reader_of
from limen.observe.pieces import Lines, Piece
from limen.observe.reader import each
from limen.observe.report import Pulse, Report
from limen.observe.rows import Rows
from logs import APRIL, access_line, cloudtrail, github, vault

MAPPING = Mapping.read(
    b"""
name = "registry"
time = "when"
principal = "{who}"
resource = "{what}"
bytes = "size"
network = "ip"
action = "read"
[outcome]
field = "status"
""",
    "map",
)
KINDS = ("cloudtrail", "s3access", "github", "vault", "generic")
MARK = "whole-"  # begins the principals, or what else is free, of the lines that must be found
MARKED = re.compile(f"{MARK}([0-9]{{1,9}})(?:/x)?$")
NOW_US = (APRIL + 86_400 * 365) * 1_000_000


def reader(kind):
    return Generic(MAPPING) if kind == "generic" else reader_of(kind)


def line(kind, number):
    at = APRIL + number
    if kind == "s3access":
        return access_line(number, at=at, key=f"{MARK}{number}")[:-1]
    made = {
        "cloudtrail": lambda: cloudtrail(number, at=at, key=f"{MARK}{number}"),
        "github": lambda: github(number, at=at, repo=f"{MARK}{number}/x"),
        "vault": lambda: vault(number, at=at, path=f"{MARK}{number}/x"),
        "generic": lambda: {"when": at, "who": "w", "what": f"{MARK}{number}", "size": 3, "ip": "10.0.0.1", "status": 200},
    }[kind]()
    return json.dumps(made, separators=(",", ":")).encode()


ODD = (
    b'"\xff\xfe"',
    b"\\ud800",
    b"1e999",
    b"-1",
    b"99999999999999999999999999",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[" * 2000,
    b'{"a":' * 2000,
    b"\x00",
    b"\\",
    b'"',
    b"\xe2\x80\xa8",
    b"\r",
    b'"2026-13-45T99:99:99Z"',
    b"arn:",
)


def fuzzed(raw, draw):
    """A line with some of it changed, and no newline in it."""
    line = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(line) + 1)
        match draw.randrange(6):
            case 0:
                line[at : at + draw.randrange(1, 40)] = b""
            case 1:
                line[at:at] = draw.choice(ODD)
            case 2:
                line[at : at + draw.randrange(1, 20)] = draw.choice(ODD)
            case 3:
                line[at : at + 4] = draw.randbytes(draw.randrange(1, 9))
            case 4:
                del line[at:]
            case 5:
                line[at:at] = line[: draw.randrange(len(line) + 1)]
    return bytes(line).replace(b"\n", b" ")


class Found:
    """What a reader made of some bytes."""

    def __init__(self, kind, chunks, *, read=None):
        self.resources = []
        source = Input(f"{kind}.log", 0, lambda: iter(chunks))
        feed = Feed(source)
        rows = Rows("s", kind, self.take, most=5000)
        self.report = Report(source.name, gap_us=3_600_000_000, latest_us=NOW_US, pulse=Pulse())
        (read or reader(kind).read)(feed, rows, self.report)
        rows.flush()
        self.holes = self.report.end()

    def take(self, batch):
        batch.validate(full=True)
        self.resources += batch.column("resource").to_pylist()

    def whole(self):
        """The numbers of the marked lines that were found."""
        return {int(found.group(1)) for text in self.resources if (found := MARKED.search(text))}


def in_chunks(raw, size=1 << 16):
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def survives(kind, count, *, read=None):
    """Fuzz lines of a kind, whole ones every tenth; check what was found of them."""
    draw = random.Random(f"{kind} {count}")
    lines, expected = [], set()
    for number in range(count):
        raw = line(kind, number)
        if number % 10 == 0:
            expected.add(number)
            lines.append(raw)
        else:
            lines.append(fuzzed(raw, draw))
    found = Found(kind, in_chunks(b"\n".join(lines) + b"\n"), read=read)
    assert expected <= found.whole()
    starts, at = set(), 0
    for each_line in lines:
        starts.add(at)
        at += len(each_line) + 1
    assert found.report.bad_count > count // 20
    assert {bad.offset for bad in found.report.bad} <= starts
    assert {bad.input for bad in found.report.bad} == {f"{kind}.log"}
    assert all(bad.why and len(bad.why) <= 200 for bad in found.report.bad)
    assert found.holes
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_importer_survives_fuzzed_lines(kind):
    survives(kind, 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_importer_survives_a_hundred_thousand_fuzzed_lines(kind):
    survives(kind, 100_000)


def test_a_reader_that_gives_up_fails_that_check():
    def read(feed, rows, report):
        for pieces in Lines(feed.chunks()):
            for piece in pieces:
                before = report.bad_count
                each([piece], lambda raw: reader("generic").take(raw), rows, report)
                if report.bad_count > before:
                    return

    with pytest.raises(AssertionError):
        survives("generic", 1000, read=read)


def test_a_reader_that_tells_wrong_offsets_fails_that_check():
    def read(feed, rows, report):
        for pieces in Lines(feed.chunks()):
            each([Piece(p.offset + 3, p.text, p.why) for p in pieces], reader("generic").take, rows, report)

    with pytest.raises(AssertionError):
        survives("generic", 1000, read=read)


def broken_array(kind, count, draw):
    """An array of whole records, some of them broken; the bytes and the whole ones' numbers."""
    records, expected = [], set()
    for number in range(count):
        raw = line(kind, number)
        if number % 7 == 3:
            records.append(fuzzed(raw, draw))
        else:
            records.append(raw)
            expected.add(number)
    return b'{"Records":[' + b",".join(records) + b"]}", expected


@pytest.mark.parametrize("kind", ["cloudtrail", "github"])
@pytest.mark.parametrize("seed", range(4))
def test_a_broken_array_costs_little_more_than_what_is_broken(kind, seed):
    draw = random.Random(f"{kind} {seed}")
    raw, expected = broken_array(kind, 700, draw)
    found = Found(kind, in_chunks(raw, 5000))
    lost = expected - found.whole()
    assert found.report.bad_count > 30
    # What follows a string that is never closed may be swallowed with it: never more than the neighbours of the broken.
    assert len(lost) <= 40
    assert all({number - 1, number - 2} & set(range(3, 700, 7)) for number in lost)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 9, 200, 1500])
def test_of_damaged_gzip_everything_whole_before_the_damage_is_found(kind, cut):
    raw = b"\n".join(line(kind, number) for number in range(400)) + b"\n"
    packed = gzip.compress(raw, 1)
    cut_off = packed[:-cut]
    there = zlib.decompressobj(31).decompress(cut_off)
    found = Found(kind, in_chunks(cut_off, 100))
    assert found.whole() == set(range(there.count(b"\n")))
    assert "gzip" in found.report.damaged
    assert there.rfind(b"\n") + 1 <= found.report.damaged_at <= len(there)
    assert found.holes
    twisted = packed[: len(packed) // 2] + b"\x00\xff" * 20 + packed[len(packed) // 2 :]
    assert "damaged" in Found(kind, [twisted]).report.damaged


def endless(kind, length):
    """A stream with a line of that length in it, between two whole ones; its memory is one chunk."""
    before, after = line(kind, 1) + b"\n", b"\n" + line(kind, 2) + b"\n"
    begun = line(kind, 3)[:200]
    chunk = b"x" * (1 << 20)
    yield before + begun
    for _ in range(length >> 20):
        yield chunk
    yield after


def reading(kind, chunks, **more):
    """What was found, and the most memory that was held for it at any moment."""
    tracemalloc.start()
    try:
        found = Found(kind, chunks, **more)
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def passes_over(kind, length):
    began = time.monotonic()
    found, most = reading(kind, endless(kind, length))
    assert found.whole() == {1, 2}
    assert [(bad.offset, bad.why) for bad in found.report.bad] == [(len(line(kind, 1)) + 1, "is longer than 4194304 bytes")]
    print(f"{kind}: a line of {length >> 20} MiB, at most {most >> 20} MiB held, {time.monotonic() - began:.1f} s")
    return most


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_longer_than_any_is_passed_over_in_bounded_memory(kind):
    assert passes_over(kind, 100 << 20) < 40 << 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_ten_gigabytes_is_passed_over_in_bounded_memory(kind):
    assert passes_over(kind, 10 << 30) < 40 << 20


def test_a_reader_that_holds_a_line_fails_that_check():
    def read(feed, rows, report):
        whole = b"".join(feed.chunks())
        each([Piece(0, text) for text in whole.split(b"\n") if text], reader("generic").take, rows, report)

    assert reading("generic", endless("generic", 100 << 20), read=read)[1] > 40 << 20


@pytest.mark.parametrize("kind", ["cloudtrail", "github", "generic"])
def test_a_record_longer_than_any_in_an_array_is_passed_over(kind):
    def stream():
        yield b"[" + line(kind, 1) + b"," + line(kind, 3)[:60]
        for _ in range(64):
            yield b"x" * (1 << 20)
        yield b'"},' + line(kind, 2) + b"]"

    found = Found(kind, stream())
    assert found.whole() == {1, 2}
    assert found.report.bad[0].offset == len(line(kind, 1)) + 2
    assert not found.report.damaged


def test_a_gzip_bomb_is_read_in_bounded_memory():
    packed = gzip.compress(b"[" * (60 << 20), 1)
    found, most = reading("github", [packed])
    assert found.report.bad_count >= 1
    assert most < 60 << 20
