"""A case as dealt: a coalition's bits slot by slot, and everybody else's ones by class, drawn and never stored by slot.

An innocent copy's score needs only how many ones it holds in each class of slots that the coalition and the leak can't
tell apart; those counts are binomial and independent, so they are drawn as such: exact, and some hundred times cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from strategies import DROPPED

from limen.marks.classes import Shown
from limen.marks.levels import NUIDA8, Levels
from limen.marks.search import Look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from strategies import Attack


class InnocentImplicatedError(Exception):
    """An innocent copy was implicated and the search asks for its bits: the case has failed, whatever follows."""


@dataclass(frozen=True)
class Case:
    """Leaked slots: level, symbol, and (slots x colluders) bits."""

    level: NDArray[np.int64]
    symbol: NDArray[np.int64]
    held: NDArray[np.bool_]
    table: Levels = NUIDA8

    def look(self, innocents: int, rng: np.random.Generator, *, biases: NDArray[np.float64] | None = None) -> Look:
        """The case as the search sees it: the coalition's copies first. `biases`: what else innocent bits are dealt with."""
        known = self.table.biases
        shown = Shown(known[self.level], self.symbol, np.zeros(len(self.level), dtype=np.int64))
        return Look(shown, SampledBook(self, innocents, rng, known if biases is None else biases))


@dataclass(frozen=True)
class SampledBook:
    """Bits of the coalition, and counts of ones of so many innocent copies, drawn when first asked for."""

    case: Case
    innocents: int
    rng: np.random.Generator
    biases: NDArray[np.float64]

    def bits(self, copies: Sequence[int]) -> NDArray[np.uint8]:
        """(slots x copies) bits of colluders."""
        if any(copy >= self.case.held.shape[1] for copy in copies):
            raise InnocentImplicatedError
        return self.case.held[:, list(copies)].astype(np.uint8)

    def ones(self, which: NDArray[np.int64], classes: int) -> NDArray[np.uint32]:
        """(all copies x classes): ones by class, the coalition's counted, the others' drawn."""
        mine = [np.bincount(which, weights=row, minlength=classes) for row in self.case.held.T]
        if not self.innocents:
            return np.array(mine, dtype=np.uint32).reshape(-1, classes)
        fine, first, drawn = self._drawn
        # A class of the search is a union of fine ones: all slots of a fine class are in the class of its first slot.
        spread = np.zeros((len(first), classes), dtype=np.float32)
        spread[np.arange(len(first)), which[first]] = 1
        if not (which[first][fine] == which).all():
            raise RuntimeError("the search tells slots apart that the simulator drew together")
        others = drawn.T @ spread  # counts far below 2^24: exact in single precision
        return np.vstack([np.array(mine, dtype=np.uint32).reshape(-1, classes), others.astype(np.uint32)])

    @cached_property
    def _drawn(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Each slot's fine class (level, symbol, who of the coalition holds a 1); its first slot; ones (classes x innocents)."""
        code = self.case.level * 4 + self.case.symbol
        for row in self.case.held.T:
            code = code * 2 + row
        _, first, fine, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
        p = self.biases[self.case.level[first]]
        drawn = np.empty((len(first), self.innocents), dtype=np.float32)
        for n, (slots, chance) in enumerate(zip(count.tolist(), p.tolist(), strict=True)):
            drawn[n] = self.rng.binomial(slots, chance, self.innocents)
        return fine.reshape(-1), first, drawn


def deal(
    attack: Attack,
    colluders: int,
    slots: int,
    rng: np.random.Generator,
    *,
    table: Levels = NUIDA8,
    biases: NDArray[np.float64] | None = None,
) -> Case:
    """So many leaked slots of a tier (what is dropped doesn't count), from as many registered ones as that takes."""
    chances = table.biases if biases is None else biases
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = []
    have = 0
    while have < slots:
        more = max(256, int((slots - have) * 1.3))
        level = rng.choice(len(table), more, p=table.shares)
        bits = rng.random((colluders, more)) < chances[level]
        symbol = attack(bits, rng)
        kept = symbol != DROPPED
        parts.append((level[kept], symbol[kept], bits[:, kept].T))
        have += int(kept.sum())
    level, symbol, held = (np.concatenate(some)[:slots] for some in zip(*parts, strict=True))
    return Case(level, symbol, held, table)
