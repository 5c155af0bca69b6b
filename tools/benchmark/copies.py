"""How fast copies are gathered, beside memcpy in the same run; prints a Markdown table. tools/bench copies

Versions of 200 MB are made up in memory, every byte of them a slot's, at several lengths of a slot. In each round, interleaved:

    memcpy      the same bytes of one stream, in the same chunks, each into memory of its own
    copy        one recipient's copy, read from front to back in chunks as a Delivery does
    open        from a recipient's name to their copy: every slot's bit dealt
    first       from there to the first chunk
    records     which records the whole copy holds, as an exposure report asks

Rates are by processor time of one core. A ratio is taken within its round; the table has the medians. Nothing asserts a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limen.core.types import Recipient
from limen.marks.copy import CHUNK, Prepared, copy_of
from limen.marks.keys import MarkKey
from limen.marks.layout import ENTRY, REGION
from limen.marks.staging import SLOT

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES = 200_000_000
WIDTHS = (200, 1_000, 4_096, 16_384, 65_536)
KEY = MarkKey("bench", b"k" * 32, b"s" * 32)


def made_up(width: int, size: int) -> Prepared:
    """A version of equally long slots in the person tier and the vendor tier, as if it had been prepared."""
    count = size // width
    draw = np.random.default_rng(width)
    base, other = (draw.integers(32, 126, count * width, dtype=np.uint8) for _ in range(2))
    slots = np.zeros(count, dtype=SLOT)
    slots["tier"], slots["level"] = draw.random(count) < 1 / 3, draw.integers(0, 4, count)
    for tier in (0, 1):
        for level in range(4):
            mine = (slots["tier"] == tier) & (slots["level"] == level)
            slots["index"][mine] = np.arange(np.count_nonzero(mine))
    regions = np.zeros(count, dtype=REGION)
    regions["slot"], regions["canary"] = np.arange(count), -1
    bounds = np.arange(count + 1, dtype=np.int64) * width
    entries = np.zeros(count, dtype=ENTRY)
    entries["start"], entries["region"] = bounds[:-1], np.arange(count)
    entries["length0"] = entries["length1"] = width - 1
    entries["record0"], entries["record1"] = 2 * np.arange(count), 2 * np.arange(count) + 1
    manifest = {"key": KEY.id, "length": count * width, "records": 2 * count, "canaries": 0}
    of = np.arange(count, dtype=np.int32)
    return Prepared(Path("made-up"), manifest, memoryview(base), memoryview(other), regions, entries, bounds, bounds, of, slots)


def took(act: Callable[[], object]) -> float:
    """Processor time of this thread, in seconds."""
    began = time.thread_time()
    act()
    return time.thread_time() - began


def measured(width: int, *, size: int, rounds: int) -> tuple[int, list[dict[str, float]]]:
    """How many slots, and each round's figures: rates in GB/s, times in ms."""
    prepared = made_up(width, size)
    return len(prepared.slots), [one_round(prepared, number) for number in range(rounds)]


def one_round(prepared: Prepared, number: int) -> dict[str, float]:
    """One recipient's figures: rates in GB/s, times in ms."""
    someone = Recipient(f"firm/p{number}", "firm", f"copy-{number}", "copy-firm", number)
    plain = took(lambda: [bytes(prepared.base[at : at + CHUNK]) and None for at in range(0, prepared.length, CHUNK)])
    opened = took(lambda: copy_of(prepared, someone, key=KEY, version_id="bench@1"))
    copy = copy_of(prepared, someone, key=KEY, version_id="bench@1")
    first = took(lambda: next(copy.read(0, CHUNK)))
    served = took(lambda: [piece and None for piece in copy.read(0, copy.length)])
    records = took(lambda: copy.records(0, copy.length))
    rate, memcpy = prepared.length / served / 1e9, prepared.length / plain / 1e9
    times = {"open": 1000 * opened, "first": 1000 * first, "records": 1000 * records}
    return {"memcpy": memcpy, "copy": rate, "ratio": rate / memcpy, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare gathering copies with memcpy.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, three rounds")
    quick = parser.parse_args().quick
    size, rounds = (BYTES // 10, 3) if quick else (BYTES, 7)
    before = os.getloadavg()[0]
    print("| bytes a slot | slots | memcpy, GB/s | copy, GB/s | copy ÷ memcpy | open, ms | first chunk, ms | records, ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for width in WIDTHS:
        slots, found = measured(width, size=size, rounds=rounds)
        cells = [statistics.median(one[name] for one in found) for name in found[0]]
        memcpy, rate, ratio, *times = cells
        figures = [f"{memcpy:.1f}", f"{rate:.1f}", f"{ratio:.2f}", *(f"{value:.1f}" for value in times)]
        print("| " + " | ".join([f"{width:,}", f"{slots:,}", *figures]) + " |")
    when, busy = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", os.getloadavg()[0]
    print(
        f"\n`tools/bench copies{' --quick' if quick else ''}`, {when}; {os.cpu_count()} cores, Python {sys.version.split()[0]};",
        end=" ",
    )
    print(f"{rounds} rounds, interleaved; load average {before:.2f} before, {busy:.2f} after.")


main()
