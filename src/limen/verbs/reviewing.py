"""Verbs over both worlds, the log's and other systems': who is who, granted against used, an asset's page, the review.

As in `verbs`: one coroutine a verb, JSON values in and out; long readings run in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.observe.globs import literal
from limen.observe.suggest import Names, Seen, suggest
from limen.response import audit, exposure, granted, observed, portfolio
from limen.response.asset_page import AssetPages
from limen.response.granted import Papers

if TYPE_CHECKING:
    from limen.observe.who import Who
    from limen.server import Gateway
    from limen.verbs import Verb

SEEN: Final = """
    SELECT principal, session, count(*) AS observations, coalesce(sum(bytes), 0)::BIGINT AS bytes,
      min(at_us) AS first_us, max(at_us) AS last_us
    FROM observation GROUP BY principal, session ORDER BY principal, session
"""
# An access key that is all that one log knows of a principal, and whose it is in another; none if it is several's.
KEYS: Final = """
    SELECT 'aws:key/' || credential AS principal, any_value(principal) AS owner FROM observation
    WHERE starts_with(credential, 'A') AND NOT starts_with(principal, 'aws:key/')
    GROUP BY credential HAVING count(DISTINCT principal) = 1
"""


async def who_set(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Put a mapping in force. `dry_run` only checks."""
    raw = args["text"].encode()
    if args.get("dry_run"):
        who = gateway.who.check(raw)
        return {"digest": who.digest, "rules": len(who.rules), "places": len(who.places), "by": by, "entry": None}
    return await gateway.who.set(raw, by=by)


async def who_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The mapping in force, as it was written."""
    del args, by
    raw, who = gateway.who.raw(), gateway.who.current()
    entry, unknown = gateway.who.said(who)
    counts = {"rules": len(who.rules), "places": len(who.places)}
    return {"digest": who.digest, "entry": entry, **counts, "text": raw.decode(), "unknown": unknown}


async def observed_part(gateway: Gateway, args: dict[str, Any]) -> dict[str, Any]:
    """What other systems' logs say of an exposure's subject, in the same window."""
    return await asyncio.to_thread(_observed, gateway, args)


def _observed(gateway: Gateway, args: dict[str, Any]) -> dict[str, Any]:
    snapshot = gateway.custody.catalog.snapshot
    look = observed.Look(
        subject=args["subject"],
        since_us=args.get("since_us"),
        until_us=args.get("until_us"),
        now_us=gateway.custody.moment_us(),
        project_of=lambda asset: snapshot.asset(asset).project if snapshot.has_asset(asset) else "",
        objects=bool(args.get("objects")),
    )
    who = gateway.who.current()
    entry, unknown = gateway.who.said(who)
    part = observed.report(gateway.observing.depot, who, look)
    return {**part, "who": {"digest": who.digest, "entry": entry}, "unknown": [*unknown, *part["unknown"]]}


async def who_suggest(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Rules that might hold for principals that the mapping does not know; nothing is put in force."""
    del by
    return await asyncio.to_thread(_suggested, gateway, Path(args["iam"]) if args.get("iam") else None)


def _suggested(gateway: Gateway, iam: Path | None) -> dict[str, Any]:
    depot, who, snapshot = gateway.observing.depot, gateway.who.current(), gateway.custody.catalog.snapshot
    if not depot.imports():
        return {"suggestions": [], "unknown": 0, "unnamed": 0}
    seen = [Seen(*row.values()) for row in depot.ask(SEEN).to_pylist()]
    keys = {row["principal"]: row["owner"] for row in depot.ask(KEYS).to_pylist()}
    papers = granted.read(iam, None, principals=()) if iam else Papers()
    tags = {name: paper.tags for name, paper in papers.iam.items()}
    names = Names(
        [(h.id, h.subject) for h in snapshot.holders() if h.erased_at is None], [(v.id, v.name) for v in snapshot.vendors()]
    )
    found = suggest(seen, names, who, tags=tags, keys=keys)
    unknown = {one.principal for one in seen if not who.of(one.principal, one.session, one.last_us).known}
    rows = [{**asdict(one), "people": list(one.people), "rule": one.rule} for one in found]
    return {"suggestions": rows, "unknown": len(unknown), "unnamed": len(unknown - {one.principal for one in found})}


async def access_audit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a vendor's principals may do, what they did of it, and the narrower scope."""
    del by
    custody = gateway.custody
    await _settled(gateway)
    now_us = custody.moment_us()
    question = audit.Question(args["vendor"], args.get("since_us"), now_us, args.get("keep_s", audit.KEEP_S))
    return await asyncio.to_thread(_audited, gateway, args, question)


def _audited(gateway: Gateway, args: dict[str, Any], question: audit.Question) -> dict[str, Any]:
    custody, who, depot = gateway.custody, gateway.who.current(), gateway.observing.depot
    entry, unknown = gateway.who.said(who)
    papers = _papers(gateway, who, args)
    auditor = audit.Audit(custody.catalog.snapshot, depot, who, papers, pseudonym=custody.catalog.pseudonym)
    head = custody.ledger.head()
    report = auditor.report(question, custody.ledger.entries(0, head.size), head)
    return {**report, "who": {"digest": who.digest, "entry": entry}, "unknown": [*unknown, *report["unknown"]]}


def _papers(gateway: Gateway, who: Who, args: dict[str, Any]) -> Papers:
    """The documents that were given, read for every principal known from the mapping or from a log."""
    iam, collaborators = (Path(args[name]) if args.get(name) else None for name in ("iam_policies", "github_collaborators"))
    if iam is None and collaborators is None:
        return Papers()
    names = {rule.principal for rule in who.rules if literal(rule.principal)}
    if gateway.observing.depot.imports():
        names |= set(gateway.observing.depot.ask("SELECT DISTINCT principal FROM observation").column(0).to_pylist())
    return granted.read(iam, collaborators, principals=names)


async def asset_page_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Who handles an asset's data, where it is stored, how access is controlled."""
    del by
    gateway.custody.catalog.snapshot.asset(args["asset"])
    await _settled(gateway)
    return await asyncio.to_thread(lambda: _pages(gateway, args).page(args["asset"]))


async def review(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Every vendor's exposure and audit, and every asset's page."""
    await _settled(gateway)
    derived: set[tuple[str, str]] = set()
    report = await asyncio.to_thread(_reviewed, gateway, args, derived)
    report["unknown"] += await exposure.enter(gateway.custody, "review", derived, by=by)
    return report


def _reviewed(gateway: Gateway, args: dict[str, Any], derived: set[tuple[str, str]]) -> dict[str, Any]:
    custody, snapshot = gateway.custody, gateway.custody.catalog.snapshot
    now_us, head = custody.moment_us(), custody.ledger.head()
    window = exposure.Window(args.get("since_us"))
    vendors = []
    for vendor in snapshot.vendors():
        asked = {**args, "subject": f"vendor/{vendor.id}"}
        reader = exposure.for_custody(custody)
        report = reader.report(asked["subject"], window, custody.ledger.entries(0, head.size), head)
        derived |= reader.derived
        report["observed"] = _observed(gateway, asked)
        question = audit.Question(vendor.id, args.get("since_us"), now_us)
        access = _audited(gateway, args, question)
        vendors.append(portfolio.vendor_value(snapshot, vendor.id, report, access, now=now_us // 1_000_000))
    pages = _pages(gateway, args)
    return {
        "schema": portfolio.SCHEMA,
        "since_us": args.get("since_us"),
        "until_us": now_us,
        "ledger": {"origin": head.origin, "from": 0, "to": head.size, "root": head.root.hex()},
        "vendors": vendors,
        "assets": [pages.page(asset.id) for asset in snapshot.assets()],
        "holds": all(vendor["access"]["holds"] for vendor in vendors),
        "unknown": list(dict.fromkeys(line for vendor in vendors for line in vendor["unknown"])),
    }


def _pages(gateway: Gateway, args: dict[str, Any]) -> AssetPages:
    custody, who = gateway.custody, gateway.who.current()
    head = custody.ledger.head()
    return AssetPages(
        custody.catalog.snapshot,
        gateway.observing.depot,
        who,
        _papers(gateway, who, args),
        pseudonym=custody.catalog.pseudonym,
        entries=custody.ledger.entries(0, head.size),
        head=head,
        now_us=custody.moment_us(),
    )


async def _settled(gateway: Gateway) -> None:
    """Have in the ledger what is under way."""
    gateway.custody.windows.close_all()
    await gateway.custody.ledger.flush()


VERBS: Final[dict[str, Verb]] = {
    "who.set": who_set,
    "who.show": who_show,
    "who.suggest": who_suggest,
    "access.audit": access_audit,
    "asset.page": asset_page_,
    "review": review,
}
