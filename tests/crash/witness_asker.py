"""A process to be killed: a witness that is asked for one checkpoint after another, each a little larger.

    witness_asker.py FILE honest|early

Writes the size of each checkpoint that was cosigned to standard output, once the witness has answered. `early` is the
negative control: a witness that answers, and records a few requests later.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path

from limen.ledger.witnesses.witness import Witness
from witnessing import LOG, Tree

HELD_BACK = 4
NOW = 1_780_000_000


class EarlyWitness(Witness):
    """Keeps its newest records in memory, and answers as if they were on disk."""

    def __init__(self, path):
        super().__init__(path)
        self.held = deque()

    def recorded(self, origin):
        return self.held[-1][0] if self.held else super().recorded(origin)

    def _advance(self, before, **row):
        after = type(before)(before.origin, before.vkey, row["size"], row["root"], row["noted"], row["at"], None)
        self.held.append((after, before, row))
        if len(self.held) > HELD_BACK:
            _, before, row = self.held.popleft()
            return super()._advance(before, **row)
        return True


def ask_for_ever(witness):
    tree = Tree(3000)
    while True:
        size = witness.recorded(LOG.name).size
        if size == len(tree.leaves):
            return
        answer = witness.add_checkpoint(tree.request(size, size + 1), NOW)
        if answer.status == 200:
            os.write(1, b"%d\n" % (size + 1))


if __name__ == "__main__":
    ask_for_ever((EarlyWitness if sys.argv[2] == "early" else Witness)(Path(sys.argv[1])))
