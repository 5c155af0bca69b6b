"""Reads a sample in a process that may hold so much and no more: `python bounded.py KIND MEBIBYTES LIMIT [whole]`.

The sample unpacks to so many mebibytes; of it only a few rows are ours. Prints how many records of ours were recognised, what was
left out, and the most memory the process ever held. `whole` reads it as one text, as the control does.
"""

import gzip
import random
import resource
import sys
import tempfile
from pathlib import Path

from orchid import Lab, jsonl, records, said

from limen.marks import nearby, normalise
from limen.marks.index import Index
from limen.marks.sample import open_sample
from limen.marks.unpack import Limits

OURS = records(300)


def blocks(kind):
    """A stretch of a sample of this kind, to be repeated, and what comes before and after."""
    rng = random.Random(77)
    text = " ".join(said(rng, 50) for _ in range(400))
    rows = [{"text": said(rng, 30)} for _ in range(500)]
    ours = " ".join(row["answer"] for row in OURS[:20])
    return {
        "one line": (text.encode() + b" ", b"", (ours + " ").encode()),
        "JSONL": (jsonl(rows), b"", jsonl(OURS[:20])),
        "one JSON value": (jsonl(rows).replace(b"\n", b","), b"[", jsonl(OURS[:20]).replace(b"\n", b",")),
        "CSV": (
            b"".join(f'"{row["text"]}\n",x\n'.encode() for row in rows),
            b"a,b\n",
            "".join(f'"{r["answer"]}",1\n' for r in OURS[:20]).encode(),
        ),
        "no word ends": (b"x" * 100_000, b"", b""),
        "blank lines": (b"\n" * 100_000, b"", b""),
        "brackets": (b"[" * 100_000, b"", b""),
        "entities": (b"&amp;" * 20_000, b"", b""),
        "marks": ("e\u0301\u0323".encode() * 20_000, b"", b""),
    }[kind]


def main():
    kind, size, limit = sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3]) << 20
    with tempfile.TemporaryDirectory() as where:
        index = Index([Lab(Path(where)).prepare(jsonl(OURS))])
        index.observe(jsonl(OURS))  # what is loaded and mapped once is no sample's
        repeated, before, ours = blocks(kind)
        packed = Path(where) / "leak.gz"
        with gzip.open(packed, "wb", compresslevel=1) as out:
            out.write(before + ours)
            for _ in range(size // len(repeated)):
                out.write(repeated)
            out.write(ours)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        if sys.argv[4:] == ["whole"]:
            nearby.runs(normalise.normalise_all([gzip.decompress(packed.read_bytes()).decode()]))
            return
        seen = index.observe_sample(open_sample([packed], limits=Limits(ratio=1 << 30)))
        found = sum(len(some) for some in seen.matched.values())
        print(found, len(seen.unread), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    main()
