"""One page per asset: who handles the data, where it is stored, how access is controlled; each row with its grade.

*measured*: limen does it or enforces it. *observed*: another system's log or listing says so. *evidence*: a document does.
*declared*: the lab's own mapping does. What no row can say is under *unknown*.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.types import Grade
from limen.formats.iampolicy import reaches_into
from limen.observe.coverage import scope_of
from limen.observe.globs import head
from limen.response import served
from limen.response.figures import Gathered, label
from limen.response.narrowing import ARN
from limen.response.observed import holes, reached, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.catalog.snapshot import Snapshot
    from limen.core.types import Asset, Checkpoint
    from limen.observe.depot import Depot
    from limen.observe.who import Who
    from limen.response.granted import Papers

SCHEMA: Final = "limen/asset-page/v1"
S3: Final = "s3://"


@dataclass(slots=True)
class Handled:
    """What one person was handed of an asset, by the ledger."""

    accesses: int = 0
    bytes: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, at_us: int, last_us: int | None, reads: int, length: int) -> None:
        """One handover, or a look, which hands over nothing."""
        self.accesses += reads
        self.bytes += reads * length
        self.first_us = at_us if self.first_us is None else min(self.first_us, at_us)
        self.last_us = max(self.last_us or 0, last_us or at_us)


class AssetPages:
    """Makes pages from one reading of the ledger and one of the observations; changes nothing."""

    def __init__(
        self,
        snapshot: Snapshot,
        depot: Depot,
        who: Who,
        papers: Papers,
        *,
        pseudonym: Callable[[str, str], str],
        entries: Iterable[tuple[int, bytes]],
        head: Checkpoint,
        now_us: int,
    ) -> None:
        self._snapshot = snapshot
        self._who = who
        self._papers = papers
        self._head = head
        self._now = now_us // 1_000_000
        self._ledger_unknown: list[str] = []
        self._handled = self._read(entries, pseudonym)
        self._sources = sources(depot, reach := reached(depot, None, None, now_us)) if depot.imports() else []
        self._observed = self._look(Gathered(depot, who, reach)) if depot.imports() else {}

    def page(self, asset_id: str) -> dict[str, Any]:
        """The page of one asset as a JSON value. NotFound if the catalog has none of that id."""
        asset = self._snapshot.asset(asset_id)
        places = list(dict.fromkeys(place.resource for place in self._who.places if place.asset == asset_id))
        return {
            "schema": SCHEMA,
            "asset": asset.id,
            "project": asset.project,
            "class": asset.asset_class,
            "tier": asset.tier,
            "kind": asset.kind,
            "description": asset.description,
            "ledger": {"origin": self._head.origin, "from": 0, "to": self._head.size, "root": self._head.root.hex()},
            "handled": [*self._may(asset), *self._were_served(asset), *self._were_observed(asset)],
            "stored": [*self._in_limen(asset), *self._elsewhere(places), *self._at_vendors(asset)],
            "controlled": [*self._by_limen(asset), *self._by_agreements(asset), *self._by_others(places)],
            "unknown": [*self._ledger_unknown, *self._not_covered(asset, places)],
        }

    # --- read once

    def _read(self, entries: Iterable[tuple[int, bytes]], pseudonym: Callable[[str, str], str]) -> dict[tuple[str, str], Handled]:
        holders = {(p, pseudonym(h.id, p)): h.id for h in self._snapshot.holders() for p in self._snapshot.projects_ever_of(h.id)}
        reading = served.read(entries, size=self._head.size, concerns=lambda e: (e.get("project"), e.get("who")) in holders)
        found: dict[tuple[str, str], Handled] = defaultdict(Handled)
        for h in reading.handovers:
            found[holders[h.project, h.who], h.asset].add(h.at_us, h.last_us, h.reads, h.end - h.start)
        for look in reading.looks:
            for asset in [look["asset"]] if "asset" in look else look.get("assets", ()):
                found[holders[look["project"], look["who"]], asset].add(served.at_us(look), None, 1, 0)
        self._ledger_unknown = list(reading.unknown)
        return found

    def _look(self, gathered: Gathered) -> dict[str, list[dict[str, Any]]]:
        """Asset or place -> what was observed there, of everybody."""
        rows = {one: label(one.attribution) or f"?{one.principal}" for one in gathered.identities}
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in gathered.lines(rows):
            f = line.figures
            told = {"objects": line.objects, "reads": f.reads, "bytes": f.bytes, "reads_of_unknown_size": f.bytes_untold}
            found[line.place].append({"who": line.row, **told, "denied": f.denied, "last_us": f.last_us})
        return found

    # --- who handles the data

    def _may(self, asset: Asset) -> list[dict[str, Any]]:
        rows = []
        for holder in self._snapshot.holders():
            live = [g for g in self._snapshot.grants_reaching(holder.id, asset) if g.expires_at > self._now]
            if live and holder.ended_at is None:
                actions = sorted({action for g in live for action in g.actions})
                until = max(g.expires_at for g in live)
                rows.append({"what": "may", "who": holder.id, "actions": actions, "until": until, "grade": Grade.MEASURED})
        return rows

    def _were_served(self, asset: Asset) -> list[dict[str, Any]]:
        return [
            {
                "what": "served by limen",
                "who": holder,
                "accesses": h.accesses,
                "bytes": h.bytes,
                "last_us": h.last_us,
                "grade": Grade.MEASURED,
            }
            for (holder, of), h in sorted(self._handled.items())
            if of == asset.id
        ]

    def _were_observed(self, asset: Asset) -> list[dict[str, Any]]:
        words = {"?": "unknown principal seen elsewhere", "": "seen elsewhere"}
        rows = sorted(self._observed.get(asset.id, ()), key=lambda row: row["who"])
        return [
            {"what": words["?" if r["who"][0] == "?" else ""], **r, "who": r["who"].removeprefix("?"), "grade": Grade.OBSERVED}
            for r in rows
        ]

    # --- where it is stored

    def _in_limen(self, asset: Asset) -> list[dict[str, Any]]:
        rows = []
        for version in self._snapshot.versions(asset.id):
            own = [s for s in version.shards if s.upstream is None]
            told = {"version": version.number, "registered_at": version.registered_at}
            if own:
                marked = sum(1 for s in own if s.prepared and not s.unmarked_why)
                length = sum(s.source_length for s in own)
                what = {"what": "limen's store", "shards": len(own), "bytes": length, "marked": marked}
                rows.append({**what, **told, "grade": Grade.MEASURED})
            by_place: dict[str, list[int]] = defaultdict(list)
            for shard in version.shards:
                if shard.upstream is not None:
                    by_place[scope_of(shard.upstream.url)].append(shard.source_length)
            # Its lengths are what that place said when it was adopted.
            for place, lengths in sorted(by_place.items()):
                what = {"what": "adopted where it rests", "where": place, "shards": len(lengths), "bytes": sum(lengths)}
                rows.append({**what, **told, "grade": Grade.OBSERVED})
        return rows

    def _elsewhere(self, places: list[str]) -> list[dict[str, Any]]:
        return [{"what": "a copy, by the mapping", "where": place, "grade": Grade.DECLARED} for place in places]

    def _at_vendors(self, asset: Asset) -> list[dict[str, Any]]:
        people: dict[str, set[str]] = defaultdict(set)
        for (holder, of), handled in self._handled.items():
            if of == asset.id and handled.bytes:
                people[self._snapshot.holder_by_id(holder).vendor or "lab"].add(holder)
        return [
            {"what": "held until proven returned", "where": f"vendor/{vendor}", "people": len(some), "grade": Grade.MEASURED}
            for vendor, some in sorted(people.items())
            if vendor != "lab"
        ]

    # --- how access is controlled

    def _by_limen(self, asset: Asset) -> list[dict[str, Any]]:
        tier = self._snapshot.tier(asset.tier)
        barrier = not self._snapshot.asset_class(asset.asset_class).vendors
        told = {
            "granted_by": sorted(tier.granted_by),
            "session_s": tier.session_s,
            "hardware_key": tier.hardware_key,
            "export_bytes_day": tier.export_bytes_day,
        }
        return [{"what": "limen, at each access", "tier": tier.name, **told, "vendors_barred": barrier, "grade": Grade.MEASURED}]

    def _by_agreements(self, asset: Asset) -> list[dict[str, Any]]:
        vendors = {h.vendor for h in self._snapshot.holders() if h.vendor and self._snapshot.grants_reaching(h.id, asset)}
        rows = []
        for vendor in sorted(vendors):
            agreement = self._snapshot.agreement(vendor, self._now)
            told = (
                {"agreement": agreement.id, "digest": agreement.digest, "until": agreement.valid_until}
                if agreement
                else {"agreement": None}
            )
            rows.append({"what": "agreement", "who": vendor, **told, "grade": Grade.EVIDENCE})
        return rows

    def _by_others(self, places: list[str]) -> list[dict[str, Any]]:
        rows = []
        for place in places:
            if place.startswith(S3):
                begin = ARN + head(place).removeprefix(S3)
                for paper in self._papers.iam.values():
                    answer = reaches_into(paper.policies, "s3:GetObject", begin, name=paper.name)
                    if answer != "not granted":
                        told = {"who": paper.principal, "says": answer}
                        rows.append({"what": "IAM policy, read", "where": place, **told, "grade": Grade.EVIDENCE})
            for (login, repository), role in sorted(self._papers.roles.items()):
                if place.lower() == f"github:{repository}".lower():
                    told = {"who": f"github:{login}", "says": role}
                    rows.append({"what": "GitHub collaborator", "where": place, **told, "grade": Grade.EVIDENCE})
        return rows

    # --- what is not known

    def _not_covered(self, asset: Asset, places: list[str]) -> list[str]:
        found = []
        scopes = holes(self._sources)
        for place in places:
            scope = scope_of(head(place))
            if scope not in scopes:
                found.append(f"no import covers {place}: limen cannot say who touched it there")
            elif scopes[scope]:
                found.append(
                    f"{scope} is not covered in {len(scopes[scope].spans)} stretches: limen cannot say who touched {place} then"
                )
            given = self._papers.iam if place.startswith(S3) else self._papers.roles
            if place.startswith((S3, "github:")) and not given:
                found.append(f"no document says who may reach {place}: how access is controlled there, limen cannot say")
        if not places and asset.kind != "drop":
            found.append("no place outside limen is mapped to it: whether there are other copies, limen cannot say")
        return found
