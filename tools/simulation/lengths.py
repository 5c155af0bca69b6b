"""Published code lengths for the same errors, from their papers' leading terms, to set beside what was measured."""

from __future__ import annotations

import math

ALPHA = 1e-9
PEOPLE = 100_000
# Name -> factor of c^2 ln(1 / eps), eps the error for one innocent copy. Nuida's and Laarhoven's are limits for large c.
FORMULAS = {
    "Tardos 2003: 100": 100.0,
    "Skoric, Katzenbeisser, Celik 2008, Gaussian scores: pi^2": math.pi**2,
    "Nuida and others 2009, large c: 5.35 % of Tardos": 5.35,
    "Laarhoven, de Weger 2012, large c: pi^2 / 2": math.pi**2 / 2,
    "Laarhoven 2014, simple capacity, large c: 2": 2.0,
}
COALITIONS = (1, 2, 3, 5, 8)


def table() -> None:
    """Print them."""
    nats = math.log(PEOPLE / ALPHA)
    print(f"\nLengths published, factor x c^2 ln(1/eps), ln(1/eps) = {nats:.1f}")
    print("| code | " + " | ".join(f"c = {c}" for c in COALITIONS) + " |")
    for name, factor in FORMULAS.items():
        print(f"| {name} | " + " | ".join(f"{factor * c * c * nats:,.0f}" for c in COALITIONS) + " |")
