"""`tools/bench facts [DAYS]`: what it costs to keep facts, and to put a document of them together.

The log is a year (DAYS, 365 unless told) of the invented history that findings are tested with: 40 people of three vendors.
It is read into `facts.db` from memory; beside it, in the same run, each entry is only decoded, which every reader of the log
has to do. Then the documents: of each vendor over all those days, and one of a vendor that has been here for twelve years,
which comes to more than 100,000 facts. Processor time, since others may use the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from factlogs import DAY, HOUR, MONDAY, ORIGIN, US, Paper  # noqa: E402  the tests' logs are found from here
from histories import History  # noqa: E402
from limen.assurance.facts.book import Facts  # noqa: E402
from limen.assurance.facts.running import Covered, Filed, Running  # noqa: E402
from limen.core.events import canonical, decode  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

VENDORS = ("quillwork", "tessel", "lexara")
LONG = 4_400  # days: twelve years


class Everything:
    """Complete bills of material and fresh feeds for all time."""

    def running(self, vendor: str, as_of_us: int, *, upto: int) -> Running:
        """The same for everybody."""
        del vendor, as_of_us, upto
        return Running((Filed(1, MONDAY - DAY, MONDAY - DAY),), (Covered(0, 2**62, complete=True, why=""),), (), (2**61,))


def a_year(days: int) -> Paper:
    """A log of so many days, its assets of a tier that counts."""
    paper = Paper()
    paper.add("tier.set", MONDAY, tier="secret", hardware_key=True)
    for vendor in VENDORS:
        paper.add("vendor.add", MONDAY, vendor=vendor, name=vendor)
    history = History(1, days=days)
    for project in history.projects:
        for asset in history.assets(project):
            paper.add("asset.add", MONDAY, asset=asset, project=project, tier="secret")
    first = len(paper.raws)
    for _, raw, _ in history.benign().entries():
        # Outcomes name the index of their intent, which has moved by what stands before.
        entry = decode(raw)
        if "of" in entry:
            entry["of"] += first
        paper.raws.append(canonical(entry))
    return paper


def twelve_years() -> Paper:
    """One session and a few reads a day; a list of keys each month; a drill each quarter."""
    paper = Paper()
    paper.add("vendor.add", MONDAY, vendor="quillwork", name="quillwork")
    paper.add("asset.add", MONDAY, asset="a", project="orchid", tier="restricted")
    paper.add("asset.version", MONDAY, asset="a", number=1, length=1 << 30)
    paper.add("log.witnessed", MONDAY, size=1, since_us=0, ago_us=0, gap_us=0)
    key = {"key": "k", "what": "token", "issued_us": MONDAY, "observed": False}
    paper.add("static.add", MONDAY, vendor="quillwork", **key)
    for day in range(LONG):
        at = MONDAY + day * DAY + 8 * HOUR
        who = {"session": f"s{day}", "who": "p-1", "project": "orchid", "vendor": "quillwork"}
        paper.add("session.start", at, **who, until=at // US + 3600, strength="hardware")
        for n in range(4):
            read = {
                "action": "read",
                "asset": "a",
                "version": 1,
                "shard": str(day),
                "status": 206,
                "span": [n * 4096, n * 4096 + 4096],
            }
            of = paper.add("access.intent", at + n * US, **who, **read)
            paper.add("access.outcome", at + n * US + 1, of=of, session=f"s{day}", end="complete", sent=4096)
        if day % 30 == 0:
            paper.add("static.list", at + HOUR, vendor="quillwork", count=1)
        if day % 90 == 0:
            order = paper.add(
                "pause.order", at + HOUR, subject="vendor/quillwork", since=at // US + 3600, essential=[], drill=True
            )
            measured = {"subject": "vendor/quillwork", "order": order, "last_byte_us": 9_000, "clock": "operator"}
            paper.add("pause.measured", at + HOUR + US, **measured)
    return paper


def took(what: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gave, its processor time and the clock's."""
    ran, began = time.process_time(), time.perf_counter()
    found = what()
    return found, time.process_time() - ran, time.perf_counter() - began


def row(*cells: object) -> None:
    """One line of the table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def documents(facts: Facts, vendors: tuple[str, ...], as_of_us: int) -> None:
    """The lines of each vendor's document."""
    for vendor in vendors:
        document, cpu, wall = took(lambda vendor=vendor: facts.document(vendor, as_of_us))
        raw, more, _ = took(lambda document=document: canonical(document))
        count = len(document["facts"])
        row(
            f"document of {vendor}", f"{count:,} facts", f"{cpu:.2f} s of processor, {wall:.2f} s",
            f"canonical bytes: {len(raw) / 1e6:.1f} MB, {more:.2f} s",
        )  # fmt: skip


def main() -> None:
    """Run it, and print a table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("days", nargs="?", type=int, default=365)
    days = asked.parse_args().days
    paper, long = a_year(days), twelve_years()
    print(f"`tools/bench facts {days}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
    row("what", "how much", "time", "besides")
    row(*["---"] * 4)
    with tempfile.TemporaryDirectory() as place:
        for name, log, upto in ((f"{days} days", paper, days), ("twelve years", long, LONG)):
            folder = Path(place) / name
            folder.mkdir()
            facts = Facts(folder, log, Everything(), origin=ORIGIN)
            count, cpu, wall = took(facts.catch_up)
            _, decoding, _ = took(lambda log=log: [decode(raw) for raw in log.raws])
            size = sum(part.stat().st_size for part in (folder / "derived").iterdir())
            besides = f"{cpu / decoding:.1f} x decoding alone; {size / 1e6:.0f} MB at rest"
            row(f"catch up {name}", f"{count:,} entries", f"{count / cpu:,.0f} entries a second ({wall:.1f} s)", besides)
            documents(facts, VENDORS if log is paper else VENDORS[:1], MONDAY + upto * DAY)
            facts.close()


if __name__ == "__main__":
    main()
