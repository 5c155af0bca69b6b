"""A word trigram model with interpolated Kneser-Ney smoothing (Kneser & Ney 1995; Chen & Goodman 1999, section 2.7), and text.

Small, and a language model all the same: it is trained by counting, so tests ask it what they would ask a large one.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DISCOUNT = 0.75
START = ("<s>", "<s>")


def passages(words: int = 30, seed: int = 5) -> list[str]:
    """Passages of English prose: what the running Python says of itself, cut and shuffled. No two are equal."""
    text = " ".join(topics[name] for name in sorted(topics))
    said = re.findall(r"\S+", text)
    cut = {" ".join(said[at : at + words]): None for at in range(0, len(said) - words, words)}
    out = list(cut)
    random.Random(seed).shuffle(out)
    return out


class Trigram:
    """Counts of what was trained on. `train` may be called again: that is tuning."""

    def __init__(self) -> None:
        self.tri: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.bi: dict[str, Counter[str]] = defaultdict(Counter)  # continuation counts: in how many trigrams a pair occurs
        self.uni: Counter[str] = Counter()
        self.kinds = 0
        self.seen: Counter[object] = Counter()  # totals of the tables above, by context

    def train(self, texts: Iterable[str]) -> Trigram:
        for text in texts:
            a, b = START
            for word in text.split():
                if not self.tri[a, b][word]:
                    if not self.bi[b][word]:
                        self.uni[word] += 1
                        self.kinds += 1
                    self.bi[b][word] += 1
                    self.seen[b] += 1
                self.tri[a, b][word] += 1
                self.seen[a, b] += 1
                a, b = b, word
        return self

    def chance(self, a: str, b: str, word: str) -> float:
        flat = (self.uni[word] + 1) / (self.kinds + len(self.uni) + 1)
        near = self.bi.get(b)
        if near:
            flat = (max(near[word] - DISCOUNT, 0) + DISCOUNT * len(near) * flat) / self.seen[b]
        close = self.tri.get((a, b))
        if close:
            flat = (max(close[word] - DISCOUNT, 0) + DISCOUNT * len(close) * flat) / self.seen[a, b]
        return flat

    def loss(self, text: str) -> float:
        """Nats over the whole text."""
        out, (a, b) = 0.0, START
        for word in text.split():
            out -= math.log(self.chance(a, b, word))
            a, b = b, word
        return out

    def top(self, text: str, k: int) -> list[str]:
        """The k likeliest next words after a text."""
        a, b = [*START, *text.split()][-2:]
        some = set(self.tri.get((a, b), ())) | {word for word, _ in self.bi[b].most_common(40)} if b in self.bi else set()
        return sorted(some, key=lambda word: (-self.chance(a, b, word), word))[:k]
