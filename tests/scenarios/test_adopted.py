"""A bucket or a directory that was adopted where it rests is served under every promise that limen makes of its own bytes."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import pytest

from simulator import World
from upstreams import BUCKET, Troubled, moto, seaweed

SIZES = {"a.bin": 3_000_001, "deep/b.jsonl": 70_000, "empty.txt": 0}
WHERE = "orchid-blob"


class Place(NamedTuple):
    """A place, and ways to change what is there, past limen."""

    name: str
    put: Any
    remove: Any
    url: str
    upstream: Any


def contents(seed=1):
    return {path: random.Random(f"{seed}{path}").randbytes(size) for path, size in SIZES.items()}


@contextmanager
def directory(at):
    root = at / "adopted"

    def put(path, raw):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(raw)

    yield Place("directory", put, lambda path: (root / path).unlink(), str(root), None)


@contextmanager
def bucket(start, at):
    with start(at) as upstream:
        s3 = upstream.boto3()
        yield Place(
            upstream.name,
            lambda path, raw: s3.put_object(Bucket=BUCKET, Key=f"sft/{path}", Body=raw),
            lambda path: s3.delete_object(Bucket=BUCKET, Key=f"sft/{path}"),
            f"s3://{BUCKET}/sft",
            upstream,
        )


STARTS = {
    "directory": directory,
    "seaweedfs": lambda at: bucket(seaweed, at),
    "moto": lambda at: bucket(moto, at),
}


@pytest.fixture(scope="module", params=["directory", "seaweedfs"])
def place(request, tmp_path_factory):
    with STARTS[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture
def adopted(place, tmp_path):
    """A world in which the place's objects are an asset."""
    for path, raw in contents().items():
        place.put(path, raw)
    world = World.make(tmp_path)
    if place.upstream:
        world.environment |= place.upstream.environment
        with (world.data / "limen.toml").open("a") as config:
            config.write(place.upstream.configuration())
    world.limen("asset", "adopt", WHERE, place.url)
    try:
        yield world.serve()
    finally:
        world.stop()


def wait_for_digests(world, count):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        [shown] = [a for a in world.ask_json("asset", "list")["assets"] if a["asset"] == WHERE]
        if shown.get("digests") == count:
            return shown
    raise AssertionError(f"not {count} digests within 20 s: {shown}")


@pytest.mark.parametrize("place", STARTS, indirect=True)
def test_the_bytes_are_those_of_the_place_whole_in_ranges_and_under_conditions(adopted):
    reader = adopted.login("q11")

    for path, raw in contents().items():
        whole = reader.get(f"{WHERE}/{path}")
        assert (whole.status, whole.body) == (200, raw)
        head = reader.ask("HEAD", f"orchid/{WHERE}/{path}")
        assert (int(head.headers["content-length"]), head.headers["etag"]) == (len(raw), whole.headers["etag"])
        again = reader.get(f"{WHERE}/{path}", **{"If-None-Match": whole.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    part = reader.get(f"{WHERE}/a.bin", start=1_048_570, end=2_097_160)
    assert (part.status, part.body) == (206, contents()["a.bin"][1_048_570:2_097_160])
    assert reader.get(f"{WHERE}/a.bin", start=3_000_001).status == 416
    etags = {adopted.login(who).get(f"{WHERE}/a.bin").headers["etag"] for who in ("q11", "q12")}
    assert len(etags) == 2  # whose copy it is shows; the place's own ETag does not


def test_what_was_handed_over_is_in_the_exposure_report(adopted):
    reader = adopted.login("q11")
    reader.get(f"{WHERE}/a.bin", start=5, end=10)
    reader.get(f"{WHERE}/deep/b.jsonl")

    report = adopted.ask_json("exposure", "person/quillwork/q11")

    [asset] = [a for a in report["assets"] if a["asset"] == WHERE]
    assert asset["served_ever"]["records"] == ["a.bin@1#0", "deep/b.jsonl@1#0"]
    assert (asset["never_served"]["count"], report["unknown"]) == (0, [])  # an empty object holds nothing to serve
    [line] = asset["people"]
    assert line["bytes"] == 70_005


def test_a_digest_is_taken_by_the_first_whole_read_and_recorded(adopted):
    reader = adopted.login("q11")
    reader.get(f"{WHERE}/a.bin", start=0, end=1_000)
    assert wait_for_digests(adopted, 0)

    reader.get(f"{WHERE}/a.bin")

    assert wait_for_digests(adopted, 1)
    adopted.stop()
    log = adopted.limen("ledger", "tail", "--json").stdout
    assert "asset.digests" in log
    adopted.serve()
    assert wait_for_digests(adopted, 1)


@pytest.mark.parametrize("place", STARTS, indirect=True)
def test_an_object_that_changed_is_refused_reported_and_never_served(adopted, place):
    reader = adopted.login("q11")
    assert reader.get(f"{WHERE}/a.bin").status == 200
    new = contents(2)["a.bin"]  # of the same length
    place.put("a.bin", new)
    place.remove("deep/b.jsonl")

    for path in ("a.bin", "deep/b.jsonl"):
        for span in ({}, {"start": 0, "end": 10}):
            refused = reader.get(f"{WHERE}/{path}", **span)
            assert (refused.status, refused.code) == (409, "OperationAborted")
            assert "has changed where it rests" in refused.message
            assert new[:10] not in refused.body

    assert reader.get(f"{WHERE}/empty.txt").status == 200
    checked = adopted.limen("asset", "check", WHERE, check=False)
    assert (checked.returncode, "1 of 3 objects are what was adopted" in checked.stdout) == (6, True)
    assert "changed or gone, and refused to everybody: a.bin" in checked.stderr
    changed = [
        line for line in adopted.limen("ledger", "tail", "-n", "60", "--json").stdout.splitlines() if "upstream.changed" in line
    ]
    assert len(changed) == 2  # each object once, however often it is asked for


def test_adopting_again_serves_what_is_there_now(adopted, place):
    place.put("a.bin", b"a later state")
    place.put("new.bin", b"new")
    reader = adopted.login("q11")
    assert reader.get(f"{WHERE}/new.bin").status == 404  # what was not adopted is not served

    adopted.limen("asset", "adopt", WHERE, place.url)

    assert reader.get(f"{WHERE}/a.bin").body == b"a later state"
    assert reader.get(f"{WHERE}/new.bin").body == b"new"
    place.remove("new.bin")


def test_a_pause_cuts_a_read_of_an_adopted_object(adopted, place):
    place.put("big.bin", os.urandom(30_000_000))
    adopted.limen("asset", "adopt", WHERE, place.url)
    reader = adopted.login("q11")
    request = reader.signed("GET", f"orchid/{WHERE}/big.bin")
    with closing(http.client.HTTPConnection("127.0.0.1", adopted.port, timeout=30)) as connection:
        connection.request("GET", f"/orchid/{WHERE}/big.bin", headers=dict(request.headers))
        with closing(connection.getresponse()) as response:
            assert len(response.read(100_000)) == 100_000

            adopted.limen("pause", "vendor/quillwork", "--reason", "drill")

            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()
    assert reader.get(f"{WHERE}/a.bin").status == 403
    place.remove("big.bin")


def test_preparing_reads_it_whole_and_gives_everyone_their_own_copy(adopted, place):
    lines = b"".join(b'{"id": %d, "text": "%s"}\n' % (i, random.Random(i).randbytes(12).hex().encode()) for i in range(400))
    for path in SIZES:
        place.remove(path)
    place.put("train.jsonl", lines)
    adopted.limen("asset", "adopt", WHERE, place.url)
    readers = [adopted.login(who) for who in ("q11", "q12")]
    assert {reader.get(f"{WHERE}/train.jsonl").body for reader in readers} == {lines}

    adopted.limen("asset", "prepare", WHERE)

    copies = {reader.get(f"{WHERE}/train.jsonl").body for reader in readers}
    assert len(copies) == 2
    for copy in copies:
        ids = [json.loads(line)["id"] for line in copy.splitlines() if line.strip()]
        assert 200 <= len(ids) == len(set(ids) & set(range(400)))
    place.remove("train.jsonl")


def test_preparing_what_has_changed_registers_nothing(adopted, place):
    place.put("a.bin", b"another")
    before = [a["version"] for a in adopted.ask_json("asset", "list")["assets"] if a["asset"] == WHERE]

    failed = adopted.limen("asset", "prepare", WHERE, check=False)

    assert (failed.returncode, "is not what was adopted" in failed.stderr) == (2, True)
    assert before == [a["version"] for a in adopted.ask_json("asset", "list")["assets"] if a["asset"] == WHERE]


# --- an upstream in trouble


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with seaweed(tmp_path_factory.mktemp("seaweedfs")) as upstream:
        yield upstream


@pytest.fixture
def troubled(real, tmp_path):
    """A world behind whose upstream a test can pull the plug."""
    s3 = real.boto3()
    for path, raw in contents().items():
        s3.put_object(Bucket=BUCKET, Key=f"sft/{path}", Body=raw)
    between, world = Troubled(real), World.make(tmp_path)
    world.environment |= real.environment
    with between.listening() as address, ExitStack() as stack:
        with (world.data / "limen.toml").open("a") as config:
            config.write(real.configuration(endpoint=address, deadline_s=1.0))
        world.limen("asset", "adopt", WHERE, f"s3://{BUCKET}/sft")
        stack.callback(world.stop)
        yield world.serve(), between


@pytest.mark.parametrize("mode", ["down", "slow"])
def test_an_upstream_that_gives_nothing_is_a_503_without_content(troubled, mode):
    world, between = troubled
    reader = world.login("q11")
    between.mode = mode

    refused = reader.get(f"{WHERE}/a.bin")

    assert (refused.status, refused.code) == (503, "ServiceUnavailable")
    assert "did not deliver it; try again" in refused.message
    assert reader.ask("HEAD", f"orchid/{WHERE}/a.bin").status == 200  # what was registered is known
    between.mode = "pass"
    between.released.set()
    assert reader.get(f"{WHERE}/a.bin").body == contents()["a.bin"]  # and it recovers by itself


@pytest.mark.parametrize("mode", ["another total", "no ETag"])
def test_an_answer_that_speaks_of_another_object_is_refused_before_the_first_byte(troubled, mode):
    world, between = troubled
    between.mode = mode

    refused = world.login("q11").get(f"{WHERE}/a.bin", start=0, end=2_000_000)

    assert refused.status in (409, 503)
    assert contents()["a.bin"][:16] not in refused.body


@pytest.mark.parametrize("mode", ["broken off", "stalled", "shorter", "longer"])
def test_an_upstream_that_does_not_keep_its_word_never_ends_in_a_whole_answer_with_wrong_bytes(troubled, mode):
    world, between = troubled
    reader, raw = world.login("q11"), contents()["a.bin"]
    between.mode = mode

    prefix, answer = b"", None
    try:
        answer = reader.get(f"{WHERE}/a.bin")
    except http.client.IncompleteRead as e:
        prefix = e.partial
    except ConnectionError:
        pass
    assert raw.startswith(prefix)
    # All that the reader is told is whole is whole: either the right bytes (the library asked again), or a refusal.
    assert (
        answer is None
        or (answer.status, answer.body) == (200, raw)
        or (answer.status, answer.code) == (503, "ServiceUnavailable")
    )
    between.mode = "pass"
    between.released.set()
    assert reader.get(f"{WHERE}/a.bin").body == raw


def test_without_keys_an_upstream_is_a_503_that_the_operator_can_read(real, tmp_path):
    world = World.make(tmp_path)
    with (world.data / "limen.toml").open("a") as config:
        config.write(real.configuration())

    refused = world.limen("asset", "adopt", WHERE, f"s3://{BUCKET}/sft", check=False)

    assert (refused.returncode, "needs keys" in refused.stderr) == (1, True)
    wrong = {"LIMEN_RESEARCH_ACCESS_KEY_ID": "another", "LIMEN_RESEARCH_SECRET_ACCESS_KEY": "another-secret-key"}
    world.environment |= wrong
    refused = world.limen("asset", "adopt", WHERE, f"s3://{BUCKET}/sft", check=False)
    assert (refused.returncode, "can't be listed" in refused.stderr) == (1, True)
    assert "another-secret-key" not in refused.stderr


def test_what_can_not_be_adopted_is_left_out_and_named(tmp_path):
    root = tmp_path / "adopted"
    root.mkdir()
    (root / "fine.txt").write_bytes(b"fine")
    (root / "not\\fine").write_bytes(b"x")
    (root / "link").symlink_to("/etc/hostname")
    world = World.make(tmp_path)

    left = world.limen("asset", "adopt", WHERE, str(root), check=False)

    assert (left.returncode, "1 objects, 4 bytes" in left.stdout) == (6, True)
    assert "left out: not\\fine" in left.stderr
    shutil.rmtree(root)
    root.mkdir()
    nothing = world.limen("asset", "adopt", WHERE, str(root), check=False)
    assert (nothing.returncode, "there is nothing to adopt" in nothing.stderr) == (2, True)


def test_a_symbolic_link_put_in_an_adopted_files_place_is_not_followed(tmp_path):
    root = tmp_path / "adopted"
    root.mkdir()
    (root / "fine.txt").write_bytes(b"fine")
    world = World.make(tmp_path)
    world.limen("asset", "adopt", WHERE, str(root))
    secret = tmp_path / "secret"
    shutil.copy2(root / "fine.txt", secret)
    (root / "fine.txt").unlink()
    (root / "fine.txt").symlink_to(secret)
    try:
        refused = world.serve().login("q11").get(f"{WHERE}/fine.txt")
    finally:
        world.stop()
    assert refused.status == 409


def test_digests_are_of_the_bytes(tmp_path):
    root = tmp_path / "adopted"
    root.mkdir()
    raw = os.urandom(2_500_000)
    (root / "a.bin").write_bytes(raw)
    world = World.make(tmp_path)
    world.limen("asset", "adopt", WHERE, str(root))
    try:
        world.serve().login("q11").get(f"{WHERE}/a.bin")
        shown = wait_for_digests(world, 1)
    finally:
        world.stop()
    assert (shown["adopted"], shown["digests"]) == (1, 1)
    with closing(sqlite3.connect(world.data / "control.db")) as control:
        [(shards,)] = control.execute("SELECT shards FROM version")
    assert [shard["digest"] for shard in json.loads(shards)] == [hashlib.sha256(raw).hexdigest()]
