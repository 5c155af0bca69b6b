"""A kill at each step of an erasure: the next start finishes it, and before the entry nothing was destroyed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limen.config import Config, Server
from limen.core.events import decode
from limen.ledger.scribe import side_ref
from limen.server import Gateway

WHO = "quillwork/q03"


def killed(data, point):
    """Kills an erasing process at that point; returns the reference and the key that it was about."""
    script = Path(__file__).with_name("erasing.py")
    done = subprocess.run([sys.executable, str(script), str(data), point], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    ref, key = done.stdout.split()
    return bytes.fromhex(ref), bytes.fromhex(key)


def found_after(data, ref, key):
    """After the next start: whether the person is erased, how many erasures the log has, and what is left of the person."""

    async def look():
        gateway = await Gateway.open(Config(data=data, server=Server(mode="development")))
        ledger, catalog = gateway.custody.ledger, gateway.custody.catalog
        sides = [side for _, _, side in ledger.side_heads(0, ledger.head().size) if side_ref(side) == ref]
        erasures = [1 for _, raw in ledger.entries() if decode(raw)["kind"] == "erasure"]
        keys = [path.name for path in data.rglob("*") if path.is_file() and key in path.read_bytes()]
        erased, swept = catalog.snapshot.person(WHO).erased_at is not None, not catalog.unswept
        await gateway.close()
        return erased, swept, len(erasures), len(sides), len(keys)

    return asyncio.run(look())


@pytest.mark.parametrize(
    "point",
    [
        "limen.catalog.catalog._destroy",
        *(
            pytest.param(point, marks=pytest.mark.slow)
            for point in (
                "limen.catalog.catalog.Catalog.apply_all",
                "limen.ledger.sqlite.SqliteWriter.forget",
                "limen.catalog.catalog.Catalog.sweep",
                "limen.catalog.catalog.Catalog.swept",
            )
        ),
    ],
)
def test_a_kill_after_the_entry_is_made_good_by_the_next_start(tmp_path, point):
    data = tmp_path / "data"
    assert found_after(data, *killed(data, point)) == (True, True, 1, 0, 0)


@pytest.mark.slow
def test_a_kill_before_the_entry_has_destroyed_nothing(tmp_path):
    data = tmp_path / "data"
    erased, swept, entries, sides, keys = found_after(data, *killed(data, "limen.ledger.ledger.Ledger.append_all"))
    assert (erased, swept, entries) == (False, True, 0)
    assert sides > 0
    assert keys > 0, "control: the same search finds a key that is there"
