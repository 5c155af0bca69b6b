"""Runs of the gate: judged, entered, and then enforced at the doors."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.contract.book import day_us
from limen.assurance.gate import follow
from limen.assurance.gate.judging import again, exit_code, judge
from limen.core.errors import Invalid, LimenError, NotFound, TamperDetected
from limen.verbs.contracts import admit
from limen.verify.verdict import canonical, digest

if TYPE_CHECKING:
    from limen.assurance.gate.judging import Again, Judged
    from limen.server import Gateway
    from limen.verbs import Verb


async def gate(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Judge a vendor by its contract; the run is an entry, and what follows from it is enforced, unless it is about the past."""
    vendor, purpose = args["vendor"], args.get("purpose", "standing")
    gateway.custody.catalog.snapshot.vendor(vendor)
    as_of_us = await _as_of(gateway, args.get("as_of_us"))
    judged, contract = await asyncio.to_thread(_judged, gateway, vendor, as_of_us, purpose, args.get("contract"))
    verdict = judged.verdict
    binding = args.get("as_of_us") is None and not args.get("dry_run")
    blobs = gateway.custody.blobs
    for value in (judged.contract, judged.facts):
        await asyncio.to_thread(blobs.put, [canonical(value)])
    fields = {
        "vendor": vendor,
        "purpose": purpose,
        "contract": contract,
        "form": digest(judged.contract),
        "facts": digest(judged.facts),
        "as_of": verdict["as_of"],
        "outcome": verdict["outcome"],
        "decision": verdict["decision"],
        "cut": len(verdict["facts"]["cut"]),
        "binding": binding,
    }
    filed = await gateway.filing.file("gate.run", fields, canonical(verdict), by=by)
    done = await _follow(gateway, verdict, filed.entry, by) if binding else []
    return {
        "entry": filed.entry,
        "digest": filed.digest,
        "verdict": verdict,
        "binding": binding,
        "followed": done,
        "exit": exit_code(verdict),
    }


async def gate_replay(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Judge a run again from what was kept of it, and from the log; TamperDetected if anything is not as it was."""
    del by
    run = await asyncio.to_thread(gateway.contracts.run, args["entry"])
    if args.get("vendor") not in (None, run.vendor):
        raise NotFound(f"a run of the gate on {args['vendor']} at entry {run.entry}: that one is on {run.vendor}")
    found = await asyncio.to_thread(_again, gateway, run.entry)
    if found.differs:
        raise TamperDetected(f"run {run.entry} is not what it was: {'; '.join(found.differs)}", index=run.entry)
    same = {"same": True, "log_same": found.log_same, "exit": exit_code(found.verdict)}
    return {"entry": run.entry, "digest": run.verdict, "verdict": found.verdict, **same}


async def gate_runs(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every run of the gate."""
    del by
    names = ("entry", "vendor", "purpose", "as_of", "outcome", "decision", "verdict")
    runs = await asyncio.to_thread(gateway.contracts.runs, args.get("vendor"))
    return [{name: getattr(run, name) for name in names} for run in runs]


async def _as_of(gateway: Gateway, asked_us: int | None) -> int:
    """The moment that is asked about: now, if none is, once everything that was written up to now is in the log."""
    moment_us = gateway.custody.moment_us()
    await gateway.custody.ledger.append_all(())
    if asked_us is not None and asked_us > moment_us:
        raise Invalid("--as-of", "is in the future: nothing is known of that")
    return moment_us if asked_us is None else asked_us


def _judged(gateway: Gateway, vendor: str, as_of_us: int, purpose: Any, id_: str | None) -> tuple[Judged, int]:
    contracts = gateway.contracts
    found = contracts.in_force(vendor, as_of_us, id_=id_)
    facts = gateway.facts.document(vendor, as_of_us, _since(found.starts, as_of_us))
    return judge(contracts.form(found, as_of_us), facts, purpose), found.entry


def _again(gateway: Gateway, entry: int) -> Again:
    run = gateway.contracts.run(entry)
    facts = json.loads(gateway.contracts.blob(run.facts, entry))
    contract = json.loads(gateway.contracts.blob(run.form, entry))
    as_of_us = _moment_us(facts["as_of"])
    now = gateway.facts.document(run.vendor, as_of_us, _since(contract["starts"], as_of_us))
    return again(gateway.contracts, run, now)


def _since(starts: str, as_of_us: int) -> int | None:
    """From when facts are put together: the contract's beginning; before that, whatever there is."""
    return day_us(starts) if day_us(starts) < as_of_us else None


def _moment_us(text: str) -> int:
    day, _, clock = text.removesuffix("Z").partition("T")
    hours, minutes, seconds = clock.split(":")
    whole, _, fraction = seconds.partition(".")
    return day_us(day) + ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


async def _follow(gateway: Gateway, verdict: dict[str, Any], run: int, by: str) -> list[dict[str, Any]]:
    """Do at the doors what the verdict asks for; what could not be done is said, never passed over."""
    subject, live = f"vendor/{verdict['vendor']}", gateway.custody.live
    order = next((one for one in live.restrictions() if one.subject == subject), None)
    paused = any(one.subject == subject for one in live.pauses())
    done: list[dict[str, Any]] = []
    for step in follow.steps(verdict, run, paused=paused, order=order):
        try:
            done.append(
                {"does": step.does, "because": step.because, "entry": await _do(gateway, subject, step, by), "failed": ""}
            )
        except LimenError as e:
            done.append({"does": step.does, "because": step.because, "entry": None, "failed": str(e)})
    until_us = follow.admitted_until(verdict)
    admissions = gateway.custody.catalog.snapshot.state.admissions
    if until_us is not None and verdict["vendor"] in admissions and until_us > gateway.custody.moment_us():
        entry = await admit(gateway, verdict["vendor"], "gate", run, until_us, by=by)
        done.append({"does": "admit", "because": f"run {run} of the gate passed", "entry": entry, "failed": ""})
    return done


async def _do(gateway: Gateway, subject: str, step: follow.Step, by: str) -> int | None:
    authority = gateway.authority
    match step:
        case follow.Pause():
            pause = authority.order(subject, reason=step.because)
            sessions = len(authority.affected(pause))
            receipt = await authority.record_pause(pause, streams=authority.pause(pause), sessions=sessions, by=by)
        case follow.Restrict():
            order = authority.restriction(
                subject, reason=step.because, read_only=step.read_only, projects=step.projects, cause=step.cause
            )
            _, receipt = await authority.restrict(order, by=by)
        case follow.Lift():
            receipt = await authority.unrestrict(subject, reason=step.because, by=by)
    return receipt.index if receipt else None


VERBS: Final[dict[str, Verb]] = {"gate": gate, "gate.replay": gate_replay, "gate.runs": gate_runs}
