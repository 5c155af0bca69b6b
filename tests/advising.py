"""A gateway on the night of an advisory, in the test's own process: vendors with bills of material, feeds signed or forged."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boms import bom, component
from inprocess import ISSUER
from limen.assurance.advisories.entering import NAMESPACE
from limen.config import AdvisorySource, Assurance, Config, Server
from limen.formats import sshsig
from limen.server import Gateway
from limen.verbs import VERBS
from simulator import catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

INTEL, FORGER = (sshsig.Signer(bytes([n]) * 32, f"key-{n}") for n in (1, 2))
VENDORS = ("brightfold", "lexara", "oakline", "quillwork", "tessel")
PEOPLE = {"lab/bo": ["security"], "lab/cy": ["owner"], "lab/dee": ["legal"]}
ROOT = "uid:0"


def us(text: str) -> int:
    """A time as RFC 3339 writes it, in µs."""
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)


def malicious(name: str = "litellm", *versions: str, id_: str = "MAL-2026-2144", **more: Any) -> dict[str, Any]:
    """A record of a malicious package on PyPI."""
    return {
        "schema_version": "1.7.4",
        "id": id_,
        "published": "2026-03-24T11:15:14Z",
        "modified": "2026-03-24T11:15:14Z",
        "summary": f"Malicious code in {name}",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "versions": list(versions or ("1.82.8",))}],
        **more,
    }


@dataclass
class Night:
    """An open gateway, and what comes in that night."""

    gateway: Gateway

    async def verb(self, name: str, *, by: str = ROOT, **args: Any) -> Any:
        """Run a verb."""
        return await VERBS[name](self.gateway, args, by)

    def at(self, text: str) -> None:
        """It is now then, in the story."""
        self.gateway.custody.clock.tell(us(text))

    async def bom(self, vendor: str, versions: dict[str, str], effective: str | None = None, **more: Any) -> int:
        """A vendor sends a bill of material; its entry."""
        document = bom([component(name, version) for name, version in versions.items()], effective) | more
        digest, _ = self.gateway.custody.blobs.put([json.dumps(document).encode()])
        return int((await self.verb("bom.add", vendor=vendor, digest=digest))["entry"])

    async def feed(self, *records: Any, signer: sshsig.Signer | None = INTEL, source: str = "", by: str = ROOT) -> dict[str, Any]:
        """A feed comes in, signed if anybody signs it; what the verb says."""
        raw = b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in records)
        digest, _ = self.gateway.custody.blobs.put([raw])
        signature = sshsig.sign(raw, signer, namespace=NAMESPACE).decode() if signer else None
        name = source or ("" if signer else "somebody")
        return dict(await self.verb("advisory.feed", by=by, digest=digest, source=name, signature=signature))

    async def affected(self, id_: str = "MAL-2026-2144", as_of: str | None = None, **more: Any) -> dict[str, Any]:
        """What is said of each vendor."""
        answer = await self.verb("advisory.affected", id=id_, as_of_us=us(as_of) if as_of else None, **more)
        return {**answer, "vendors": {row["vendor"]: row for row in answer["vendors"]}}

    async def verdicts(self, id_: str = "MAL-2026-2144", as_of: str | None = None, **more: Any) -> dict[str, str]:
        """The answers alone."""
        answer = await self.affected(id_, as_of, exposure=False, **more)
        return {vendor: row["verdict"] for vendor, row in answer["vendors"].items()}

    async def actions(self) -> list[dict[str, Any]]:
        """What followed."""
        return list((await self.verb("advisory.actions"))["actions"])

    @property
    def restricted(self) -> dict[str, Any]:
        """Whose access was changed."""
        live = self.gateway.custody.live
        return {order.subject: order for order in (*live.restrictions(), *live.pauses())}


def config(data: Path, *, may: str = "restrict", **caps: int) -> Config:
    """A configuration with one signed source."""
    source = AdvisorySource(name="intel", key=INTEL.key.line, may=may)
    return Config(data=data, server=Server(mode="development"), assurance=Assurance(**caps), advisory_source=(source,))


@asynccontextmanager
async def a_night(data: Path, *, more_vendors: Iterable[str] = (), **options: Any) -> AsyncIterator[Night]:
    """A gateway with the story's vendors, and three more people in the lab."""
    gateway = await Gateway.open(config(data, **options))
    try:
        night = Night(gateway)
        document = catalog(ISSUER)
        known = {vendor["id"] for vendor in document["vendor"]}
        for vendor in (*VENDORS, *more_vendors):
            if vendor not in known:
                document["vendor"].append({"id": vendor, "name": vendor.title(), "contact": f"ops@{vendor}.example"})
        document["person"] += [
            {"id": id_, "issuer": ISSUER, "subject": id_[4:], "name": f"Person {id_}", "roles": roles}
            for id_, roles in PEOPLE.items()
        ]
        await night.verb("import", by="test", text=json.dumps(document), format="json")
        yield night
    finally:
        await gateway.close()
