"""Random audits of a vendor: committed to, drawn, and what was found. `limen.verify.spotcheck` has the rules."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Conflict, Invalid, NotFound
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.formats.cosignature import ED25519_COSIGNATURE
from limen.formats.note import parse_vkey
from limen.verify import offline
from limen.verify.published import Published
from limen.verify.spotcheck import CLASSES, Chance, all_drawn, check_nonce, digest, populations, seed

if TYPE_CHECKING:
    from limen.assurance.evidence.filed import Row
    from limen.server import Gateway
    from limen.verbs import Verb

MOST: Final = 500  # items of one class: what is drawn stands in one entry
_DIGEST: Final = re.compile("[0-9a-f]{64}")


async def commit(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Fix whom and what an audit is drawn from, and where the chance will come from, before anything is drawn."""
    vendor = gateway.custody.catalog.snapshot.vendor(args["vendor"].removeprefix("vendor/")).id
    ask = {name: int(args.get(name, 0)) for name in CLASSES}
    if not any(ask.values()) or any(not 0 <= count <= MOST for count in ask.values()):
        raise Invalid("spotcheck", f"draws 1 to {MOST} of at least one of {', '.join(CLASSES)}")
    nonce, witness = _chance_named(gateway, args)
    before = await asyncio.to_thread(gateway.filed.rows, ["audit.commit"], vendor)
    end = gateway.custody.ledger.head().size
    start = int(args["start"]) if args.get("start") is not None else (before[-1].fields["end"] if before else 0)
    if not 0 <= start < end:
        raise Invalid("--start", f"{start} is no entry of this log of {end}")
    found = await asyncio.to_thread(populations, gateway.custody.ledger.entries(start, end), vendor)
    empty = [name for name in CLASSES if ask[name] and not found[name]]
    if empty:
        raise Invalid("spotcheck", f"there are no {' and no '.join(empty)} of {vendor} in entries {start} to {end - 1}")
    population = {name: [len(found[name]), digest(found[name])] for name in CLASSES}
    fields = {"vendor": vendor, "start": start, "end": end, "ask": ask, "population": population}
    filed = await gateway.filing.note("audit.commit", {**fields, "nonce": nonce, "witness": witness}, by=by)
    return {**fields, "nonce": nonce, "witness": witness, "entry": filed.entry}


async def draw(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Draw what was committed to. It can't be drawn twice."""
    row = await asyncio.to_thread(_row, gateway, "audit.commit", args["commit"])
    drawn = await asyncio.to_thread(_drawn, gateway, row.entry)
    if drawn is not None:
        raise Conflict(f"the audit of entry {row.entry} was drawn in entry {drawn.entry}; it is drawn once")
    await gateway.custody.ledger.flush()
    chance, told = await asyncio.to_thread(_chance, gateway, row, args.get("nonce"))
    commit_ = row.fields
    [(_, raw)] = gateway.custody.ledger.entries(row.entry, row.entry + 1)
    entries = gateway.custody.ledger.entries(commit_["start"], commit_["end"])
    found = await asyncio.to_thread(populations, entries, row.vendor)
    made = seed(raw, chance)
    fields = {
        "vendor": row.vendor,
        "of": row.entry,
        **told,
        "seed": made.hex(),
        "drawn": all_drawn(made, found, commit_["ask"]),
    }
    filed = await gateway.filing.note("audit.draw", fields, by=by)
    return {**fields, "entry": filed.entry}


async def result(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter what an audit found: which of the drawn items failed. A vendor that did not tell its bytes has failed all of them."""
    if args.get("refused") is not None:
        row = await asyncio.to_thread(_row, gateway, "audit.commit", args["refused"])
        if await asyncio.to_thread(_drawn, gateway, row.entry) is not None:
            raise Conflict(f"the audit of entry {row.entry} was drawn; say what it found")
        drawn = sum(min(row.fields["ask"][name], row.fields["population"][name][0]) for name in CLASSES)
        fields = {"vendor": row.vendor, "of": row.entry, "draw": None, "drawn": drawn, "passed": 0, "failed": []}
    else:
        row = await asyncio.to_thread(_row, gateway, "audit.draw", args["draw"])
        items = {f"{name}:{item}" for name in CLASSES for item in row.fields["drawn"][name]}
        failed = sorted(set(args.get("failed", ())))
        if strange := [item for item in failed if item not in items]:
            raise Invalid("--failed", f"{strange[0]!a} was not drawn; items are written as {min(items)}")
        about = {"vendor": row.vendor, "of": row.fields["of"], "draw": row.entry}
        fields = {**about, "drawn": len(items), "passed": len(items) - len(failed), "failed": failed}
    results = await asyncio.to_thread(gateway.filed.rows, ["audit.result"], row.vendor)
    if any(each.fields["of"] == fields["of"] for each in results):
        raise Conflict("what this audit found has been entered; it is entered once")
    side = Side(GATEWAY, {"note": {"text": args["note"]}}) if args.get("note") else None
    filed = await gateway.filing.note("audit.result", fields, by=by, side=side)
    return {**fields, "entry": filed.entry}


async def list_(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """Every audit that was committed to, and how far it has come. One that was never drawn is open, and shows."""
    del by
    kinds = ["audit.commit", "audit.draw", "audit.result"]
    rows = await asyncio.to_thread(gateway.filed.rows, kinds, args.get("vendor"))
    told: dict[int, dict[str, Any]] = {}
    for row in rows:
        if row.kind == "audit.commit":
            about = {"vendor": row.vendor, "entries": [row.fields["start"], row.fields["end"]], "ask": row.fields["ask"]}
            told[row.entry] = {"commit": row.entry, **about, "draw": None, "result": None, "drawn": None, "passed": None}
        elif row.kind == "audit.draw":
            told[row.fields["of"]]["draw"] = row.entry
        else:
            said = {"result": row.entry, "drawn": row.fields["drawn"], "passed": row.fields["passed"]}
            told[row.fields["of"]] |= said
    return list(told.values())


def _chance_named(gateway: Gateway, args: dict[str, Any]) -> tuple[str | None, str | None]:
    """Where the chance comes from: the vendor's bytes, by their digest, or a witness, by its key."""
    nonce: str | None = args.get("nonce")
    witness: str | None = args.get("witness")
    if nonce is not None and witness is not None:
        raise Invalid("spotcheck", "the chance comes from the vendor or from a witness; give one of --nonce-digest and --witness")
    if nonce is not None:
        if not _DIGEST.fullmatch(nonce):
            raise Invalid("--nonce-digest", "is not a SHA-256 in small hex letters")
        if any(row.fields.get("nonce") == nonce for row in gateway.filed.rows(["audit.commit"])):
            raise Invalid("--nonce-digest", "was used before; each audit needs bytes of its own")
        return nonce, None
    if witness is None:
        why = "somebody besides the lab must have a hand in what is drawn: give the vendor's --nonce-digest, or a --witness"
        raise Invalid("spotcheck", why)
    _, kind, _ = parse_vkey(witness)
    if kind != ED25519_COSIGNATURE:
        raise Invalid("--witness", "is not an Ed25519 cosigner's key (kind 0x04), which is what outsiders can check")
    return None, witness.strip()


def _chance(gateway: Gateway, row: Row, nonce: str | None) -> tuple[Chance, dict[str, Any]]:
    """The chance as the commit named it, and what the entry says of it."""
    log = Published(gateway.published)
    if row.fields["nonce"] is not None:
        try:
            secret = check_nonce(nonce or "", row.fields["nonce"])
        except offline.Refused as e:
            raise Invalid("--nonce", f"{e}; nothing was drawn") from e
        size = row.entry + 1
        root = log.range_hash(0, size)
        return Chance(size, root, secret), {"size": size, "root": root.hex(), "nonce": secret.hex(), "cosignature": None}
    checkpoint = log.checkpoint(gateway.verifier)
    witness = offline.vkey(row.fields["witness"])
    head = offline.checkpoint(checkpoint.note)
    blob = next((blob for name, blob in head.lines if name == witness.name and blob[:4] == witness.id), None)
    if checkpoint.size <= row.entry or blob is None or offline.cosigned_at(head, witness) is None:
        raise NotFound(f"a checkpoint after entry {row.entry} that {witness.name} cosigned; ask again when it has")
    told = {"size": checkpoint.size, "root": checkpoint.root.hex(), "nonce": None}
    return Chance(checkpoint.size, checkpoint.root, blob[4:]), {**told, "cosignature": base64.b64encode(blob[4:]).decode()}


def _row(gateway: Gateway, kind: str, entry: int) -> Row:
    found = next((row for row in gateway.filed.rows([kind]) if row.entry == entry), None)
    if found is None:
        raise NotFound(f"{kind} at entry {entry}")
    return found


def _drawn(gateway: Gateway, commit_entry: int) -> Row | None:
    return next((row for row in gateway.filed.rows(["audit.draw"]) if row.fields["of"] == commit_entry), None)


VERBS: Final[dict[str, Verb]] = {
    "spotcheck.commit": commit,
    "spotcheck.draw": draw,
    "spotcheck.list": list_,
    "spotcheck.result": result,
}
