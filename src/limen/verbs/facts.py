"""What is told about vendors and what is known of them: papers, notices, long-lived keys, disputes; the facts document."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.facts import stating
from limen.assurance.facts.document import moment
from limen.assurance.facts.keys import Keys
from limen.assurance.measures import MEASURES
from limen.core.errors import Conflict, Invalid, NotFound
from limen.core.events import MAX_INT, decode
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.verbs import reports

if TYPE_CHECKING:
    from limen.filing import Filed
    from limen.server import Gateway
    from limen.verbs import Verb

_LONGEST: Final = 500  # characters of a note or a source
_MOST: Final = 200  # keys that one incident names
_OWN: Final = frozenset({"used", "issued"})  # what touches a key that is one's own; others were only read or cloned


# --- reading


async def fact_document(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The facts document of one vendor as of a moment, by default this one."""
    del by
    as_of_us = await _as_of(gateway, args)
    return await asyncio.to_thread(gateway.facts.document, args["vendor"], as_of_us, args.get("from_us"))


async def fact_measures(gateway: Gateway, args: dict[str, Any], by: str) -> list[dict[str, Any]]:
    """The table of measures."""
    del gateway, args, by
    return [
        {
            "measure": one.name,
            "unit": one.unit,
            "kind": one.kind,
            "shape": one.shape,
            "grade": one.grade.value,
            "control": one.control,
            "sentence": one.sentence,
        }
        for one in MEASURES.values()
    ]


async def static_known(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """The long-lived keys of a vendor as they are known at a moment."""
    del by
    as_of_us = await _as_of(gateway, args)
    known = await asyncio.to_thread(gateway.facts.known, args["vendor"], as_of_us)
    keys = Keys(known)
    rows = [
        {
            "key": key.name,
            "what": key.what,
            "grade": key.grade.value,
            "issued": moment(key.issued_us),
            "fresh": moment(key.fresh_us(as_of_us + 1)[0]),
            "ended": None if key.ended_us is None else moment(key.ended_us),
            "entry": key.entry,
        }
        for key in keys
    ]
    listed = known.of("static.list")
    return {"vendor": args["vendor"], "keys": rows, "listed": moment(listed[-1].at_us) if listed else None}


async def _as_of(gateway: Gateway, args: dict[str, Any]) -> int:
    """The moment that is asked about, once all that was written up to now is in the log: else a later answer would differ."""
    now = gateway.custody.moment_us()
    await gateway.custody.ledger.append_all(())
    asked = args.get("as_of_us")
    if asked is None:
        return now
    if asked > now:
        raise Invalid("--as-of", "is in the future: what will be known then, nobody can say")
    return int(asked)


# --- papers and disputes


async def fact_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """File a paper, or enter an answer: one or more measures, for the time for which it speaks."""
    vendor = _vendor(gateway, args)
    facts = [{"measure": one["measure"], "value": one["value"]} for one in args["facts"]]
    if not facts:
        raise Invalid("measure", "name at least one, as NAME=VALUE")
    if len({one["measure"] for one in facts}) < len(facts):
        raise Invalid("measure", "is named twice")
    for one in facts:
        stating.check(one["measure"], one["value"])
    from_us, to_us = _time("--from", args["from_us"]), args.get("to_us")
    if to_us is not None and _time("--to", to_us) <= from_us:
        raise Invalid("--to", "is not after --from")
    fields: dict[str, Any] = {
        "vendor": vendor,
        "facts": facts,
        "from_us": from_us,
        "to_us": to_us,
        "of_us": _time("--dated", args.get("of_us") or from_us),
        "source": _line("--source", args["source"]),
    }
    if args.get("note"):
        fields["note"] = _line("--note", args["note"])
    if args.get("replaces") is not None:
        _entry_of(gateway, args["replaces"], "fact.add", vendor, "--replaces")
        fields["replaces"] = args["replaces"]
    return _filed(await _enter(gateway, "fact.add", fields, args, by))


async def fact_dispute(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Set a measure aside for some days, from now on until it is settled. The reason is sealed."""
    vendor = _vendor(gateway, args)
    if args["measure"] not in MEASURES:
        raise Invalid("measure", f"{args['measure']!r} is none; `limen fact measures` lists them")
    from_us, to_us = _time("--from", args["from_us"]), args.get("to_us")
    if to_us is not None and to_us <= from_us:
        raise Invalid("--to", "is not after --from")
    fields = {"vendor": vendor, "measure": args["measure"], "from_us": from_us, "to_us": to_us}
    return _filed(await gateway.filing.note("fact.dispute", fields, by=by, side=_reason(args)))


async def fact_settle(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Settle a dispute: the facts stand, or the vendor is upheld and they never count."""
    if args["outcome"] not in stating.OUTCOMES:
        raise Invalid("--outcome", f"is one of {', '.join(stating.OUTCOMES)}")
    entry = _entry_of(gateway, args["dispute"], "fact.dispute", None, "dispute")
    known = await asyncio.to_thread(gateway.facts.known, entry["vendor"], MAX_INT)
    if any(one.fields["dispute"] == args["dispute"] for one in known.of("fact.settle")):
        raise Conflict(f"the dispute of entry {args['dispute']} is settled already; nothing was changed")
    fields = {"vendor": entry["vendor"], "dispute": args["dispute"], "outcome": args["outcome"]}
    return _filed(await gateway.filing.note("fact.settle", fields, by=by, side=_reason(args)))


# --- notices


async def notice_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter what happened at a vendor, or what it said."""
    vendor, notice = _vendor(gateway, args), args["notice"]
    told = _NOTICES.get(notice)
    if told is None:
        raise Invalid("notice", f"{notice!r} is none of {', '.join(_NOTICES)}")
    fields = {"vendor": vendor, "notice": notice, **await told(gateway, vendor, args)}
    return _filed(await _enter(gateway, "notice.add", fields, args, by))


async def _incident(gateway: Gateway, vendor: str, args: dict[str, Any]) -> dict[str, Any]:
    name = stating.named("incident", args["incident"])
    if await _incident_of(gateway, vendor, name) is not None:
        raise Conflict(f"incident {name} of {vendor} was entered already; nothing was changed")
    shown = [int(entry) for entry in args.get("of") or ()]
    for entry in shown:
        if not 0 <= entry < gateway.custody.ledger.head().size:
            raise Invalid("--shown-by", f"there is no entry {entry}")
    fields: dict[str, Any] = {"incident": name, "known_us": _past(gateway, "--known", args["at_us"]), "of": shown}
    if keys := args.get("keys"):
        if len(keys) > _MOST:
            raise Invalid("--key", f"names more than {_MOST}")
        fields["keys"] = sorted({stating.named("--key", key) for key in keys})
    return fields


async def _told(gateway: Gateway, vendor: str, args: dict[str, Any]) -> dict[str, Any]:
    name = stating.named("incident", args["incident"])
    if await _incident_of(gateway, vendor, name) is None:
        raise NotFound(f"incident {name} of {vendor}; enter it with `limen notice incident`")
    at_us = args.get("at_us")
    return {"incident": name, "told_us": _past(gateway, "--told", at_us), "now": at_us is None}


async def _leaver(gateway: Gateway, vendor: str, args: dict[str, Any]) -> dict[str, Any]:
    holder = gateway.custody.catalog.snapshot.holder_by_id(args["person"])
    if holder.vendor != vendor:
        raise Invalid("person", f"{args['person']} is not of {vendor}")
    person = gateway.authority.pseudonym(holder.id, "")
    return {"person": person, "left_us": _past(gateway, "--left", args["at_us"])}


async def _project_end(gateway: Gateway, _vendor: str, args: dict[str, Any]) -> dict[str, Any]:
    gateway.custody.catalog.snapshot.project(args["project"])
    return {"project": args["project"], "ended_us": _past(gateway, "--at", args.get("at_us"))}


async def _returned(gateway: Gateway, _vendor: str, args: dict[str, Any]) -> dict[str, Any]:
    gateway.custody.catalog.snapshot.project(args["project"])
    return {"project": args["project"], "done_us": _past(gateway, "--at", args.get("at_us"))}


_NOTICES: Final = {
    "incident": _incident,
    "told": _told,
    "leaver": _leaver,
    "project-end": _project_end,
    "returned": _returned,
    "destroyed": _returned,
}


async def _incident_of(gateway: Gateway, vendor: str, name: str) -> int | None:
    known = await asyncio.to_thread(gateway.facts.known, vendor, MAX_INT)
    notices = [one for one in known.of("notice.add") if one.fields["notice"] == "incident"]
    return next((one.entry for one in notices if one.fields["incident"] == name), None)


# --- long-lived keys


async def static_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter a long-lived key by its name; never the key."""
    vendor, key = _vendor(gateway, args), stating.named("key", args["key"])
    if args["what"] not in stating.WHAT:
        raise Invalid("--what", f"is one of {', '.join(stating.WHAT)}")
    if await _alive(gateway, vendor, key):
        raise Conflict(f"{vendor} has a key {key} already; `limen rotation add` says that it was replaced")
    issued_us = _past(gateway, "--issued", args["issued_us"])
    fields = {"vendor": vendor, "key": key, "what": args["what"], "issued_us": issued_us, "observed": bool(args.get("observed"))}
    return _filed(await gateway.filing.note("static.add", fields, by=by))


async def static_end(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter that a long-lived key is no more, and whether it was tried and refused."""
    vendor, key = _vendor(gateway, args), await _known_key(gateway, args)
    fields = {"vendor": vendor, "key": key, "ended_us": _past(gateway, "--at", args.get("at_us")), "old": _old(args)}
    return {**_filed(await gateway.filing.note("static.end", fields, by=by)), "alive": args["old"] != "refused"}


async def static_list(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter that the keys which are known are all."""
    vendor = _vendor(gateway, args)
    known = await asyncio.to_thread(gateway.facts.known, vendor, MAX_INT)
    count = sum(1 for key in Keys(known) if key.ended_us is None)
    entered = {key.name for key in Keys(known)}
    seen = await reports.keys_list(gateway, {"vendor": vendor}, by)
    filed = await gateway.filing.note("static.list", {"vendor": vendor, "count": count}, by=by)
    return {**_filed(filed), "count": count, "seen": _not_entered(seen, entered)}


def _not_entered(seen: dict[str, Any], entered: set[str]) -> list[dict[str, Any]]:
    """Keys that other systems' logs show in the vendor's own hands, and that nobody has entered by that name."""
    return [
        {"name": row["name"] or row["key"], "kind": row["kind"], "reasons": sorted({touch["reason"] for touch in row["touched"]})}
        for row in seen["keys"]
        if not {row["name"], row["key"]} & entered
        and not row["kind"].endswith("temporary")
        and any(touch["reason"] in _OWN for touch in row["touched"])
    ]


async def rotation_add(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Enter that a long-lived key was replaced, and whether the old one was tried and refused."""
    vendor, key = _vendor(gateway, args), await _known_key(gateway, args)
    new = stating.named("--new", args["new"]) if args.get("new") else ""
    if new == key:
        raise Invalid("--new", "is the old name; leave it out if the key keeps its name")
    fields = {
        "vendor": vendor,
        "key": key,
        "new": new,
        "rotated_us": _past(gateway, "--at", args.get("at_us")),
        "old": _old(args),
    }
    if args.get("incident"):
        name = stating.named("--incident", args["incident"])
        if await _incident_of(gateway, vendor, name) is None:
            raise NotFound(f"incident {name} of {vendor}; enter it with `limen notice incident`")
        fields["incident"] = name
    return {**_filed(await _enter(gateway, "rotation.add", fields, args, by)), "alive": args["old"] != "refused"}


async def _known_key(gateway: Gateway, args: dict[str, Any]) -> str:
    vendor, key = _vendor(gateway, args), stating.named("key", args["key"])
    if not await _alive(gateway, vendor, key):
        raise NotFound(f"a long-lived key {key} of {vendor}; enter it with `limen static-key add`")
    return key


async def _alive(gateway: Gateway, vendor: str, name: str) -> bool:
    known = await asyncio.to_thread(gateway.facts.known, vendor, MAX_INT)
    return any(key.name == name and key.ended_us is None for key in Keys(known))


def _old(args: dict[str, Any]) -> str:
    if args["old"] not in stating.OLD:
        raise Invalid("--old", f"is one of {', '.join(stating.OLD)}")
    return str(args["old"])


# --- what is common


def _vendor(gateway: Gateway, args: dict[str, Any]) -> str:
    return gateway.custody.catalog.snapshot.vendor(args["vendor"]).id


async def _enter(gateway: Gateway, kind: str, fields: dict[str, Any], args: dict[str, Any], by: str) -> Filed:
    """Enter with the document whose bytes the command has put into the blob store, if there is one."""
    digest = args.get("digest") or ""
    length = await asyncio.to_thread(lambda: gateway.custody.blobs.path(digest).stat().st_size) if digest else 0
    return await gateway.filing.enter(kind, fields, digest=digest, length=length, by=by)


def _reason(args: dict[str, Any]) -> Side:
    reason = str(args.get("reason") or "").strip()
    if not reason:
        raise Invalid("--reason", "say why; it is kept sealed, beside the entry")
    return Side(GATEWAY, {"reason": {"text": reason[: 8 * _LONGEST]}})


def _filed(filed: Filed) -> dict[str, Any]:
    return {"entry": filed.entry, "at": moment(filed.at_us), "digest": filed.digest or None}


def _past(gateway: Gateway, field: str, at_us: int | None) -> int:
    """A moment that has been, by default this one."""
    now = gateway.custody.moment_us()
    if at_us is None:
        return now
    if _time(field, at_us) > now:
        raise Invalid(field, "is in the future")
    return at_us


def _time(field: str, at_us: Any) -> int:
    if not isinstance(at_us, int) or isinstance(at_us, bool) or not 0 <= at_us <= MAX_INT:
        raise Invalid(field, "is not a time since 1970")
    return at_us


def _line(field: str, text: str) -> str:
    clean = " ".join(str(text).split())
    if not clean or len(clean) > _LONGEST:
        raise Invalid(field, f"is empty, or longer than {_LONGEST} characters")
    return clean


def _entry_of(gateway: Gateway, index: Any, kind: str, vendor: str | None, field: str) -> dict[str, Any]:
    """An entry that another one names; Invalid if it is of another kind, or about another vendor."""
    size = gateway.custody.ledger.head().size
    found = next(gateway.custody.ledger.entries(index, index + 1), None) if isinstance(index, int) and 0 <= index < size else None
    entry = decode(found[1]) if found else {}
    if entry.get("kind") != kind or (vendor is not None and entry.get("vendor") != vendor):
        raise Invalid(field, f"entry {index} is no {kind}" + (f" about {vendor}" if vendor else ""))
    return entry


VERBS: Final[dict[str, Verb]] = {
    "fact.document": fact_document,
    "fact.measures": fact_measures,
    "fact.add": fact_add,
    "fact.dispute": fact_dispute,
    "fact.settle": fact_settle,
    "notice.add": notice_add,
    "static.known": static_known,
    "static.add": static_add,
    "static.end": static_end,
    "static.list": static_list,
    "rotation.add": rotation_add,
}
