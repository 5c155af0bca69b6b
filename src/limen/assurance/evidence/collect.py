"""Gathers what one bundle is made of: documents as they were filed, facts, verdict, and the entries that all of it rests on.

Deterministic: the same log, blobs and order give the same parts. Nothing is believed here that the bundle does not let
somebody check: what can't be shown to this recipient is named by its digest, with the reason. Blocking; run it in a thread.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.evidence import named
from limen.assurance.evidence.bundle import Document, Opening, Parts, Previous
from limen.assurance.evidence.scopes import SCOPES
from limen.assurance.evidence.shown import Shown
from limen.core.errors import Denied, Invalid, NotFound, TamperDetected
from limen.core.events import canonical, decode
from limen.filing import time_of
from limen.formats.merkle import consistency_proof
from limen.verify import disclosure
from limen.verify.evidence import named_by
from limen.verify.verdict import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.assurance.evidence.filed import Filed, Row
    from limen.assurance.evidence.persons import Persons
    from limen.assurance.evidence.scopes import Scope
    from limen.assurance.evidence.used import Used
    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.verify.published import Published

_FOLDER: Final = {
    "contract": ("contracts", "yaml"),
    "run": ("runs", "json"),
    "bom": ("boms", "json"),
    "vex": ("vex", "json"),
    "action": ("actions", "json"),
    "paper": ("papers", "bin"),
}
_KINDS: Final = {
    "contract.set": "contract",
    "gate.run": "run",
    "bom.add": "bom",
    "vex.add": "vex",
    "advisory.action": "action",
    "fact.add": "paper",
}
# Entries that are named by themselves, documents or not: what was decided and told about the vendor.
_TOLD: Final = (
    "contract.set", "waiver.add", "waiver.end", "gate.run", "bom.add", "vex.add", "fact.add", "fact.dispute", "fact.settle",
    "notice.add", "rotation.add", "static.add", "static.end", "static.list",
    "audit.commit", "audit.draw", "audit.result", "vendor.gate", "vendor.admit",
)  # fmt: skip
_ORDERS: Final = ("pause.order", "pause.measured", "pause.lift", "restrict.order", "restrict.lift", "advisory.action")
MOST_PROOFS: Final = 500


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read. `judged` gives the contract in force in its JSON form, waivers included, or None."""

    log: Published
    verifier: Verifier
    filed: Filed
    read: Callable[[str], bytes]
    facts: Callable[[str, int, int], dict[str, Any]]
    judged: Callable[[str, int], dict[str, Any] | None]
    advisories: Callable[[str, int], Sequence[Used]]
    persons: Persons
    vendors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. Times in µs, the period half-open."""

    vendor: str
    audience: str
    from_us: int
    to_us: int
    period: tuple[str, str]
    purpose: str = "standing"
    token: bytes | None = None
    openings: Sequence[bytes] = ()  # disclosures, as `limen ledger disclose` gives them


def collect(sources: Sources, order: Order, checkpoint: Checkpoint, *, key_entry: int) -> Parts:
    """The parts of one bundle under this checkpoint. Denied for an opening that is not for this recipient."""
    scope = SCOPES[order.audience]
    size = checkpoint.size
    as_of_us = min(order.to_us, _last_at(sources, size))
    facts = sources.persons.texts_replaced(sources.facts(order.vendor, as_of_us, order.from_us))
    contract, verdict, why = _judged(sources, order, facts, as_of_us)
    documents = [*_documents(sources, order, scope, size), *_advisories(sources, order, scope, as_of_us)]
    openings = [_opening(sources, scope, raw) for raw in order.openings]
    previous = _previous(sources, order, checkpoint)
    told = [row.entry for row in _told(sources, order, size)]
    resting = {key_entry, *(document.entry for document in documents if document.entry is not None)}
    resting |= {opening.index for opening in openings} | ({previous.entry} if previous else set())
    wanted = {*named_by(facts), *told, *resting}
    entries = named.read(sources.log, size, wanted)
    shown = Shown(order.vendor, sources.vendors, sources.persons, only=resting if scope.entries == "documents" else None)
    hidden = shown.hidden(entries)
    _refuse_hidden(hidden & {key_entry, *((previous and [previous.entry]) or []), *(opening.index for opening in openings)})
    proved = named.prove(sources.log, checkpoint, entries, lambda index: index not in hidden)
    return Parts(
        vendor=order.vendor,
        audience=order.audience,
        period=order.period,
        as_of=facts["as_of"],
        checkpoint=checkpoint,
        log_vkey=sources.verifier.vkey,
        named=proved,
        key_entry=key_entry,
        facts=canonical(facts),
        contract=contract,
        verdict=verdict,
        no_verdict=why,
        purpose=order.purpose,
        previous=previous,
        documents=documents,
        openings=openings,
        proofs=sorted({*resting, *told, *_worst(verdict)} & proved.leaves.keys())[:MOST_PROOFS],
        token=order.token,
        scope=scope.words,
    )


def _last_at(sources: Sources, size: int) -> int:
    """When the last entry under the checkpoint was written: later than that nothing is known."""
    if not size:
        raise Invalid("checkpoint", "is of an empty log; there is nothing to give evidence of")
    return time_of(decode(named.read(sources.log, size, [size - 1])[size - 1]))


def _judged(sources: Sources, order: Order, facts: dict[str, Any], as_of_us: int) -> tuple[bytes | None, bytes | None, str]:
    found = sources.judged(order.vendor, as_of_us)
    if found is None:
        return None, None, f"no contract of {order.vendor} was in force at {facts['as_of']}"
    contract = sources.persons.texts_replaced(found)
    try:
        verdict = evaluate(contract, facts, facts["as_of"], order.purpose)
    except ValueError as e:
        return None, None, f"the contract can't be judged by these facts: {e}"
    return canonical(contract), canonical(verdict), ""


def _told(sources: Sources, order: Order, size: int) -> list[Row]:
    kinds = (*_TOLD, *(_ORDERS if order.audience == "regulator" else ()))
    return [row for row in sources.filed.rows(kinds, order.vendor, below=size) if row.at_us <= order.to_us]


# --- documents


def _documents(sources: Sources, order: Order, scope: Scope, size: int) -> list[Document]:
    rows = [row for row in _told(sources, order, size) if row.kind in _KINDS and row.fields.get("digest")]
    rows = _within(rows, order)
    newest = {row.fields["purpose"]: row for row in rows if row.kind == "gate.run"}
    judged = [
        _document(sources, scope, row, field=name, what=f"{what} of a run", suffix=f"{what}.json")
        for row in newest.values()
        for name, what in (("form", "contract"), ("facts", "facts"))
    ]
    return sorted([*(_document(sources, scope, row) for row in rows), *judged], key=lambda document: document.path)


def _within(rows: Sequence[Row], order: Order) -> list[Row]:
    """Those that speak for the period: what came in it, and of BOMs and contracts also the last that came before."""
    before = {row.kind: row.entry for row in rows if row.at_us < order.from_us and row.kind in ("bom.add", "contract.set")}
    return [row for row in rows if row.at_us >= order.from_us or row.entry in before.values() or row.kind == "fact.add"]


def _document(sources: Sources, scope: Scope, row: Row, *, field: str = "digest", what: str = "", suffix: str = "") -> Document:
    """A document that an entry names in one of its fields. Of a run: its verdict, or what it judged by."""
    kind, digest = _KINDS[row.kind], str(row.fields[field])
    folder, ending = _FOLDER[kind]
    told = Document(f"documents/{folder}/{row.entry}.{suffix or ending}", what or kind, digest, row.entry, field=field)
    if kind not in scope.documents:
        return _withheld(told, "not in this recipient's scope: its digest and entry are")
    try:
        raw = sources.read(digest)
    except (NotFound, OSError):
        return _withheld(told, "its bytes are not in the lab's store any more")
    if hashlib.sha256(raw).hexdigest() != digest:
        raise TamperDetected(
            f"the document of entry {row.entry} rests changed", index=row.entry, next_step="restore it from a backup"
        )
    return _without_persons(sources.persons, replace(told, raw=raw), own=scope.own and kind in ("bom", "vex"))


def _without_persons(persons: Persons, document: Document, *, own: bool) -> Document:
    """The document itself if it names nobody; else what can be said of it without."""
    raw = document.raw or b""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _withheld(document, "it is not text, so nobody can say whether it names people")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _withheld(document, "it names people") if persons.named_in(text) and not own else document
    if own or not persons.stands_in(value):
        return document
    reading = json.dumps(persons.scrubbed(value), sort_keys=True, ensure_ascii=False, indent=1).encode() + b"\n"
    return _withheld(document, "it names people; beside it is what it says without them", reading)


def _withheld(document: Document, why: str, reading: bytes | None = None) -> Document:
    return replace(document, raw=None, withheld=why, reading=reading)


def _advisories(sources: Sources, order: Order, scope: Scope, as_of_us: int) -> list[Document]:
    """The revisions that were met. A feed is one document of many records, so the entry tells where each came from."""
    feeds = {row.entry: row.fields["digest"] for row in sources.filed.rows(["advisory.feed"])}
    found = []
    for number, advisory in enumerate(sources.advisories(order.vendor, as_of_us)):
        path = f"documents/advisories/{advisory.entry}-{number}.json"
        digest = hashlib.sha256(advisory.raw).hexdigest()
        what, alone = f"advisory {advisory.id}, revision {advisory.number}", feeds.get(advisory.entry) == digest
        document = Document(path, what, digest, advisory.entry, advisory.raw, filed=alone)
        if "advisory" in scope.documents:
            found.append(_without_persons(sources.persons, document, own=False))
        else:
            found.append(_withheld(document, "not in this recipient's scope: its digest and entry are"))
    return found


# --- openings, and what came before


def _opening(sources: Sources, scope: Scope, raw: bytes) -> Opening:
    if not scope.openings:
        raise Denied("no person's detail is opened for this recipient", rule="scope")
    found = disclosure.check(raw, [sources.verifier])
    document = json.loads(raw)
    return Opening(found.index, found.name, bytes.fromhex(document["salt"]), found.value)


def _previous(sources: Sources, order: Order, checkpoint: Checkpoint) -> Previous | None:
    """The last bundle about this vendor for the same recipient, and the proof that the log continues its checkpoint."""
    rows = sources.filed.rows(["evidence.export"], order.vendor, below=checkpoint.size)
    last = next((row for row in reversed(rows) if row.fields["for"] == order.audience), None)
    if last is None:
        return None
    size, root = last.fields["size"], bytes.fromhex(last.fields["root"])
    try:
        proof = consistency_proof(size, checkpoint.size, sources.log.tree(checkpoint.size))
    except Invalid as e:
        raise TamperDetected(
            f"the last bundle (entry {last.entry}) was made of {size} entries, and the log now has {checkpoint.size}",
            next_step="the log was set back; say so to whoever holds that bundle (docs/restore.md)",
        ) from e
    return Previous(last.entry, last.fields["digest"], size, root, tuple(proof))


def _refuse_hidden(needed: set[int]) -> None:
    if needed:
        raise Invalid("bundle", f"rests on entry {min(needed)}, whose bytes can't be shown to this recipient")


def _worst(verdict: bytes | None) -> set[int]:
    """The entries of the worst events that the verdict names."""
    if verdict is None:
        return set()
    clauses = json.loads(verdict)["clauses"]
    return {index for clause in clauses for event in clause.get("worst", ()) for index in event.get("entries", ())}
