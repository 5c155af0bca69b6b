"""The large half of `tools/bench ledger`: a data directory with a million entries; proofs, fsck and starts measured on it.

The directory is made by a real gateway, with a person who has a session; then the ledger is filled below the doors, with
entries as reads of 4 KiB write them, and published. A start is a process of its own that opens the gateway, makes the
intent of one read durable, and dies without closing anything, so that the next one starts after a crash.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))
from limen.ledger.ledger import Ledger
from limen.ledger.stored import look
from limen.standing import NOTE, NOTED_EVERY, Standing
from limen.verify.published import Published, prove
from simulator import World

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[int], bytes]

FILL = 4096  # entries in one commit
PROOFS = 400
STARTS = 4
START = """
import asyncio, json, sys, time, os
began = time.perf_counter()
from pathlib import Path
from limen.config import load
from limen.core.types import Client, Span
from limen.server import Gateway
imported = time.perf_counter()

async def main():
    given = json.loads(sys.stdin.read())
    gateway = await Gateway.open(load(Path(given["data"])))
    opened = time.perf_counter()
    session = gateway.sessions.resolve(given["key"], given["token"], now=gateway.custody.clock.now())
    choose = lambda copy, _: Span(206, 0, 4096)
    await gateway.access.open(session, "orchid-blob/blob.bin", choose=choose, client=Client("127.0.0.1"))
    done = time.perf_counter()
    print(json.dumps({"import": imported - began, "open": opened - imported, "intent": done - opened}), flush=True)
    os._exit(0)

asyncio.run(main())
"""


@dataclass
class Filled:
    """The directory, the session, a small copy of it, and how it was made."""

    world: World
    small: Path
    entries: int
    fill_s: float
    publish_s: float
    unnoted_s: float
    session: dict[str, str]


def fill(directory: Path, entries: int, intent: Make, outcome: Make) -> Filled:
    """A million entries, published; the note of what they add up to is as old as a crash may leave it."""
    world = World.make(directory, blob=random.Random(3).randbytes(1 << 20))
    someone = world.serve().login("q03")
    someone.get("orchid-blob/blob.bin", start=0, end=10)
    world.stop()
    small = directory / "small"
    shutil.copytree(world.data, small, ignore=shutil.ignore_patterns("control.sock"))
    session = {"key": someone.credentials.access_key, "token": someone.credentials.token}
    (world.data / NOTE).unlink(missing_ok=True)

    async def append() -> tuple[float, float]:
        ledger = opened(world.data)
        began, number = time.perf_counter(), ledger.head().size
        while number < entries:
            if number >= entries - NOTED_EVERY - FILL and not (world.data / NOTE).exists():
                Standing.of(world.data / NOTE, ledger, now=int(time.time())).keep(now=int(time.time()), closing=True)
            pairs = range(number, min(number + FILL, entries), 2)
            batch = [entry for index in pairs for entry in (intent(index), outcome(index))]
            await ledger.append_all([(entry, None) for entry in batch])
            number += len(batch)
        ledger.append_soon(outcome(number - 2), low_water=None)
        filled = time.perf_counter()
        await ledger.flush()
        flushed = time.perf_counter()
        await ledger.close()
        return filled - began, flushed - filled

    fill_s, publish_s = asyncio.run(append())
    note = world.data / NOTE
    kept = note.read_bytes()
    note.unlink()
    unnoted = start(world.data, session)
    note.write_bytes(kept)
    return Filled(world, small, entries, fill_s, publish_s, unnoted["open"] + unnoted["intent"], session)


def opened(data: Path) -> Ledger:
    """The ledger of a data directory that nobody serves."""
    from limen import directory  # noqa: PLC0415  not needed where nothing is filled
    from limen.config import load  # noqa: PLC0415

    config = load(data)
    signer = directory.signer(config)
    guard = directory.guard(config, signer.verifier, now=time.time)
    return Ledger.open(data, origin=config.ledger.origin, signer=signer, now=time.time, deadline_s=60, guard=guard)


def start(data: Path, session: dict[str, str]) -> dict[str, float]:
    given = json.dumps({"data": str(data), **session})
    done = subprocess.run([sys.executable, "-c", START], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def proofs(filled: Filled) -> dict[str, float]:
    """Times of proofs at random places, verified each; how many tiles are read for one."""

    class Counted(Published):
        reads = 0

        def read(self, level: int | None, index: int, width: int) -> bytes:
            Counted.reads += level is not None
            return super().read(level, index, width)

    log = Counted(filled.world.data / "log")
    verifier, times, draw = log.verifier(), [], random.Random(4)
    for _ in range(PROOFS):
        index = draw.randrange(filled.entries)
        before = time.perf_counter()
        prove(log, verifier, index)
        times.append(time.perf_counter() - before)
    ordered = sorted(times)
    return {"p50": 1000 * ordered[PROOFS // 2], "p99": 1000 * ordered[PROOFS * 99 // 100], "tiles": Counted.reads / PROOFS}


def hashed(filled: Filled) -> float:
    """Entries a second that are read from the database and hashed, and no more: a bound for fsck in one thread of Python."""
    store = look(filled.world.data, "limen.local/log")
    began, count = time.perf_counter(), 0
    with closing(store.entries(0, filled.entries)) as entries:
        for _, raw in entries:
            hashlib.sha256(b"\0" + raw).digest()
            count += 1
    return count / (time.perf_counter() - began)


def fsck(filled: Filled) -> float:
    """Entries a second by the command's own clock; it must find nothing wrong."""
    command = [sys.executable, "-m", "limen", "ledger", "fsck", "--data", str(filled.world.data), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(json.loads(done.stdout)["rate"])


def measure(directory: Path, entries: int, intent: Make, outcome: Make) -> list[str]:
    """The second table's rows."""
    filled = fill(directory, entries, intent, outcome)
    print(f"{entries:,} entries are there", file=sys.stderr)
    proved = proofs(filled)
    checked, read = [], []
    for _ in range(2):
        read.append(hashed(filled))
        checked.append(fsck(filled))
    starts: dict[str, list[dict[str, Any]]] = {"large": [], "small": []}
    for _ in range(STARTS):
        starts["small"].append(start(filled.small, filled.session))
        starts["large"].append(start(filled.world.data, filled.session))

    def seconds(name: str, *parts: str) -> float:
        return statistics.median(sum(found[part] for part in parts) for found in starts[name])

    size = (filled.world.data / "ledger.db").stat().st_size
    ratio = statistics.median(a / b for a, b in zip(checked, read, strict=True))
    cores = os.cpu_count()
    return [
        f"| with {entries:,} entries ({size / 1e6:,.0f} MB in SQLite) | |",
        "| --- | ---: |",
        f"| filled, in commits of {FILL:,} | {entries / filled.fill_s:,.0f} entries/s |",
        f"| then published | after {filled.publish_s:.1f} s more |",
        f"| **inclusion proof**, made and verified, p50 / p99 | {proved['p50']:.2f} / {proved['p99']:.2f} ms |",
        f"| tiles read for one | {proved['tiles']:.1f} |",
        f"| **fsck**, database and published log, {cores} cores | {statistics.median(checked):,.0f} entries/s |",
        f"| fsck ÷ reading and hashing the entries in one thread | {ratio:.2f} |",
        f"| **start after a crash**: gateway opened, and its first intent durable | {seconds('large', 'open', 'intent'):.2f} s |",
        f"| the same with an almost empty log | {seconds('small', 'open', 'intent'):.2f} s |",
        f"| before either: Python imports limen | {seconds('large', 'import'):.2f} s |",
        f"| the same start, if the note of what the log adds up to was lost | {filled.unnoted_s:.1f} s |",
    ]
