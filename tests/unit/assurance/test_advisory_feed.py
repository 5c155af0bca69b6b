"""What a feed's bytes hold: every form gives the same pieces, and what can't be read is a piece with a reason."""

from __future__ import annotations

import json
import struct
import zipfile

import pytest

import feeds
from limen.assurance.advisories import feed
from limen.core.errors import Invalid

ONE = json.dumps(feeds.record("A-1", feeds.affected()), indent=1).encode()
TWO = json.dumps(feeds.record("A-2", summary="café")).encode()


def pieces(tmp_path, content):
    path = tmp_path / "feed"
    path.write_bytes(content)
    found = list(feed.pieces(path))
    for piece in found:
        if not piece.bad:
            assert feed.read(path, piece.offset, piece.length, piece.crc) == piece.raw
    return found


@pytest.mark.parametrize(
    "content",
    [
        b"".join(feed.sequence([ONE + b"\n\n", TWO])),
        b"[" + ONE + b" ,\n" + TWO + b"]\n",
        b"\n  " + json.dumps(json.loads(ONE), indent=None).encode() + b"\r\n\n" + TWO,
        feeds.zipped({"A-1.json": ONE + b"\n", "deep/A-2.json": TWO}),
        feeds.zipped({"A-1.json": ONE, "deep/": b"", "deep/A-2.json": TWO}, method=zipfile.ZIP_STORED),
    ],
    ids=["sequence", "list", "lines", "deflated", "stored"],
)
def test_every_form_gives_the_same_records(tmp_path, content):
    found = pieces(tmp_path, content)
    assert [json.loads(piece.raw) for piece in found] == [json.loads(ONE), json.loads(TWO)]
    assert not any(piece.bad for piece in found)


def test_one_record_may_span_lines(tmp_path):
    assert [piece.raw for piece in pieces(tmp_path, b" " + ONE + b"\n")] == [ONE]
    assert pieces(tmp_path, b"") == [feed.Piece(b"", 0, 0)]


def test_a_list_that_breaks_off_gives_what_came_before(tmp_path):
    found = pieces(tmp_path, b"[" + TWO + b", {")
    assert found[0].raw == TWO
    assert "from byte" in found[1].bad
    assert "from byte" in pieces(tmp_path, b"[" + TWO + TWO)[1].bad
    assert pieces(tmp_path, b"[ ]") == []


@pytest.mark.parametrize("cut", [4, 40, 60])
def test_a_zip_that_breaks_off_is_one_piece_with_a_reason(tmp_path, cut):
    [found] = pieces(tmp_path, feeds.zipped({"a": ONE})[:-cut])
    assert "zip" in found.bad


def test_a_member_that_cannot_be_read_stops_no_other(tmp_path):
    content = bytearray(feeds.zipped({"a": ONE, "b": TWO}))
    content[content.index(b"a" + ONE[:0]) + 10] ^= 0xFF  # within the first member's packed bytes
    found = pieces(tmp_path, bytes(content))
    assert found[0].bad
    assert found[1].raw == TWO


def test_a_member_that_inflates_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "MAX_RECORD", 1000)
    found = pieces(tmp_path, feeds.zipped({"bomb": b" " * 1_000_000, "b": TWO}))
    assert [bool(piece.bad) for piece in found] == [True, False]


def test_a_zip_with_wide_fields_is_read(tmp_path):
    """The directory of a zip of more than 65,535 members, or of 4 GiB, says so in fields of its own (ZIP64)."""
    plain = feeds.zipped({"a": ONE}, method=zipfile.ZIP_STORED)
    directory, end = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    header = bytearray(plain[directory:end])
    extra = struct.pack("<HHQQQ", 1, 24, len(ONE), len(ONE), 0)  # APPNOTE 4.5.3
    struct.pack_into("<LL", header, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", header, 30, len(extra))
    struct.pack_into("<L", header, 42, 0xFFFFFFFF)
    header += extra
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(header), directory)  # 4.3.14
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, directory + len(header), 1)  # 4.3.15
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    content = plain[:directory] + bytes(header) + wide + locator + tail
    assert [piece.raw for piece in pieces(tmp_path, content)] == [ONE]
    with zipfile.ZipFile(tmp_path / "feed") as archive:  # Python's own reader takes it for a zip too
        assert archive.read("a") == ONE


def test_a_directory_that_lies_about_places_is_an_error_and_no_crash(tmp_path):
    content = bytearray(feeds.zipped({"a": ONE}))
    place = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, place + 42, 0xFFFFFF00)
    assert pieces(tmp_path, bytes(content))[0].bad
    struct.pack_into("<L", content, content.index(b"PK\x05\x06") + 16, 7)
    assert pieces(tmp_path, bytes(content))[0].bad


def test_more_records_than_a_feed_may_have_are_said_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "MOST", 2)
    found = pieces(tmp_path, feeds.raw({}, {}, {}, {}))
    assert len(found) == 3
    assert "more than 2 records" in found[2].bad


def test_bytes_that_are_gone_are_said(tmp_path):
    path = tmp_path / "feed"
    path.write_bytes(feeds.zipped({"a": ONE}))
    [piece] = feed.pieces(path)
    with pytest.raises(Invalid):
        feed.read(path, piece.offset, piece.length, 1)
