"""The programs that people already have, unmodified, against a real gateway: what each reads is its person's own copy.

Each client runs in a process and an environment of its own (`tools/setup conformance`, pinned by hash). What it read is
held against a plain signed GET of the same person, and what it put into the drop box against what the lab collects.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from limen.cli.link import call
from simulator import READS, REGION, Someone, World, records
from upstreams import BUCKET, moto, seaweed

REPOSITORY = Path(__file__).parents[2]
CLIENTS = REPOSITORY / ".make" / "clients"
DRIVERS = Path(__file__).parent / "clients"
ME = "q01"
TEXT, BLOB, DROP = "orchid-sft-v3/sft.jsonl", "orchid-blob/blob.bin", "quill-assessments"
NUMBERS = "orchid-blob/numbers.parquet"
START, END = 5_000_003, 7_500_001
BLOB_BYTES = (21 << 20) + 12_345
LARGE = 12 << 20
ROWS = 500_000
UPSTREAMS = {"seaweedfs": seaweed, "moto": moto}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def missing(folders):
    return [name for name, folder in folders.items() if not (folder / "python").exists()]


def test_a_client_that_is_not_installed_is_noticed(tmp_path):
    assert missing({"here": Path(sys.executable).parent, "gone": tmp_path}) == ["gone"]


@pytest.fixture(scope="session")
def clients():
    """The environments of the clients, by name. `tools/test` has made them; elsewhere they are made here, but not in CI."""
    if os.environ.get("CI") != "true":
        subprocess.run([REPOSITORY / "tools" / "setup", "conformance"], check=True, stdin=subprocess.DEVNULL)
    found = {lock.stem: CLIENTS / lock.stem / "bin" for lock in DRIVERS.glob("*.lock")}
    assert found
    assert not missing(found), f"no environment for {missing(found)}: run tools/setup conformance"
    return {**found, "main": Path(sys.executable).parent}


@dataclass(frozen=True)
class Stage:
    """A served world, one of its people, somebody of the lab, and what that person gets by plain signed GETs."""

    clients: dict[str, Path]
    world: World
    me: Someone
    lab: Someone
    truth: dict[str, str]

    @property
    def files(self):
        """Where the files lie that the clients upload."""
        return self.world.data.parent


@pytest.fixture(scope="module", params=["stored", "seaweedfs", "moto"])
def stage(clients, request, tmp_path_factory):
    """The blob lies in the gateway's own store, or rests in somebody's bucket that was adopted."""
    directory = tmp_path_factory.mktemp("clients")
    world = World.make(directory, sft=records(4000))
    with ExitStack() as stack:
        start = UPSTREAMS.get(request.param)
        yield from _stage(clients, directory, world, stack.enter_context(start(directory / "upstream")) if start else None)


def _stage(clients, directory, world, upstream):
    sources = directory / "sources"
    sources.mkdir()
    (sources / "blob.bin").write_bytes(random.Random(7).randbytes(BLOB_BYTES))
    pq.write_table(numbers(), sources / "numbers.parquet", compression="none", row_group_size=125_000)
    if upstream is None:
        world.limen("asset", "register", "orchid-blob", str(sources), "--unmarked")
    else:
        adopt(world, upstream, sources)
    collector = {"holder": "lab/mira", "project": "orchid", "granted_by": "lab/mira", "expires": "2036-01-01"}
    (directory / "more.json").write_text(json.dumps({"grant": [{**collector, "assets": [DROP], "actions": READS}]}))
    world.limen("import", str(directory / "more.json"))
    (directory / "small").write_bytes(records(3, seed=5))
    (directory / "large").write_bytes(random.Random(8).randbytes(LARGE))
    world.serve()
    try:
        me, lab = world.login(ME), world.login("mira")
        text, blob = me.get(TEXT), me.get(BLOB)
        assert (text.status, blob.status) == (200, 200)
        truth = {"whole": sha256(text.body), "range": sha256(blob.body[START:END]), "parallel": sha256(blob.body)}
        yield Stage(clients, world, me, lab, truth)
    finally:
        world.stop()


def adopt(world, upstream, sources):
    """Put the sources into the upstream's bucket, and serve them from there."""
    for source in sources.iterdir():
        upstream.boto3().upload_file(str(source), BUCKET, f"blob/{source.name}")
    world.environment |= upstream.environment
    with (world.data / "limen.toml").open("a") as config:
        config.write(upstream.configuration())
    world.limen("asset", "adopt", "orchid-blob", f"s3://{BUCKET}/blob")


def numbers():
    """Rows of which a query needs one column of two."""
    noise = pa.py_buffer(random.Random(9).randbytes(8 * ROWS))
    return pa.table({"n": range(ROWS), "noise": pa.Array.from_buffers(pa.int64(), ROWS, [None, noise])})


def surroundings(home, **more):
    """A client's whole environment: nothing of the developer's own, and no cloud's metadata address."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,  # botocore reads no other
        **more,
    }


def keys_of(someone):
    """A session's credentials as every AWS SDK takes them from the environment."""
    return {
        "AWS_ACCESS_KEY_ID": someone.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": someone.credentials.secret_key,
        "AWS_SESSION_TOKEN": someone.credentials.token,
        "AWS_ENDPOINT_URL": someone.world.url,
    }


def run(*command, environment):
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-4000:]}"
    return done.stdout


def drive(name, python, stage, tmp_path, environment):
    """Run a driver, and read its answer."""
    someone = stage.me
    job = {
        "url": someone.world.url,
        "region": REGION,
        "bucket": "orchid",
        "key": someone.credentials.access_key,
        "secret": someone.credentials.secret_key,
        "token": someone.credentials.token,
        "text": TEXT,
        "blob": BLOB,
        "numbers": NUMBERS,
        "start": START,
        "end": END,
        "small": str(stage.files / "small"),
        "large": str(stage.files / "large"),
        "drop": f"{DROP}/{name}",
        "scratch": str(tmp_path),
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    answer = json.loads(run(python, DRIVERS / f"drive_{name}.py", tmp_path / "job.json", environment=environment))
    print(f"{name}: {sorted(answer)}")
    return answer


def check_reads(answer, truth, *, expect=("whole", "range", "parallel")):
    assert {TEXT, BLOB} <= set(answer["list"])
    assert {part: answer[part] for part in expect} == {part: truth[part] for part in expect}


def collected(lab, folder):
    """What the lab finds in the drop box below a client's folder: name -> content."""
    keys = [line["Key"] for line in lab.boto3().list_objects_v2(Bucket="orchid", Prefix=f"{DROP}/").get("Contents", [])]
    mine = [key for key in keys if f"/{folder}/" in key]
    return {key.rpartition("/")[2]: lab.get(key).body for key in mine}


def check_drop(stage, folder):
    found = collected(stage.lab, folder)
    assert {name: sha256(content) for name, content in found.items()} == {
        name: sha256((stage.files / name).read_bytes()) for name in ("small", "large")
    }


def entries(world):
    """All ledger entries so far, with the outcomes of all reads so far."""
    call(world.data, "exposure", {"subject": f"person/quillwork/{ME}"})  # a report closes every read window
    lines = world.limen("ledger", "tail", "-n", "1000000", "--json").stdout.splitlines()
    return [{**line["entry"], "index": line["index"]} for line in map(json.loads, lines)]


def handed(new, shard):
    """The ranges of a shard that left, as often as they did: by the outcomes of reads, alone or under a window."""
    intents = {entry["index"]: entry for entry in new if entry["kind"] == "access.intent"}
    ranges = []
    for outcome in (entry for entry in new if entry["kind"] == "access.outcome"):
        intent = intents[outcome["of"]]
        run = [path for path, _ in intent.get("run", [[intent.get("shard"), 0]])]
        if "handed" in outcome:
            ranges += [
                (start, end) for part, start, end, _, _, reads in outcome["handed"] for _ in range(reads) if run[part] == shard
            ]
        elif intent.get("shard") == shard and "span" in intent:
            ranges.append((intent["span"][0], intent["span"][0] + outcome["sent"]))
    return ranges


@pytest.mark.parametrize(("name", "home"), [("boto3", "main"), ("pyarrow", "main"), ("s3fs", "s3fs"), ("obstore", "obstore")])
def test_a_library_reads_its_persons_copy_and_fills_the_drop_box(name, home, stage, tmp_path):
    before = len(entries(stage.world))
    answer = drive(name, stage.clients[home] / "python", stage, tmp_path, surroundings(tmp_path, **keys_of(stage.me)))
    check_reads(answer, stage.truth)
    check_every_byte_is_logged(entries(stage.world)[before:])
    assert answer["head"] == LARGE
    check_drop(stage, name)
    if "prefixes" in answer:
        assert {"orchid-sft-v3/", "orchid-blob/"} <= set(answer["prefixes"])
    if name == "boto3":
        assert set(answer["list v1"]) == set(answer["list"])
        assert answer["buckets"] == ["orchid"]
        assert (answer["own upload read"], answer["dataset write"]) == ("AccessDenied", "AccessDenied")


def check_every_byte_is_logged(new):
    """The blob was read at least once, in several requests: its entries say so, with the range that was read besides."""
    spans = handed(new, "blob.bin")
    assert len(spans) >= 4
    reached = 0
    for start, end in sorted(spans):
        assert start <= reached
        reached = max(reached, end)
    assert reached == BLOB_BYTES


def test_somebody_elses_bytes_would_not_pass(stage, tmp_path):
    """Control: another person's copy of the same text differs, so the comparison above can fail."""
    other = stage.world.login("q02").get(TEXT)
    assert other.status == 200
    assert sha256(other.body) != stage.truth["whole"]


def test_awscli_copies_in_parallel_ranges_and_uploads_in_parts(stage, tmp_path):
    aws, environment = stage.clients["awscli"] / "aws", surroundings(tmp_path, **keys_of(stage.me))
    listed = run(aws, "s3", "ls", "s3://orchid/", "--recursive", environment=environment).decode()
    assert {TEXT, BLOB} <= {line.split()[-1] for line in listed.splitlines()}
    before = len(entries(stage.world))
    run(aws, "s3", "cp", f"s3://orchid/{BLOB}", tmp_path / "blob", environment=environment)
    spans = handed(entries(stage.world)[before:], "blob.bin")
    assert sha256((tmp_path / "blob").read_bytes()) == stage.truth["parallel"]
    assert len(spans) >= 3  # it did read ranges, and each of them is in an entry
    assert sum(end - start for start, end in spans) == (tmp_path / "blob").stat().st_size
    run(aws, "s3", "sync", f"s3://orchid/{TEXT.partition('/')[0]}", tmp_path / "synced", environment=environment)
    assert sha256((tmp_path / "synced" / "sft.jsonl").read_bytes()) == stage.truth["whole"]
    window = f"bytes={START}-{END - 1}"
    get = ("s3api", "get-object", "--bucket", "orchid", "--key", BLOB, "--range", window, tmp_path / "window")
    run(aws, *get, environment=environment)
    assert sha256((tmp_path / "window").read_bytes()) == stage.truth["range"]
    for name in ("small", "large"):
        run(aws, "s3", "cp", stage.files / name, f"s3://orchid/{DROP}/awscli/{name}", environment=environment)
    check_drop(stage, "awscli")


def test_rclone_copies_checks_and_uploads(stage, tmp_path):
    rclone = stage.clients["main"] / "rclone"
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": stage.world.url,
        "REGION": REGION,
        "ACCESS_KEY_ID": stage.me.credentials.access_key,
        "SECRET_ACCESS_KEY": stage.me.credentials.secret_key,
        "SESSION_TOKEN": stage.me.credentials.token,
    }
    named = {f"RCLONE_CONFIG_LIMEN_{name}": value for name, value in remote.items()}
    environment = surroundings(tmp_path, RCLONE_CONFIG=str(tmp_path / "none.conf"), **named)
    (tmp_path / "none.conf").touch()
    listed = run(rclone, "lsf", "-R", "limen:orchid", environment=environment).decode().splitlines()
    assert {TEXT, BLOB} <= set(listed)
    parallel = ("--multi-thread-cutoff", "5M", "--multi-thread-streams", "4", "--multi-thread-chunk-size", "5M")
    run(rclone, "copy", *parallel, "limen:orchid/orchid-blob", tmp_path / "blob", environment=environment)
    assert sha256((tmp_path / "blob" / "blob.bin").read_bytes()) == stage.truth["parallel"]
    run(rclone, "copy", "limen:orchid/orchid-sft-v3", tmp_path / "text", environment=environment)
    assert sha256((tmp_path / "text" / "sft.jsonl").read_bytes()) == stage.truth["whole"]
    run(rclone, "check", "--download", "limen:orchid/orchid-sft-v3", tmp_path / "text", environment=environment)
    window = run(
        rclone, "cat", "--offset", str(START), "--count", str(END - START), f"limen:orchid/{BLOB}", environment=environment
    )
    assert sha256(window) == stage.truth["range"]
    up = tmp_path / "up"
    up.mkdir()
    for name in ("small", "large"):
        (up / name).write_bytes((stage.files / name).read_bytes())
    parts = ("--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M")
    run(rclone, "copy", *parts, up, f"limen:orchid/{DROP}/rclone", environment=environment)
    check_drop(stage, "rclone")
    # Uploads can't be read back, so this compares sizes and, where an upload was whole, its MD5.
    run(rclone, "check", up, f"limen:orchid/{DROP}/rclone", environment=environment)


def test_duckdb_reads_only_the_columns_it_needs_and_writes_parquet(stage, tmp_path):
    before = len(entries(stage.world))
    answer = drive("duckdb", stage.clients["duckdb"] / "python", stage, tmp_path, surroundings(tmp_path))
    check_reads(answer, stage.truth, expect=("whole", "parallel"))
    assert answer["sum"] == sum(range(ROWS))
    whole = stage.me.ask("HEAD", f"orchid/{NUMBERS}").headers["content-length"]
    mine = handed(entries(stage.world)[before:], "numbers.parquet")
    assert mine
    assert sum(end - start for start, end in mine) < 0.8 * int(whole)
    found = collected(stage.lab, "duckdb")
    assert pq.read_table(pa.BufferReader(found["squares.parquet"]))["n"].to_pylist() == [n * n for n in range(100_000)]


def by_process(stage, home):
    """`limen login` once; from then on the AWS configuration that it printed."""
    environment = surroundings(home, LIMEN_CACHE=str(home / "cache"))
    command = (sys.executable, "-m", "limen", "login", "--endpoint", stage.world.url, "--project", "orchid", "--as", ME)
    config = home / "config"
    config.write_bytes(run(*command, "--no-browser", environment=environment))
    assert b"credential_process" in config.read_bytes()
    return {**environment, "AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "orchid"}


def by_web_identity(stage, home):
    """Environment variables only, as a workload has them."""
    (home / "token").write_text(stage.world.token(ME))
    return surroundings(
        home,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(home / "token"),
        AWS_ROLE_ARN="arn:aws:iam::000000000000:role/orchid",
        AWS_ENDPOINT_URL=stage.world.url,
    )


@pytest.mark.parametrize("way", [by_process, by_web_identity])
@pytest.mark.parametrize("client", ["boto3", "awscli"])
def test_one_login_is_one_session_however_many_requests(way, client, stage, tmp_path):
    before = len(entries(stage.world))
    environment = way(stage, tmp_path)
    if client == "boto3":
        answer = drive("boto3", sys.executable, stage, tmp_path, environment)
        check_reads(answer, stage.truth)
    else:
        aws = stage.clients["awscli"] / "aws"
        run(aws, "s3", "cp", f"s3://orchid/{BLOB}", tmp_path / "blob", environment=environment)
        assert sha256((tmp_path / "blob").read_bytes()) == stage.truth["parallel"]
    new = entries(stage.world)[before:]
    starts = [entry["session"] for entry in new if entry["kind"] == "session.start"]
    used = [entry["session"] for entry in new if entry["kind"] == "access.intent"]
    assert len(starts) == 1
    assert len(used) >= 2  # a HEAD, and a window that all ranges share
    assert set(used) == set(starts)


def test_a_client_that_signs_for_another_region_learns_ours_from_the_refusal(stage, tmp_path):
    """AWS_REGION alone, which botocore does not read: it signs for us-east-1 until it is told better."""
    environment = by_web_identity(stage, tmp_path)
    del environment["AWS_DEFAULT_REGION"]
    run(stage.clients["awscli"] / "aws", "s3", "cp", f"s3://orchid/{TEXT}", tmp_path / "text", environment=environment)
    assert sha256((tmp_path / "text").read_bytes()) == stage.truth["whole"]


def test_a_writer_sees_that_an_upload_is_there_and_does_not_get_it_back(stage):
    key = f"orchid/{DROP}/plain/note.txt"
    put = stage.me.ask("PUT", key, body=b"finished")
    assert put.status == 200
    head = stage.me.ask("HEAD", key)
    assert (head.status, head.headers["content-length"], head.headers["etag"]) == (200, "8", put.headers["etag"])
    got = stage.me.ask("GET", key)
    assert (got.status, got.code) == (403, "AccessDenied")
    assert stage.world.login("q02").ask("HEAD", key).status == 404  # another writer's place is another place
    assert list(collected(stage.lab, "plain").values()) == [b"finished"]
    assert stage.me.ask("DELETE", key).status == 204
    assert stage.me.ask("HEAD", key).status == 404
