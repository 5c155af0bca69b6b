"""What the CLI can ask of an open gateway: one coroutine a verb, JSON values in and out.

The same table serves the control socket (a gateway is running) and the CLI on its own (none is). Long readings run in a
thread: an exposure report must not hold up a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen import reviewing, scanning
from limen.catalog.changes import from_clear
from limen.catalog.imports import read_import
from limen.catalog.personal import Erasure
from limen.core.errors import Denied, Invalid, LedgerUnavailable, LimenError
from limen.core.types import Action, Session
from limen.directory import secret
from limen.formats import receipt
from limen.marks.trace import ALPHA
from limen.privacy import erasure, naming
from limen.registration import Marking, Source
from limen.response import exposure, keys, trace
from limen.response.touches import Observed
from limen.scan.keyring import Keyring
from limen.views import VIEWS
from limen.watch.outgoing import Undelivered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limen.core.types import Version
    from limen.observe.who import Who
    from limen.server import Gateway
    from limen.watch.book import Found

    Verb = Callable[[Gateway, dict[str, Any], str], Awaitable[Any]]


ROOT: Final = "uid:0"


async def import_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Apply an import file, all of it or nothing. `dry_run` only checks."""
    changes = read_import(args["text"].encode(), args["format"])
    if args.get("dry_run"):
        gateway.authority.validate(changes)
        return {"changes": [change.kind for change in changes], "entries": []}
    receipts = await gateway.authority.change(changes, by=by)
    return {"changes": [change.kind for change in changes], "entries": [receipt.index for receipt in receipts]}


async def change(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Make one change, given in its clear form. An erasure is none of them: see `person_erase`."""
    if args["kind"] == Erasure.kind:
        raise Invalid("kind", "a person is erased with `limen person erase`")
    [receipt] = await gateway.authority.change([from_clear(args["kind"], args["change"])], by=by)
    return {"entry": receipt.index}


async def register(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Register the next version of an asset from local files."""
    sources = [Source(source["path"], Path(source["local"])) for source in args["sources"]]
    marking = msgspec.convert(args.get("marking", {}), Marking)
    version, unmarked = await gateway.registrar.register(args["asset"], sources, marking, by=by)
    return {**_registered(version), "unmarked": unmarked}


def _registered(version: Version) -> dict[str, Any]:
    shards = msgspec.to_builtins(version.shards)
    return {"asset": version.asset, "version": version.number, "entry": version.entry, "shards": shards}


async def adopt(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Register what lies in a bucket or directory as the next version of an asset, where it rests."""
    version, left_out = await gateway.adoption.adopt(args["asset"], args["url"], by=by, dry_run=bool(args.get("dry_run")))
    told = _registered(version) if version else {"asset": args["asset"], "version": None, "entry": None, "shards": []}
    return {**told, "left_out": left_out}


async def asset_check(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Hold an adopted version against its places as they are now."""
    del by
    found: dict[str, Any] = msgspec.to_builtins(await gateway.adoption.check(args["asset"]))
    return {"asset": args["asset"], **found}


async def asset_prepare(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Read an adopted version whole, and register it as a version of prepared copies."""
    marking = msgspec.convert(args.get("marking", {}), Marking)
    with tempfile.TemporaryDirectory(dir=gateway.config.data, prefix=".prepare-") as scratch:
        version, unmarked = await gateway.adoption.prepare(args["asset"], marking, scratch=Path(scratch), by=by)
    return {**_registered(version), "unmarked": unmarked}


async def show(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """List what the catalog holds of one kind, or the sessions and pauses of this moment."""
    del by
    if args["what"] == "sessions":
        now = gateway.custody.clock.now()
        return [msgspec.to_builtins(s) for s in gateway.authority.sessions.values() if s.expires_at > now]
    if args["what"] == "pauses":
        return [msgspec.to_builtins(pause) for pause in gateway.custody.live.pauses()]
    return VIEWS[args["what"]](gateway.custody.catalog.snapshot)


async def person_erase(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Destroy a person's key, identity and side records; every entry and proof stays."""
    erased = await erasure.erase(
        gateway.custody,
        gateway.authority,
        args["person"],
        reason=args["reason"],
        by=by,
        contact=gateway.config.server.contact,
        end=bool(args.get("end")),
    )
    return dict(msgspec.to_builtins(erased))


async def name_request(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Ask for the name behind a pseudonym."""
    actor = await _actor(gateway, args, by)
    return await naming.request(gateway.custody, args["pseudonym"], project=args["project"], reason=args["reason"], actor=actor)


async def name_why(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a request for a name says."""
    del by
    return await naming.why(gateway.custody, args["request"])


async def name_approve(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Open the name that somebody else asked for."""
    return await naming.approve(gateway.custody, args["request"], actor=await _actor(gateway, args, by))


async def name_disclose(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """One class of an entry's detail, with its proof."""
    return await naming.disclose(
        gateway.custody,
        args["index"],
        args["class"],
        number=args.get("request"),
        actor=await _actor(gateway, args, by),
        published=gateway.published,
        verifier=gateway.verifier,
    )


async def _actor(gateway: Gateway, args: dict[str, Any], by: str) -> naming.Actor:
    """Who acts: the account that the kernel names, and the lab person whom a token proves or root names."""
    snapshot = gateway.custody.catalog.snapshot
    if token := args.get("id_token"):
        claims = await gateway.relying_party.verify(token, now=gateway.custody.clock.now())
        shown = snapshot.holder(claims.issuer, claims.subject).id
        return naming.Actor(by, naming.lab_person(snapshot, shown), "token")
    if person := args.get("as"):
        if by != ROOT:
            raise Denied("only root may act for somebody by name; show an identity token instead", rule="not-root")
        return naming.Actor(by, naming.lab_person(snapshot, person), "root")
    if by == ROOT:
        raise Denied("root is nobody in particular: say for whom, with --as lab/NAME or an identity token", rule="root")
    return naming.Actor(by)


async def pause(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Cut a subject now; with `dry_run`, only say what would be cut."""
    order = gateway.authority.order(
        args["subject"], reason=args["reason"], essential=args.get("essential", ()), contact=args.get("contact", "")
    )
    sessions = gateway.authority.affected(order)
    streaming = [s for s in gateway.custody.live.sessions_streaming() if order.covers(s)]
    answer = {
        "subject": order.subject,
        "since": order.since,
        "contact": order.contact,
        "essential": sorted(order.essential),
        "people": gateway.authority.people_under(order),
        "sessions": [{"session": s.id, "holder": s.holder, "project": s.project} for s in sessions],
        "streams": len(streaming),
        "dry_run": bool(args.get("dry_run")),
    }
    if args.get("dry_run"):
        return answer
    streams = gateway.authority.pause(order)
    receipt = await gateway.authority.record_pause(order, streams=streams, sessions=len(sessions), by=by)
    return {**answer, "streams": streams, "entry": receipt.index if receipt else None}


async def pause_measured(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Log how long a pause took, by the clock of whoever ordered it."""
    del by
    receipt = await gateway.authority.measured(
        args["subject"], order=args["order"], last_byte_us=args["last_byte_us"], clock=args["clock"]
    )
    return {"entry": receipt.index}


async def resume(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Lift a pause; sessions that it cut stay ended."""
    receipt = await gateway.authority.lift(args["subject"], reason=args["reason"], by=by)
    return {"subject": args["subject"], "entry": receipt.index}


async def session_end(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """End one session."""
    await gateway.authority.end_session(args["session"], by=by)
    return {"session": args["session"]}


async def exposure_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The exposure report of one subject."""
    del by
    custody = gateway.custody
    custody.windows.close_all()  # so that their outcomes are in the report
    await custody.ledger.flush()
    head = custody.ledger.head()
    window = exposure.Window(args.get("since_us"), args.get("until_us"), args.get("session"))
    reader = exposure.for_custody(custody)
    report = await asyncio.to_thread(lambda: reader.report(args["subject"], window, custody.ledger.entries(0, head.size), head))
    return {**report, "observed": await reviewing.observed_part(gateway, args)}


async def trace_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Trace a leaked sample on this machine."""
    gateway.custody.windows.close_all()  # so that their outcomes are in what it reads
    return await trace.trace(gateway.custody, Path(args["path"]), by=by, alpha=args.get("alpha", ALPHA))


async def explain(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Which rule decides whether a person may do something to an asset, now."""
    del by
    custody, snapshot = gateway.custody, gateway.custody.catalog.snapshot
    holder = snapshot.holder_by_id(args["person"])
    asset = snapshot.asset(args["asset"])
    now = custody.clock.now()
    try:
        action = Action(args.get("action", "read"))
    except ValueError as e:
        raise Invalid("action", f"must be one of {', '.join(Action)}") from e
    session = Session(
        id="explain",
        holder=holder.id,
        vendor=holder.vendor,
        sponsor=None,
        project=asset.project,
        pseudonym="",
        access_key="",
        strength=args.get("strength", "single"),
        issued_at=now,
        expires_at=now + min(3600, snapshot.tier(asset.tier).session_s),
    )
    return gateway.authority.explain(session, action, asset)


async def story_tell(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Set the story's clock (development mode only)."""
    del by
    gateway.custody.clock.tell(args["story_at_us"])
    return {"story_at_us": args["story_at_us"]}


async def ledger_witnesses(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What the witnesses have cosigned; if their quorum does not stand, they are given one more chance first."""
    del args, by
    ledger = gateway.custody.ledger
    state = ledger.witnesses()
    if state.quorum and not state.stands:
        with contextlib.suppress(LedgerUnavailable):
            await ledger.witnessed(ledger.head().size)
    found: dict[str, Any] = msgspec.to_builtins(ledger.witnesses())
    return found


async def ledger_seal(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Move full, published bundles of older entries out of the database."""
    del by
    ledger = gateway.custody.ledger
    if "keep_s" in args:
        below = await asyncio.to_thread(ledger.first_since, (gateway.custody.clock.now() - args["keep_s"]) * 1_000_000)
    else:
        below = args["below"]
    start, end = await ledger.seal(below)
    return {"below": below, "start": start, "end": end}


async def observe_commit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter a staged import of other systems' logs, and let it count."""
    return await gateway.observing.commit(args["staged"], args["manifest"], list(args["base"]), by=by)


async def status(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The ledger's head, what start-up recovered, and what is paused."""
    del args, by
    head = gateway.custody.ledger.head()
    return {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "published": [asdict(progress) for progress in gateway.custody.ledger.published()],
        "recovered": msgspec.to_builtins(gateway.recovered),
        "pauses": [pause.subject for pause in gateway.custody.live.pauses()],
        "streams": len(list(gateway.custody.live.sessions_streaming())),
    }


async def findings_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What was found, in the log's order, and how far the log was read."""
    del by
    watch = gateway.watch
    found = await asyncio.to_thread(watch.findings, since=args.get("since", 0), least=args.get("least", 0))
    return {**await asyncio.to_thread(watch.status), "findings": [_told(each) for each in found]}


async def findings_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """One finding in full, and what became of its deliveries."""
    del by
    found, deliveries = await asyncio.to_thread(gateway.watch.finding, args["finding"])
    told = _told(found)
    actor = await asyncio.to_thread(gateway.watch.actor, told.get("who", ""))
    return {**told, "event": json.loads(found.raw), "deliveries": deliveries, **({"actor": actor} if actor else {})}


async def findings_replay(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Find everything again from the log and the rules, and hold it against what was found then."""
    del args, by
    custody = gateway.custody
    await custody.ledger.flush()
    replayed, lines = await asyncio.to_thread(gateway.watch.replay)
    return {**asdict(replayed), "agrees": replayed.agrees, "lines": [line.decode() for line in lines]}


def _told(found: Found) -> dict[str, Any]:
    event = json.loads(found.raw)
    named = {name: getattr(found, name) for name in ("uid", "entry", "rule", "severity", "at_us", "found_us", "again")}
    return {**named, "grade": event["unmapped"]["grade"], **event["unmapped"]["subject"], "figures": event["unmapped"]["figures"]}


async def alert_test(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Send a marked test to one receiver, from the process that would send the alerts."""
    del by
    id_ = f"test-{gateway.custody.clock.now_us()}"
    try:
        await asyncio.to_thread(gateway.watch.test, args["name"], id_=id_)
    except Undelivered as e:
        raise LimenError(f"{args['name']} did not take the test: {e}") from e
    return {"name": args["name"], "id": id_}


async def alert_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The receivers, and what still waits for each."""
    del args, by
    status = await asyncio.to_thread(gateway.watch.status)
    waiting = {row["target"]: row for row in status["waiting"]}
    none = {"waiting": 0, "attempts": 0}
    rows = [
        {
            "name": t.name,
            "kind": t.kind,
            "to": t.url or t.path,
            "least": t.least,
            **{n: waiting.get(t.name, none)[n] for n in none},
        }
        for t in gateway.watch.targets
    ]
    return {"alerts": rows, "no_longer_configured": sorted(waiting.keys() - {t.name for t in gateway.watch.targets})}


async def ledger_receipt(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Hold a receipt against the log; one that the log contradicts stops it."""
    del by
    held = await asyncio.to_thread(gateway.custody.ledger.hold, receipt.decode(args["receipt"]))
    return asdict(held)


async def scan_shards(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """The registered shards that a scan compares with."""
    del args, by
    return scanning.shards(gateway.custody.catalog.snapshot)


async def keys_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The key inventory; with a vendor, every key that touched its path."""
    del by
    custody, vendor = gateway.custody, args.get("vendor")
    if vendor is not None:
        custody.catalog.snapshot.vendor(vendor)
    custody.windows.close_all()  # so that their outcomes are in the report
    await custody.ledger.flush()
    who = gateway.who.current()
    answer = await asyncio.to_thread(_keys, gateway, who, vendor)
    answer["unknown"] += gateway.who.said(who)[1]
    return answer


def _keys(gateway: Gateway, who: Who, vendor: str | None) -> dict[str, Any]:
    custody, data, depot = gateway.custody, gateway.config.data, gateway.observing.depot
    head = custody.ledger.head()
    now_us = custody.clock.story_us() or custody.clock.now_us()
    scans, unknown = scanning.recorded(data, custody.ledger.entries(0, head.size))
    skew_us = max(depot.skews().values(), default=0) * 1_000_000
    inventory = keys.Inventory(Keyring.of(secret(data, "server.key")), scans, Observed(depot, who), skew_us=skew_us)
    if wanted := inventory.wanted:
        handed, gaps = exposure.for_custody(custody).handed(wanted, custody.ledger.entries(0, head.size), head)
        inventory.served(handed, lambda holder: custody.catalog.snapshot.holder_by_id(holder).vendor)
        unknown += gaps
    answer = inventory.report(vendor, now_us=now_us)
    answer["unknown"] += unknown
    if not depot.imports():
        answer["unknown"].append("no log of another system was imported: which keys were used or read there, limen cannot say")
    return answer


async def scan_takers(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Who is known to have taken a repository's history, by other systems' logs."""
    del by
    observed = Observed(gateway.observing.depot, gateway.who.current())
    histories = await asyncio.to_thread(observed.histories)
    return [{**touch.to_json(), "lab": touch.lab} for touch in histories.get(args["repo"].lower(), [])]


async def scan_commit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Record a scan that was staged."""
    return await scanning.commit(gateway.custody, gateway.config.data, args["manifest"], by=by)


VERBS: Final[dict[str, Verb]] = {
    **reviewing.VERBS,
    "import": import_,
    "change": change,
    "register": register,
    "adopt": adopt,
    "asset.check": asset_check,
    "asset.prepare": asset_prepare,
    "show": show,
    "person.erase": person_erase,
    "name.request": name_request,
    "name.why": name_why,
    "name.approve": name_approve,
    "name.disclose": name_disclose,
    "pause": pause,
    "pause.measured": pause_measured,
    "resume": resume,
    "session.end": session_end,
    "exposure": exposure_,
    "trace": trace_,
    "explain": explain,
    "findings.list": findings_list,
    "findings.show": findings_show,
    "findings.replay": findings_replay,
    "alert.list": alert_list,
    "alert.test": alert_test,
    "keys.list": keys_list,
    "ledger.receipt": ledger_receipt,
    "ledger.seal": ledger_seal,
    "scan.commit": scan_commit,
    "scan.shards": scan_shards,
    "scan.takers": scan_takers,
    "story.tell": story_tell,
    "ledger.witnesses": ledger_witnesses,
    "observe.commit": observe_commit,
    "status": status,
}
