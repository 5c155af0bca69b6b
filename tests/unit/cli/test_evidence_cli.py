"""`limen evidence` and `limen spotcheck` from the command line, on a data directory that nobody serves."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from click.testing import CliRunner

from evidenced import TODAY, settled
from inprocess import a_gateway
from limen.cli import limen

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("cli")

    async def run():
        gateway = await a_gateway(place / "data")
        try:
            await settled(gateway, named=False)
        finally:
            await gateway.close()

    asyncio.run(run())
    return place / "data"


def run(*args, code=0):
    done = CliRunner().invoke(limen, list(map(str, args)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def test_a_bundle_is_exported_listed_and_verified(data, tmp_path):
    key = run("evidence", "key", "--data", data).stdout.strip()
    period = f"{TODAY}/9999-01-01"
    said = run(
        "evidence", "export", "quillwork", "--period", period, "--for", "auditor", "-o", tmp_path / "b.zip", "--data", data
    )
    vkey = (data / "log" / "vkey").read_text().strip()

    assert "verdict: in it" in said.stdout
    assert (
        run("evidence", "verify", tmp_path / "b.zip", "--key", key, "--log", vkey).stdout.splitlines()[-1].startswith("VERIFIED")
    )
    assert "NOT VERIFIED" in run("evidence", "verify", tmp_path / "b.zip", code=5).stdout
    listed = json.loads(run("evidence", "list", "--json", "--data", data).stdout)["exports"]
    assert [(row["vendor"], row["for"]) for row in listed] == [("quillwork", "auditor")]
    assert "auditor" in run("evidence", "list", "quillwork", "--data", data).stdout


def test_the_programs_are_written_from_this_limen(tmp_path):
    found = json.loads(run("evidence", "programs", "-o", tmp_path / "p", "--json").stdout)["programs"]

    assert set(found) == {"verify.py", "offline.py", "verdict.py", "spotcheck.py"}
    for name, digest in found.items():
        assert hashlib.sha256((tmp_path / "p" / name).read_bytes()).hexdigest() == digest
    assert found["verify.py"] in run("evidence", "programs", "-o", tmp_path / "p").stdout


def test_a_period_is_two_days_or_times(data, tmp_path):
    from limen.core.errors import Invalid  # noqa: PLC0415  one test

    asked = ["--for", "vendor", "-o", tmp_path / "x", "--data", data]
    for period in ("2026-01-01", "yesterday/today"):
        with pytest.raises(Invalid, match="--period"):
            run("evidence", "export", "quillwork", "--period", period, *asked)
    token = ["--period", "2026-01-01/2026-02-01", "--token", data / "log" / "checkpoint"]
    with pytest.raises(Invalid, match="stamps a checkpoint"):
        run("evidence", "export", "quillwork", *token, *asked)


def test_an_audit_from_the_command_line(data):
    digest = hashlib.sha256(SECRET).hexdigest()
    asked = ["--people", 1, "--accesses", 1, "--nonce-digest", digest]
    commit = json.loads(run("spotcheck", "commit", "quillwork", *asked, "--json", "--data", data).stdout)
    draw = json.loads(run("spotcheck", "draw", commit["entry"], "--nonce", SECRET.hex(), "--json", "--data", data).stdout)

    assert "DRAWN AS PROMISED" in run("spotcheck", "verify", draw["entry"], "--data", data).stdout
    assert "NOT AS PROMISED" in run("spotcheck", "verify", commit["entry"], "--data", data, code=5).stdout
    assert "2 of 2 passed" in run("spotcheck", "result", draw["entry"], "--data", data).stdout
    assert "quillwork" in run("spotcheck", "list", "--data", data).stdout
    assert run("spotcheck", "result", "--data", data, code=2)
