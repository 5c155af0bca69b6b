"""How soon an alert arrives, and how often ordinary work raises one: `tools/bench alerts [--quick]`.

First a real gateway under load, whose canaries are reached for one after the other, and a webhook on this machine: the time
from the refusal's entry, and from the finding, until the receiver has it. Then the rules read invented histories of ordinary
work (tests/histories.py), and each alert is counted; and histories in which events were planted, and each one missed is.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))
from histories import DAY_S, MONDAY, History
from limen.watch.book import BOOK, Book
from limen.watch.fold import Fold
from limen.watch.rules import DAY_US, Rules, Severity
from receivers import SECRET, Webhook
from simulator import Someone, World, records

READERS = 4
REFUSED = {403, 404}
PEOPLE = ("q01", "q02", "q03", "q04", "q05")


def main() -> None:
    """Both halves, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    part = 10 if parser.parse_args().quick else 1
    print(f"`tools/bench alerts{' --quick' if part > 1 else ''}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
    arrivals(400 // part)
    print()
    ordinary(40 // part)
    planted(100 // part)


def arrivals(count: int) -> None:
    """Reach for canaries under load, and wait for each alert."""
    with tempfile.TemporaryDirectory() as place, Webhook() as webhook:
        world = World.make(Path(place), sft=records(400))
        world.environment["LIMEN_ALERT_SOC_SECRET"] = SECRET
        with (world.data / "limen.toml").open("a") as config:
            config.write(f'[[alert]]\nname = "soc"\nkind = "webhook"\nurl = "{webhook.url}"\n')
        honey = {"project": "orchid", "class": "training", "tier": "internal", "canary": True}
        wanted = -(-count // len(PEOPLE))
        assets = [{**honey, "id": f"orchid-honey-{n}"} for n in range(wanted)]
        (Path(place) / "honey.json").write_text(json.dumps({"asset": assets}))
        world.limen("import", str(Path(place) / "honey.json"))
        world.serve()
        stop, reads = threading.Event(), itertools.count()
        load = [threading.Thread(target=read_on, args=(world.login(f"q1{n % 3}"), stop, reads)) for n in range(READERS)]
        for thread in load:
            thread.start()
        began = time.monotonic()
        asked = reach(world, wanted)
        events = [webhook.wait(60) for _ in range(asked)]
        took, read = time.monotonic() - began, next(reads)
        stop.set()
        for thread in load:
            thread.join()
        world.stop()
        with Book(world.data / BOOK) as book:
            found = {each.uid: each.found_us / 1e6 for each in book.findings()}
    told = [(at, json.loads(body)) for at, _, body in events]
    sent = sorted(at - found[event["id"]] for at, event in told)
    whole = sorted(at - event["data"]["time"] / 1e3 for at, event in told)
    print(f"{asked} canaries reached for in {took:.1f} s, beside {read / took:.0f} reads a second by {READERS} readers:")
    for name, some in (("finding to delivered webhook", sent), ("entry to delivered webhook", whole)):
        print(f"  {name}: p50 {statistics.median(some):.3f} s, p99 {quantile(some, 99):.3f} s, most {some[-1]:.3f} s")


def reach(world: World, wanted: int) -> int:
    """Each person reaches for each canary; how often."""
    people = [world.login(who) for who in PEOPLE]
    for n, person in itertools.product(range(wanted), people):
        if person.get(f"orchid-honey-{n}/answers.jsonl").status not in REFUSED:
            raise SystemExit("a canary was not refused")
    return wanted * len(people)


def read_on(person: Someone, stop: threading.Event, reads: itertools.count) -> None:
    """Read until it is enough."""
    while not stop.is_set():
        with contextlib.suppress(OSError):
            person.get("orchid-sft-v3/sft.jsonl", start=0, end=4096)
            next(reads)


def quantile(some: list[float], percent: int) -> float:
    """The value below which so many of a hundred lie."""
    return some[min(len(some) - 1, len(some) * percent // 100)]


def judged(seed: int) -> tuple[int, int, Counter[tuple[str, int]]]:
    """One benign history: person-days, entries, findings by rule and severity."""
    history = History(seed, people=60, days=90).benign()
    fold, found, entries = Fold(Rules()), Counter(), 0
    for index, raw, network in history.entries():
        entries = index + 1
        found.update((f.rule, int(f.severity)) for f in fold.add(index, raw, network))
    return history.person_days, entries, found


def ordinary(seeds: int) -> None:
    """Alerts in ordinary work."""
    with Pool(2) as pool:
        parts = pool.map(judged, range(1000, 1000 + seeds))
    days, entries = sum(part[0] for part in parts), sum(part[1] for part in parts)
    found = sum((part[2] for part in parts), Counter())
    alerts = sum(n for (_, severity), n in found.items() if severity >= Severity.MEDIUM)
    print(f"{seeds} histories of ordinary work, {days} person-days, {entries} entries:")
    print(f"  {alerts} alerts of severity medium or more: {alerts * 1000 / days:.2f} per 1,000 person-days")
    for (rule, severity), n in sorted(found.items()):
        print(f"  {rule} ({Severity(severity).name.lower()}): {n}, {n * 1000 / days:.2f} per 1,000 person-days")


def searched(seed: int) -> tuple[int, list[str]]:
    """One history with planted events: how many, and which were missed."""
    history = History(seed, people=40, days=60).benign().plant()
    fold = Fold(Rules())
    findings = [f for index, raw, network in history.entries() for f in fold.add(index, raw, network)]
    told = {(f.rule, who, f.at_us // DAY_US) for f in findings for who in f.subject.values()}
    missed = [p.rule for p in history.planted if (p.rule.split()[0], p.who, (MONDAY + p.at_s) // DAY_S) not in told]
    return len(history.planted), missed


def planted(seeds: int) -> None:
    """Events that were planted, and missed."""
    with Pool(2) as pool:
        parts = pool.map(searched, range(seeds))
    missed = Counter(rule for _, some in parts for rule in some)
    print(f"{sum(n for n, _ in parts)} events planted in {seeds} histories: {sum(missed.values())} missed {dict(missed) or ''}")


if __name__ == "__main__":
    main()
