"""One question to the verifier, and its answer for people and for programs: a log, a proof of any kind, or a disclosure.

What it is asked about is told from what is there: an address, a directory, or a file's first bytes. What does not hold
raises TamperDetected; what is missing to ask the question is Invalid or NotFound, and no answer about the log.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.core import events
from limen.core.errors import Invalid, LedgerUnavailable, LimenError, NotFound, TamperDetected
from limen.formats import tlogproof
from limen.formats.note import Verifier
from limen.formats.tlogpolicy import Policy
from limen.verify import consistency, disclosure, proof
from limen.verify.published import CHECKPOINT, Published, as_policy, key_of, verify

if TYPE_CHECKING:
    from limen.formats.tlogpolicy import Cosigned
    from limen.verify.published import Trust, Verified

SCHEMA: Final = "limen/ledger-verify/v1"
_MAX_FILE: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be verified, under whose word, and what was brought along for it."""

    target: str
    trust: Trust | None = None
    entry: bytes | None = None
    old: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Something that verified: `fields` is for programs, `lines` for people."""

    fields: dict[str, Any]
    lines: tuple[str, ...]


def answer(question: Question) -> Answer:
    """Verify what is asked about. LedgerUnavailable if it can't be read just now: then nothing is known of it."""
    try:
        if question.target.startswith(("http://", "https://")):
            from limen.verify.remote import Remote  # noqa: PLC0415  on an air-gapped machine nothing of a network is loaded

            return of_log(Published(Remote(question.target)), question.trust)[1]
        path = Path(question.target)
        if path.is_dir():
            return of_log(Published(published_root(path)), question.trust)[1]
        return _of_file(path, question)
    except OSError as e:
        raise LedgerUnavailable(f"it can't be read: {e}", next_step="nothing was verified; try again, or verify a copy") from e


def published_root(path: Path) -> Path:
    """The published log in a data directory, or the directory itself."""
    inside = path / "log"
    return inside if not (path / CHECKPOINT).exists() and inside.is_dir() else path


def trusted(policy: Path | None, vkey: str | None) -> Trust | None:
    """Whom to trust, from a policy's file or a key (as text, or a file that holds it); None if neither was given."""
    if policy is not None and vkey is not None:
        raise Invalid("--policy", "is given beside --vkey; the policy names its logs' keys itself")
    if policy is not None:
        return Policy.read(file_bytes(policy))
    return None if vkey is None else Verifier.from_vkey(vkey if "+" in vkey else _text(Path(vkey)))


def file_bytes(path: Path) -> bytes:
    """What a file holds. NotFound if it is not there."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
        raise NotFound(str(path)) from e
    except OSError as e:
        raise LedgerUnavailable(f"{path} can't be read: {e}") from e
    if len(raw) > _MAX_FILE:
        raise Invalid(str(path), f"is longer than {_MAX_FILE} bytes")
    return raw


def of_log(log: Published, trust: Trust | None) -> tuple[Verified, Answer]:
    """Verify a whole log. Without a key that was given, the one beside the log is used, and people are told so."""
    trust_used = log.verifier() if trust is None else trust
    verified = verify(log, trust_used)
    checkpoint = verified.checkpoint
    first_at, last_at = entry_at(verified.first), entry_at(verified.last)
    key = key_of(trust_used, checkpoint.origin)
    fields = {
        "what": "log",
        **head_fields(checkpoint.origin, checkpoint.size, checkpoint.root),
        "first_at": first_at,
        "last_at": last_at,
        "vkey": key.vkey,
        "key_given": trust is not None,
        "cosigners": _cosigners(verified.cosigners),
    }
    whose = "" if trust is not None else " (the key beside the log: compare it with the one you were given)"
    lines = [
        f"log       {checkpoint.origin}",
        f"size      {checkpoint.size}",
        f"root      {fields['root']}",
        f"first at  {moment(first_at)}",
        f"last at   {moment(last_at)}",
        f"key       {key.vkey}{whose}",
        *_cosigner_lines(verified.cosigners),
    ]
    return verified, Answer(fields, tuple(lines))


def _of_file(path: Path, question: Question) -> Answer:
    raw = file_bytes(path)
    if question.trust is None:
        raise Invalid("--policy", "a proof is worth what its keys are: give --policy FILE, or the log's key with --vkey")
    if raw.startswith(b"old "):
        if question.old is None:
            raise Invalid("--old", "a consistency proof speaks about an older checkpoint; give the file that holds it")
        return of_consistency(consistency.check(raw, checkpoint_of(question.old), question.trust))
    if disclosure.is_one(raw):
        return of_disclosure(raw, question.trust)
    return of_proof(proof.check(raw, question.trust, entry=question.entry))


def of_proof(proven: proof.Proven) -> Answer:
    """The answer about one entry."""
    checkpoint = proven.checkpoint
    text = proven.entry.decode(errors="backslashreplace")
    fields = {"what": "proof", "index": proven.index, "entry": text, **_accepted(checkpoint)}
    lines = [
        f"log       {checkpoint.origin}",
        f"size      {checkpoint.size}",
        f"root      {fields['root']}",
        *_cosigner_lines(checkpoint.cosigners),
        f"index     {proven.index}",
        f"entry     {_printable(text)}",
    ]
    return Answer(fields, tuple(lines))


def of_disclosure(raw: bytes, trust: Trust) -> Answer:
    """The answer about one class of an entry's detail, opened in clear."""
    try:
        found = disclosure.check(raw, as_policy(trust))
    except Invalid as e:
        raise TamperDetected(f"the disclosure does not verify: {e}") from e
    told = {"index": found.index, "kind": found.entry.get("kind"), "at": found.entry.get("at")}
    opened = {"class": found.name, "value": found.value, "closed": sorted(found.entry["commit"].keys() - {found.name})}
    fields = {"what": "disclosure", **told, **opened, **_accepted(found.accepted)}
    lines = [
        f"log       {found.accepted.origin}",
        f"size      {found.accepted.size}",
        f"root      {fields['root']}",
        *_cosigner_lines(found.accepted.cosigners),
        f"index     {found.index}",
        f"class     {_printable(found.name)}",
        *(
            f"  {_printable(name)} = {_printable(json.dumps(found.value[name], ensure_ascii=False))}"
            for name in sorted(found.value)
        ),
        f"closed    {', '.join(map(_printable, fields['closed'])) or 'nothing'}",
    ]
    return Answer(fields, tuple(lines))


def of_consistency(found: consistency.Consistent) -> Answer:
    """The answer about two checkpoints."""
    old, new = found.old, found.new
    fields = {"what": "consistency", "old": head_fields(old.origin, old.size, old.root), **_accepted(new)}
    lines = [
        f"log       {new.origin}",
        f"size      {new.size}, continues {old.size}",
        f"root      {fields['root']}",
        f"old root  {fields['old']['root']}",
        *_cosigner_lines(new.cosigners),
    ]
    return Answer(fields, tuple(lines))


def _printable(text: str) -> str:
    """Text that can't steer the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def base64_text(value: bytes) -> str:
    """Bytes as text, for programs."""
    return base64.b64encode(value).decode()


def checkpoint_of(raw: bytes) -> bytes:
    """The checkpoint's note: the bytes themselves, or the one that a proof file carries. Unverified."""
    if not raw.startswith(tlogproof.MAGIC.encode()):
        return raw
    try:
        return tlogproof.decode(raw).checkpoint
    except Invalid as e:
        raise TamperDetected(f"the proof that holds the older checkpoint does not read: {e}") from e


def entry_at(raw: bytes | None) -> int | None:
    """When an entry says it was written, in microseconds; None if there is none, or it does not say."""
    if raw is None:
        return None
    try:
        at = events.decode(raw).get("at")
    except LimenError:
        return None
    return at if isinstance(at, int) else None


def moment(at_us: int | None) -> str:
    """A time in microseconds, for people."""
    if at_us is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{at_us} us"


def _accepted(checkpoint: Cosigned) -> dict[str, Any]:
    head = head_fields(checkpoint.origin, checkpoint.size, checkpoint.root)
    return {**head, "cosigners": _cosigners(checkpoint.cosigners)}


def head_fields(origin: str, size: int, root: bytes) -> dict[str, Any]:
    """A tree head for programs."""
    return {"origin": origin, "size": size, "root": base64_text(root)}


def _cosigners(cosigners: tuple[tuple[str, int], ...]) -> list[dict[str, Any]]:
    return [{"name": name, "at": at} for name, at in cosigners]


def _cosigner_lines(cosigners: tuple[tuple[str, int], ...]) -> list[str]:
    return [f"witness   {name}, {moment(at * 1_000_000) if at else 'at no stated time'}" for name, at in cosigners]


def _text(path: Path) -> str:
    try:
        return file_bytes(path).decode()
    except (NotFound, UnicodeDecodeError) as e:
        raise NotFound(f"a key: {str(path)!a} is neither one nor a file that holds one") from e
