"""Draws and recomputes random audits of a vendor. Python 3.9 or later, standard library only; `offline.py` lies beside it.

    python3 -I -S spotcheck.py nonce                                    vendor: a secret, and the digest to give the lab first
    python3 -I -S spotcheck.py check LOG --log VKEY --draw INDEX        anybody: was it drawn as was promised?

LOG is the published log as a directory (`checkpoint`, `tile/entries/…`): `limen ledger export`, a mirror, or a download of it.

An audit is three entries. `audit.commit` fixes whom and what it is drawn from: the vendor, a range of entries, how many of each
class, a digest of each population, and where the chance will come from. `audit.draw` says what was drawn. `audit.result` says
what was found. The chance is one of two:

    the vendor's    The commit holds the SHA-256 of 32 bytes that only the vendor knows. The seed is made of them and of the
                    log's root at the commit itself. The lab fixes that root before it learns the bytes, and the vendor fixed
                    the bytes before it could know the root: neither can choose. A vendor that does not tell them has refused.
    a witness's     The commit names a witness's key. The seed is made of that witness's cosignature of a later checkpoint.
                    The lab can't compute one, but may wait for another checkpoint: `check` says how often it could have.

From the seed each item of a population gets SHA-256(seed, class, item); those with the smallest are drawn.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

if __package__:
    from limen.verify import offline
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100,PTH120  -I leaves it out
    import offline  # type: ignore[import-not-found,no-redef]

Refused = offline.Refused
CLASSES = ("people", "accesses", "rotations")
SEED = b"limen-spotcheck/v1\n"
NONCE_BYTES = 32
TILE = 256
UNVERIFIABLE = 5


class Chance(NamedTuple):
    """What a seed is made of, besides the commit: a tree's size and root, and the bytes that nobody could choose."""

    size: int
    root: bytes
    secret: bytes  # the vendor's bytes, or the witness's cosignature


def populations(entries: Iterable[tuple[int, bytes]], vendor: str) -> dict[str, list[str]]:
    """What can be drawn of some entries: `project/pseudonym` of everybody who came, accesses and rotations by index. Sorted.

    People are those of the vendor who opened a session or reached for anything. An access is an intent: what left, or may have.
    """
    wanted = b'"vendor":' + json.dumps(vendor, ensure_ascii=False).encode()
    people: set[str] = set()
    accesses, rotations = [], []
    for index, raw in entries:
        if wanted not in raw:
            continue
        entry = json.loads(raw)
        kind = entry.get("kind")
        if entry.get("vendor") != vendor:
            continue
        if kind in ("session.start", "access.intent", "access.refusal"):
            people.add(f"{entry['project']}/{entry['who']}")
        if kind == "access.intent":
            accesses.append(str(index))
        elif kind == "rotation.add":
            rotations.append(str(index))
    return {"people": sorted(people), "accesses": accesses, "rotations": rotations}


def digest(population: list[str]) -> str:
    """What a commit says of a population."""
    return hashlib.sha256(offline.canonical(population)).hexdigest()


def seed(commit: bytes, chance: Chance) -> bytes:
    """32 bytes from the commit's entry and the chance."""
    parts = [
        offline.leaf(commit),
        chance.size.to_bytes(8, "big"),
        chance.root,
        len(chance.secret).to_bytes(8, "big"),
        chance.secret,
    ]
    return hashlib.sha256(SEED + b"".join(parts)).digest()


def drawn(seed_bytes: bytes, name: str, population: list[str], count: int) -> list[str]:
    """The items of a population with the smallest hashes, in the order of the population."""

    def rank(item: str) -> bytes:
        return hashlib.sha256(seed_bytes + name.encode() + b"\0" + item.encode()).digest()

    chosen = set(sorted(population, key=rank)[:count])
    return [item for item in population if item in chosen]


def all_drawn(seed_bytes: bytes, population: dict[str, list[str]], ask: dict[str, int]) -> dict[str, list[str]]:
    """What is drawn of every class; all of a class that has fewer than was asked for."""
    return {name: drawn(seed_bytes, name, population[name], ask[name]) for name in CLASSES}


def check_nonce(told: str, committed: str) -> bytes:
    """The vendor's bytes; Refused unless they are those whose digest was committed to."""
    try:
        secret = bytes.fromhex(told)
    except ValueError as e:
        raise Refused("the nonce is not hex") from e
    if len(secret) != NONCE_BYTES or hashlib.sha256(secret).hexdigest() != committed:
        raise Refused("the bytes told are not those whose digest the commit holds")
    return secret


# --- checking a draw against the published log


class Log:
    """A published log, read whole: its checkpoint under a key, and entries that make the root."""

    def __init__(self, place: str, key: offline.Key) -> None:
        with open(os.path.join(place, "checkpoint"), "rb") as source:  # noqa: PTH118,PTH123  few modules
            self.head = offline.checkpoint(source.read())
        offline.signed(self.head, key)
        self._place = os.path.join(place, "tile", "entries")  # noqa: PTH118
        self.leaves = [offline.leaf(raw) for _, raw in self.entries(0, self.head.size)]
        if self.root(self.head.size) != self.head.root:
            raise Refused("the entries do not make the root that the log signed")

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Entries start <= index < end, as published."""
        for number in range(start // TILE, -(-end // TILE)):
            first = number * TILE
            for index, raw in enumerate(self._bundle(number, min(TILE, self.head.size - first)), first):
                if start <= index < end:
                    yield index, raw

    def _bundle(self, number: int, width: int) -> list[bytes]:
        """C2SP tlog-tiles: entries behind their lengths, in a file of this width or a wider one."""
        digits = f"{number:03}" if number < 1000 else f"{number:0{-(-len(str(number)) // 3) * 3}}"  # noqa: PLR2004
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        path = os.path.join(self._place, *(f"x{group}" for group in groups[:-1]), groups[-1])  # noqa: PTH118
        partial = os.path.join(f"{path}.p", str(width))  # noqa: PTH118
        with open(partial if width < TILE and os.path.exists(partial) else path, "rb") as source:  # noqa: PTH110,PTH123
            raw = source.read()
        found: list[bytes] = []
        at = 0
        while at < len(raw) and len(found) < width:
            length = int.from_bytes(raw[at : at + 2], "big")
            found.append(raw[at + 2 : at + 2 + length])
            at += 2 + length
        if len(found) != width:
            raise Refused(f"the entries from {number * TILE} on are not all there")
        return found

    def root(self, size: int) -> bytes:
        """RFC 6962 §2.1: the root of the first `size` entries."""
        level = self.leaves[:size]
        while len(level) > 1:
            odd = level[-1:] if len(level) % 2 else []
            level = [offline.node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)] + odd
        return level[0] if level else hashlib.sha256().digest()

    def entry(self, index: int) -> tuple[bytes, dict[str, Any]]:
        """One entry's bytes and fields."""
        if not 0 <= index < self.head.size:
            raise Refused(f"the log has no entry {index}")
        [(_, raw)] = self.entries(index, index + 1)
        return raw, json.loads(raw)


def check(log: Log, index: int) -> list[str]:
    """What was found, in sentences; Refused with the first that is not as was promised.

    1. The draw speaks of a commit before it. 2. The populations are those that the commit fixed, of entries before it. 3. The
    chance is the one the commit named. 4. The seed follows. 5. So do the items.
    """
    _, draw = log.entry(index)
    if draw.get("kind") != "audit.draw" or not 0 <= draw["of"] < index:
        raise Refused(f"entry {index} draws nothing that was committed to before")
    raw, commit = log.entry(draw["of"])
    if commit.get("kind") != "audit.commit" or commit["vendor"] != draw["vendor"]:
        raise Refused(f"entry {draw['of']} is no commit to this vendor's audit")
    if not 0 <= commit["start"] <= commit["end"] <= draw["of"]:
        raise Refused("the commit draws from entries that were not written yet")
    found = populations(log.entries(commit["start"], commit["end"]), commit["vendor"])
    for name in CLASSES:
        if [len(found[name]), digest(found[name])] != commit["population"][name]:
            raise Refused(f"the {name} of entries {commit['start']} to {commit['end'] - 1} are not those that the commit fixed")
    chance, words = _chance(log, draw, commit)
    made = seed(raw, chance)
    if made.hex() != draw["seed"]:
        raise Refused("the seed does not follow from the commit and the chance")
    if all_drawn(made, found, commit["ask"]) != draw["drawn"]:
        raise Refused("what was drawn does not follow from the seed")
    said = ", ".join(f"{len(draw['drawn'][name])} of {len(found[name])} {name}" for name in CLASSES)
    return [f"committed in entry {draw['of']}, before anything was drawn", f"drawn in entry {index}: {said}", words]


def _chance(log: Log, draw: dict[str, Any], commit: dict[str, Any]) -> tuple[Chance, str]:
    if commit["nonce"] is not None:
        secret = check_nonce(draw["nonce"], commit["nonce"])
        size = draw["of"] + 1
        if draw["size"] != size:
            raise Refused(f"the chance is the vendor's, so the root is that of the commit, at {size} entries")
        _refuse_used_again(log, draw["of"], commit["nonce"])
        return Chance(size, log.root(size), secret), "the vendor's bytes decided: neither the lab nor the vendor could choose"
    witness = offline.vkey(commit["witness"])
    size, blob = draw["size"], offline.canonical_base64(draw["cosignature"])
    if not draw["of"] < size <= log.head.size:
        raise Refused("the cosigned checkpoint does not cover the commit")
    root = log.root(size)
    text = f"{log.head.origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
    head = offline.Head(log.head.origin, size, root, text, [(witness.name, witness.id + blob)])
    if offline.cosigned_at(head, witness) is None:
        raise Refused("the witness's key is of a kind that is not read here")
    tries = size - draw["of"]
    words = f"the chance is a cosignature of {witness.name}: the lab could have chosen among {tries} checkpoints at most"
    return Chance(size, root, blob), words


def _refuse_used_again(log: Log, index: int, nonce: str) -> None:
    """Of two commits with one nonce the lab could draw the one that it likes better, once it knows the nonce."""
    for other, raw in log.entries(0, log.head.size):
        if other != index and nonce.encode() in raw:
            entry = json.loads(raw)
            if entry.get("kind") == "audit.commit" and entry.get("nonce") == nonce:
                raise Refused(f"entry {other} commits to an audit with the same nonce: which one is drawn could be chosen")


def main(argv: list[str] | None = None) -> int:
    """Make a nonce, or check a draw; returns the exit code."""
    parser = argparse.ArgumentParser(description="Random audits: a vendor's secret, and the check of a draw.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("nonce", help="print 32 secret bytes, and the digest to give the lab before it commits")
    checking = verbs.add_parser("check", help="recompute a draw from the published log")
    checking.add_argument("place", help="the published log, a directory")
    checking.add_argument("--log", required=True, help="the log's key (vkey)")
    checking.add_argument("--draw", required=True, type=int, help="the index of the audit.draw entry")
    given = parser.parse_args(argv)
    if given.verb == "nonce":
        secret = os.urandom(NONCE_BYTES)
        sys.stdout.write(f"nonce  {secret.hex()}\ndigest {hashlib.sha256(secret).hexdigest()}\n")
        sys.stderr.write("spotcheck: give the lab the digest now, and the nonce when it has committed; keep both\n")
        return 0
    try:
        said = check(Log(given.place, offline.vkey(given.log)), given.draw)
    except Exception as e:  # noqa: BLE001  whatever a damaged log raises on the way is a no
        sys.stdout.write(f"NOT AS PROMISED: {e if isinstance(e, Refused) else f'it does not read ({type(e).__name__}: {e})'}\n")
        return UNVERIFIABLE
    sys.stdout.write("".join(f"{line}\n" for line in said) + "DRAWN AS PROMISED\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
