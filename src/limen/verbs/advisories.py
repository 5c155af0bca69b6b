"""What is known to be bad: enter feeds, windows and VEX documents; list, show, ask.

`enter` is the one way a feed comes in, from a command and from the watched directory alike.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.formats.purl import package_of, why_not

if TYPE_CHECKING:
    from limen.assurance.advisories.entering import Entered
    from limen.assurance.advisories.values import Advised, Feed, Finding, Revision, Stated, Window, Windows
    from limen.server import Gateway
    from limen.verbs import Verb

SHOWN: Final = 1000  # of what there may be hundreds of thousands of


async def enter(
    gateway: Gateway, digest: str, *, source: str, by: str, signature: bytes | None = None
) -> tuple[Entered, dict[str, Any]]:
    """Enter a feed whose bytes are in the blob store, and say what it held. The same bytes again change nothing."""
    entered = await gateway.entering.feed(digest, source=source, signature=signature, by=by)
    actions = await gateway.advised.look()
    return entered, {**_feed(entered.feed), "again": entered.again, "actions": actions}


async def feed(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter a feed that a command has put into the blob store."""
    signature = args.get("signature")
    armor = signature.encode() if signature else None
    entered, answer = await enter(gateway, args["digest"], source=args.get("source") or "", signature=armor, by=by)
    found = await asyncio.to_thread(gateway.advisories.quarantined, entered.feed.entry)
    return {**answer, "reasons": [{"number": each.number, "name": each.name, "why": each.why} for each in found[:SHOWN]]}


async def list_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Feeds, how much there is, and what the watched directory holds that was refused; on request what is in quarantine."""
    del by
    feeds = await asyncio.to_thread(gateway.advisories.feeds, args.get("as_of_us"))
    answer: dict[str, Any] = {
        "census": await asyncio.to_thread(gateway.advisories.census),
        "feeds": [_feed(each) for each in feeds],
        "refused": dict(gateway.inbox.refused) if gateway.inbox is not None else {},
    }
    if args.get("quarantined"):
        found = await asyncio.to_thread(gateway.advisories.quarantined)
        answer["quarantined"] = [
            {"feed": each.feed, "number": each.number, "name": each.name, "why": each.why} for each in found[:SHOWN]
        ]
    return answer


async def of_package(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What standing records say of the package that a purl names, and of its version if it names one."""
    del by
    found = package_of(args["purl"])
    if found is None:
        raise Invalid("purl", why_not(args["purl"]))
    named, version = found
    advised = await asyncio.to_thread(gateway.advisories.by_package, named, args.get("as_of_us"))
    return {
        "ecosystem": named.ecosystem,
        "name": named.name,
        "version": version,
        "advisories": [_advised(each, version) for each in advised[:SHOWN]],
    }


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """One finding: its ids, every revision of its records, what each names, and when it could be had."""
    del by
    name, as_of_us = args["id"], args.get("as_of_us")
    finding = await asyncio.to_thread(gateway.advisories.finding, name, as_of_us)
    revisions = await asyncio.to_thread(gateway.advisories.revisions, name, as_of_us)
    windows = await asyncio.to_thread(gateway.advisories.windows, name, as_of_us)
    named = await asyncio.to_thread(lambda: [_names(gateway, each) for each in revisions[-SHOWN:]])
    return {**_finding(finding), "revisions": named, "windows": _windows(windows)}


async def raw(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The bytes of one revision of one record, as they came."""
    del by
    revisions = await asyncio.to_thread(gateway.advisories.revisions, args["id"])
    for each in revisions:
        if each.id == args["id"] and each.number == args["number"]:
            read = await asyncio.to_thread(gateway.advisories.raw, each)
            return {"id": each.id, "number": each.number, "digest": each.digest, "text": read.decode()}
    raise Invalid("revision", f"{args['id']} has no revision {args['number']}")


async def window_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter when something could be had, by one source."""
    await asyncio.to_thread(gateway.advisories.finding, args["id"])  # a typing error would open a window on nothing
    filed = await gateway.entering.window(args["id"], args, by=by)
    return {"entry": filed.entry, **_windows(await asyncio.to_thread(gateway.advisories.windows, args["id"]))}


async def windows(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """When something could be had, by every source."""
    del by
    await asyncio.to_thread(gateway.advisories.finding, args["id"], args.get("as_of_us"))
    return _windows(await asyncio.to_thread(gateway.advisories.windows, args["id"], args.get("as_of_us")))


async def vex_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter a vendor's VEX document that a command has put into the blob store."""
    gateway.custody.catalog.snapshot.vendor(args["vendor"])
    filed, document = await gateway.entering.vex(args["digest"], args["vendor"], by=by)
    return {"entry": filed.entry, "form": document.form, "statements": len(document.statements), "grade": "declared"}


async def vex(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What one vendor, or all, state about vulnerabilities in their products."""
    del by
    found = await asyncio.to_thread(gateway.advisories.vex, args.get("vendor"), args.get("as_of_us"))
    return {"grade": "declared", "statements": [_stated(each) for each in found[:SHOWN]]}


def rfc3339(at_us: int | None) -> str | None:
    """A time as JSON has it."""
    if at_us is None:
        return None
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{at_us % 1_000_000:06}".rstrip("0").rstrip(".")
    return f"{moment}{fraction}Z"


def _feed(each: Feed) -> dict[str, Any]:
    return {
        "entry": each.entry,
        "received": rfc3339(each.received_us),
        "source": each.source,
        "signed": each.signed,
        "key": each.key or None,
        "digest": each.digest,
        "length": each.length,
        "records": each.records,
        "fresh": each.fresh,
        "in_quarantine": each.quarantined,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.name,
        "ids": list(finding.ids),
        "malicious": finding.malicious,
        "withdrawn": finding.withdrawn,
        "summary": finding.standing[0].summary,
    }


def _revision(each: Revision) -> dict[str, Any]:
    return {
        "id": each.id,
        "number": each.number,
        "entry": each.entry,
        "digest": each.digest,
        "received": rfc3339(each.received_us),
        "modified": rfc3339(each.modified_us),
        "published": rfc3339(each.published_us),
        "withdrawn": rfc3339(each.withdrawn_us),
        "malicious": each.malicious,
        "standing": each.standing,
        "summary": each.summary,
        "sources": [{"source": c.source, "signed": c.signed, "entry": c.entry} for c in each.carriers],
    }


def _names(gateway: Gateway, each: Revision) -> dict[str, Any]:
    """A revision with what it names, read from its own bytes."""
    affected = [
        {
            "ecosystem": a.package.ecosystem,
            "name": a.package.name,
            "versions": sorted(a.versions),
            "ranges": [{"type": r.kind, "events": [{e.kind: e.version} for e in r.events]} for r in a.ranges],
            "digests": sorted(a.digests),
        }
        for a in gateway.advisories.advisory(each).affected
    ]
    return {**_revision(each), "affected": affected}


def _advised(each: Advised, version: str) -> dict[str, Any]:
    holds = each.affected.holds(version)
    return {
        **_revision(each.revision),
        "ecosystem": each.affected.package.ecosystem,
        "affects": None if not version else "cannot say" if holds is None else "yes" if holds else "no",
    }


def _window(each: Window) -> dict[str, Any]:
    return {
        "entry": each.entry,
        "id": each.id,
        "channel": each.channel,
        "source": each.source,
        "from": rfc3339(each.start_us),
        "to": rfc3339(each.end_us),
        "image": each.image or None,
        "tag": each.tag or None,
    }


def _windows(found: Windows) -> dict[str, Any]:
    """All of them, and per channel the widest and how far the sources are apart."""
    channels = {}
    for channel in found.channels:
        widest, spread = found.widest(channel), found.spread(channel)
        if widest and spread:
            channels[channel] = {
                "widest": {"from": rfc3339(widest[0]), "to": rfc3339(widest[1])},
                "start": [rfc3339(spread.earliest_start_us), rfc3339(spread.latest_start_us)],
                "end": [rfc3339(spread.earliest_end_us), rfc3339(spread.latest_end_us)],
            }
    widest = found.widest()
    return {
        "widest": {"from": rfc3339(widest[0]), "to": rfc3339(widest[1])} if widest else None,
        "channels": channels,
        "windows": [_window(each) for each in found.windows],
    }


def _stated(each: Stated) -> dict[str, Any]:
    return {
        "entry": each.entry,
        "vendor": each.vendor,
        "received": rfc3339(each.received_us),
        "ids": list(each.statement.names),
        "status": each.statement.status,
        "products": list(each.statement.products),
        "why": each.statement.why,
        "at": rfc3339(each.statement.at_us),
        "newest": each.newest,
    }


VERBS: Final[dict[str, Verb]] = {
    "advisory.feed": feed,
    "advisory.list": list_,
    "advisory.package": of_package,
    "advisory.show": show,
    "advisory.raw": raw,
    "advisory.window.add": window_add,
    "advisory.windows": windows,
    "advisory.vex.add": vex_add,
    "advisory.vex": vex,
}
