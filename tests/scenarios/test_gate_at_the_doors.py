"""A served world with a contract: what the gate decides is what the doors do, until it decides otherwise."""

from datetime import UTC, datetime, timedelta

import pytest

from limen.assurance.contract.form import PASSED_ON
from simulator import World

TODAY = datetime.now(tz=UTC).date()
CONTRACT = f"""\
limen: contract/1
contract: quillwork
vendor: quillwork
starts: {TODAY}
ends: {TODAY + timedelta(days=90)}
notice_days: 30
currency: EUR
monthly_fee: "120000.00"
passed_on: {PASSED_ON}
restrict:
  mode: read-only
clauses:
  - ref: "5"
    text: Cutting off the vendor was rehearsed, and took five minutes at most.
    measure: drill_us
    statistic: max
    window: 92d
    comparator: <=
    value: 300 s
    breach: restrict
    unknown: restrict
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("gate"), blob=b"x" * 1000).serve()
    yield world
    world.stop(kill=True)


def test_a_vendor_is_left_reading_until_its_drill_and_grants_wait_for_its_admission(world, tmp_path):
    paper = tmp_path / "quillwork.yaml"
    paper.write_text(CONTRACT)
    q01, t01 = world.login("q01"), world.login("t01")
    assert q01.ask("PUT", "orchid/quill-assessments/a.txt", body=b"one").status == 200
    world.limen("contract", "set", str(paper))
    what = ["--project", "orchid", "--asset", "orchid-blob", "--by", "lab/mira", "--until", "2036-01-01"]
    grant = ["grant", "add", "quillwork/q02", *what]
    refused = world.limen(*grant, check=False)
    assert "has not been admitted" in refused.stderr

    first = world.limen("gate", "quillwork", check=False)
    assert first.returncode == 6
    assert "0 of the 1 samples that it takes" in first.stdout
    put = q01.ask("PUT", "orchid/quill-assessments/b.txt", body=b"two")
    assert put.status == 403
    assert "clause 5" in put.message
    assert q01.get("orchid-blob/blob.bin").status == 200, "reading goes on"
    assert t01.get("orchid-blob/blob.bin").status == 200, "others are not met"

    world.limen("pause", "vendor/quillwork", "--drill", "--reason", "rehearsal")
    world.limen("resume", "vendor/quillwork", "--reason", "over")
    second = world.limen("gate", "quillwork", "--onboarding")
    assert "PASS" in second.stdout
    assert "unrestrict" in second.stderr
    assert "admit" in second.stderr
    assert world.login("q01").ask("PUT", "orchid/quill-assessments/c.txt", body=b"three").status == 200
    world.limen(*grant)
