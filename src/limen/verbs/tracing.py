"""Whose copy fed a leak: traces, the cases that they add up to, and the second human who opens a name."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Conflict, Invalid, NotFound
from limen.durable import write_atomically
from limen.privacy import reviewed
from limen.privacy.naming import Actor
from limen.response import replay, trace
from limen.verbs.acting import name_opener
from limen.verify.published import Published

if TYPE_CHECKING:
    from limen.response.cases import Case, LookTaken
    from limen.server import Gateway
    from limen.verbs import Verb

LEAST_PREFIX: Final = 6  # letters of a copy id that may stand for all of it


async def trace_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Trace a leaked sample on this machine, in a case if one is named."""
    custody = gateway.custody
    actor = await _tracer(gateway, args, by)
    custody.windows.close_all()  # so that their outcomes are in what it reads
    order = trace.Order(
        tuple(Path(path) for path in args["paths"]), actor.fields(custody), args.get("case") or "", args.get("alpha")
    )
    case, look, again = await trace.trace(custody, gateway.cases, order)
    return {**await asyncio.to_thread(trace.shown, custody, case, look), "again": again}


async def case_list(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every case, with what its last look said."""
    del args, by
    found = []
    for case in await asyncio.to_thread(gateway.cases.all):
        last = case.looks[-1].result.fields if case.looks else {}
        row = {"case": case.name, "looks": len(case.looks), "unscored": len(case.unscored)}
        said = {"verdict": last.get("verdict"), "slots": last.get("slots_matched"), "copies": len(last.get("copies", ()))}
        began = min(entered.at_us for entered in (*case.unscored, *(look.sample for look in case.looks)))
        found.append({**row, **said, "opened": len(case.openings()), "began_us": began})
    return found


async def case_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """A case's last look, or the one that is asked for, as its report; and what the looks before said."""
    del by
    return await asyncio.to_thread(_shown, gateway, args)


def _shown(gateway: Gateway, args: dict[str, Any]) -> dict[str, Any]:
    case = gateway.cases.case(args["case"])
    look = _look(case, args.get("look"))
    return {**trace.shown(gateway.custody, case, look), "again": False}


async def case_review(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter that somebody who did not run the trace has looked at it; open the name behind a copy, or leave it closed."""
    outcome = args["outcome"]
    if outcome not in ("open", "closed"):
        raise Invalid("outcome", "is open or closed")
    actor = await name_opener(gateway, args, by)
    copy = await asyncio.to_thread(_implicated, gateway, args)
    return await reviewed.review(gateway.custody, copy, outcome, reason=args.get("reason") or "", actor=actor)


async def case_export(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Write a case as a bundle to `output`, once it is entered that it leaves."""
    output = Path(args["output"])
    if await asyncio.to_thread(output.exists):
        raise Conflict(f"{output} exists; nothing was exported")
    await gateway.custody.ledger.flush()
    case, look, size, raw = await asyncio.to_thread(_bundle, gateway, args)
    digest = hashlib.sha256(raw).hexdigest()
    fields = {"case": case, "look": look, "digest": digest, "length": len(raw), "size": size}
    filed = await gateway.filing.note("case.export", fields, by=by)
    await asyncio.to_thread(_written, output, raw)
    return {**fields, "entry": filed.entry, "output": str(output), "log": gateway.verifier.vkey}


def _bundle(gateway: Gateway, args: dict[str, Any]) -> tuple[str, int, int, bytes]:
    case = gateway.cases.case(args["case"])
    look = _look(case, args.get("look"))
    published = Published(gateway.published)
    checkpoint = published.checkpoint(gateway.verifier)
    vkey = gateway.verifier.vkey
    raw = replay.bundle(gateway.custody, case, look.number, published=published, checkpoint=checkpoint, vkey=vkey)
    return case.name, look.number, checkpoint.size, raw


def _written(output: Path, raw: bytes) -> None:
    write_atomically(output, raw)
    output.chmod(0o600)


def _implicated(gateway: Gateway, args: dict[str, Any]) -> reviewed.Implicated:
    """The copy that is meant: by its id or a beginning of it, or by its pseudonym; of the case's last look."""
    case = gateway.cases.case(args["case"])
    look = _look(case, None)
    wanted = str(args["copy"])
    found = [
        copy["copy"]
        for copy in trace.shown(gateway.custody, case, look)["copies"]
        if copy["pseudonym"] == wanted or (len(wanted) >= LEAST_PREFIX and copy["copy"].startswith(wanted))
    ]
    if len(found) != 1:
        raise NotFound(f"copy {wanted} among those that look {look.number} of case {case.name} implicates")
    holder = gateway.custody.catalog.snapshot.state.holders[found[0]]
    traced = [entered.fields for entered in (*(one.sample for one in case.looks), *case.unscored)]
    return reviewed.Implicated(case.name, look.number, look.result.entry, holder, traced)


def _look(case: Case, number: int | None) -> LookTaken:
    """A look of a case that has a document: the last unless another is asked for."""
    if not case.looks:
        raise NotFound(f"a result in case {case.name}: its sample was logged (entry {case.unscored[0].entry}) and not scored")
    if number is None:
        number = len(case.looks)
    if not 1 <= number <= len(case.looks):
        raise NotFound(f"look {number} of case {case.name}, which has {len(case.looks)}")
    look = case.looks[number - 1]
    if "document" not in look.result.fields:
        why = "it was traced by a limen that kept no documents; entry"
        raise NotFound(f"what look {number} of case {case.name} said: {why} {look.result.entry} is all there is; trace it again")
    return look


async def _tracer(gateway: Gateway, args: dict[str, Any], by: str) -> Actor:
    """Who traces: anybody who may give commands. Whoever says which person they are makes it plain who else may review."""
    if args.get("id_token") or args.get("as"):
        return await name_opener(gateway, args, by)
    return Actor(by)


VERBS: Final[dict[str, Verb]] = {
    "trace": trace_,
    "case.list": case_list,
    "case.show": case_show,
    "case.review": case_review,
    "case.export": case_export,
}
