"""Compares the ledger with the least that could do its work on the same disk, in one interleaved run; prints ratios.

    one writer          the store's commit (entries, head compared and swapped)       ÷ append the same bytes to a file, fdatasync
    many callers        `Ledger.append`: hash, order, sign, commit, receipts          ÷ the same group commit to a file: nothing
                        hashed, signed, compared or indexed
    proofs              `prove` from the published tiles of a million entries; how many tiles it reads
    fsck                every entry of the database and of the published log checked  ÷ SHA-256 over the same entries
    restart             a gateway with a million entries, killed: to its first durable intent

The first two are measured once more with every sync of either side made slower (by strace), as on a disk that is not as fast.

Slices are short, and one round takes a slice of everything before the next begins. A ratio is taken within its round;
the table has the median, and the quarter and three-quarter points. Nothing here asserts a time. All files lie in one
temporary directory: set TMPDIR to measure another disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import million
import uvloop

from limen.formats import merkle, note
from limen.formats.merkle import Frontier
from limen.ledger.ledger import Ledger
from limen.ledger.sequencer import sign_checkpoint
from limen.ledger.sqlite import SqliteStore
from limen.ledger.store import Batch, Head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Append = Callable[[bytes], Awaitable[Any]]

HERE = Path(__file__).parent
ORIGIN = "limen.local/log"
SMALL = 4096
CALLERS = (1, 16, 128)
BATCHES = (1, 64)
STAGED = 400  # commits that are prepared before the clock starts: their heads are hashed and signed already
PAUSE_S = 0.05  # of a caller who has more to do than to write entries
LARGE = 1_000_000
SLOWER_US = 2_000


def salt(number: int) -> str:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest()


def intent(number: int) -> bytes:
    """An entry as a read of 4 KiB writes it, without the CPU of a scribe."""
    start, who = number % 256 * SMALL, f"{number % 64:020x}"
    return (
        f'{{"action":"read","asset":"orchid-blob","at":{time.time_ns() // 1000},"etag":"{salt(start)}","kind":"access.intent",'
        f'"project":"orchid","salt":"{salt(number)}","session":"s-{who}","shard":"blob.bin","span":[{start},{start + SMALL}],'
        f'"status":206,"v":1,"vendor":"quillwork","version":1,"who":"p-{who}"}}'
    ).encode()


def outcome(of: int) -> bytes:
    """How that read ended."""
    return (
        f'{{"at":{time.time_ns() // 1000},"end":"complete","kind":"access.outcome","of":{of},"salt":"{salt(of + 1)}",'
        f'"sent":{SMALL},"session":"s-{of % 64:020x}","v":1}}'
    ).encode()


# --- one writer: the store beside a bare file


class Commits:
    """The store's writer, with batches and signed heads made beforehand: what is left is the commit."""

    def __init__(self, directory: Path, batch: int) -> None:
        directory.mkdir()
        store = SqliteStore(directory / "ledger.db", ORIGIN)
        store.create()
        self.signer = note.Signer(ORIGIN, bytes(32))
        self.writer, self.batch = store.writer(), batch
        self.head = Head(sign_checkpoint(self.signer, Frontier()), Frontier(), 0, int(time.time()))
        self.writer.append(Batch(0, ()), after=None, head=self.head)
        self.staged: deque[tuple[Batch, Head, Head]] = deque()

    def prepare(self) -> None:
        last = self.staged[-1][2] if self.staged else self.head
        while len(self.staged) < STAGED:
            entries = [intent(last.size + i) for i in range(self.batch)]
            frontier = last.frontier.extended(map(merkle.leaf_hash, entries))
            head = Head(sign_checkpoint(self.signer, frontier), frontier, 0, last.committed_at)
            self.staged.append((Batch(last.size, entries), last, head))
            last = head

    def step(self) -> bool:
        if not self.staged:
            return False
        batch, after, self.head = self.staged.popleft()
        self.writer.append(batch, after=after, head=self.head)
        return True


class Appends:
    """The same bytes at the end of a file, and fdatasync."""

    def __init__(self, directory: Path, batch: int) -> None:
        directory.mkdir()
        self.file = os.open(directory / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.raw = b"".join(intent(i) for i in range(batch))
        self.left = 0

    def prepare(self) -> None:
        self.left = STAGED

    def step(self) -> bool:
        self.left -= 1
        os.write(self.file, self.raw)
        os.fdatasync(self.file)
        return self.left > 0


def steps(writer: Commits | Appends, seconds: float) -> list[float]:
    """How long each step took; ends early when nothing is prepared any more."""
    writer.prepare()
    times: list[float] = []
    began = now = time.perf_counter()
    more = True
    while more and now - began < seconds:
        more, before = writer.step(), now
        now = time.perf_counter()
        times.append(now - before)
    return times


def in_turn(raw: Appends, commits: Commits, seconds: float) -> list[dict[str, float]]:
    """A slice of each, in four parts that alternate; steps a second, and the median step in ms."""
    times: list[list[float]] = [[], []]
    for _ in range(4):
        for place, writer in enumerate((raw, commits)):
            times[place] += steps(writer, seconds / 4)
    return [{"rate": len(taken) / sum(taken), "p50": 1000 * statistics.median(taken)} for taken in times]


# --- many callers: the ledger beside a group commit to a bare file


class GroupCommit:
    """What every group commit does at least: a thread that writes what was queued, syncs, and wakes who waits."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.change = threading.Condition()
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.closing = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    async def append(self, raw: bytes) -> None:
        future = asyncio.get_running_loop().create_future()
        with self.change:
            self.waiting.append((raw, future))
            self.change.notify()
        await future

    def run(self) -> None:
        while True:
            with self.change:
                self.change.wait_for(lambda: self.waiting or self.closing)
                taken, self.waiting = self.waiting, []
            if not taken:
                return
            os.write(self.file, b"".join(raw for raw, _ in taken))
            os.fdatasync(self.file)
            taken[0][1].get_loop().call_soon_threadsafe(self.wake, taken)

    @staticmethod
    def wake(taken: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        for _, future in taken:
            future.set_result(None)

    def close(self) -> None:
        with self.change:
            self.closing = True
            self.change.notify()
        self.thread.join()
        os.close(self.file)


async def callers(
    append: Callable[[bytes], Awaitable[Any]], count: int, seconds: float, pause_s: float = 0.0
) -> dict[str, float]:
    """`count` callers, each with one entry on its way at a time: entries a second, latencies in ms, CPU s an entry."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    entries = [intent(number) for number in range(1024)]

    async def caller(number: int) -> None:
        if pause_s:
            await asyncio.sleep(pause_s * number / count)
        while time.perf_counter() < until:
            number = (number + 1) % 1024
            before = time.perf_counter()
            await append(entries[number])
            times.append(time.perf_counter() - before)
            if pause_s:
                await asyncio.sleep(pause_s)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(number * 8) for number in range(count)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    ordered = sorted(times)
    return {
        "rate": len(times) / took,
        "p50": 1000 * ordered[len(ordered) // 2],
        "p99": 1000 * ordered[len(ordered) * 99 // 100],
        "cpu": 1e6 * cpu / len(times),
    }


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """All threads of this process on one core."""
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    before = os.sched_getaffinity(0)
    for thread in threads:
        os.sched_setaffinity(thread, {min(before)})
    try:
        yield
    finally:
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, before)


# --- the run


class Found:
    """Figures by name, one a round."""

    def __init__(self) -> None:
        self.slices: dict[str, list[dict[str, float]]] = {}

    def add(self, name: str, figures: dict[str, float]) -> None:
        self.slices.setdefault(name, []).append(figures)

    def median(self, name: str, field: str) -> float:
        return statistics.median(figures[field] for figures in self.slices[name])

    def ratio(self, ours: str, theirs: str, field: str = "rate") -> str:
        pairs = zip(self.slices[ours], self.slices[theirs], strict=True)
        ratios = [a[field] / b[field] for a, b in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"


async def rounds(directory: Path, found: Found, count: int, slice_s: float) -> None:
    """The small logs: every slice of every round."""
    single = [(b, Appends(directory / f"raw-{b}", b), Commits(directory / f"store-{b}", b)) for b in BATCHES]
    (directory / "ledger").mkdir()
    signer = note.Signer(ORIGIN, bytes(32))
    ledger = Ledger.open(directory / "ledger", origin=ORIGIN, signer=signer, now=time.time, deadline_s=30)
    group = GroupCommit(directory / "group")
    for number in range(-1, count):  # the first round warms up: files grow to the size that they keep
        kept = found if number >= 0 else Found()
        for batch, raw, commits in single:
            for name, figures in zip(("raw", "store"), in_turn(raw, commits, slice_s), strict=True):
                kept.add(f"{name} {batch}", figures)
        pair = [("group", group.append), ("ledger", ledger.append)]
        for many in CALLERS:
            for name, append in pair:
                kept.add(f"{name} {many}", await callers(append, many, slice_s))
        for name, append in pair:
            kept.add(f"{name} pausing", await callers(append, 128, slice_s, PAUSE_S))
        with one_core():
            for name, append in pair:
                kept.add(f"{name} one core", await callers(append, 128, slice_s))
        print(f"round {number + 1} of {count}", file=sys.stderr)
    group.close()
    await ledger.close()


def table(head: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    lines = ["| " + " | ".join([head, *columns]) + " |", "| --- |" + " ---: |" * len(columns)]
    return [*lines, *("| " + " | ".join([name, *cells]) + " |" for name, cells in rows.items()), ""]


def report(found: Found) -> list[str]:
    def commits(name: str) -> list[str]:
        each = [f"{name} {batch}" for batch in BATCHES]
        return [f"{found.median(n, 'rate'):,.0f}/s, {found.median(n, 'p50'):.3f} ms" for n in each]

    def ends(name: str) -> list[str]:
        each = [f"{name} {load}" for load in loads]
        times = [f"{found.median(n, 'p50'):.2f} / {found.median(n, 'p99'):.1f} ms" for n in each]
        return [
            f"{found.median(n, 'rate'):,.0f}/s, {t}, {found.median(n, 'cpu'):.0f} µs" for n, t in zip(each, times, strict=True)
        ]

    writer = {"**store ÷ append + fdatasync**": [found.ratio(f"store {b}", f"raw {b}") for b in BATCHES]}
    writer["the same of their median commits"] = [found.ratio(f"raw {b}", f"store {b}", "p50") for b in BATCHES]
    writer |= {"store: commits, p50": commits("store"), "append + fdatasync": commits("raw")}
    loads = [*map(str, CALLERS), "pausing", "one core"]
    heads = ["1 caller", "16 callers", "128 callers", f"128, each pausing {1000 * PAUSE_S:.0f} ms", "128, on one core"]
    end = {
        "**ledger ÷ group commit to a file**": [found.ratio(f"ledger {n}", f"group {n}") for n in loads],
        "p50 ÷ p50 of that group commit": [found.ratio(f"ledger {n}", f"group {n}", "p50") for n in loads],
        "p50 ÷ append of one entry + fdatasync": [found.ratio(f"ledger {n}", "raw 1", "p50") for n in loads],
        "group commit's p50 ÷ the same": [found.ratio(f"group {n}", "raw 1", "p50") for n in loads],
        "ledger: entries, p50 / p99, CPU an entry": ends("ledger"),
        "group commit to a file": ends("group"),
    }
    return [*table("one writer", [f"batch of {b}" for b in BATCHES], writer), *table("end to end", heads, end)]


def slices(count: int, slice_s: float) -> list[str]:
    """The tables of the small logs."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(rounds(Path(name), found, count, slice_s))
    return report(found)


def on_a_slower_disk(count: int) -> list[str]:
    """The same tables, with a delay after every sync of either side; ours to add, and the same for both."""
    if shutil.which("strace") is None:
        return ["(strace is not there: nothing was measured with slower syncs.)", ""]
    inject = f"inject=fdatasync,fsync:delay_exit={SLOWER_US}"
    tracing = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", "trace=fdatasync,fsync", "-e", inject]
    done = subprocess.run(
        [*tracing, sys.executable, __file__, "--slices", str(count)], stdout=subprocess.PIPE, text=True, check=True
    )
    return [f"With {SLOWER_US / 1000:g} ms added to every sync:", "", *done.stdout.splitlines(), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the ledger with a bare file on the same disk.")
    parser.add_argument("--quick", action="store_true", help="few short rounds and a tenth of the entries: under a minute")
    parser.add_argument("--slices", type=int, metavar="N", help="only the small logs, in N rounds, and only their tables")
    given = parser.parse_args()
    if given.slices:
        print("\n".join(slices(given.slices, 0.3)))
        return
    count, slice_s = (3, 0.2) if given.quick else (7, 0.3)
    began, busy = time.monotonic(), os.getloadavg()[0]
    lines = slices(count, slice_s) + on_a_slower_disk(1 if given.quick else 3)
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name:
        lines += million.measure(Path(name), LARGE // 10 if given.quick else LARGE, intent, outcome)
    print("\n".join(lines))
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    print(f"\n`tools/bench ledger{' --quick' if given.quick else ''}`, {when};", end=" ")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]};", end=" ")
    print(f"{count} rounds of {slice_s} s slices, {time.monotonic() - began:.0f} s in all;", end=" ")
    print(f"load average {busy:.2f} before, {os.getloadavg()[0]:.2f} after. Quartiles in brackets.")


main()
