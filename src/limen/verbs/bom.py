"""Vendors' bills of material: filed, listed, shown, and what they leave unsaid. Their bytes come by the blob store."""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.bom.values import DAY_US, MAX_AGE_US
from limen.core.errors import Invalid, TamperDetected

if TYPE_CHECKING:
    from limen.assurance.bom.judge import Judged
    from limen.assurance.bom.values import Bom, Presence, Service
    from limen.server import Gateway
    from limen.verbs import Verb

_LONGEST: Final = 200  # characters of a name that is declared
_MOST: Final = 200  # names declared at once


async def add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """File a BOM whose bytes are in the blob store; judged here again, whoever judged it before.

    The same bytes for the same time are filed once: then the answer names the entry that has them, and `already` is true.
    """
    from limen.assurance.bom.judge import judge  # noqa: PLC0415  the schemas' reader, which a start does not need

    vendor = gateway.custody.catalog.snapshot.vendor(args["vendor"].removeprefix("vendor/")).id
    declared = _names("--sub-processor", args.get("declared", ()))
    classes = _classes(gateway, args.get("classes", ()))
    raw = await asyncio.to_thread(gateway.filing.read, args["digest"])
    digest = await asyncio.to_thread(lambda: hashlib.sha256(raw).hexdigest())
    if digest != args["digest"]:
        raise TamperDetected(f"the blob {args['digest']} does not hold the bytes that it is named after; nothing was filed")
    judged = await asyncio.to_thread(judge, raw)
    effective = args.get("effective_us")
    before = await asyncio.to_thread(gateway.boms.revisions, vendor)
    same = _same(before, judged, digest, effective)
    if same is not None and not declared and not classes:
        return await _told(gateway, same, already=True)
    fields = judged.fields()
    if twin := _twin(before, fields, digest):
        fields["gaps"] = [f"entry {twin.entry} has the same serial number and version, and other bytes", *fields["gaps"]]
    fields |= {"vendor": vendor, "effective_us": effective, "declared": declared, "classes": classes}
    if judged.document is not None:
        gateway.boms.expect(digest, judged.document)
    filed = await gateway.filing.enter("bom.add", fields, digest=digest, length=len(raw), by=by)
    await gateway.advised.look()
    found = await asyncio.to_thread(gateway.boms.revisions, vendor)
    return await _told(gateway, next(bom for bom in found if bom.entry == filed.entry), already=False)


async def list_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Every BOM received, of all vendors or of one."""
    del by
    vendor = _vendor(gateway, args)
    found = await asyncio.to_thread(gateway.boms.revisions, vendor, args.get("as_of_us"))
    return {"vendor": vendor, "as_of": _utc(args.get("as_of_us")), "boms": [_bom(bom) for bom in found]}


async def gaps(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Vendors for whom no BOM speaks at a moment, or only one that leaves out what it may."""
    del by
    as_of = args.get("as_of_us")
    at = args.get("at_us")
    if at is None:
        at = as_of if as_of is not None else gateway.custody.moment_us()
    max_age = args.get("max_age_days", MAX_AGE_US // DAY_US) * DAY_US
    vendors = sorted(vendor.id for vendor in gateway.custody.catalog.snapshot.vendors())
    found = await asyncio.to_thread(lambda: [gateway.boms.standing(vendor, at, as_of, max_age_us=max_age) for vendor in vendors])
    rows = [
        {
            "vendor": each.vendor,
            "state": each.state,
            "bom": each.bom,
            "effective": _utc(each.since_us),
            "age_days": None if each.since_us is None else (at - each.since_us) // DAY_US,
            "why": each.why,
        }
        for each in found
    ]
    return {
        "at": _utc(at),
        "as_of": _utc(as_of),
        "max_age_days": max_age // DAY_US,
        "gaps": [row for row in rows if row["state"] != "good"],
        "good": [row["vendor"] for row in rows if row["state"] == "good"],
    }


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """A vendor's newest BOM that counts, or the one of an entry: what it says, and where the lab's assets go by it."""
    del by
    return await asyncio.to_thread(_shown, gateway, args)


async def find(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The digest of the BOM that an entry files: its bytes are in the blob store."""
    del by
    return {"entry": args["entry"], "digest": await asyncio.to_thread(gateway.boms.digest, args["entry"])}


def _shown(gateway: Gateway, args: dict[str, Any]) -> dict[str, Any]:
    vendor, as_of, entry = _vendor(gateway, args), args.get("as_of_us"), args.get("entry")
    revisions = gateway.boms.revisions(vendor, as_of)
    of = [bom for bom in revisions if entry in {None, bom.entry} and not (entry is None and bom.quarantined)]
    if not of:
        what = f"no BOM of {vendor} counts" if entry is None else f"entry {entry} files no BOM"
        raise Invalid("vendor" if entry is None else "--entry", f"{what}; see `limen bom list`")
    bom = max(of, key=lambda each: (each.effective_us, each.received_us, each.entry))
    there = [
        each
        for each in gateway.boms.presences(bom.vendor, as_of)
        if each.start_us <= bom.effective_us and (each.end_us is None or each.end_us > bom.effective_us)
    ]
    ecosystems = Counter(each.package.ecosystem if each.package else "" for each in there)
    answer = {
        **_bom(bom),
        "as_of": _utc(as_of),
        "packages": dict(sorted(ecosystems.items(), key=lambda pair: (-pair[1], pair[0]))),
        "services": [_service(each) for each in _services(gateway, bom, as_of)],
    }
    return {**answer, "components_listed": [_presence(each) for each in there]} if args.get("components") else answer


def _services(gateway: Gateway, bom: Bom, as_of: int | None = None) -> list[Service]:
    snapshot = gateway.custody.catalog.snapshot
    assets = {asset.id: asset.asset_class for asset in snapshot.state.assets.values()}
    return gateway.boms.services(bom.vendor, as_of, classes=list(snapshot.state.classes), assets=assets, entry=bom.entry)


async def _told(gateway: Gateway, bom: Bom, *, already: bool) -> dict[str, Any]:
    services = await asyncio.to_thread(_services, gateway, bom)
    return {
        **_bom(bom),
        "already": already,
        "undisclosed": [{"service": s.name, "provider": s.provider, "why": s.why} for s in services if s.undisclosed],
        "unbound": sum(1 for s in services for flow in s.flows if not flow.bound),
    }


def _same(before: list[Bom], judged: Judged, digest: str, effective: int | None) -> Bom | None:
    if effective is None and judged.document is not None:
        effective = judged.document.timestamp_us
    for bom in before:
        if bom.digest != digest:
            continue
        if judged.document is None or (effective is not None and min(effective, bom.received_us) == bom.effective_us):
            return bom
    return None


def _twin(before: list[Bom], fields: dict[str, Any], digest: str) -> Bom | None:
    serial, version = fields.get("serial"), fields.get("version")
    return next((b for b in before if serial and (b.serial, b.version) == (serial, version) and b.digest != digest), None)


def _vendor(gateway: Gateway, args: dict[str, Any]) -> str | None:
    named = args.get("vendor")
    return None if named is None else gateway.custody.catalog.snapshot.vendor(named.removeprefix("vendor/")).id


def _names(option: str, names: list[str]) -> list[str]:
    found = [unicodedata.normalize("NFC", name.strip()) for name in names]
    if len(found) > _MOST or any(not name or len(name) > _LONGEST for name in found):
        raise Invalid(option, f"takes at most {_MOST} names, none empty or longer than {_LONGEST} characters")
    return found


def _classes(gateway: Gateway, pairs: list[list[str]]) -> list[list[str]]:
    found = [_names("--classification", pair) for pair in pairs]
    for _, name in found:
        gateway.custody.catalog.snapshot.asset_class(name)
    return found


def _bom(bom: Bom) -> dict[str, Any]:
    return {
        "entry": bom.entry,
        "vendor": bom.vendor,
        "state": "quarantined" if bom.quarantined else "complete" if bom.complete else "incomplete",
        "quarantined": bom.quarantined,
        "why": bom.why,
        "effective": _utc(bom.effective_us),
        "received": _utc(bom.received_us),
        "spec": bom.spec,
        "serial": bom.serial,
        "version": bom.version,
        "components": bom.components,
        "unnamed": bom.unnamed,
        "gaps": list(bom.gaps),
        "digest": bom.digest,
        "length": bom.length,
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "service": service.name,
        "within": service.path,
        "provider": service.provider,
        "undisclosed": service.undisclosed,
        "why": service.why,
        "endpoints": list(service.endpoints),
        "crosses_boundary": service.crosses_boundary,
        "authenticated": service.authenticated,
        "flows": [
            {
                "flow": flow.flow,
                "classification": flow.classification,
                "name": flow.name,
                "classes": list(flow.classes),
                "bound": flow.bound,
            }
            for flow in service.flows
        ],
    }


def _presence(presence: Presence) -> dict[str, Any]:
    return {
        "ecosystem": presence.package.ecosystem if presence.package else None,
        "package": presence.package.name if presence.package else None,
        "name": presence.name,
        "version": presence.version,
        "purl": presence.purl,
        "path": presence.path,
        "scope": presence.scope,
        "since": _utc(presence.start_us),
        "first_bom": presence.bom,
        "digests": list(presence.digests),
    }


def _utc(us: int | None) -> str | None:
    """An RFC 3339 time, to the microsecond where it has any."""
    if us is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds" if us % 1_000_000 else "seconds").replace("+00:00", "Z")


VERBS: Final[dict[str, Verb]] = {
    "bom.add": add,
    "bom.find": find,
    "bom.gaps": gaps,
    "bom.list": list_,
    "bom.show": show,
}
