"""One person's copy of one version is the same bytes for good, however it is read; another's is another, of equal length."""

import base64
import csv
import io
import json
import random
from concurrent.futures import ThreadPoolExecutor

import awscrt.checksums
import pytest

from simulator import World, records

SFT = records(600, seed=3)
JSONL, EQUAL, UNEVEN = "orchid-sft-v3/sft.jsonl", "orchid-sft-v3/equal.csv", "orchid-sft-v3/uneven.csv"


def table(lengths):
    """A CSV of invented words with rows of the given lengths."""
    draw = random.Random(4)
    rows = [f"{n:04},{''.join(draw.choices('abcdefghij', k=length))}" for n, length in enumerate(lengths)]
    return "\n".join(["id,answer", *rows, ""]).encode()


EQUAL_CSV, UNEVEN_CSV = table([40] * 300), table(range(10, 70))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("stable")
    world = World.make(root)
    sources = {"sft.jsonl": SFT, "equal.csv": EQUAL_CSV, "uneven.csv": UNEVEN_CSV}
    for name, source in sources.items():
        (root / name).write_bytes(source)
    world.said = world.limen("asset", "register", "orchid-sft-v3", *(str(root / name) for name in sources)).stdout
    world.serve()
    yield world
    world.stop()


def face(reply):
    """What must never change about an answer."""
    names = ("content-length", "etag", "last-modified", "x-amz-checksum-crc64nvme", "content-type")
    return {name: reply.headers.get(name) for name in names}


def whole(someone, key=JSONL):
    return someone.get(key, **{"x-amz-checksum-mode": "ENABLED"})


def same_everywhere(someone, first):
    """Whether reads in every manner give the bytes of `first`."""
    length = len(first.body)
    step = length // 7
    cuts = [(start, min(start + step, length)) for start in range(0, length, step)]
    ranged = [someone.get(JSONL, start=start, end=end) for start, end in cuts]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda cut: someone.get(JSONL, start=cut[0], end=cut[1]), reversed(cuts)))
    resumed = someone.get(JSONL, start=0, end=step).body + someone.get(JSONL, start=step).body
    again = whole(someone)
    joined = {b"".join(r.body for r in ranged), b"".join(r.body for r in reversed(parallel)), resumed, again.body}
    etags = {r.headers["etag"] for r in [*ranged, *parallel]}
    return joined == {first.body} and etags == {first.headers["etag"]} and face(again) == face(first)


def test_whole_ranged_parallel_and_resumed_reads_agree_and_so_do_a_restart_and_a_fresh_session(world):
    first = whole(world.login("q01"))
    assert int(first.headers["content-length"]) == len(first.body)
    crc = base64.b64encode(awscrt.checksums.crc64nvme(first.body).to_bytes(8, "big")).decode()
    assert first.headers["x-amz-checksum-crc64nvme"] == crc
    assert same_everywhere(world.login("q01"), first)
    world.stop()
    world.serve()
    assert same_everywhere(world.login("q01"), first)


def test_the_check_for_sameness_notices_one_read_of_another_persons_copy(world):
    assert not same_everywhere(world.login("q02"), whole(world.login("q01")))


def test_two_people_get_different_copies_of_equal_length_in_which_every_record_is_one_of_the_source(world):
    copies = [whole(world.login(name)) for name in ("q01", "q02", "t01")]
    source = {json.dumps(json.loads(line)) for line in SFT.splitlines()}
    assert len({copy.body for copy in copies}) == len({copy.headers["etag"] for copy in copies}) == 3
    assert len({len(copy.body) for copy in copies}) == 1
    for copy in copies:
        lines = [json.dumps(json.loads(line)) for line in copy.body.splitlines() if line.strip()]
        assert set(lines) <= source
        assert len(lines) == len(set(lines)) >= len(source) // 2


def test_csv_with_rows_of_equal_length_differs_per_person_and_stays_rows_of_the_source(world):
    copies = [world.login(name).get(EQUAL).body for name in ("q01", "q02")]
    source = list(csv.reader(io.StringIO(EQUAL_CSV.decode())))
    assert copies[0] != copies[1]
    assert len(copies[0]) == len(copies[1])
    for copy in copies:
        rows = list(csv.reader(io.StringIO(copy.decode())))
        assert rows[0] == source[0]
        assert all(row in source for row in rows)


def test_csv_without_such_rows_is_said_to_be_impossible_to_fingerprint_and_everybody_gets_the_source(world):
    assert "uneven.csv: cannot be fingerprinted" in world.said
    assert "equal.csv: " not in world.said.replace("uneven.csv: ", "")
    assert {world.login(name).get(UNEVEN).body for name in ("q01", "q02")} == {UNEVEN_CSV}


def test_conditions_and_head_agree_with_get(world):
    q01, q02 = world.login("q01"), world.login("q02")
    got = whole(q01)
    etag = got.headers["etag"]
    head = q01.ask("HEAD", f"orchid/{JSONL}", headers={"x-amz-checksum-mode": "ENABLED"})
    assert (head.status, head.body, face(head)) == (200, b"", face(got))
    assert q01.get(JSONL, **{"If-Match": etag}).body == got.body
    assert q01.get(JSONL, **{"If-None-Match": etag}).status == 304
    assert q01.get(JSONL, **{"If-Match": q02.get(JSONL).headers["etag"]}).status == 412
    assert q01.get(JSONL, **{"If-None-Match": q02.get(JSONL).headers["etag"]}).body == got.body
    assert q01.ask("HEAD", f"orchid/{JSONL}", headers={"If-None-Match": etag}).status == 304
    assert q01.get(JSONL, start=5, end=9, **{"If-Range": etag}).body == got.body[5:9]
    assert q01.get(JSONL, start=5, end=9, **{"If-Range": '"other"'}).body == got.body
    listed = q01.ask("GET", "orchid?list-type=2&prefix=orchid-sft-v3%2Fsft").body.decode()
    assert etag.strip('"') in listed
    assert f"<Size>{len(got.body)}</Size>" in listed
