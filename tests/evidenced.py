"""A small world in an open gateway: people with names and addresses, papers that name some of them, accesses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inprocess import ISSUER, a_session
from limen.core.types import Client, Span
from limen.verbs import VERBS

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "203.0.113.77"
PEOPLE = {
    "quillwork/anouk": ("Anouk Ferreira-Dahl", "anouk.ferreira@quillwork.example"),
    "quillwork/li": ("Li Wen", "li@quillwork.example"),
    "lab/oskar": ("Oskar Lindqvist", "oskar@aurelia.example"),
}
TODAY = datetime.now(tz=UTC).date()
CONTRACT = f"""\
limen: contract/1
contract: quillwork-2026
vendor: quillwork
starts: {TODAY}
ends: {TODAY + timedelta(days=90)}
notice_days: 30
currency: EUR
monthly_fee: "120000.00"
passed_on: Clawbacks are borne by the vendor alone and are never passed on to the people who do the work.
caps:
  clawback_month: 20%
  clawback_total: "60000.00"
restrict:
  mode: read-only
clauses:
  - ref: "11"
    control: LM-11
    text: No access of a day is without its outcome.
    measure: outcomes_unknown
    statistic: max
    window: 92d
    min_n: 0
    comparator: <=
    value: 5
    breach: restrict
    unknown: warn
    owner: OWNER
"""


def bom(*, named: bool) -> bytes:
    """A BOM, with or without the people who made it."""
    authors = [{"name": PEOPLE["quillwork/anouk"][0], "email": PEOPLE["quillwork/anouk"][1]}] if named else []
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b7{int(named)}",
        "version": 1,
        "metadata": {
            "timestamp": f"{TODAY}T00:00:00Z",
            "component": {"type": "platform", "name": "quillwork"},
            **({"authors": authors} if authors else {}),
        },
        "components": [{"type": "library", "name": "litellm", "version": "1.82.6", "purl": "pkg:pypi/litellm@1.82.6"}],
    }
    return json.dumps(document).encode()


async def ask(gateway: Any, verb: str, *, by: str = "uid:1000", **args: Any) -> Any:
    return await VERBS[verb](gateway, args, by)


async def settled(gateway: Any, *, named: bool = True, owner: str = "vendor security") -> None:
    """People, a BOM, a contract, a run of the gate, and what two of them read."""
    for id_, (name, email) in PEOPLE.items():
        vendor = id_.partition("/")[0]
        person = {"id": id_, "vendor": None if vendor == "lab" else vendor, "issuer": ISSUER, "subject": id_, "name": name}
        await ask(gateway, "change", kind="person.add", change={**person, "email": email})
    raw = bom(named=named)
    digest, _ = gateway.custody.blobs.put([raw])
    await ask(gateway, "bom.add", vendor="quillwork", digest=digest)
    await ask(gateway, "contract.set", text=CONTRACT.replace("OWNER", owner), name="q.yaml")
    await ask(gateway, "gate", vendor="quillwork", purpose="onboarding")
    await ask(gateway, "gate", vendor="quillwork")
    for subject in ("q01", "q03"):
        await read(gateway, await a_session(gateway, subject))


async def read(gateway: Any, session: Any) -> None:
    """One access, from an address that stands in a side record alone."""
    client = Client(ADDRESS, "boto3")
    delivery = await gateway.access.open(session, "orchid-sft-v3/sft.jsonl", choose=_first, client=client)
    await delivery.send_to(_taken, lambda: None)


def _first(copy: Any, modified_at: int) -> Span:
    del copy, modified_at
    return Span(206, 0, 100)


async def _taken(chunk: Any) -> None:
    del chunk


async def exported(gateway: Any, output: Path, *, audience: str = "auditor", **more: Any) -> dict[str, Any]:
    """A bundle of the days around today."""
    start, end = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
    args = {
        "vendor": "quillwork",
        "for": audience,
        "period": [f"{start}T00:00:00Z", f"{end}T00:00:00Z"],
        "from_us": _us(start),
        "to_us": _us(end),
        "output": str(output),
        **more,
    }
    return await ask(gateway, "evidence.export", **args)


def _us(day: Any) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
