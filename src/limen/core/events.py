"""Ledger entries: their kinds, and the one canonical form in which they are hashed.

Canonical form, version 1: a JSON object with ASCII keys, no floats, integers below 2^53, strings in NFC, written by
`json.dumps(sort_keys=True, separators=(",", ":"), ensure_ascii=False)` as UTF-8; for these values that equals RFC 8785.
Verifiers hash the stored bytes and never re-encode.

Every entry has `v` (1), `kind`, `at` (microseconds since 1970, UTC, real time), and `salt` (128 random bits, so that a
published leaf hash can't be guessed). In development mode `story_at` may stand beside `at`. People appear by a
per-project pseudonym; what identifies them stands behind salted commitments (`commit`), whose clear values are kept
encrypted in side records. docs/formats/entries.md lists every kind's fields.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
MAX_ENTRY: Final = 65_535
MAX_INT: Final = 2**53 - 1
SALT_BYTES: Final = 16

_quoted = json.encoder.encode_basestring  # a JSON string with nothing escaped that need not be

KINDS: Final = frozenset(
    {
        # accesses: what left, what came in, and what was refused
        "access.intent",
        "access.outcome",
        "access.refusal",
        "access.unresolved",  # one a minute at most: how many requests proved no session
        "access.unwitnessed",  # likewise: how many went ahead without the witnesses' quorum, as configured
        # authority: entries first, then the control tables
        "vendor.add",
        "person.add",
        "person.end",
        "workload.add",
        "workload.end",
        "project.add",
        "class.add",
        "tier.set",
        "agreement.add",
        "asset.add",
        "asset.version",
        "asset.digests",  # what adopted objects held when they were first read whole
        "grant.add",
        "grant.end",
        "session.start",
        "session.end",
        "pause.order",
        "pause.measured",
        "pause.lift",
        "hold.set",  # legal hold: a person's records may not be erased
        "hold.lift",
        "erasure",  # a person's key, identity and side records are destroyed
        "key.commit",  # a mark key's commitment and the slot manifest's root, before the first serve
        "copy.derive",  # a report had copies worked out: how many, of which assets
        "key.rotate",  # which key an asset's next version takes, with its commitment
        "key.request",  # somebody asks that a key be opened to an arbiter
        "key.open",  # durable before its subkeys are shown; the key ends here
        "key.refusal",
        "key.retire",  # a key ends because it may have become known
        "upstream.changed",  # an adopted object is not what was adopted any more: it is refused from now on
        # examinations
        "trace.sample",  # a leaked sample's digest, before it is scored
        "trace.result",
        "case.export",  # a case left as a bundle from which an arbiter recomputes it
        "case.review",  # a second human's decision on an implicated copy, before the name behind it is shown
        "drop.quality",  # returned work was scored against gold items, by whom
        "drop.release",  # returned work without canaries: counts and digests, durable before it can be read
        "model.test.registered",  # suspect, reference, slots and method, before any loss is looked at
        "model.test.asked",  # texts of slots left, to be asked of a model
        "model.test.answers",  # the answers' digests, before they are scored
        "model.test.result",
        # personal detail: who asks whose name, who is told, and what is past its time
        "name.request",
        "name.open",  # durable before the name is shown
        "name.refusal",
        "name.disclose",  # a class of one entry was taken out in clear, with its proof
        "network.expire",
        "observe.import",  # other systems' logs: what was read, and what it covers; the rows lie apart, grade observed
        "epoch.begin",  # the log goes on under a new name, and says first what it lost
        "observe.who",  # whom principals of other systems' logs are put down to
        "scan.run",  # a repository's history was searched for secrets and governed content
        # vendor assurance: what was filed about a vendor, and what was made of it
        "bom.add",
        "advisory.feed",  # records of one feed, as they were read at once
        "advisory.window",  # when a package could be had, by one source
        "vex.add",
        "advisory.policy",  # what a hit at this vendor leads to
        "advisory.action",  # a consequence of an advisory: taken, or waiting for a second person
        "advisory.approve",
        "advisory.decline",
        "fact.add",  # evidence, or a statement
        "fact.dispute",
        "fact.settle",
        "notice.add",  # an incident: when it was known, and when the vendor said so
        "rotation.add",  # a key was replaced, and whether the old one was tried and refused
        "static.add",  # a long-lived key of the vendor's is there
        "static.end",  # it is there no more, and whether it was tried and refused
        "static.list",  # those that are known are all
        "contract.set",
        "waiver.add",
        "waiver.end",
        "gate.run",
        "evidence.key",  # the public half of a key that signs evidence bundles
        "evidence.export",
        "audit.commit",
        "audit.draw",
        "audit.result",
        "restrict.order",
        "restrict.lift",
        "vendor.gate",  # grants to this vendor's people wait for its admission
        "vendor.admit",  # its gate passed, or was waived
        "log.witnessed",  # when the witnesses' quorum last cosigned, and the longest time without it since the last such entry
        "server.start",
    }
)


def encode(kind: str, at_us: int, salt: bytes, fields: Mapping[str, Any]) -> bytes:
    """The entry's canonical bytes. Raises Invalid for a value that the canonical form can't hold, or one too large."""
    if kind not in KINDS:
        raise RuntimeError(f"unknown entry kind {kind!r}")
    if len(salt) != SALT_BYTES:
        raise RuntimeError(f"salt of {len(salt)} bytes, need {SALT_BYTES}")
    entry = {**fields, "v": VERSION, "kind": kind, "at": at_us, "salt": salt.hex()}
    raw = _encoded(entry)
    if len(raw) > MAX_ENTRY:
        raise Invalid("entry", f"{kind} has {len(raw)} bytes, more than {MAX_ENTRY}")
    return raw


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a value that holds no floats (the caller has checked, or wrote it itself)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes) -> dict[str, Any]:
    """The entry's fields, for bytes that are in canonical form; Invalid for any others."""
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Invalid("entry", "not JSON") from e
    if not isinstance(entry, dict) or entry.get("v") != VERSION:
        raise Invalid("entry", f"not a version {VERSION} entry")
    if _encoded(entry) != raw:
        raise Invalid("entry", "not in canonical form")
    return entry


def commitment(salt: bytes, name: str, value: Mapping[str, Any]) -> str:
    """A salted commitment to one class of personal detail: hex SHA-256 over salt, class name and canonical value.

    Each class has a salt of its own, so that opening one says nothing about another.
    """
    if len(salt) != SALT_BYTES:
        raise RuntimeError(f"salt of {len(salt)} bytes, need {SALT_BYTES}")
    return hashlib.sha256(salt + name.encode() + b"\0" + canonical(value)).hexdigest()


def check(value: object, where: str) -> None:
    """Pass in silence if the value has a canonical form; Invalid names the part, below `where`, that has none."""
    _check(value, where)


def _encoded(entry: dict[str, Any]) -> bytes:
    """The canonical bytes of an entry, checked on the way: half the time that checking first and then writing takes."""
    try:
        return _text(entry).encode()
    except (_OddError, TypeError, RecursionError, UnicodeEncodeError):
        _check(entry, "entry")  # says which part is wrong
        return canonical(entry)  # nothing is: a subclass of text or a number, which JSON writes as it writes its base


class _OddError(Exception):
    """A value that may have no canonical form."""


def _text(value: Any) -> str:
    """The canonical form of a value of exactly JSON's own types, the frequent ones first; _OddError for any other."""
    kind = type(value)
    if kind is str:
        if value.isascii() or unicodedata.is_normalized("NFC", value):
            return _quoted(value)
    elif kind is int:
        if -MAX_INT <= value <= MAX_INT:
            return str(value)
    elif kind is dict:
        if all(map(str.isascii, value)):
            return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in sorted(value)]) + "}"
    elif kind is list or kind is tuple:
        return "[" + ",".join(map(_text, value)) + "]"
    elif value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    raise _OddError


def _check(value: object, where: str) -> None:  # noqa: C901  one arm per JSON type
    match value:
        case bool() | None:
            return
        case int():
            if abs(value) > MAX_INT:
                raise Invalid(where, "integer of 2^53 or more")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as e:
                raise Invalid(where, "not valid Unicode") from e
            if not value.isascii() and not unicodedata.is_normalized("NFC", value):
                raise Invalid(where, "text is not in Unicode normal form C")
        case list() | tuple():
            for item in value:
                _check(item, where)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or not key.isascii():
                    raise Invalid(where, "a key is not ASCII text")
                _check(item, f"{where}.{key}")
        case _:
            raise Invalid(where, f"a {type(value).__name__} has no canonical form")
