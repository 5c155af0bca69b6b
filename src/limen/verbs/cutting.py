"""Who is cut off, and who again is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.verbs import Verb


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


VERBS: Final[dict[str, Verb]] = {
    "pause": pause,
    "pause.measured": pause_measured,
    "resume": resume,
    "session.end": session_end,
}
