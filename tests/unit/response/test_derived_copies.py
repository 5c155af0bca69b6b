"""A copy that is worked out outside a serve is an entry: which reports work one out, and that nothing else does."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

import limen
from inprocess import a_gateway
from limen.config import Config, Server
from limen.core.errors import LedgerUnavailable
from limen.response import exposure
from limen.server import Gateway
from limen.verbs import VERBS
from tracing import Q03, entries, reads

# What works out a copy, or its bits.
ASKS = re.compile(r"fresh_copy|\bcopy_for\(|(?:custody|shelf|self)\.copy_of\(|\b(?:codeword|codebook|copy_key)\(|\.unseen\(")
# Who asks for that, and which entry says so.
KNOWN = {
    "access.py": "access.intent",
    "custody.py": "access.intent",
    "response/exposure.py": "copy.derive",
    "response/trace.py": "trace.result",
    "response/quality.py": "drop.quality",
    "marks/code.py": "the code itself",
    "marks/copy.py": "what serves: the shelf alone calls it",
    "marks/book.py": "what traces",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lab with 600 marked records, of which q03 has read their copy."""
    data = tmp_path_factory.mktemp("made") / "data"

    async def make():
        gateway = await a_gateway(data)
        await reads(gateway, Q03)
        await gateway.close()

    asyncio.run(make())
    return data


@pytest.fixture
def asked(made, tmp_path):
    """Run a verb on a copy of that lab; its answer, and the entries that it wrote about copies."""

    def run(name, bend=None, **args):
        async def running():
            data = shutil.copytree(made, tmp_path / "data")
            gateway = await Gateway.open(Config(data=data, server=Server(mode="development")))
            try:
                if bend:
                    bend(gateway)
                before = gateway.custody.ledger.head().size
                answer = await VERBS[name](gateway, args, "uid:1001")
                found = entries(gateway, "copy.derive")
                assert all(entry["at"] for entry in found)
                return answer, found, before
            finally:
                await gateway.close()

        return asyncio.run(running())

    return run


def test_an_exposure_report_is_an_entry_that_names_nobody(asked):
    answer, [entry], before = asked("exposure", subject="vendor/quillwork")
    assert (entry["for"], entry["assets"], entry["by"]) == ("exposure", ["orchid-sft-v3"], "uid:1001")
    assert entry["copies"] == 13  # every person and the workload that was granted it
    assert answer["ledger"]["to"] == before
    assert "q03" not in str(entry)


def test_a_review_is_one_entry_for_all_vendors(asked):
    _, [entry], _ = asked("review")
    assert (entry["for"], entry["copies"]) == ("review", 15)


def test_what_works_out_no_copy_writes_no_entry(asked):
    _, found, _ = asked("keys.list")
    assert found == []


def test_a_lost_log_keeps_no_report_back_and_the_report_says_that_no_entry_does(asked):
    def lose(gateway):
        async def lost(*_, **__):
            raise LedgerUnavailable("the disk is full")

        gateway.custody.ledger.append = lost

    answer, found, _ = asked("exposure", bend=lose, subject="vendor/quillwork")
    assert found == []
    assert any("is in no entry" in line for line in answer["unknown"])


def test_the_check_notices_a_report_that_tells_nobody(asked, monkeypatch):
    async def silent(*_, **__):
        return []

    monkeypatch.setattr(exposure, "enter", silent)
    assert asked("exposure", subject="vendor/quillwork")[1] == []


def askers(root):
    """Which modules work out copies."""
    return {str(path.relative_to(root)) for path in root.rglob("*.py") if ASKS.search(path.read_text())}


def test_nothing_else_asks_for_a_copy():
    assert askers(Path(limen.__file__).parent) == set(KNOWN)


def test_the_check_notices_a_module_that_asks_for_one(tmp_path):
    (tmp_path / "new.py").write_text("def peek(custody):\n    return custody.fresh_copy('q03')\n")
    assert askers(tmp_path) == {"new.py"}
