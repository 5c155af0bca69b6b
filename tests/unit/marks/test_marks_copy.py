import base64
import json
import random

import numpy as np
import pytest
from awscrt import checksums
from orchid import jsonl, person, records

from limen.core.errors import NotFound
from limen.marks.copy import Prepared, etag_of, plain_copy


@pytest.fixture
def prepared(lab):
    canaries = [json.dumps({"id": "bait", "answer": "a canary of some length for q01"}).encode()] * 2
    return lab.prepare(jsonl(records(500)), pairs=0.6, withhold=0.2, canaries=canaries)


def records_by_search(copy_bytes, rows, start, end):
    """Which records a byte range touches, from the bytes alone: find each record's text, see if the range meets it."""
    touched = []
    for number, row in enumerate(rows):
        text = json.dumps(row).encode()
        at = copy_bytes.find(text)
        if at >= 0 and at < end and at + len(text) > start:
            touched.append(number)
    return touched


def test_ranges_of_a_copy_are_slices_of_the_whole_in_any_order_and_chunk(lab, prepared):
    copy = lab.copy(prepared, person(5))
    whole = b"".join(copy.read(0, copy.length))
    rng = random.Random(2)
    for _ in range(300):
        start = rng.randrange(copy.length)
        end = rng.choice([start, start + 1, copy.length, copy.length + 99, rng.randrange(start, copy.length)])
        chunk = rng.choice([1, 7, 1000, 1 << 20]) if end - start < 5000 else 1 << 16
        pieces = list(copy.read(start, end, chunk))
        assert b"".join(pieces) == whole[start:end]
        assert all(len(piece) <= chunk for piece in pieces)


def test_a_copy_is_the_same_after_a_restart_and_for_re_enrolled_people(lab, prepared):
    copy, again = lab.copy(prepared, person(5)), lab.copy(Prepared.open(prepared.path), person(5))
    assert b"".join(copy.read(0, copy.length)) == b"".join(again.read(0, copy.length))
    assert (copy.etag, copy.crc64nvme, copy.length) == (again.etag, again.crc64nvme, again.length)


def test_the_checksum_is_that_of_the_bytes(lab, prepared):
    for n in range(6):
        whole = lab.bytes(prepared, person(n))
        expected = base64.b64encode(checksums.crc64nvme(whole).to_bytes(8, "big")).decode()
        assert lab.copy(prepared, person(n)).crc64nvme == expected


def test_etags_differ_between_people_and_versions_and_look_like_s3_s(lab, prepared):
    tags = {lab.copy(prepared, person(n), version=v).etag for n in range(5) for v in ("orchid@1", "orchid@2")}
    assert len(tags) == 10
    assert all(len(tag) == 34 and tag.endswith("-1") for tag in tags)
    assert lab.copy(prepared, person(1), version="x").etag == etag_of(person(1), "x")


def test_ranges_map_back_to_the_records_whose_content_they_touch(lab, prepared):
    rows = records(500)
    rng = random.Random(3)
    for n in range(3):
        copy = lab.copy(prepared, person(n + 2))
        whole = b"".join(copy.read(0, copy.length))
        for _ in range(60):
            start = rng.randrange(copy.length)
            end = min(copy.length, start + rng.choice([0, 1, 50, 400, 3000, copy.length]))
            assert copy.records(start, end).tolist() == records_by_search(whole, rows, start, end)
            # The control: somebody else's copy of the same range holds other records.
        other = lab.copy(prepared, person(n + 20))
        assert other.records(0, copy.length).tolist() != records_by_search(whole, rows, 0, copy.length)


def test_padding_and_terminators_touch_nobody_s_record(lab):
    prepared = lab.prepare(b'{"a": "%s"}\n{"a": "%s"}\n' % (b"x" * 30, b"y" * 60))
    entry = prepared.entries[0]
    shorter = next(n for n in range(200) if lab.copy(prepared, person(n)).records(0, 8).tolist() == [0])
    copy = lab.copy(prepared, person(shorter))
    assert copy.length == 70
    assert copy.records(38, 39).tolist() == [0]
    assert copy.records(39, 70).tolist() == []
    assert {int(entry["length0"]), int(entry["length1"])} == {39, 69}


def test_spans_say_where_a_record_lies(lab, prepared):
    rows = records(500)
    copy = lab.copy(prepared, person(2))
    whole = b"".join(copy.read(0, copy.length))
    spans = copy.spans(np.arange(500))
    assert len(spans) == len(copy.records(0, copy.length))
    assert all(json.loads(whole[start:end]) == rows[number] for number, start, end in spans.tolist())


def test_large_common_stretches_and_large_records_are_read_in_bounded_pieces(lab):
    big = [{"id": f"b{n}", "answer": chr(97 + n) * 300_000 + " end"} for n in range(4)]
    prepared = lab.prepare(jsonl([*big, *records(100)]), pairs=[(0, 1), (10, 11)])
    assert int(np.diff(prepared.segments).max()) <= 1 << 16
    for n in range(3):
        copy = lab.copy(prepared, person(n))
        whole = b"".join(copy.read(0, copy.length, chunk=4096))
        assert {json.loads(line)["id"] for line in whole.splitlines()} & {"b0", "b1"}
        assert len(whole) == copy.length


def test_a_prepared_version_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        Prepared.open(tmp_path / "nothing")


def test_an_unmarked_shard_is_the_registered_bytes_with_records_all_the_same(tmp_path):
    path = tmp_path / "guide.txt"
    path.write_bytes(b"one\ntwo\n\nthree\n")
    copy = plain_copy(path, etag="e-1", content_type="text/plain", media="text")
    assert b"".join(copy.read(0, 99, 4)) == path.read_bytes()
    assert copy.records(0, copy.length).tolist() == [0, 1]
    assert copy.records(9, 10).tolist() == [1]
    assert copy.crc64nvme == base64.b64encode(checksums.crc64nvme(path.read_bytes()).to_bytes(8, "big")).decode()
    whole = plain_copy(path, etag="e-1", content_type="text/plain")
    assert whole.records(3, 4).tolist() == [0]
    assert whole.records(4, 4).tolist() == []
    (tmp_path / "empty").touch()
    assert list(plain_copy(tmp_path / "empty", etag="e-1", content_type="text/plain").read(0, 10)) == []


def test_long_runs_of_one_variant_are_handed_out_as_they_lie_and_short_ones_are_gathered(lab):
    big = [{"id": f"b{n}", "answer": f"{n}" * 200_000 + " end"} for n in range(8)]
    long = lab.prepare(jsonl(big), pairs=[(0, 1), (2, 3), (4, 5), (6, 7)])
    short = lab.prepare(jsonl(records(400)))
    for n in range(4):
        copy, whole = lab.copy(long, person(n)), lab.bytes(long, person(n))
        assert all(piece.obj is long.base.obj or piece.obj is long.other.obj for piece in copy.read(0, copy.length))
        for start in range(0, copy.length, 77_777):
            assert b"".join(copy.read(start, start + 150_000)) == whole[start : start + 150_000]
        gathered = list(lab.copy(short, person(n)).read(0, short.length))
        assert not any(piece.obj is short.base.obj or piece.obj is short.other.obj for piece in gathered)
