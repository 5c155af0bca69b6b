"""Logs that lie in S3-compatible storage: imported as they are in a directory, and told where the storage breaks off.

And imports while a gateway serves: it alone writes the entries, and sees what was imported at once.
"""

import json
import os
import subprocess
import sys

import pytest

from limen import cli
from limen.observe.depot import Depot
from logs import APRIL, cloudtrail, log_file, log_name
from simulator import World
from upstreams import ACCESS_KEY, BUCKET, SECRET_KEY, Troubled, seaweed

EVENTS = 40


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with seaweed(tmp_path_factory.mktemp("seaweedfs")) as upstream:
        yield upstream


@pytest.fixture
def lab(real, tmp_path, monkeypatch, capsys):
    """A data directory, three log files in a bucket, and a place between; runs imports of that bucket."""
    logs = {}
    for number in range(3):
        start = APRIL + number * 400
        events = [cloudtrail(number * 100 + n, at=start + n * 10, key=os.urandom(64).hex()) for n in range(EVENTS)]
        name = f"AWSLogs/eu/{log_name(number, at=start + 420)}"
        logs[name] = log_file(*events)
        real.boto3().put_object(Bucket=BUCKET, Key=name, Body=logs[name])
    real.boto3().put_object(Bucket=BUCKET, Key="elsewhere/x.json.gz", Body=b"not ours")
    data, between = tmp_path / "data", Troubled(real)
    cli.main(["init", str(data), "--dev"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    capsys.readouterr()

    def run(*words):
        code = 0
        place = f"s3://{BUCKET}/AWSLogs/"
        try:
            cli.main(["observe", "import", "cloudtrail", place, "--source", "trail", "--data", str(data), "--json", *words])
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    with between.listening() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield run, between, Depot.open(data / "observed"), logs


def test_a_prefix_of_a_bucket_is_imported_whole_and_once(lab):
    run, _, depot, logs = lab
    code, answer = run()
    assert (code, answer["new"]) == (0, 3 * EVENTS)
    assert [name for name, *_ in answer["inputs"]] == [f"s3://{BUCKET}/{name}" for name in sorted(logs)]
    assert run()[1]["entry"] is None
    assert depot.ask("SELECT count(DISTINCT id) AS n FROM observation").to_pylist() == [{"n": 3 * EVENTS}]


def test_storage_that_breaks_off_is_a_damaged_input_and_mended_by_the_next_import(lab):
    run, between, depot, _ = lab
    between.mode = "broken off"
    code, answer = run("--scope", "s3://orchid-data")
    assert (code, answer["damaged"], answer["new"] < 3 * EVENTS) == (6, 3, True)
    between.mode = "pass"
    code, answer = run("--scope", "s3://orchid-data")
    assert (code, answer["damaged"]) == (0, 0)
    assert depot.ask("SELECT count(DISTINCT id) AS n FROM observation").to_pylist() == [{"n": 3 * EVENTS}]
    last = APRIL + 2 * 400 + (EVENTS - 1) * 10
    assert list(depot.coverage()["trail", "s3://orchid-data"]) == [(APRIL * 1_000_000, last * 1_000_000 + 1)]


def test_without_keys_or_storage_it_says_so_and_imports_nothing(lab, monkeypatch):
    run, between, depot, _ = lab
    between.mode = "down"
    code, err = run()
    assert code == 2
    assert "can't be listed" in err
    assert SECRET_KEY not in err
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, err = run()
    assert code == 2
    assert "AWS_ACCESS_KEY_ID" in err
    assert depot.imports() == ()


def test_imports_while_the_gateway_serves_go_through_it(tmp_path):
    world = World.make(tmp_path).serve()
    try:
        running = []
        for number in range(2):
            path = tmp_path / f"{number}.json.gz"
            path.write_bytes(log_file(*(cloudtrail(n, at=APRIL + n) for n in range(number * 300, number * 300 + 600))))
            words = ["observe", "import", "cloudtrail", path, "--source", "trail", "--data", world.data, "--json"]
            running.append(subprocess.Popen([sys.executable, "-m", "limen", *map(str, words)], stdout=subprocess.PIPE))
        answers = [json.loads(process.communicate(timeout=120)[0]) for process in running]
        assert {process.returncode for process in running} == {0}
        assert sorted(answer["new"] for answer in answers) == [300, 600]
        assert len({answer["entry"] for answer in answers}) == 2
        assert "OK" in world.limen("ledger", "verify", str(world.data)).stdout
    finally:
        world.stop()
