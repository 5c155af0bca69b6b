"""Which vendors an advisory concerns, what they had been served, who is in session; and what follows, by whose word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.match.act import Act, Policy
from limen.assurance.match.judge import days
from limen.assurance.match.values import Verdict
from limen.core.errors import Invalid
from limen.response import exposure
from limen.verbs.acting import actor
from limen.verbs.advisories import rfc3339

if TYPE_CHECKING:
    from limen.assurance.advisories.values import Stated, Window
    from limen.assurance.bom.values import Presence
    from limen.assurance.match.actions import Action
    from limen.assurance.match.ask import Asked
    from limen.assurance.match.values import Answer, Hit, Record
    from limen.server import Gateway
    from limen.verbs import Verb

APPROVERS: Final = frozenset({"owner", "security"})
TO: Final = "decide what follows from advisories"
SHOWN: Final = 1000


async def affected(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Each vendor's answer to an advisory as of a time; beside it what its people were served, and their sessions now."""
    del by
    custody = gateway.custody
    now_us = custody.moment_us()
    vendors = [vendor.id for vendor in custody.catalog.snapshot.vendors()]
    times = {name: args.get(name) for name in ("as_of_us", "since_us", "until_us")}
    asked = await asyncio.to_thread(lambda: gateway.asking.affected(args["id"], vendors, now_us=now_us, **times))
    actions = await asyncio.to_thread(gateway.advised.actions.all)
    policies = await asyncio.to_thread(gateway.advised.actions.policies)
    answer = _asked(asked)
    known_us = asked.question.now_us
    concerned = [a for a in asked.answers if a.verdict is not Verdict.NO and a.vendor in set(vendors)]
    served = await _served(gateway, concerned, asked) if args.get("exposure", True) else {}
    for each, row in zip(asked.answers, answer["vendors"], strict=True):
        row["served"] = served.get(each.vendor)
        row["sessions"] = _sessions(gateway, each.vendor)
        row["policy"] = policies.get(each.vendor, Policy()).act.value
        row["actions"] = [
            a.entry for a in actions if set(a.ids) & set(asked.finding.ids) and _concerns(a, each.vendor) and a.at_us <= known_us
        ]
    return answer


async def _served(gateway: Gateway, answers: list[Answer], asked: Asked) -> dict[str, Any]:
    """What the people of each vendor that may have run it were served: ever until the end of `_widest`, and within it."""
    custody = gateway.custody
    holders = {holder.vendor for holder in custody.catalog.snapshot.holders()}
    wanted = [answer for answer in answers if answer.vendor in holders]
    if not wanted:
        return {}
    custody.windows.close_all()  # so that their outcomes are in the report
    await custody.ledger.flush()
    head = custody.ledger.head()
    reader = exposure.for_custody(custody)

    def report(answer: Answer) -> dict[str, Any]:
        since, end = _widest(answer, asked)
        window = exposure.Window(since_us=since, until_us=end)
        found = reader.report(f"vendor/{answer.vendor}", window, custody.ledger.entries(0, head.size), head)
        return {
            "from": rfc3339(since),
            "to": rfc3339(end),
            "grade": "measured",
            "assets": [_asset(each, since=since) for each in found["assets"] if each["served_ever"]["count"]],
            "received": found["received"],
            "unknown": found["unknown"],
        }

    return await asyncio.to_thread(lambda: {answer.vendor: report(answer) for answer in wanted})


def _widest(answer: Answer, asked: Asked) -> tuple[int | None, int | None]:
    """From when until when to ask what a vendor's people were served: while it could be had, and while it was there.

    Where nobody can say, or the newest bill of material still lists it, it may be there to this day: until what is known ends,
    which is None for now.
    """
    known_us = asked.question.as_of_us
    start, end = asked.windows.widest() or (None, None)
    since = min((us for us in (start, *(hit.from_us for hit in answer.hits)) if us is not None), default=None)
    left = [hit.until_us for hit in answer.hits]
    if answer.verdict is not Verdict.YES or any(us is None for us in left):
        return since, known_us
    last = max(us for us in (end, *left) if us is not None)
    return since, last if known_us is None else min(known_us, last)


def _asset(asset: dict[str, Any], *, since: int | None) -> dict[str, Any]:
    return {
        "asset": asset["asset"],
        "unit": asset["unit"],
        "people": sum(1 for line in asset["people"] if line["served_ever"]),
        "served_before_its_end": asset["served_ever"]["count"],
        "served_in_it": asset["served_since"]["count"] if since is not None else None,
        "canaries": len(asset["canaries"]),
    }


def _sessions(gateway: Gateway, vendor: str) -> list[dict[str, Any]]:
    """Sessions that this process opened, and that are neither expired nor cut."""
    now = gateway.custody.clock.now()
    cut = gateway.custody.live.pauses()
    streaming = [session.id for session in gateway.custody.live.sessions_streaming()]
    return [
        {
            "session": session.id,
            "holder": session.holder,
            "project": session.project,
            "issued": rfc3339(session.issued_at * 1_000_000),
            "until": rfc3339(session.expires_at * 1_000_000),
            "streams": streaming.count(session.id),
        }
        for session in gateway.authority.sessions.values()
        if session.vendor == vendor and session.expires_at > now and not any(pause.covers(session) for pause in cut)
    ]


def _concerns(action: Action, vendor: str) -> bool:
    return any(each.vendor == vendor for each in action.vendors)


async def rematch(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """All advisories against all vendors, as known at a time: per vendor, which records name what it ran."""
    del by

    def match() -> tuple[int, list[Any]]:
        met = gateway.matching.all(malicious=not args.get("all"), as_of_us=args.get("as_of_us"))
        return len(met), gateway.matching.told(met[:SHOWN])

    count, told = await asyncio.to_thread(match)
    rows = [
        {
            "vendor": each.met.vendor,
            "advisory": each.id,
            "says": "yes" if each.met.said else "cannot say",
            "purl": each.purl,
            "scope": each.met.scope,
            "from": rfc3339(each.met.start_us),
            "to": rfc3339(each.met.end_us),
            "bom": each.met.bom,
            "entry": each.feed,
            "may": each.may,
        }
        for each in told
    ]
    new = await gateway.advised.look() if args.get("as_of_us") is None else []
    return {"count": count, "met": sorted(rows, key=lambda row: (row["vendor"], row["advisory"], row["purl"])), "actions": new}


async def policy(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What a hit at each vendor leads to; with `act`, let it lead to that at one vendor."""
    actions = gateway.advised.actions
    if "act" in args:
        decided = _policy(args)
        who = await actor(gateway, args, by, roles=APPROVERS, to=TO)
        return {"entry": await gateway.advised.set_policy(args["vendor"], decided, actor=who), "vendor": args["vendor"]}
    decided_by_vendor = await asyncio.to_thread(actions.policies)
    rows = []
    for vendor in gateway.custody.catalog.snapshot.vendors():
        each = decided_by_vendor.get(vendor.id, Policy())
        leaves = {"read_only": each.read_only, "projects": list(each.projects)} if each.act is Act.RESTRICT else {}
        rows.append({"vendor": vendor.id, "act": each.act.value, **leaves, "entry": each.entry})
    assurance = gateway.config.assurance
    caps = {"vendors": assurance.cap_vendors, "people": assurance.cap_people, "findings": assurance.cap_findings}
    return {"policies": rows, "caps_a_day": caps, "sources": sorted(gateway.asking.trusted)}


def _policy(args: dict[str, Any]) -> Policy:
    act, read_only, projects = Act(args["act"]), bool(args.get("read_only")), tuple(args.get("projects", ()))
    if act is not Act.RESTRICT and (read_only or projects):
        raise Invalid("policy", f"{act.value} leaves nothing to choose; only a restriction is read-only or to projects")
    if act is Act.RESTRICT and not (read_only or projects):
        read_only = True
    return Policy(act, read_only if act is Act.RESTRICT else False, projects)


async def actions(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """What followed, and what waits for whom."""
    del by
    found = await asyncio.to_thread(gateway.advised.actions.all)
    wanted = [each for each in found if not args.get("waiting") or each.state == "waiting"]
    return {"actions": [_action(each) for each in wanted]}


async def approve(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Say yes to an action that waits."""
    who = await actor(gateway, args, by, roles=APPROVERS, to=TO)
    return _action(await gateway.advised.approve(args["action"], actor=who))


async def decline(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Say no to an action that waits."""
    if not args["reason"].strip():
        raise Invalid("reason", "say why nothing should follow from it")
    who = await actor(gateway, args, by, roles=APPROVERS, to=TO)
    return _action(await gateway.advised.decline(args["action"], reason=args["reason"], actor=who))


# --- values as JSON


def _asked(asked: Asked) -> dict[str, Any]:
    question, finding = asked.question, asked.finding
    widest = asked.windows.widest()
    return {
        "finding": finding.name,
        "ids": list(finding.ids),
        "summary": finding.standing[0].summary,
        "malicious": finding.malicious,
        "withdrawn": finding.withdrawn,
        "as_of": rfc3339(question.as_of_us),
        "asked": {"from": rfc3339(question.start_us), "to": rfc3339(question.end_us), "basis": question.basis},
        "widest": {"from": rfc3339(widest[0]), "to": rfc3339(widest[1])} if widest else None,
        "windows": [_window(each) for each in asked.windows.windows],
        "records": [_record(each) for each in question.records],
        "vendors": [_answer(each) for each in asked.answers],
    }


def _record(record: Record) -> dict[str, Any]:
    advisory = record.advisory
    return {
        "id": advisory.id,
        "revision": record.revision,
        "entry": record.entry,
        "received": rfc3339(record.received_us),
        "modified": rfc3339(advisory.modified_us),
        "published": rfc3339(advisory.published_us),
        "withdrawn": rfc3339(advisory.withdrawn_us),
        "malicious": advisory.malicious,
        "sources": list(record.sources),
        "trusted": record.trusted,
    }


def _window(each: Window) -> dict[str, Any]:
    return {
        "channel": each.channel,
        "source": each.source,
        "from": rfc3339(each.start_us),
        "to": rfc3339(each.end_us),
        "image": each.image or None,
        "tag": each.tag or None,
        "entry": each.entry,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "vendor": answer.vendor,
        "verdict": answer.verdict.value,
        "why": answer.why,
        "components": [_hit(each) for each in answer.hits],
        "cannot_say": [{**_presence(each.presence), "why": each.why} for each in answer.doubts],
        "not_covered": [
            {"days": days(u.start_us, u.end_us), "from": rfc3339(u.start_us), "to": rfc3339(u.end_us), "why": u.why}
            for u in answer.uncovered
        ],
        "near": list(answer.near),
        "disagreements": [{"about": each.about, "says": list(each.says)} for each in answer.disagreements],
        "vex": [_stated(each) for each in answer.stated],
        "boms": list(answer.boms),
        "grade": "declared",
    }


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        **_presence(hit.presence),
        "seen": [[rfc3339(start), rfc3339(end)] for start, end in hit.seen],
        "by": hit.by,
        "records": [{"id": r.advisory.id, "revision": r.revision, "entry": r.entry} for r in hit.records],
    }


def _presence(presence: Presence) -> dict[str, Any]:
    return {
        "path": presence.path,
        "purl": presence.purl or presence.name,
        "version": presence.version,
        "from": rfc3339(presence.start_us),
        "to": rfc3339(presence.end_us),
        "bom": presence.bom,
    }


def _stated(each: Stated) -> dict[str, Any]:
    statement = each.statement
    return {
        "entry": each.entry,
        "ids": list(statement.names),
        "status": statement.status,
        "products": list(statement.products),
        "why": statement.why,
        "newest": each.newest,
        "grade": "declared",
    }


def _action(each: Action) -> dict[str, Any]:
    return {
        "action": each.entry,
        "at": rfc3339(each.at_us),
        "state": each.state,
        "ids": list(each.ids[:SHOWN]),
        "ids_count": len(each.ids),
        "trusted": each.trusted,
        "flood": each.flood,
        "needs": each.needs,
        "why": list(each.why),
        "vendors": [
            {
                "vendor": c.vendor,
                "act": c.act.value,
                "people": c.people,
                "read_only": c.read_only,
                "projects": list(c.projects),
                "order": each.ordered.get(c.vendor),
            }
            for c in each.vendors
        ],
        "components": [
            {"vendor": vendor, "ecosystem": package.ecosystem, "name": package.name, "version": version}
            for vendor, package, version in each.struck[:SHOWN]
        ],
        "feeds": list(each.feeds),
        "approvals": [{"entry": a.entry, "at": rfc3339(a.at_us), "acting": a.acting, "shown": a.shown} for a in each.approvals],
        "declined": each.declined,
    }


VERBS: Final[dict[str, Verb]] = {
    "advisory.affected": affected,
    "advisory.rematch": rematch,
    "advisory.policy": policy,
    "advisory.actions": actions,
    "advisory.approve": approve,
    "advisory.decline": decline,
}
