"""How fast copies are scored from their keys alone: recipient x slots a second on one core, no codeword kept.

Counted: HMAC and AES key of each copy, keystreams, comparison, ones by class, weights of the whole bank, e-values. Beside
it, in the same run: AES-128 over one long buffer, which is what any reading of this code has to do at least.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from limen.marks.book import DealtBook
from limen.marks.classes import Shown
from limen.marks.code import BIASES, PERSON, codebook
from limen.marks.keys import MarkKey
from limen.marks.search import Look, search

KEY = MarkKey("bench", b"\7" * 32, b"s" * 32)
# (leaked slots, registered slots of the tier, copies)
SHAPES = ((180, 10_000, 100_000), (1_000, 1_000, 100_000), (10_000, 10_000, 50_000), (100_000, 100_000, 20_000))


def look(leaked: int, registered: int, copies: int) -> Look:
    """A leak by copy 3 of so many, each slot of its level's range or scattered over it."""
    rng = np.random.default_rng(leaked)
    level = rng.integers(0, len(BIASES), registered).astype(np.uint8)
    index = np.zeros(registered, dtype=np.uint32)
    for one in range(len(BIASES)):
        index[level == one] = np.arange(np.count_nonzero(level == one))
    some = np.sort(rng.choice(registered, leaked, replace=False))
    level, index = level[some], index[some]
    whose = [f"copy-{n}" for n in range(copies)]
    symbol = codebook(KEY, PERSON, [whose[3]], levels=level, indexes=index)[:, 0].astype(np.int64)
    key = np.zeros(leaked, dtype=np.int64)
    return Look(Shown(BIASES[level], symbol, key), DealtBook(PERSON, whose, ("k",), {"k": KEY}, key, level, index))


def main() -> int:
    """Print the table; best of three, by the core's own time: what else runs on the machine doesn't count."""
    plain = bytes(1 << 18)
    cipher = Cipher(algorithms.AES(bytes(16)), modes.ECB()).encryptor()  # noqa: S305  the speed of the block function
    room = bytearray(len(plain) + 15)
    rates = []
    for _ in range(200):
        began = time.process_time()
        cipher.update_into(plain, room)
        rates.append(len(plain) / (time.process_time() - began))
    print(f"AES-128 alone: {max(rates) / 1e9:.2f} x 10^9 bytes/s, a byte a slot")
    for leaked, registered, copies in SHAPES:
        best = math.inf
        for _ in range(3):
            one = look(leaked, registered, copies)
            began = time.process_time()
            found = search([one], np.full(copies, -math.log(copies)), alpha=1e-9, rounds=1).found
            best = min(best, time.process_time() - began)
            if [f.copy for f in found] != [3]:
                print("the leak's copy was not named", file=sys.stderr)
                return 1
        print(
            f"{leaked:>9,} leaked of {registered:>9,} slots, {copies:>6,} copies: {leaked * copies / best / 1e9:6.3f} x 10^9"
            f" recipient x slots/s, {best / copies * 1e6:8.1f} us a copy"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
