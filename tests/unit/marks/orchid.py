"""A small data set, the lineage that prepares it, and people to serve; what the tests of marks stand on."""

import csv
import io
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from limen.core.types import Recipient
from limen.marks.copy import Prepared, copy_of
from limen.marks.keys import MarkKey
from limen.marks.prepare import Unmarked, prepare

_SOUNDS = random.Random(7)
WORDS = [
    "".join(_SOUNDS.choice("bcdfghklmnprstvz") + _SOUNDS.choice("aeiou") for _ in range(_SOUNDS.randint(1, 4)))
    for _ in range(3000)
]


def person(number, vendor="quillwork"):
    return Recipient(f"{vendor}/q{number:02}", vendor, f"copy-{vendor}-{number}", f"firm-{vendor}", number)


def said(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def records(count, seed=1, start=0):
    rng = random.Random(seed)
    return [
        {"id": f"r{n}", "instruction": said(rng, 9), "answer": said(rng, rng.randint(14, 30))}
        for n in range(start, start + count)
    ]


def jsonl(rows, end="\n"):
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


def csv_of(rows, end="\r\n"):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(["id", "instruction", "answer"])
    writer.writerows([row["id"], row["instruction"], row["answer"]] for row in rows)
    return out.getvalue().encode()


@dataclass
class Lab:
    """Prepares sources under one key and registry, like one asset's lineage."""

    root: Path
    key: MarkKey = field(default_factory=lambda: MarkKey("orchid", b"k" * 32, b"s" * 32))
    made: int = 0

    def prepare(self, source, media="jsonl", least=1, **choices) -> Prepared | Unmarked:
        self.made += 1
        path = self.root / f"source-{self.made}"
        path.write_bytes(source)
        return prepare(
            path,
            media=media,
            key=self.key,
            registry=self.root / "orchid.slots",
            out=self.root / f"version-{self.made}",
            least=least,
            **choices,
        )

    def copy(self, prepared, recipient, version="orchid@1"):
        return copy_of(prepared, recipient, key=self.key, version_id=version)

    def bytes(self, prepared, recipient):
        copy = self.copy(prepared, recipient)
        return b"".join(copy.read(0, copy.length))
