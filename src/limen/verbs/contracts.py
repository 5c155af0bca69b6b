"""Contracts and waivers: filed, shown, signed, ended."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.contract.book import ADMISSION, day_us, last_day
from limen.assurance.contract.parse import parsed
from limen.catalog.changes import VendorAdmit, VendorGate
from limen.core.errors import Denied, Invalid, NotFound
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.ledger.scribe import open_side, side_ref
from limen.verbs.acting import actor
from limen.verify.verdict import canonical, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limen.assurance.contract.book import Set, Waiver
    from limen.server import Gateway
    from limen.verbs import Verb

SIGNERS: Final = frozenset({"owner", "security", "legal"})
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
MAX_REASON: Final = 2_000


async def contract_set(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """File a contract, or amend it; grants to a vendor that has never had one wait for its admission from then on."""
    raw = args["text"].encode()
    form = parsed(raw, args.get("name", "contract"))
    snapshot, vendor = gateway.custody.catalog.snapshot, form["vendor"]
    snapshot.vendor(vendor)
    for project in (form["restrict"] or {}).get("projects", ()):
        snapshot.project(project)
    newest = {one.id: one for one in await asyncio.to_thread(gateway.contracts.sets)}
    before = newest.pop(form["id"], None)
    _refuse_second(form, before, newest.values())
    answer = {
        "vendor": vendor,
        "contract": form["id"],
        "clauses": len(form["clauses"]),
        "amends": before.entry if before else None,
        "form": digest(form),
        "gates": vendor not in snapshot.state.admissions,
        "dry_run": bool(args.get("dry_run")),
    }
    if args.get("dry_run"):
        return {**answer, "entry": None}
    if answer["gates"]:  # first: a crash in between leaves a vendor that waits, not one that nobody vets
        await gateway.authority.change([VendorGate(id=vendor)], by=by)
    name, _ = await asyncio.to_thread(gateway.custody.blobs.put, [canonical(form)])
    fields = {"contract": form["id"], "form": name, "clauses": len(form["clauses"])}
    fields |= {key: form[key] for key in ("vendor", "starts", "ends")}
    filed = await gateway.filing.file("contract.set", fields, raw, by=by)
    return {**answer, "entry": filed.entry}


def _refuse_second(form: dict[str, Any], before: Set | None, others: Iterable[Set]) -> None:
    """A vendor is judged by one contract on any day: a second could quietly ask for less than the first."""
    if before is not None and before.vendor != form["vendor"]:
        raise Invalid("contract", f"{form['id']} is the id of a contract of {before.vendor}; ids are of one vendor")
    for one in others:
        if one.vendor == form["vendor"] and one.starts < form["ends"] and form["starts"] < one.ends:
            raise Invalid(
                "contract",
                f"{one.id} of {one.vendor} holds from {one.starts} to {one.ends} (entry {one.entry}); amend it under its own id, "
                "or set it again with an earlier end first",
            )


async def contract_show(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The contract that a vendor is judged by at a moment: as it was written, and as it is judged."""
    del by
    as_of_us = args.get("as_of_us") or gateway.custody.moment_us()
    found = await asyncio.to_thread(gateway.contracts.in_force, args["vendor"], as_of_us, id_=args.get("contract"))
    form = await asyncio.to_thread(gateway.contracts.form, found, as_of_us)
    text = (await asyncio.to_thread(gateway.contracts.blob, found.digest, found.entry)).decode()
    return {**_set(found), "text": text, "form": form, "digest": digest(form)}


async def contract_list(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every contract that was filed, amendments too."""
    del by
    return [_set(one) for one in await asyncio.to_thread(gateway.contracts.sets, args.get("vendor"))]


async def waiver_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Waive a clause for some days, signed by a named person of the lab; of `onboarding`: admit the vendor until then."""
    signer = await actor(gateway, args, by, roles=SIGNERS, to="sign waivers")
    if signer.person is None:
        raise Denied("a waiver is signed by a named person of the lab: show an identity token with --id-token", rule="unnamed")
    reason = args["reason"].strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise Invalid("reason", f"say in 1 to {MAX_REASON} characters why; it is kept with the waiver")
    at_us = gateway.custody.moment_us()
    contract = await asyncio.to_thread(gateway.contracts.in_force, args["vendor"], at_us, id_=args.get("contract"))
    form = await asyncio.to_thread(gateway.contracts.form, contract, at_us)
    refs = [row["ref"] for row in form["clauses"]]
    if args["clause"] not in (*refs, ADMISSION):
        raise Invalid("clause", f"{args['clause']!r} is no clause of {contract.id}; there are: {', '.join([*refs, ADMISSION])}")
    starts, until = args.get("from") or last_day(at_us + 1), args["until"]
    _check_days(starts, until, contract)
    if args["clause"] == ADMISSION and day_us(until) <= at_us:
        raise Invalid("until", f"{until} is over")
    fields = {"vendor": contract.vendor, "contract": contract.id, "clause": args["clause"], "starts": starts, "until": until}
    signed = signer.fields(gateway.custody)
    filed = await gateway.filing.note(
        "waiver.add", {**fields, **signed}, by=signed["by"], side=Side(GATEWAY, {"reason": {"text": reason}})
    )
    answer = {**fields, "entry": filed.entry, "signed_by": signed["acting"], "admitted": False}
    if args["clause"] == ADMISSION:
        await admit(gateway, contract.vendor, "waiver", filed.entry, day_us(until), by=by)
        answer["admitted"] = True
    return answer


async def waiver_end(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """End a waiver: this day is not waived any more. A vendor that was admitted by it waits again."""
    at_us = gateway.custody.moment_us()
    found = next((one for one in await asyncio.to_thread(gateway.contracts.waivers) if one.entry == args["entry"]), None)
    if found is None:
        raise NotFound(f"a waiver at entry {args['entry']}")
    today = last_day(at_us + 1)
    if found.ended is not None or found.until <= today:
        raise Invalid("waiver", f"the one of entry {found.entry} has ended on {found.until} already")
    admission = gateway.custody.catalog.snapshot.state.admissions.get(found.vendor)
    if found.clause == ADMISSION and admission is not None and (admission.basis, admission.entry) == ("waiver", found.entry):
        await gateway.authority.change([VendorGate(id=found.vendor)], by=by)
    fields = {"vendor": found.vendor, "waiver": found.entry, "until": max(today, found.starts)}
    filed = await gateway.filing.note("waiver.end", fields, by=by)
    return {**fields, "clause": found.clause, "entry": filed.entry}


async def waiver_list(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every waiver with who signed it and why."""
    del by
    found = await asyncio.to_thread(gateway.contracts.waivers, args.get("vendor"))
    today = last_day(gateway.custody.moment_us() + 1)
    return [await asyncio.to_thread(_waiver, gateway, one, today) for one in found]


async def admit(gateway: Gateway, vendor: str, basis: Any, entry: int, until_us: int, *, by: str) -> int:
    """Admit a gated vendor on the word of an entry; returns the admission's own. The story's time left is real time left."""
    left = until_us - gateway.custody.moment_us()
    until = (gateway.custody.clock.now_us() + left) // 1_000_000
    [receipt] = await gateway.authority.change([VendorAdmit(id=vendor, basis=basis, entry=entry, valid_until=until)], by=by)
    return receipt.index


def _check_days(starts: str, until: str, contract: Set) -> None:
    for name, text in (("from", starts), ("until", until)):
        try:
            known = _DAY.fullmatch(text) and date.fromisoformat(text)
        except ValueError:
            known = None
        if not known:
            raise Invalid(name, f"{text!r} is not a day like 2026-04-30")
    if starts >= until:
        raise Invalid("until", f"{until} is not after {starts}: a waiver holds for days, its last one excluded")
    if until > contract.ends:
        raise Invalid("until", f"{until} is after the contract's end, {contract.ends}")


def _set(one: Set) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(one).items() if key != "at_us"}


def _waiver(gateway: Gateway, one: Waiver, today: str) -> dict[str, Any]:
    state = (
        "ended" if one.ended is not None else "over" if one.until <= today else "to come" if one.starts > today else "in force"
    )
    shown = {key: value for key, value in dataclasses.asdict(one).items() if key != "at_us"}
    return {**shown, "state": state, "signer": _signer(gateway, one.signed_by), "reason": _reason(gateway, one.entry)}


def _signer(gateway: Gateway, pseudonym: str) -> str:
    """The lab person behind a signature: whoever signs for the lab is no secret in it."""
    catalog = gateway.custody.catalog
    for holder in catalog.snapshot.holders():
        if holder.vendor is None:
            try:
                if catalog.pseudonym(holder.id, "") == pseudonym:
                    return holder.id
            except NotFound:
                continue  # erased
    return ""


def _reason(gateway: Gateway, entry: int) -> str:
    custody = gateway.custody
    sealed = next((raw for _, name, raw in custody.ledger.sides(entry, entry + 1) if name == "reason"), None)
    if sealed is None:
        return ""
    [(_, raw)] = custody.ledger.entries(entry, entry + 1)
    return str(open_side("reason", sealed, raw, custody.catalog.key_under(side_ref(sealed)))[1]["text"])


VERBS: Final[dict[str, Verb]] = {
    "contract.set": contract_set,
    "contract.show": contract_show,
    "contract.list": contract_list,
    "waiver.add": waiver_add,
    "waiver.end": waiver_end,
    "waiver.list": waiver_list,
}
