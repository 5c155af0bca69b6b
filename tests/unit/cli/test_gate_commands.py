"""`limen contract`, `limen waiver` and `limen gate`: what they print, and what they end with."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from clauses import PAPER
from inprocess import a_gateway
from limen.verbs import VERBS

TODAY = datetime.now(tz=UTC).date()
STARTS, DUE, ENDS = (TODAY + timedelta(days=days) for days in (-100, -30, 200))
NOW = PAPER.replace("2026-01-01", str(STARTS)).replace("2026-04-01", str(DUE)).replace("2027-01-01", str(ENDS))


@pytest.fixture
def data(tmp_path):
    """A data directory with two vendors, and no gateway running."""

    async def made():
        gateway = await a_gateway(tmp_path / "data")
        await gateway.close()

    asyncio.run(made())
    return tmp_path / "data"


@pytest.fixture
def paper(tmp_path):
    """A contract on disk."""
    path = tmp_path / "quillwork.yaml"
    path.write_text(NOW)
    return path


def test_check_names_every_mistake_by_line_as_compilers_do(limen, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PAPER.replace("EUR", "euro").replace("60 s", "60"))

    code, out, said = limen("contract", "check", wrong)

    assert code == 2
    assert out.splitlines() == [
        f"{wrong}:7:11: currency: 'euro' is not written like EUR",
        f"{wrong}:23:12: clauses[1].value: 60 is not written like 60 s, 15 min or 4h",
    ]
    assert "2 mistakes" in said
    code, out, _ = limen("contract", "check", wrong, "--json")
    assert (code, json.loads(out)["valid"], json.loads(out)["problems"][0]["line"]) == (2, False, 7)


def test_check_says_what_a_good_contract_is(limen, paper):
    code, out, _ = limen("contract", "check", paper)

    assert code == 0
    assert f"contract quillwork-2026 of quillwork, {STARTS} to {ENDS}" in out


def test_the_schema_is_printed_as_the_package_has_it(limen):
    code, out, _ = limen("contract", "schema")

    assert code == 0
    assert json.loads(out)["title"] == "limen contract/1"


def test_a_contract_is_set_shown_and_listed(limen, data, paper):
    assert limen("contract", "set", paper, "--data", data, "--dry-run")[0] == 0
    assert "no contract" in limen("contract", "list", "--data", data)[2]
    code, out, said = limen("contract", "set", paper, "--data", data)

    assert code == 0
    assert "contract quillwork-2026 with 1 clauses set" in out
    assert "--onboarding" in said
    assert limen("contract", "show", "quillwork", "--data", data)[1] == NOW
    assert "quillwork-2026" in limen("contract", "list", "--data", data)[1]


def test_a_run_prints_its_verdict_in_every_form_and_ends_with_its_outcome(limen, data, paper):
    limen("contract", "set", paper, "--data", data)
    code, out, said = limen("gate", "quillwork", "--renewal", "--data", data)
    assert code == 1, "the clause was due a month ago, and nothing is known"
    assert out.splitlines()[-2:] == ["DO NOT RENEW", f"notice by {ENDS - timedelta(days=60)}"]
    assert "never passed on to the people who do the work" in out
    run = said.split()[2].rstrip(",")

    code, out, _ = limen("gate", "quillwork", "--replay", run, "--format", "json", "--data", data)
    assert code == 1
    assert hashlib.sha256(out.rstrip("\n").encode()).hexdigest() in said
    assert json.loads(limen("gate", "quillwork", "--format", "sarif", "--data", data)[1])["version"] == "2.1.0"
    assert "assessment-results" in json.loads(limen("gate", "quillwork", "--format", "oscal", "--data", data)[1])
    statement = json.loads(limen("gate", "quillwork", "--format", "vsa", "--data", data)[1])
    assert statement["predicate"]["verificationResult"] == "FAILED"
    assert limen("gate", "quillwork", "--data", data)[0] == 6
    assert limen("gate", "quillwork", "--renewal", "--onboarding", "--data", data)[0] == 2
    assert limen("gate", "tessel", "--data", data)[0] == 4


def test_the_gap_lists_what_is_missing_whose_it_is_and_since_when(limen, data, paper):
    limen("contract", "set", paper, "--data", data)
    code, out, said = limen("gate", "quillwork", "--gap", "--data", data)

    assert code == 6
    assert "mean revoke_us <= 60 s, 92 days" in out
    assert f"{DUE} OVERDUE" in out
    assert "manual" in out
    assert "UNKNOWN: 7.1: no fact covers" in said
    rows = json.loads(limen("gate", "quillwork", "--gap", "--json", "--data", data)[1])["rows"]
    assert rows[0]["state"] == "unknown"


def test_a_run_whose_facts_were_cut_ends_with_five(limen, data, paper):
    """What a run kept is overwritten: its replay is refused as unverifiable."""
    limen("contract", "set", paper, "--data", data)
    _, _, said = limen("gate", "quillwork", "--data", data)
    run = said.split()[2].rstrip(",")

    async def cut():
        gateway = await a_gateway_again(data)
        try:
            path = gateway.custody.blobs.path(gateway.contracts.run(int(run)).facts)
            facts = json.loads(path.read_bytes())
            del facts["facts"][0]
            path.chmod(0o600)
            path.write_text(json.dumps(facts))
        finally:
            await gateway.close()

    asyncio.run(cut())
    code, _, said = limen("gate", "quillwork", "--replay", run, "--data", data)

    assert code == 5
    assert "are not those that were filed" in said


def test_a_waiver_is_signed_listed_and_ended(limen, data, paper):
    limen("contract", "set", paper, "--data", data)
    asyncio.run(_signed(data))
    code, out, _ = limen("waiver", "list", "--data", data)
    entry = out.splitlines()[1].split()[0]

    assert code == 0
    assert "lab/mira" in out
    assert "The phone call of Tuesday." in out
    assert f"waived until {ENDS}" in limen("gate", "quillwork", "--data", data)[1]
    assert "waived no more" in limen("waiver", "end", entry, "--data", data)[1]
    assert limen("waiver", "end", entry, "--data", data)[0] == 2
    assert limen("waiver", "end", 0, "--data", data)[0] == 4


async def a_gateway_again(data):
    """The data directory, opened."""
    from limen.config import Config, Server  # noqa: PLC0415  as below
    from limen.server import Gateway  # noqa: PLC0415  for the tests that need it

    return await Gateway.open(Config(data=data, server=Server(mode="development")))


async def _signed(data):
    gateway = await a_gateway_again(data)
    try:
        args = {"vendor": "quillwork", "clause": "7.1", "until": str(ENDS), "reason": "The phone call of Tuesday."}
        await VERBS["waiver.add"](gateway, {**args, "as": "lab/mira"}, "uid:0")
    finally:
        await gateway.close()
