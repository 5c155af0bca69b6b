"""Evidence bundles: the key that signs them, what goes into one, and the entry that says it left."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.contract.book import day_us
from limen.assurance.evidence import persons
from limen.assurance.evidence.bundle import compose
from limen.assurance.evidence.collect import Order, Sources, collect
from limen.assurance.evidence.scopes import SCOPES
from limen.assurance.evidence.used import used
from limen.core.errors import Conflict, Invalid, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.durable import write_atomically
from limen.formats.tlogpolicy import Policy
from limen.verify import evidence, offline
from limen.verify.published import Published

if TYPE_CHECKING:
    from limen.assurance.evidence.bundle import Parts
    from limen.formats.sshsig import Signer
    from limen.server import Gateway
    from limen.verbs import Verb

PURPOSES: Final = ("standing", "onboarding", "renewal")


async def key(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The evidence key's public half and the entry that holds it; made if there is none yet, or anew if asked."""
    keys = gateway.evidence_keys
    signer, entry = await (keys.renew(by=by) if args.get("new") else keys.current(by=by))
    earlier = [{"entry": index, "key": line} for index, line in await asyncio.to_thread(keys.all)]
    shown = signer.key.fingerprint
    return {"key": offline.key_line(signer.key.raw), "entry": entry, "fingerprint": shown, "pem": signer.key.pem, "all": earlier}


async def export(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Make a bundle, enter that it leaves, then write it to `output`. It is verified as its recipient will before it leaves."""
    order, output = _order(gateway, args), Path(args["output"])
    if await asyncio.to_thread(output.exists):
        raise Conflict(f"{output} exists; nothing was exported")
    signer, key_entry = await gateway.evidence_keys.current(by=by)
    await gateway.custody.ledger.flush()
    checkpoint = _checkpoint(gateway, args.get("checkpoint"))
    if key_entry >= checkpoint.size:
        raise Invalid("--checkpoint", f"is of {checkpoint.size} entries, and the evidence key came in entry {key_entry}")
    parts, raw = await asyncio.to_thread(_made, gateway, order, checkpoint, signer, key_entry)
    digest = hashlib.sha256(raw).hexdigest()
    withheld = sum(bool(document.withheld) for document in parts.documents)
    fields = {
        "vendor": order.vendor,
        "for": order.audience,
        "period": list(order.period),
        "as_of": parts.as_of,
        "digest": digest,
        "length": len(raw),
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "openings": [[opening.index, opening.name] for opening in parts.openings],
        "withheld": withheld,
    }
    filed = await gateway.filing.note("evidence.export", fields, by=by)
    await asyncio.to_thread(_written, output, raw)
    return {
        **fields,
        "entry": filed.entry,
        "output": str(output),
        "key": offline.key_line(signer.key.raw),
        "log": gateway.verifier.vkey,
        "previous": parts.previous.entry if parts.previous else None,
        "documents": len(parts.documents),
        "entries": len(parts.named.leaves),
        "verdict": parts.verdict is not None,
        "no_verdict": parts.no_verdict,
    }


async def list_(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every bundle that was exported, of all vendors or of one."""
    del by
    rows = await asyncio.to_thread(gateway.filed.rows, ["evidence.export"], args.get("vendor"))
    names = ("vendor", "for", "period", "as_of", "size", "digest", "openings", "by")
    return [{"entry": row.entry, **{name: row.fields[name] for name in names}} for row in rows]


def _order(gateway: Gateway, args: dict[str, Any]) -> Order:
    vendor = gateway.custody.catalog.snapshot.vendor(args["vendor"].removeprefix("vendor/")).id
    if args["for"] not in SCOPES:
        raise Invalid("--for", f"{args['for']!a} is none of {', '.join(SCOPES)}")
    if args.get("purpose", "standing") not in PURPOSES:
        raise Invalid("purpose", f"is none of {', '.join(PURPOSES)}")
    if args["from_us"] >= args["to_us"]:
        raise Invalid("--period", "ends before it begins")
    return Order(
        vendor=vendor,
        audience=args["for"],
        from_us=args["from_us"],
        to_us=args["to_us"],
        period=(args["period"][0], args["period"][1]),
        purpose=args.get("purpose", "standing"),
        token=base64.b64decode(args["token"]) if args.get("token") else None,
        openings=[text.encode() for text in args.get("openings", ())],
    )


def _checkpoint(gateway: Gateway, note: str | None) -> Checkpoint:
    """The newest published checkpoint; or the one given, if this log signed it and still holds all of it."""
    newest = Published(gateway.published).checkpoint(gateway.verifier)
    if note is None:
        return newest
    raw = note.encode()
    accepted = Policy.of_logs([gateway.verifier]).check(raw)
    if accepted.size > newest.size:
        raise Invalid("--checkpoint", f"is of {accepted.size} entries, and the log has published {newest.size}")
    return Checkpoint(accepted.origin, accepted.size, accepted.root, raw)


def _made(gateway: Gateway, order: Order, checkpoint: Checkpoint, signer: Signer, key_entry: int) -> tuple[Parts, bytes]:
    parts = collect(_sources(gateway), order, checkpoint, key_entry=key_entry)
    raw = compose(parts, signer)
    asked = evidence.Asked(key=signer.key.raw, log=offline.vkey(gateway.verifier.vkey))
    answers = evidence.verify(raw, asked)
    if not evidence.accepted(answers):
        bad = next(each for each in answers if each.answer not in (evidence.YES, evidence.NONE))
        raise TamperDetected(f"the bundle would not verify ({bad.question} {bad.words}); nothing was exported")
    return parts, raw


def _sources(gateway: Gateway) -> Sources:
    def since(vendor: str, as_of_us: int, from_us: int) -> int:
        """A clause's window may begin before the period: the facts do where the contract does."""
        try:
            return min(from_us, day_us(gateway.contracts.in_force(vendor, as_of_us).starts))
        except NotFound:
            return from_us

    def judged(vendor: str, as_of_us: int) -> dict[str, Any] | None:
        try:
            contract = gateway.contracts.in_force(vendor, as_of_us)
        except NotFound:
            return None
        return gateway.contracts.form(contract, as_of_us)

    return Sources(
        log=Published(gateway.published),
        verifier=gateway.verifier,
        filed=gateway.filed,
        read=gateway.filing.read,
        facts=lambda vendor, as_of_us, from_us: gateway.facts.document(vendor, as_of_us, since(vendor, as_of_us, from_us)),
        judged=judged,
        advisories=lambda vendor, as_of_us: used(gateway.matching, gateway.advisories, vendor, as_of_us),
        persons=persons.Persons.of(persons.known_names(gateway.custody)),
        vendors=frozenset(gateway.custody.catalog.snapshot.state.vendors),
    )


def _written(output: Path, raw: bytes) -> None:
    write_atomically(output, raw)
    output.chmod(0o600)


VERBS: Final[dict[str, Verb]] = {
    "evidence.export": export,
    "evidence.key": key,
    "evidence.list": list_,
}
