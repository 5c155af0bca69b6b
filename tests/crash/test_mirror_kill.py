"""kill -9 while a mirror copies: what it has put out verifies, always, and the next life finishes the copy.

An eighth of `LIMEN_KILLS` (3 in `make test`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limen.core import events
from limen.core.errors import NotFound
from limen.doors.log.app import LogDoor
from limen.ledger.ledger import Ledger
from limen.verify.published import Published, verify
from serving import Served
from witnessing import LOG

KILLS = max(1, int(os.environ.get("LIMEN_KILLS", "25")) // 8)
HERE = Path(__file__).parent
FIRST, STEP = 3000, 300  # entries: a dozen bundles to begin with, then one or two more


def grow(data, count):
    async def life():
        data.mkdir(exist_ok=True)
        ledger = Ledger.open(data, origin=LOG.name, signer=LOG, now=time.time, deadline_s=30)
        start = ledger.head().size
        entries = [events.encode("server.start", 1, bytes(16), {"n": start + i}) for i in range(count)]
        await ledger.append_all([(entry, None) for entry in entries])
        await ledger.flush()
        await ledger.close()

    asyncio.run(life())


@pytest.fixture
def served(tmp_path):
    grow(tmp_path / "data", FIRST)
    with Served(LogDoor(tmp_path / "data" / "log")) as served:
        yield served


def copy(directory, url, mode, *, kill_after_s=None):
    """Run a mirror; with a time, kill it that long after it has written something new."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    there = files(directory)
    with subprocess.Popen([sys.executable, HERE / "mirror_copier.py", directory, url, mode], env=paths) as copier:
        if kill_after_s is None:
            return copier.wait(60)
        while copier.poll() is None and files(directory) == there:
            time.sleep(0.001)
        with contextlib.suppress(subprocess.TimeoutExpired):
            copier.wait(kill_after_s)
        copier.kill()
    return None


def files(directory):
    return {path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")}


def put_out(directory):
    """The size of what is put out, which verifies; None if nothing is."""
    try:
        return verify(Published(directory / "log"), LOG.verifier).checkpoint.size
    except NotFound:
        return None


def test_a_mirror_that_is_killed_has_put_out_only_what_it_holds(served, tmp_path):
    rng, directory = random.Random("kill"), tmp_path / "mirror"
    directory.mkdir()
    sizes = [FIRST]
    for number in range(KILLS):
        copy(directory, served.url, "honest", kill_after_s=rng.random() * 0.1)
        assert put_out(directory) in {None, *sizes}
        if number % 2:
            assert copy(directory, served.url, "honest") == 0
            assert put_out(directory) == sizes[-1]
        grow(tmp_path / "data", STEP)
        sizes.append(sizes[-1] + STEP)
    assert copy(directory, served.url, "honest") == 0
    assert put_out(directory) == sizes[-1]


def test_a_mirror_that_puts_the_checkpoint_out_first_is_caught_by_the_same_check(served, tmp_path):
    directory = tmp_path / "mirror"
    directory.mkdir()
    copy(directory, served.url, "early", kill_after_s=0.0)

    with pytest.raises(Exception, match=r"entries from|leaf hashes"):
        put_out(directory)
