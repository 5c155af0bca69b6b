"""Recomputes a trace from its bundle, with the mark keys opened. Python 3.10 or later, standard library only.

    python3 -I -S arbiter.py BUNDLE --log VKEY --key KEY.json [--key …]

BUNDLE is what `limen case export` wrote; `dealing.py`, `scoring.py` and `offline.py` lie beside this. VKEY is the log's key,
which you should have from elsewhere than the bundle. KEY.json is an opened mark key (schema limen/mark-key/v1). In this order:

    1  the log: its checkpoint is signed by VKEY, and every entry here is in it
    2  the order: keys and slots were committed to before their version was registered, and each sample was logged before it was
       scored, in the order of the looks
    3  the slots: each stands in its manifest, whose Merkle root a `key.commit` entry holds
    4  the keys: each subkey is the one that those entries commit to; ids, tiers, levels and sides follow from them
    5  the figures: every copy's bits, e-values, p and q, verdicts, coalition sizes, power, recomputed from docs/marks.md

Logarithms are compared to one part in 10^6, since sums are taken in another order here; counts exactly. What differs is said,
all of it; what can't be checked, because a subkey was not opened, is said too.
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import json
import math
import os
import sys
from typing import Any

if __package__:
    from limen.verify import dealing, offline, scoring
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100,PTH120  -I leaves it out
    import dealing  # type: ignore[import-not-found,no-redef]
    import offline  # type: ignore[import-not-found,no-redef]
    import scoring  # type: ignore[import-not-found,no-redef]

PERSON, VENDOR = 0, 1
FORMAT = "limen/trace-bundle/v1"
TOLERANCE = 1e-6
DIFFERS = 5


class Arbiter:
    """One bundle, being checked. `said` is what was found to hold, `wrong` what was not."""

    def __init__(self, files: dict[str, bytes], keys: dict[str, dealing.Key]) -> None:
        self.said: list[str] = []
        self.wrong: list[str] = []
        self._files = files
        self._keys = keys
        self.index = json.loads(files["bundle.json"])
        if self.index.get("format") != FORMAT:
            raise offline.Refused(f"this is no {FORMAT}")
        self._raw_looks = [files[f"looks/{n}.json"] for n in range(1, self.index["looks"] + 1)]
        self.looks = [json.loads(raw) for raw in self._raw_looks]
        self.manifests = [json.loads(files[f"manifests/{n}.json"]) for n in range(self.index["manifests"])]
        self.entries = {one["index"]: json.loads(one["entry"]) for one in json.loads(files["log/entries.json"])}

    def differs(self, what: str) -> None:
        """Note something that is not as it was said."""
        self.wrong.append(what)

    def log(self, vkey: str) -> None:
        """1. The checkpoint is signed, and every entry is in it."""
        head = offline.checkpoint(self._files["log/checkpoint"])
        offline.signed(head, offline.vkey(vkey))
        for one in json.loads(self._files["log/entries.json"]):
            path = [bytes.fromhex(each) for each in one["path"]]
            if offline.included(one["index"], head.size, offline.leaf(one["entry"].encode()), path) != head.root:
                self.differs(f"entry {one['index']} is not in the log that this checkpoint signs")
        self.said.append(f"log: {len(self.entries)} entries are in {head.origin} at {head.size} entries")

    def order(self) -> None:
        """2. Every sample was logged before it was scored, and documents are those that were logged."""
        last = -1
        for number, (raw, look) in enumerate(zip(self._raw_looks, self.looks, strict=True), 1):
            at, told = self.index["entries"][number - 1]
            sample, result = self.entries[at], self.entries[told]
            where = f"look {number}"
            if not last < at < told or (sample["kind"], result["kind"], result["sample"]) != ("trace.sample", "trace.result", at):
                self.differs(f"{where}: its sample was not logged before its result, and after the look before")
            if hashlib.sha256(raw).hexdigest() != result["document"]:
                self.differs(f"{where}: looks/{number}.json is not the document that entry {told} names")
            if {sample["digest"], result["digest"]} != {look["sample"]["digest"]} or look["sample"]["entry"] != at:
                self.differs(f"{where}: the sample is not the one that entry {at} logged")
            if {sample["look"], result["look"], look["look"]} != {number} or sample.get("case") != look.get("case"):
                self.differs(f"{where}: entries {at} and {told} are not of this case's look {number}")
            if float(sample["alpha"]) != look["result"]["alpha"]:
                self.differs(f"{where}: alpha {look['result']['alpha']:g} is not what entry {at} fixed before scoring")
            if (result["verdict"], result["slots_matched"]) != (look["result"]["verdict"], look["result"]["slots_matched"]):
                self.differs(f"{where}: entry {told} says another verdict")
            last = told
        unscored = self.index["unscored"]
        more = f"; {len(unscored)} samples were logged and never scored: entries {unscored}" if unscored else ""
        self.said.append(f"order: {len(self.looks)} samples logged, each before it was scored{more}")

    def commitments(self) -> None:
        """2. Keys and slots were committed to before their version was registered, and so before it was served."""
        for manifest in self.manifests:
            commit, version = self.entries[manifest["commit"]], self.entries[manifest["registered"]]
            about = (commit["kind"], commit["asset"], commit["version"], version["kind"], version["asset"], version["number"])
            asset, number = manifest["asset"], manifest["version"]
            if about != ("key.commit", asset, number, "asset.version", asset, number):
                self.differs(f"{_name(manifest)}: entries {manifest['commit']} and {manifest['registered']} are not about it")
            if not manifest["commit"] < manifest["registered"]:
                self.differs(f"{_name(manifest)}: it was registered before its key and slots were committed to")

    def slots(self) -> list[list[dealing.Slot]]:
        """3. Every look's slots, each held against the root that was committed to."""
        shown = []
        held: dict[int, dict[int, dealing.Slot]] = {n: {} for n in range(len(self.manifests))}
        places: dict[tuple[str, int, int, int], str] = {}
        for number, look in enumerate(self.looks, 1):
            rows = []
            for row in look["slots"]:
                manifest = self.index["versions"][number - 1][row[0]]
                key = self.manifests[manifest]["key"]
                slot = dealing.Slot(key, manifest, row[1], row[2], row[3], row[4], row[5], row[6], (row[7], row[8]), row[9])
                before = held[manifest].setdefault(slot.place, slot)
                place = (key, slot.tier, slot.level, slot.at)
                if before.leaf != slot.leaf or places.setdefault(place, slot.id) != slot.id:
                    self.differs(f"look {number}: slot {slot.id} has the place of another")
                rows.append(slot)
            shown.append(rows)
        for number, manifest in enumerate(self.manifests):
            commit = self.entries[manifest["commit"]]
            if commit["manifests"].get(manifest["shard"]) != manifest["root"] or commit["key"] != manifest["key"]:
                self.differs(f"{_name(manifest)}: its root or key is not what entry {manifest['commit']} holds")
            leaves = {place: offline.leaf(slot.leaf) for place, slot in held[number].items()}
            if root_of(manifest["slots"], leaves, [bytes.fromhex(each) for each in manifest["hashes"]]) != manifest["root"]:
                self.differs(f"{_name(manifest)}: a slot shown is not in the manifest that was committed to")
        self.said.append(f"slots: {sum(map(len, shown))} rows under {len(self.manifests)} manifest roots")
        return shown

    def keys(self, shown: list[list[dealing.Slot]]) -> bool:
        """4. The keys are those committed to, and what slots are follows from them. False if the bits can't be known."""
        opened = True
        for manifest in self.manifests:
            key, commit = self._keys.get(manifest["key"]), self.entries[manifest["commit"]]
            if key is None or "copy" not in key.subkeys:
                self.differs(
                    f"{_name(manifest)}: the subkey `copy` of its key {manifest['key']} was not given: nothing is recomputed"
                )
                opened = False
                continue
            committed = commit.get("subkeys", {})
            bad = sorted(use for use, digest in key.digests().items() if committed.get(use) != digest)
            if bad:
                self.differs(
                    f"key {key.id}: {', '.join(bad)} are not what entry {manifest['commit']} commits to: the key is wrong"
                )
            if commit.get("levels", "nuida8") != key.table:
                self.differs(f"key {key.id}: its levels are not those of entry {manifest['commit']}: nothing is recomputed")
                opened = False
        every = {(slot.key, slot.leaf): slot for rows in shown for slot in rows if slot.key in self._keys}
        edited = 0
        for slot in every.values():
            key = self._keys[slot.key]
            for what in key.drawn(slot):
                self.differs(f"slot {slot.id}: its {what} does not follow from its id")
            edited += {"slot", "side"} <= key.subkeys.keys() and not key.named(slot)
        more = f"; the ids of {edited} don't follow from the records as they are in this version: edited since" if edited else ""
        self.said.append(
            f"keys: {len({m['key'] for m in self.manifests})} opened; tier and level of {len(every)} slots follow{more}"
        )
        return opened

    def recompute(self) -> Arbiter:
        """3 to 5, as far as the keys reach: with a wrong table of levels no bias is known, and nothing is recomputed."""
        shown = self.slots()
        if self.keys(shown):
            self.scores(shown)
        return self

    def scores(self, shown: list[list[dealing.Slot]]) -> None:
        """5. Every figure of every look."""
        for number in range(1, len(self.looks) + 1):
            before = len(self.wrong)
            self._look(number, shown[:number])
            if len(self.wrong) == before:
                result = self.looks[number - 1]["result"]
                named = f"{len(result['copies'])} copies, {len(result['vendors'])} vendors"
                self.said.append(f"look {number}: {result['verdict']}; {named}; every figure recomputed")

    def _look(self, number: int, shown: list[list[dealing.Slot]]) -> None:
        look = self.looks[number - 1]
        result, alpha = look["result"], look["result"]["alpha"]
        rows = self.looks[look["prior"] - 1]["copies"]
        people = [(copy, bool(had)) for copy, _, _, had in rows]
        served_firms = {shared for _, shared, _, had in rows if had}
        firms = list({shared: (shared, shared in served_firms) for _, shared, vendor, _ in rows if vendor is not None}.values())
        new = _counted_once(shown)
        told = _Told(self, number)
        told.same("bank", result["bank"], scoring.BANK)
        told.same("compared", result["compared"], len(people))
        told.same("slots_matched", result["slots_matched"], sum(map(len, new)))
        told.same("slots_both", both := result["slots_both"], sum(slot.seen == 3 for rows in new for slot in rows))  # noqa: PLR2004
        outcomes = []
        for tier, whose in ((PERSON, people), (VENDOR, firms)):
            looks = [self._bits([slot for slot in rows if slot.tier == tier], [copy for copy, _ in whose]) for rows in new]
            count = sum(len(one.slots) for one in looks)
            told.same("slots_person" if tier == PERSON else "slots_vendor", result[("slots_person", "slots_vendor")[tier]], count)
            found = scoring.search(looks, _log_priors([had for _, had in whose]), alpha, self._bias) if whose else (0.0, [], None)
            outcomes.append((looks, whose, count, *found))
        for name, outcome in zip(("copies", "vendors"), outcomes, strict=True):
            told.figures(name, result[name], [_figures(one, *outcome[:2]) for one in outcome[4]])
        best = outcomes[0][5]
        told.figures("second_best", [result["second_best"]] * bool(best), [_figures(best, *outcomes[0][:2])] if best else [])
        anything = any(one["matched"] or one["result"]["unclear"] for one in self.looks[:number])
        verdict = "named" if outcomes[0][4] or outcomes[1][4] else "abstain" if anything else "none"
        told.same("verdict", result["verdict"], verdict)
        threshold, count = outcomes[0][3], outcomes[0][2]
        told.same(
            "slots_needed", result["slots_needed"], scoring.slots_needed(threshold, count, found=bool(outcomes[0][4]), both=both)
        )
        for c, share in result["power"].items():
            if abs(share - scoring.power(int(c), count, threshold)) > 1e-4:  # noqa: PLR2004  it is told to four digits
                self.differs(f"look {number}: power against {c} does not follow")

    def _bias(self, slot: dealing.Slot) -> float:
        return self._keys[slot.key].of_256[slot.level] / 256

    def _bits(self, slots: list[dealing.Slot], whose: list[str]) -> scoring.Shown:
        """The slots, key by key, and every copy's bits of them."""
        ordered = [slot for key in sorted(self._keys) for slot in slots if slot.key == key]
        by_key = [(key, [slot for slot in ordered if slot.key == key]) for key in sorted(self._keys)]
        return scoring.Shown(ordered, [b"".join(self._keys[key].bits(copy, some) for key, some in by_key) for copy in whose])


class _Told:
    """Holds what a look's document tells against what was recomputed."""

    def __init__(self, arbiter: Arbiter, number: int) -> None:
        self._arbiter, self._number = arbiter, number

    def same(self, what: str, told: Any, recomputed: Any) -> None:
        """Exactly the same."""
        if told != recomputed:
            self._arbiter.differs(f"look {self._number}: {what} is told as {told}, and recomputed as {recomputed}")

    def figures(self, what: str, told: list[dict[str, Any]], recomputed: list[dict[str, Any]]) -> None:
        """The same copies in the same order, with figures that agree."""
        if what != "second_best":
            self.same(what, [one["copy"] for one in told], [one["copy"] for one in recomputed])
        for one, other in zip(told, recomputed, strict=False):
            name = f"{what} {other['copy'][:12]}" if what != "second_best" else what
            for field in ("slots", "agree", "look", "round", "attack"):
                self.same(f"{field} of {name}", one[field], other[field])
            for field in ("p", "q"):
                if abs(math.log(one[field]) - math.log(other[field])) > TOLERANCE * max(1.0, abs(math.log(other[field]))):
                    self.same(f"{field} of {name}", one[field], other[field])
            if abs(one["log10_e"] - other["log10_e"]) > 5e-4 + TOLERANCE * abs(other["log10_e"]):
                self.same(f"e-value (log 10) of {name}", one["log10_e"], other["log10_e"])


def _name(manifest: dict[str, Any]) -> str:
    return f"{manifest['asset']}@{manifest['version']}/{manifest['shard']}"


def _log_priors(had: list[bool]) -> list[float]:
    """0.9 shared by those with any access, 0.1 by all the others' number; the same for all where that tells nobody apart."""
    served = sum(had)
    if served in (0, len(had)):
        return [-math.log(len(had))] * len(had)
    return [math.log(0.9 / served) if one else math.log(0.1 / len(had)) for one in had]


def _counted_once(shown: list[list[dealing.Slot]]) -> list[list[dealing.Slot]]:
    """Each slot in the look that showed it first."""
    known: set[tuple[str, int, int, int]] = set()
    new = []
    for rows in shown:
        here = [slot for slot in rows if (slot.key, slot.tier, slot.level, slot.at) not in known]
        known |= {(slot.key, slot.tier, slot.level, slot.at) for slot in here}
        new.append(here)
    return new


def _figures(one: scoring.Found, looks: list[scoring.Shown], whose: list[tuple[str, bool]]) -> dict[str, Any]:
    agree = count = 0
    for look in looks[: one.look]:
        count += len(look.slots)
        agree += sum(slot.seen >> bit & 1 for slot, bit in zip(look.slots, look.bits[one.copy], strict=True))
    c = one.colluders
    attack = "one copy" if c == 1 else f"about {c} copies mixed" if c else "several copies mixed"
    return {
        "copy": whose[one.copy][0],
        "p": min(1.0, math.exp(max(-690.7, one.log_p))),
        "q": min(1.0, math.exp(max(-690.7, one.log_q))),
        "log10_e": one.log_e / math.log(10),
        "slots": count,
        "agree": agree,
        "look": one.look,
        "round": one.round,
        "attack": attack,
    }


def root_of(size: int, leaves: dict[int, bytes], hashes: list[bytes]) -> str:
    """RFC 6962's root, hex, of a tree of which some leaves are known and, from left to right, all subtrees without any."""
    places, given = sorted(leaves), iter(hashes)

    def folded(start: int, end: int) -> bytes:
        at = bisect.bisect_left(places, start)
        if at == len(places) or places[at] >= end:
            return next(given)
        if end - start == 1:
            return leaves[start]
        middle = start + offline.split(end - start)
        left = folded(start, middle)
        return offline.node(left, folded(middle, end))

    try:
        root = folded(0, size).hex()
    except StopIteration:
        return "too few hashes"
    return root if next(given, None) is None else "too many hashes"


def read(raw: bytes, keys: list[dict[str, Any]], vkey: str) -> Arbiter:
    """A bundle, its log and its order checked; Refused if it does not read."""
    files = offline.unzipped(raw)
    roots = {path.partition("/")[0] for path in files}
    if len(roots) != 1:
        raise offline.Refused("a bundle has one directory")
    root = roots.pop()
    opened = [dealing.Key(one) for one in keys]
    arbiter = Arbiter({path[len(root) + 1 :]: body for path, body in files.items()}, {key.id: key for key in opened})
    arbiter.log(vkey)
    arbiter.order()
    arbiter.commitments()
    return arbiter


def check(raw: bytes, keys: list[dict[str, Any]], vkey: str) -> Arbiter:
    """Recompute a bundle; Refused if it does not read."""
    return read(raw, keys, vkey).recompute()


def main(argv: list[str] | None = None) -> int:
    """Recompute a bundle and say what holds; the exit code is 0 if all of it does, 5 if anything differs."""
    parser = argparse.ArgumentParser(description="Recompute a trace from its bundle and the opened mark keys.")
    parser.add_argument("bundle")
    parser.add_argument("--log", required=True, help="the log's key (vkey), from elsewhere than the bundle")
    parser.add_argument("--key", action="append", default=[], help="an opened mark key; again for more")
    given = parser.parse_args(argv)
    try:
        keys = []
        for path in given.key:
            with open(path, "rb") as source:  # noqa: PTH123  few modules
                keys.append(json.loads(source.read()))
        with open(given.bundle, "rb") as source:  # noqa: PTH123
            arbiter = check(source.read(), keys, given.log)
    except Exception as e:  # noqa: BLE001  whatever a damaged bundle raises on the way is a no
        sys.stdout.write(
            f"NOT AS SAID: {e if isinstance(e, offline.Refused) else f'it does not read ({type(e).__name__}: {e})'}\n"
        )
        return DIFFERS
    sys.stdout.write("".join(f"{line}\n" for line in arbiter.said))
    sys.stdout.write("".join(f"DIFFERS: {line}\n" for line in arbiter.wrong))
    sys.stdout.write("NOT AS SAID\n" if arbiter.wrong else "RECOMPUTED: every figure follows from the bundle and the keys\n")
    return DIFFERS if arbiter.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
