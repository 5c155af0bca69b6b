"""What colluders do: one function a strategy, from the bits they hold to the symbol each slot shows, or nothing.

`bits`: (colluders x slots). Returned: 0, 1, 2 (both sides) or DROPPED, a slot each. To add a strategy, write such a
function under `@strategy`; `shares` tells who did what share where that matters. All but `flipped` show only what some
colluder held (the marking assumption); sides are drawn by key, so no coalition can aim at 1 or 0, but bounds must hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Bits = NDArray[np.bool_]
    Symbols = NDArray[np.int64]
    Attack = Callable[[Bits, np.random.Generator], Symbols]

DROPPED: Final = -1
BOTH: Final = 2
FLIPS: Final = 0.1
STRATEGIES: dict[str, Attack] = {}


def strategy(attack: Attack) -> Attack:
    """Enter a strategy under its function's name."""
    STRATEGIES[attack.__name__.replace("_", " ")] = attack
    return attack


def theta_attack(theta: NDArray[np.float64]) -> Attack:
    """The attack that shows symbol s with probability theta[s, how many hold a 1], and nothing with what is left of it."""

    def attack(bits: Bits, rng: np.random.Generator) -> Symbols:
        below = np.cumsum(theta, axis=0)[:, bits.sum(axis=0)]
        shown = (rng.random(bits.shape[1]) >= below).sum(axis=0)
        return np.where(shown < len(theta), shown, DROPPED)

    return attack


def _from(bits: Bits, whose: NDArray[np.int64]) -> Symbols:
    return bits[whose, np.arange(bits.shape[1])].astype(np.int64)


def _by_count(bits: Bits, majority: bool, rng: np.random.Generator) -> Symbols:
    held, c = bits.sum(axis=0), len(bits)
    tied = rng.random(bits.shape[1]) < 0.5  # noqa: PLR2004
    most = np.where(2 * held == c, tied, 2 * held > c)
    return np.where((held == 0) | (held == c), held == c, most == majority).astype(np.int64)


@strategy
def random_pick(bits: Bits, rng: np.random.Generator) -> Symbols:
    """Each slot from a colluder drawn at random."""
    return _from(bits, rng.integers(0, len(bits), bits.shape[1]))


@strategy
def majority(bits: Bits, rng: np.random.Generator) -> Symbols:
    """The side that most hold; a coin on a tie."""
    return _by_count(bits, True, rng)


@strategy
def minority(bits: Bits, rng: np.random.Generator) -> Symbols:
    """The side that fewest hold, but somebody does."""
    return _by_count(bits, False, rng)


@strategy
def all_1(bits: Bits, _: np.random.Generator) -> Symbols:
    """Side 1 wherever somebody holds it."""
    return bits.any(axis=0).astype(np.int64)


@strategy
def all_0(bits: Bits, _: np.random.Generator) -> Symbols:
    """Side 0 wherever somebody holds it."""
    return bits.all(axis=0).astype(np.int64)


@strategy
def coin(bits: Bits, rng: np.random.Generator) -> Symbols:
    """A fair coin wherever copies differ."""
    return np.where(bits.all(axis=0) == bits.any(axis=0), bits[0], rng.integers(0, 2, bits.shape[1])).astype(np.int64)


@strategy
def drop_what_differs(bits: Bits, _: np.random.Generator) -> Symbols:
    """Only what all hold alike."""
    return np.where(bits.all(axis=0) == bits.any(axis=0), bits[0], DROPPED).astype(np.int64)


@strategy
def leak_both(bits: Bits, _: np.random.Generator) -> Symbols:
    """The union of all copies."""
    return np.where(bits.all(axis=0) == bits.any(axis=0), bits[0], BOTH).astype(np.int64)


@strategy
def unequal_shares(bits: Bits, rng: np.random.Generator) -> Symbols:
    """Each colluder gives twice what the next one gives."""
    weight = 0.5 ** np.arange(len(bits))
    return _from(bits, rng.choice(len(bits), bits.shape[1], p=weight / weight.sum()))


@strategy
def half_erased(bits: Bits, rng: np.random.Generator) -> Symbols:
    """A random pick, half of it lost."""
    return np.where(rng.random(bits.shape[1]) < 0.5, DROPPED, random_pick(bits, rng))  # noqa: PLR2004


@strategy
def flipped(bits: Bits, rng: np.random.Generator) -> Symbols:
    """A random pick, every tenth symbol turned around."""
    return random_pick(bits, rng) ^ (rng.random(bits.shape[1]) < FLIPS)
