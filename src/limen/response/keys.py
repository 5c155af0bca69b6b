"""The key inventory: every key that was ever seen, by fingerprint, and who has touched it, with the reason and its grade.

A fold over what stands elsewhere, and no table of its own: scans (where a key lies), the ledger (which records of an asset
that holds one were served, to the record), observations (which credential was used or issued, which secret of Vault was read,
who took which history). For one vendor it lists every key that ever touched their path; what they never touched isn't
on it. What can't be decided counts as touched, and says so; what no log covers is told in words.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from limen.core.types import Grade
from limen.response.touches import Touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.response.exposure import Handed
    from limen.response.touches import Observed
    from limen.scan.keyring import Keyring
    from limen.scan.manifest import Key as FoundKey
    from limen.scan.manifest import KeyPlace
    from limen.scanning import Recorded

SCHEMA: Final = "limen/keys/v1"
US: Final = 1_000_000
_ACCESS_KEY: Final = {"AKIA": "aws-access-key", "ASIA": "aws-access-key, temporary"}


@dataclass(slots=True)
class Held:
    """One key: what kind it is, the name that other systems have for it (never the key), where it lies, who touched it."""

    key: str
    kind: str
    name: str = ""
    confidence: str = ""
    places: list[dict[str, Any]] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)

    def first_us(self) -> int:
        """When it was first seen anywhere, by whoever says so."""
        told = [place["at"] * US for place in self.places if place.get("at")] + [t.first_us for t in self.touches]
        return min(told, default=0)


class Inventory:
    """All keys, folded once; `report` shows them, for one vendor or for all."""

    def __init__(self, keyring: Keyring, scans: list[Recorded], observed: Observed, *, skew_us: int = 0) -> None:
        self._keyring = keyring
        self._scans = scans
        self._skew_us = skew_us
        self._keys: dict[str, Held] = {}
        self._names: dict[str, str] = {}  # fingerprint of a name -> the key's own
        self._late: dict[str, set[str]] = defaultdict(set)  # vendor -> keys of histories that it took before they had the key
        for scan in scans:
            for found in scan.manifest.keys:
                self._found(scan, found)
        for credential in (*observed.used(), *observed.issued(), *observed.read()):
            self._named(credential.name, credential.touch)
        self._histories = observed.histories()
        self._cloned(self._histories)
        self._in_assets(observed)

    @property
    def wanted(self) -> dict[tuple[str, int, str], set[int]]:
        """The records of assets that hold a key, by asset, version and shard; -1 where nobody can say which record."""
        found: dict[tuple[str, int, str], set[int]] = defaultdict(set)
        for held in self._keys.values():
            for place in held.places:
                if place.get("asset"):
                    found[place["asset"], place["version"], place["shard"]].add(place["record"])
        return found

    def served(self, handed: Iterable[Handed], vendor_of: Callable[[str], str | None]) -> None:
        """Add what the ledger says was handed over of the records that hold a key."""
        by_record: dict[tuple[str, int, str, int], list[Touch]] = defaultdict(list)
        for one in handed:
            vendor = vendor_of(one.holder)
            touch = Touch(
                reason="served",
                grade=Grade.MEASURED,
                where=f"{one.asset}@{one.version}/{one.shard}#{one.record}",
                first_us=one.first_us,
                last_us=one.last_us,
                count=one.reads,
                people=(one.holder,),
                vendors=(vendor,) if vendor else (),
                lab=vendor is None,
                certain=one.certain,
            )
            by_record[one.asset, one.version, one.shard, one.record].append(touch)
        for held in self._keys.values():
            for place in held.places:
                if place.get("asset"):
                    held.touches += by_record[place["asset"], place["version"], place["shard"], place["record"]]

    def report(self, vendor: str | None, *, now_us: int) -> dict[str, Any]:
        """The inventory as a JSON value; with a vendor, only what touched their path."""
        rows = []
        strangers: dict[tuple[str, str, str], int] = defaultdict(int)
        for held in sorted(self._keys.values(), key=lambda one: (one.kind, one.name, one.key)):
            for touch in held.touches:
                if not touch.known:
                    strangers[touch.principal, touch.reason, touch.where] += 1
            mine = [touch for touch in held.touches if vendor is None or vendor in touch.vendors]
            if mine or vendor is None:
                rows.append(self._row(held, mine, now_us))
        return {
            "schema": SCHEMA,
            "vendor": vendor,
            "keys": rows,
            "unknown_principals": [
                {"principal": principal, "reason": reason, "where": where, "keys": count}
                for (principal, reason, where), count in sorted(strangers.items())
            ],
            "scans": [{"entry": scan.entry, "repo": scan.manifest.repo, "at_us": scan.at_us} for scan in self._scans],
            "unknown": self._unknown(vendor),
        }

    # --- folding

    def _found(self, scan: Recorded, found: FoundKey) -> None:
        held = self._keys.setdefault(found.key, Held(found.key, found.kind, confidence=found.confidence))
        for name in (found.key, *found.aliases):
            self._names.setdefault(name, found.key)
        for place in found.places:
            told = _place(scan, place)
            same = [old for old in held.places if _same(old, told)]
            for old in same:
                held.places.remove(old)
            # The newest scan knows all that an older one knew of the same place, unless git has thrown it away since.
            held.places.append(told if told["at"] or not same else {**told, "at": same[0]["at"], "commits": same[0]["commits"]})

    def _named(self, name: str, touch: Touch) -> None:
        """A key that another system names: the same as one that was found, if one of that one's names is this."""
        fingerprint = self._keyring.name(name)
        key = self._names.setdefault(fingerprint, fingerprint)
        held = self._keys.setdefault(key, Held(key, _kind(name, touch), name))
        held.name = held.name or name
        held.touches.append(touch)

    def _cloned(self, histories: dict[str, list[Touch]]) -> None:
        """Put down to whoever took a history the keys that were in it by then."""
        for held in self._keys.values():
            by_repo: dict[str, list[int]] = defaultdict(list)
            for place in held.places:
                if place.get("repo"):
                    by_repo[place["repo"].lower()].append(place["at"] * US)
            for repo, since in by_repo.items():
                for touch in histories.get(repo, []):
                    # A commit's date is its author's claim; one without a commit may have been there at any time.
                    if min(since) == 0:
                        held.touches.append(replace(touch, certain=False))
                    elif touch.last_us + self._skew_us >= min(since):
                        held.touches.append(touch)
                    else:
                        for vendor in touch.vendors:
                            self._late[vendor].add(held.key)

    def _in_assets(self, observed: Observed) -> None:
        """Put down to whoever read an object in another system the keys in the asset that it is a copy of."""
        shards: dict[str, dict[str, list[Held]]] = defaultdict(lambda: defaultdict(list))
        for held in self._keys.values():
            for place in held.places:
                if place.get("asset"):
                    shards[place["asset"]][place["shard"]].append(held)
        for asset, touch in observed.objects(set(shards)):
            fitting = [shard for shard in shards[asset] if touch.where.endswith(f"/{shard}")]
            # An object whose name is no shard's may hold any of the asset's records.
            told = replace(touch, certain=bool(fitting))
            for shard in fitting or shards[asset]:
                for held in shards[asset][shard]:
                    if told not in held.touches:
                        held.touches.append(told)

    # --- telling

    def _row(self, held: Held, touches: list[Touch], now_us: int) -> dict[str, Any]:
        first = held.first_us()
        return {
            "key": held.key,
            "kind": held.kind,
            "name": held.name,
            "confidence": held.confidence,
            "first_us": first,
            "age_s": max(now_us - first, 0) // US if first else None,
            "places": held.places,
            "touched": [touch.to_json() for touch in sorted(touches, key=_order)],
        }

    def _unknown(self, vendor: str | None) -> list[str]:
        found = []
        if not self._scans:
            found.append("nothing was scanned: which keys lie in repositories and assets, limen cannot say; run `limen scan`")
        elif not any(scan.manifest.subject == "assets" for scan in self._scans):
            found.append("assets were not searched for keys, so none in served content is listed; run `limen scan --assets`")
        for scan in self._newest():
            found += [f"the scan of {scan.manifest.repo} (entry {scan.entry}) left out: {why}" for why in scan.manifest.left_out]
            if not scan.manifest.kingfisher:
                found.append(f"the scan of {scan.manifest.repo} (entry {scan.entry}) did not look for keys")
        found += self._unseen(vendor)
        for name in [vendor] if vendor else sorted(self._late):
            touched = {held.key for held in self._keys.values() if any(name in touch.vendors for touch in held.touches)}
            if late := self._late[name] - touched:
                found.append(
                    f"{len(late)} keys were committed, by the commits' own dates, after {name} last took the history that holds"
                    " them: they are not put down to it"
                )
        return found

    def _unseen(self, vendor: str | None) -> Iterable[str]:
        """Histories that were taken, and that nobody has scanned, or not since."""
        scanned = {scan.manifest.repo.lower(): scan for scan in self._newest()}
        for repo, touches in sorted(self._histories.items()):
            mine = [t for t in touches if (vendor in t.vendors if vendor else t.vendors or not t.known)]
            if not mine:
                continue
            who = vendor or "somebody outside"
            if repo not in scanned:
                yield f"{who} took {repo}, which was never scanned: which keys its history holds, limen cannot say"
            elif max(t.last_us for t in mine) > scanned[repo].at_us:
                entry = scanned[repo].entry
                yield f"{who} took {repo} after it was last scanned (entry {entry}): what came in between is not known"

    def _newest(self) -> Iterable[Recorded]:
        return {scan.manifest.repo: scan for scan in self._scans}.values()


def _place(scan: Recorded, place: KeyPlace) -> dict[str, Any]:
    told: dict[str, Any] = {"line": place.line, "scan": scan.entry}
    if place.asset:
        where = {"asset": place.asset, "version": place.version, "shard": place.shard, "record": place.record}
        return {**where, **told, "at": 0, "commits": []}
    commits = [{"commit": c.commit, "path": c.path, "at": c.at, "reach": c.reach} for c in place.commits]
    first = min((c.at for c in place.commits), default=0)
    return {"repo": scan.manifest.repo, "blob": place.blob, "inside": place.inside, **told, "at": first, "commits": commits}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("repo", "blob", "inside", "line", "asset", "version", "shard"))


def _kind(name: str, touch: Touch) -> str:
    if name.startswith("vault:"):
        return "vault-secret"
    if name.startswith("hmac-sha256:"):
        return "vault-token"
    if touch.principal.startswith("github:"):
        return "ssh-key" if touch.principal.startswith("github:deploy-key/") or name.startswith("SHA256:") else "github-token"
    return _ACCESS_KEY.get(name[:4], "credential")


def _order(touch: Touch) -> tuple[Any, ...]:
    return (-touch.last_us, touch.reason, touch.where, touch.people)
