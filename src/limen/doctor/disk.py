"""The disk: room, how long a sync takes, and whether the parts of the data directory lie together.

Every answer that gives bytes waits for one sync, and every publication renames within the directory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limen.doctor.lines import broken, ok, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limen.doctor.lines import Line

PART: Final = "disk"
SYNCS: Final = 20
WRITTEN: Final = 4096
SLOW_S: Final = 0.05
FULL: Final = 256 << 20
TIGHT: Final = 2 << 30
GIB: Final = 1 << 30
VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def look(data: Path, *, deadline_s: float, high_water: Path | None) -> Iterator[Line]:
    """Everything about the disk. `deadline_s` is the longest that an append may take."""
    yield room(shutil.disk_usage(data).free)
    if data.stat().st_uid == os.geteuid() and os.access(data, os.W_OK):
        yield pace(sync_times(data), deadline_s=deadline_s)
    else:
        yield unknown(PART, "how long a sync takes: this account can't write there", "ask as the account that serves it")
    kind = file_system(data)
    if kind in VOLATILE:
        yield broken(PART, f"{data} lies in memory ({kind}): a restart of the machine loses the log", "move it to a disk")
    yield from together(data, high_water)


def room(free: int) -> Line:
    """How much is left: without room nothing can be logged, so nothing is served."""
    says = f"{free / GIB:.1f} GiB free"
    if free < FULL:
        return broken(PART, f"{says}: appends will fail soon, and then nothing is served", "make room")
    if free < TIGHT:
        return warning(PART, f"{says}; prepared versions and imports take that quickly", "make room")
    return ok(PART, says)


def sync_times(folder: Path) -> list[float]:
    """Seconds that each of some small writes took to be on the disk, there."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        return [_sync(probe.fileno()) for _ in range(SYNCS)]


def _sync(handle: int) -> float:
    began = time.perf_counter()
    os.write(handle, bytes(WRITTEN))
    os.fdatasync(handle)
    return time.perf_counter() - began


def pace(times: Sequence[float], *, deadline_s: float) -> Line:
    """What those times mean for whoever waits for an entry."""
    middle, longest = statistics.median(times), max(times)
    says = f"a sync takes {middle * 1000:.1f} ms (longest {longest * 1000:.0f} ms of {len(times)}); each first byte waits for one"
    if longest >= deadline_s:
        return broken(PART, f"{says}. Longer than ledger.append_deadline_s: such reads are refused", "use a faster disk")
    if middle > SLOW_S:
        return warning(PART, says, "use a faster disk, or one that nothing else keeps busy")
    return ok(PART, says)


def together(data: Path, high_water: Path | None) -> Iterator[Line]:
    """Whether the directory's parts share a file system, and the second high-water note does not."""
    device = data.stat().st_dev
    apart = sorted(part.name for part in data.iterdir() if part.stat().st_dev != device)
    if apart:
        says = f"on other file systems than {data}: {', '.join(apart)}; a snapshot of one without the other is a torn copy"
        yield warning(PART, says, "keep the directory on one file system, or copy it with `limen backup` only")
    else:
        yield ok(PART, "all parts of the data directory lie on one file system")
    place = high_water if high_water is None or high_water.exists() else high_water.parent
    if place is not None and place.exists() and place.stat().st_dev == device:
        says = f"the second high-water note ({high_water}) lies on the same file system: what sets one back sets both back"
        yield warning(PART, says, "put ledger.high_water on another disk")


def file_system(path: Path) -> str:
    """The kind of file system that a path lies on, as /proc/self/mountinfo tells; empty if that can't be read."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == wanted]
    return kinds[-1] if kinds else ""
