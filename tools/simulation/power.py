"""How often at least one of c is named, by strategy and size; and the smallest size that does it 99 times in 100."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from deal import deal
from strategies import STRATEGIES, theta_attack
from worst import choosing, selecting, slots_needed

from limen.marks.levels import LEVELS, NUIDA8, Levels
from limen.marks.search import FIRST, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from strategies import Attack

ALPHA = 1e-9
PEOPLE = 100_000
SERVED = 0.9
DETECTION = 0.99
COALITIONS = (1, 2, 3, 5, 8)
BARS = {1: 110, 2: 520, 3: 1150, 5: 2700, 8: 7500}
FLIPPED_BARS = {1: 270, 2: 1000, 3: 2200, 5: 5000, 8: 9800}
LEDGER_BARS = {1: 95, 2: 380, 3: 800, 5: 1900, 8: 4200}
SUSPECTS = 50
COMPARED = (2, 3, 5, 8)
SHORT = 0.75
THRESHOLD = math.log(2 / (FIRST * ALPHA)) + math.log(PEOPLE)


def attacks(colluders: int, table: Levels = NUIDA8) -> dict[str, Attack]:
    """Every strategy, and the worst two that were searched for."""
    out = dict(STRATEGIES)
    if colluders > 1:
        out["worst choice of sides"] = theta_attack(choosing(colluders, THRESHOLD, table))
        out["worst, dropping slots too"] = theta_attack(selecting(colluders, THRESHOLD, table))
    return out


def named(
    attack: Attack,
    colluders: int,
    slots: int,
    *,
    trials: int,
    seed: int,
    log_prior: float,
    rounds: int = 1,
    table: Levels = NUIDA8,
) -> list[int]:
    """How many of the coalition each trial names. Innocent copies don't move a colluder's score: none are dealt."""
    out = []
    for trial in range(trials):
        rng = np.random.default_rng([seed, colluders, slots, trial])
        look = deal(attack, colluders, slots, rng, table=table).look(0, rng)
        out.append(len(search([look], np.full(colluders, log_prior), alpha=ALPHA, rounds=rounds).found))
    return out


def rate(
    attack: Attack, colluders: int, slots: int, *, trials: int, seed: int, log_prior: float, table: Levels = NUIDA8
) -> float:
    """The share of trials that name at least one."""
    found = named(attack, colluders, slots, trials=trials, seed=seed, log_prior=log_prior, table=table)
    return float(np.mean(np.array(found) > 0))


def smallest(detects: Callable[[int], float], start: int) -> int:
    """The smallest size on a grid of about 3 % from which on the share holds, walking from a guess."""
    size, step = start, 1.03
    if detects(size) >= DETECTION:
        while detects(lower := int(size / step)) >= DETECTION:
            size = lower
        return size
    while detects(size := math.ceil(size * step)) < DETECTION:
        pass
    return size


def tables(*, trials: int, seed: int, sizes: bool) -> None:
    """Print the power tables."""
    even = -math.log(PEOPLE)
    print(f"\nNamed at least one of c, {trials} trials, seed {seed}, alpha {ALPHA:g} among {PEOPLE:,} copies; slots of the tier")
    print("| strategy | " + " | ".join(f"c = {c}: {BARS[c]:,}" for c in COALITIONS) + " |")
    for name in attacks(2):
        row = []
        for c in COALITIONS:
            attack = attacks(c).get(name)
            slots = FLIPPED_BARS[c] if name == "flipped" else BARS[c]
            share = rate(attack, c, slots, trials=trials, seed=seed, log_prior=even) if attack else math.nan
            row.append(f"{share:.1%}" + (f" at {slots:,}" if name == "flipped" else ""))
        print(f"| {name} | " + " | ".join(row).replace("nan%", "-") + " |", flush=True)
    ledger = math.log(SERVED / SUSPECTS)
    pick = STRATEGIES["random pick"]
    row = [
        f"{rate(pick, c, LEDGER_BARS[c], trials=trials, seed=seed, log_prior=ledger):.1%} at {LEDGER_BARS[c]:,}"
        for c in COALITIONS
    ]
    print(f"| random pick, {SUSPECTS} with access | " + " | ".join(row) + " |", flush=True)
    vendor = rate(pick, 1, 100, trials=trials, seed=seed, log_prior=-math.log(100))
    print(f"vendor tier: 1,000 accounts of one of 100 vendors hold one copy; named at 100 vendor slots: {vendor:.1%}")
    all_three = named(pick, 3, 3000, trials=max(20, trials // 3), seed=seed, log_prior=even, rounds=24)
    print(f"all three of c = 3 at 3,000: {np.mean(np.array(all_three) == 3):.1%}", flush=True)  # noqa: PLR2004
    if sizes:
        _sizes(trials=trials, seed=seed)


def by_table(*, trials: int, seed: int) -> None:
    """Print what eight levels name where four do, at the same sizes and at smaller ones."""
    print(f"\nNamed at least one of c by table of levels, {trials} trials, seed {seed}")
    print("| leak | c | slots | " + " | ".join(LEVELS) + " |")
    for c in COMPARED:
        for name in ("random pick", "minority", "worst choice of sides", "flipped"):
            full = FLIPPED_BARS[c] if name == "flipped" else BARS[c]
            for slots in (full, int(full * SHORT)):
                row = []
                for table in LEVELS.values():
                    attack = attacks(c, table)[name]
                    share = rate(attack, c, slots, trials=trials, seed=seed, log_prior=-math.log(PEOPLE), table=table)
                    row.append(f"{share:.1%}")
                print(f"| {name} | {c} | {slots:,} | " + " | ".join(row) + " |", flush=True)
    print("slots that a decoder would need that knew the worst choice of sides: ", end="")
    needs = [(c, [slots_needed(choosing(c, THRESHOLD, t), THRESHOLD, table=t) for t in LEVELS.values()]) for c in COALITIONS[1:]]
    print("; ".join(f"c = {c}: " + " and ".join(f"{one:,.0f}" for one in some) for c, some in needs))


def _sizes(*, trials: int, seed: int) -> None:
    print(f"\nSmallest size (steps of 3 %) with {DETECTION:.0%}, and what a decoder that knew the attack would need")
    print("| strategy | " + " | ".join(f"c = {c}" for c in COALITIONS) + " |")
    even, ledger = -math.log(PEOPLE), math.log(SERVED / SUSPECTS)
    rows = {"random pick": even, "worst choice of sides": even, "worst, dropping slots too": even, "flipped": even}
    for name, prior in [*rows.items(), ("random pick", ledger)]:
        row = []
        for c in COALITIONS:
            attack = attacks(c).get(name)
            if attack is None:
                row.append("-")
                continue

            def detects(slots: int, attack: Attack = attack, c: int = c, prior: float = prior) -> float:
                return rate(attack, c, slots, trials=trials, seed=seed, log_prior=prior)

            guess = LEDGER_BARS[c] if prior == ledger else FLIPPED_BARS[c] if name == "flipped" else BARS[c]
            known = {"worst choice of sides": choosing, "worst, dropping slots too": selecting}.get(name)
            bound = f" (known: {slots_needed(known(c, THRESHOLD), THRESHOLD):,.0f})" if known else ""
            row.append(f"{smallest(detects, int(guess * 0.95)):,}{bound}")
        print(f"| {name}{', 50 with access' if prior == ledger else ''} | " + " | ".join(row) + " |", flush=True)
