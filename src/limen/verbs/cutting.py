"""Who is cut off, and who again is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


async def pause(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Cut a subject now; with `dry_run`, only say what would be cut."""
    order = gateway.authority.order(
        args["subject"],
        reason=args["reason"],
        essential=args.get("essential", ()),
        contact=args.get("contact", ""),
        drill=bool(args.get("drill")),
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
        "drill": order.drill,
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


async def restrict(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Leave a subject some of its work only, now; with `dry_run`, only say whom that would meet."""
    authority = gateway.authority
    order = authority.restriction(
        args["subject"],
        reason=args["reason"],
        read_only=bool(args.get("read_only")),
        projects=args.get("projects", ()),
        contact=args.get("contact", ""),
        cause=args.get("cause", ""),
    )
    answer = {
        "subject": order.subject,
        "since": order.since,
        "contact": order.contact,
        "read_only": order.read_only,
        "projects": sorted(order.projects),
        "leaves": order.leaves,
        "people": authority.people_under(order),
        "sessions": [{"session": s.id, "holder": s.holder, "project": s.project} for s in authority.affected(order)],
        "dry_run": bool(args.get("dry_run")),
    }
    if args.get("dry_run"):
        return answer
    streams, receipt = await authority.restrict(order, by=by)
    return {**answer, "streams": streams, "entry": receipt.index if receipt else None}


async def unrestrict(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Lift a restriction; every session that is still young goes on."""
    receipt = await gateway.authority.unrestrict(args["subject"], reason=args["reason"], by=by)
    return {"subject": args["subject"], "entry": receipt.index}


async def session_end(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """End one session."""
    await gateway.authority.end_session(args["session"], by=by)
    return {"session": args["session"]}


VERBS: Final[dict[str, Verb]] = {
    "pause": pause,
    "pause.measured": pause_measured,
    "resume": resume,
    "restrict": restrict,
    "unrestrict": unrestrict,
    "session.end": session_end,
}
