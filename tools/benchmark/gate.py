"""How long the gate takes to judge 100 vendors by 30 clauses over 365 days: `tools/bench gate [--quick]`.

Each vendor's facts document is generated (every daily measure that a clause names, with events, states and shares; days that
nobody vouches for; disputes), written as canonical JSON, and read again, as a run does. What is timed is a run without its
log: reading the facts' bytes, both digests, the judgement of every day, the money, and the verdict's canonical bytes.
Beside it, for one vendor, the same money by looking at each day's whole window afresh: what windows that move on by a day save.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from clauses import clause, contract, daily, document, midnight  # noqa: E402  the tests' world is found from here
from limen.verify.verdict import canonical, evaluate  # noqa: E402
from reckoning import reckoned  # noqa: E402

STARTS, DAYS = "2026-01-01", 365
WORDS = ("met", "breached", "unknown")
RARE, HOLES = 0.01, 0.002
SECOND = 1_000_000
MEASURES: dict[str, tuple[str, int, Any]] = {  # measure: statistic's comparator, value, how a day's samples are drawn
    "revoke_us": ("<=", 300 * SECOND, lambda draw: [draw.randint(1, 90 * SECOND) for _ in range(draw.choice([0, 0, 0, 1]))]),
    "session_length_us": ("<=", 3600 * SECOND, lambda draw: [draw.randint(900, 3601) * SECOND for _ in range(12)]),
    "refusals_out_of_project": ("<=", 3, lambda draw: [1] * draw.choice([0, 0, 1, 2])),
    "static_keys": ("<=", 0, lambda draw: [draw.choice([0] * 20 + [1])]),
    "bom_age_days": ("<=", 7, lambda draw: [draw.randint(0, 8)]),
    "malicious_dwell_us": (
        "<=",
        86_400 * SECOND,
        lambda draw: [draw.randint(1, 90_000) * SECOND] if draw.random() < RARE else [],
    ),
    "rotation_age_days": ("<=", 90, lambda draw: [draw.randint(1, 91) for _ in range(5)]),
    "outcomes_unknown": ("<=", 2, lambda draw: [draw.choice([0, 0, 0, 1])]),
}
STATISTICS = ("max", "mean", "p95", "count", "sum", "last", "p50")


def terms() -> dict[str, Any]:
    """A contract of 30 clauses: 28 over eight measures and seven statistics, two shares; windows of 1, 30 and 92 days."""
    rows = []
    for i in range(28):
        measure = list(MEASURES)[i % len(MEASURES)]
        statistic = STATISTICS[i % len(STATISTICS)]
        comparator, value, _ = MEASURES[measure]
        more = {"window_days": (1, 30, 92, 92)[i % 4], "min_n": 0, "cure_days": i % 4, "clawback_percent_day": f"0.{i + 1:02}"}
        rows.append(clause(measure, statistic=statistic, comparator=comparator, value=value, ref=f"{i}", **more))
    for ref, days in (("named", 92), ("named today", 1)):
        more = {"window_days": days, "min_n": 0, "clawback_percent_day": "0.5", "ref": ref}
        rows.append(clause("named_share", statistic="share", comparator=">=", value=[1, 1], **more))
    return contract(*rows, caps=("24000.00", "100000.00", "0.00", "0.00"))


def facts(seed: int) -> bytes:
    """One vendor's year."""
    draw = random.Random(seed)
    as_of, found = midnight(STARTS, DAYS), []
    for measure, (_, _, sample) in MEASURES.items():
        found += daily(measure, STARTS, [None if draw.random() < HOLES else sample(draw) for _ in range(DAYS)])
    found += daily(
        "named_share", STARTS, [[[n - (draw.random() < RARE), n]] for n in (draw.randint(20, 900) for _ in range(DAYS))]
    )
    for fact in draw.sample(found, 3):
        fact["disputed"] = {"entry": 9, "since": fact["from"]}
    return canonical(document(found, as_of))


def main() -> None:
    """Measure, and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true", help="ten vendors")
    vendors = 10 if asked.parse_args().quick else 100
    agreed, kept = terms(), [facts(seed) for seed in range(vendors)]
    as_of = midnight(STARTS, DAYS)
    began, worked = time.perf_counter(), time.process_time()
    verdicts = [canonical(evaluate(agreed, json.loads(raw), as_of)) for raw in kept]
    took, work = time.perf_counter() - began, time.process_time() - worked
    counts = [row["verdict"] for raw in verdicts for row in json.loads(raw)["clauses"]]
    clauses = len(agreed["clauses"])
    print(f"{vendors} vendors x {clauses} clauses x {DAYS} days: {took:.2f} s, of which {work:.2f} s on a core")
    print(f"  facts: {sum(map(len, kept)) / 1e6:.0f} MB; " + ", ".join(f"{counts.count(word)} {word}" for word in WORDS))
    worked = time.process_time()
    by_hand = reckoned(agreed, json.loads(kept[0]), as_of)
    naive = time.process_time() - worked
    print(f"  each window afresh, money alone: {naive:.1f} s a vendor, {naive / (work / vendors):.0f} times as long")
    judged = {one["month"]: one["clawback"] for one in json.loads(verdicts[0])["money"]["months"]}
    if judged != {month: str(sums[0]) for month, sums in by_hand.items()}:
        sys.exit("the two disagree")
    print("  the two agree to the cent")


if __name__ == "__main__":
    main()
