"""The code once more, written for reading: what each copy holds in each slot, from an opened key. Standard library only.

limen-code/1 as docs/marks.md tells it; nothing is shared with what dealt the copies. AES is FIPS 197's, in this file, so that no
key is ever on a command line. Python 3.10 or later. With `scoring.py` it is what `arbiter.py` recomputes a trace with.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NamedTuple

CODE = "limen-code/1"
PERSON, VENDOR = 0, 1
ZERO, ONE, BOTH, PRESENT = range(4)  # what a slot shows: side 0, side 1, both; a withheld record that is there
LEVELS = {  # of 256; and where, of 65,536, the next level begins
    "nuida8": ((18, 84, 172, 238), (16_272, 32_768, 49_264)),
    "nuida16": ((5, 26, 61, 105, 151, 195, 230, 251), (8_096, 16_307, 24_535, 32_768, 41_001, 49_229, 57_440)),
}


# --- AES-128, FIPS 197; one block at a time


def _boxes() -> tuple[list[int], list[list[int]]]:
    """§5.1.1: the S-box; and §5.2's round as four tables over it, each turned by a byte."""
    power, log = [0] * 256, [0] * 256
    x = 1
    for n in range(255):
        power[n], log[x] = x, n
        x ^= (x << 1) ^ (0x11B if x & 0x80 else 0)  # times 3
        x &= 0xFF
    box = []
    for value in range(256):
        y = power[(255 - log[value]) % 255] if value else 0
        bits = y | y << 8
        box.append((y ^ bits >> 7 ^ bits >> 6 ^ bits >> 5 ^ bits >> 4) & 0xFF ^ 0x63)
    tables: list[list[int]] = [[], [], [], []]
    for s in box:
        two = s << 1 ^ (0x11B if s & 0x80 else 0)
        word = two << 24 | s << 16 | s << 8 | (two ^ s)
        for turn in range(4):
            tables[turn].append(word >> 8 * turn | word << 32 - 8 * turn & 0xFFFFFFFF)
    return box, tables


_BOX, _T = _boxes()


def _schedule(key: bytes) -> list[int]:
    """§5.2: the 44 words of a 128-bit key."""
    words = [int.from_bytes(key[at : at + 4], "big") for at in range(0, 16, 4)]
    constant = 1
    for n in range(4, 44):
        word = words[-1]
        if n % 4 == 0:
            word = (word << 8 | word >> 24) & 0xFFFFFFFF
            word = sum(_BOX[word >> shift & 0xFF] << shift for shift in (0, 8, 16, 24)) ^ constant << 24
            constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        words.append(words[-4] ^ word)
    return words


def aes(words: list[int], block: bytes) -> bytes:
    """§5.1: one block under a key's 44 words."""
    state = [int.from_bytes(block[4 * n : 4 * n + 4], "big") ^ words[n] for n in range(4)]
    t0, t1, t2, t3 = _T
    for at in range(4, 40, 4):
        a, b, c, d = state
        state = [
            t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ words[at],
            t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ words[at + 1],
            t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ words[at + 2],
            t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ words[at + 3],
        ]
    out = b""
    for n in range(4):
        word = 0
        for row in range(4):
            shift = 24 - 8 * row
            word |= _BOX[state[(n + row) % 4] >> shift & 255] << shift
        out += (word ^ words[40 + n]).to_bytes(4, "big")
    return out


# --- the code


class Slot(NamedTuple):
    """One slot of a look: its mark key, manifest and place there, what it is (`at`: its index), and what was seen of it."""

    key: str
    manifest: int
    place: int
    id: str
    tier: int
    level: int
    kind: int
    at: int
    sides: tuple[str, str]
    seen: int

    @property
    def leaf(self) -> bytes:
        """What its manifest's tree holds."""
        fixed = bytes([self.tier, self.level, self.kind]) + self.at.to_bytes(4, "big")
        return bytes.fromhex(self.id) + fixed + bytes.fromhex(self.sides[0] + self.sides[1])

    @property
    def symbol(self) -> int:
        """What it shows."""
        return PRESENT if self.kind else (ZERO, ZERO, ONE, BOTH)[self.seen]


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


class Key:
    """An opened mark key: subkeys by use, and the table of its levels."""

    def __init__(self, opened: dict[str, Any]) -> None:
        if opened.get("schema") != "limen/mark-key/v1" or opened["code"] != CODE:
            raise ValueError(f"an opened key is of schema limen/mark-key/v1 and code {CODE}")
        self.id = str(opened["id"])
        self.salt = bytes.fromhex(opened["salt"])
        self.subkeys = {use: bytes.fromhex(raw) for use, raw in opened["subkeys"].items()}
        self.table = str(opened["levels"])
        self.of_256, self.cuts = LEVELS[self.table]
        self._words: dict[tuple[int, str], list[int]] = {}

    def digests(self) -> dict[str, str]:
        """What `key.commit` holds of each subkey."""
        return {use: hashlib.sha256(raw + self.salt).hexdigest() for use, raw in self.subkeys.items()}

    def bits(self, copy: str, slots: list[Slot]) -> bytes:
        """A copy's bit for each slot; all of one tier and of this key."""
        words: dict[int, list[int]] = {}
        blocks: dict[tuple[int, int, int], bytes] = {}
        found = bytearray()
        for slot in slots:
            if slot.tier not in words:
                words[slot.tier] = _schedule(_mac(self.subkeys["copy"], bytes([slot.tier]) + copy.encode())[:16])
            at = (slot.tier, slot.level, slot.at // 16)
            if at not in blocks:
                counter = bytes([slot.level]) + bytes(7) + (slot.at // 16).to_bytes(8, "big")
                blocks[at] = aes(words[slot.tier], counter)
            found.append(blocks[at][slot.at % 16] < self.of_256[slot.level])
        return bytes(found)

    def drawn(self, slot: Slot) -> list[str]:
        """What of a slot doesn't follow from its id, in words."""
        raw, wrong = bytes.fromhex(slot.id), []
        if "tier" in self.subkeys:
            tier = VENDOR if int.from_bytes(_mac(self.subkeys["tier"], raw)[:2], "big") < 21_845 else PERSON  # noqa: PLR2004
            wrong += [] if tier == slot.tier else ["tier"]
        if "level" in self.subkeys:
            level = sum(int.from_bytes(_mac(self.subkeys["level"], raw)[:2], "big") >= cut for cut in self.cuts)
            wrong += [] if level == slot.level else ["level"]
        return wrong

    def named(self, slot: Slot) -> bool:
        """Whether its id, and which record is side 0, follow from the two records: not so once one of them was edited."""
        zero, one = (bytes.fromhex(side) for side in slot.sides)
        side = _mac(self.subkeys["side"], bytes.fromhex(slot.id))[1] & 1
        members = [one] if slot.kind else [zero, one] if side == 0 else [one, zero]
        return _mac(self.subkeys["slot"], bytes([len(members)]) + b"".join(members))[:16].hex() == slot.id
