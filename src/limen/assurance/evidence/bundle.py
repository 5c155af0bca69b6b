"""An evidence bundle to its last byte: a BagIt bag in a deterministic zip, signed. limen-evidence/v1. Pure.

The same parts give the same bytes: nothing here reads a clock, a directory or a random number, and Ed25519 signatures are
deterministic. What is in it, and what each signature is over: docs/formats/evidence.md. `limen.verify.evidence` reads it.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.core.events import canonical
from limen.formats import bagit, dsse, sshsig, vsa
from limen.formats.tlogproof import Proof
from limen.formats.witness import Request
from limen.verify import disclosure, evidence, offline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limen.assurance.evidence.named import Named
    from limen.core.types import Checkpoint
    from limen.formats.sshsig import Signer

PRINCIPAL: Final = "evidence@limen"
PROGRAMS: Final = {
    "verify.py": "evidence.py",
    "offline.py": "offline.py",
    "verdict.py": "verdict.py",
    "spotcheck.py": "spotcheck.py",
}
NOT_PROVED: Final = (
    "that what was written into the log was true when it was written: the log proves order and completeness, not honesty",
    "that the gateway saw every access: what bypassed it, or was taken before it stood there, is in no entry",
    "that a person did what their session did: entries implicate sessions and copies, never persons",
    "that the facts were computed rightly from entries whose bytes are not in here; those with bytes can be recomputed",
    "that statements (`declared`) and papers (`evidence`) are true: it proves what was said and shown, and when it was filed",
    "that nothing was left out of the documents of others: a vendor's BOM is the vendor's word, an advisory its source's",
    "when it was, beyond the lab's word: unless a witness whose key you hold cosigned, or a time stamp that you check says so",
    "that this is all the lab has exported about this vendor to others",
)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a bundle: where it is in it, the entry that filed it, and its exact bytes unless they are withheld.

    `filed` says that the entry names these very bytes, in its `field`; otherwise `entry` only tells where it came from.
    `reading` stands in for bytes that are withheld: what can be said of the document without naming anybody.
    """

    path: str
    what: str
    digest: str
    entry: int | None = None
    raw: bytes | None = None
    withheld: str = ""
    reading: bytes | None = None
    filed: bool = True
    field: str = "digest"


@dataclass(frozen=True, slots=True)
class Opening:
    """One class of an entry's detail in clear: what the entry committed to."""

    index: int
    name: str
    salt: bytes
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Previous:
    """The vendor's last bundle before this one, as its entry tells; and the proof that the log continues from there."""

    entry: int
    digest: str
    size: int
    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a bundle is made of. Times are RFC 3339 in UTC; the period is half-open."""

    vendor: str
    audience: str
    period: tuple[str, str]
    as_of: str
    checkpoint: Checkpoint
    log_vkey: str
    named: Named
    key_entry: int
    facts: bytes
    contract: bytes | None = None  # canonical JSON; None: none was in force
    verdict: bytes | None = None
    no_verdict: str = ""
    purpose: str = "standing"  # what the verdict was asked for
    previous: Previous | None = None
    documents: Sequence[Document] = ()
    openings: Sequence[Opening] = ()
    proofs: Sequence[int] = ()  # entries that get a proof file of their own
    token: bytes | None = None  # RFC 3161, over the checkpoint's bytes
    scope: Mapping[str, str] = field(default_factory=dict)


def compose(parts: Parts, signer: Signer) -> bytes:
    """The bundle. Invalid if its parts have no form; the zip's bytes follow from the parts and the key alone."""
    payload = _payload(parts, signer)
    name = directory(parts)
    files = bagit.bag(
        payload,
        [
            ("Bag-Software-Agent", "limen"),
            ("Bagging-Date", parts.as_of[:10]),
            ("External-Identifier", name),
            ("External-Description", f"Evidence about {parts.vendor} for the {parts.audience}: {evidence.FORMAT}"),
        ],
    )
    tags = files[bagit.TAG_MANIFEST]
    about = {
        "format": evidence.FORMAT,
        "vendor": parts.vendor,
        "for": parts.audience,
        "period": {"from": parts.period[0], "to": parts.period[1]},
    }
    statement = dsse.statement({bagit.TAG_MANIFEST: hashlib.sha256(tags).hexdigest()}, evidence.PREDICATE, about)
    files[offline.SIGNATURE] = sshsig.sign(tags, signer, namespace=offline.NAMESPACE)
    files[offline.ENVELOPE] = dsse.sign(statement, dsse.IN_TOTO, signer)
    return offline.zipped({f"{name}/{path}": raw for path, raw in files.items()})


def directory(parts: Parts) -> str:
    """What the bundle's one directory is called."""
    return f"evidence-{parts.vendor}-{parts.audience}-{parts.period[0][:10]}-{parts.period[1][:10]}-{parts.checkpoint.size}"


def _payload(parts: Parts, signer: Signer) -> dict[str, bytes]:
    index = canonical(_index(parts, signer)) + b"\n"
    payload = {
        "bundle.json": index,
        "README.txt": _readme(parts),
        "allowed_signers": (signer.key.allowed(PRINCIPAL, offline.NAMESPACE) + "\n").encode(),
        "evidence.pem": signer.key.pem.encode(),
        "facts.json": parts.facts,
        "ledger/checkpoint": parts.checkpoint.note,
        "ledger/vkey": f"{parts.log_vkey}\n".encode(),
        "ledger/entries.txt": parts.named.entries_text(),
        "ledger/tree.txt": parts.named.tree_text(),
        **programs(),
    }
    if parts.contract is not None and parts.verdict is not None:
        summary = canonical(vsa.statement(json.loads(parts.verdict)))
        payload |= {
            "contract.json": parts.contract,
            "verdict.json": parts.verdict,
            "verdict.vsa.json": dsse.sign(summary, dsse.IN_TOTO, signer),
        }
    if parts.previous is not None:
        request = Request(parts.previous.size, parts.previous.proof, parts.checkpoint.note)
        payload["ledger/consistency"] = request.encode()
    if parts.token is not None:
        payload["ledger/checkpoint.tsr"] = parts.token
    for document in parts.documents:
        if document.raw is not None:
            _add(payload, document.path, document.raw)
        if document.reading is not None:
            _add(payload, f"{document.path}.redacted.json", document.reading)
    return payload | _proofs(parts)


def _add(payload: dict[str, bytes], path: str, raw: bytes) -> None:
    if path in payload:
        raise Invalid("bundle", f"two documents are called {path}")
    payload[path] = raw


def _proofs(parts: Parts) -> dict[str, bytes]:
    """Proof files, and openings with theirs."""
    named, size = parts.named, parts.checkpoint.size
    tree = offline.Tree(size, dict(named.leaves), dict(named.subtrees))
    found: dict[str, bytes] = {}
    for index in parts.proofs:
        proof = Proof(index, tuple(tree.path(index)), parts.checkpoint.note, named.shown.get(index, b""))
        found[f"ledger/proofs/{index}.tlog-proof"] = proof.encode()
    for opening in parts.openings:
        entry = named.shown[opening.index]
        proof = Proof(opening.index, tuple(tree.path(opening.index)), parts.checkpoint.note, entry)
        raw = disclosure.write(proof, entry, opening.name, opening.salt, dict(opening.value))
        found[f"openings/{opening.index}-{opening.name}.json"] = raw
    return found


def _index(parts: Parts, signer: Signer) -> dict[str, Any]:
    checkpoint, previous = parts.checkpoint, parts.previous
    described = {
        "format": evidence.FORMAT,
        "vendor": parts.vendor,
        "for": parts.audience,
        "period": {"from": parts.period[0], "to": parts.period[1]},
        "as_of": parts.as_of,
        "log": {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "vkey": parts.log_vkey,
        },
        "key": _key_line(signer),
        "key_entry": parts.key_entry,
        "previous": None,
        "documents": [_described(document) for document in parts.documents],
        "entries": {"named": len(parts.named.leaves), "with_bytes": len(parts.named.shown)},
        "openings": [[opening.index, opening.name] for opening in parts.openings],
        "scope": dict(parts.scope),
        "verdict": None if parts.verdict is None else hashlib.sha256(parts.verdict).hexdigest(),
        "no_verdict": parts.no_verdict,
        "purpose": parts.purpose,
        "not_proved": list(NOT_PROVED),
    }
    if previous is not None:
        told = {"entry": previous.entry, "digest": previous.digest, "size": previous.size, "root": previous.root.hex()}
        described["previous"] = told
    return described


def _described(document: Document) -> dict[str, Any]:
    return {
        "path": document.path,
        "what": document.what,
        "digest": document.digest,
        "entry": document.entry,
        "filed": document.filed,
        "field": document.field,
        "withheld": document.withheld,
    }


def _key_line(signer: Signer) -> str:
    """The key without a comment: what the log holds, and what the verifier compares."""
    return sshsig.PublicKey(signer.key.raw).line


def programs() -> dict[str, bytes]:
    """The programs that ride in a bundle, by the names they have there."""
    found = importlib.resources.files("limen.verify")
    return {name: found.joinpath(ours).read_bytes() for name, ours in PROGRAMS.items() if found.joinpath(ours).is_file()}


def _readme(parts: Parts) -> bytes:
    return _README.format(
        vendor=parts.vendor,
        audience=parts.audience,
        start=parts.period[0],
        end=parts.period[1],
        as_of=parts.as_of,
        origin=parts.checkpoint.origin,
        size=parts.checkpoint.size,
        not_proved="\n".join(f"- {line};" for line in NOT_PROVED)[:-1] + ".",
        scope="\n".join(f"- {what}: {how}" for what, how in parts.scope.items()) or "- everything",
    ).encode()


_README: Final = """\
Evidence about {vendor}, for the {audience}
from {start} to {end}, as known at {as_of}
log {origin}, {size} entries

Check it, on a machine without a network, in the directory above this one:

    sha256sum -c manifest-sha256.txt && sha256sum -c tagmanifest-sha256.txt
    ssh-keygen -Y verify -f SIGNERS -I evidence@limen -n limen-evidence \\
        -s tagmanifest-sha256.txt.sig < tagmanifest-sha256.txt

SIGNERS is a list of allowed signers with the key that the lab gave you another way. data/allowed_signers is such a list and
lies in the bundle: it shows that you typed the command rightly, and nothing else. All of it at once, with the zip itself:

    python3 -I -S verify.py BUNDLE.zip --log 'VKEY OF THE LOG' --previous 'THE BUNDLE YOU WERE GIVEN BEFORE'

verify.py and offline.py need Python 3.9 and nothing else. You may read them, or take them from limen's own release: that they
lie in here says nothing for them. verify.py asks: whole? ours? in the log? nothing cut since last time? same verdict when
replayed? when? Exit code 0: yes to all. 5: unverifiable.

What is in it
- bundle.json: what this is about, every document with its digest and the entry that filed it, and what was withheld and why;
- facts.json: every measure, with its grade and the entries it follows from;
- contract.json and verdict.json: the clauses, and what verdict.py makes of them and of the facts;
- verdict.vsa.json: the same in short, as a signed SLSA verification summary, for tools that read those;
- documents/: contracts, gate runs, bills of material, advisories, as they were filed;
- ledger/: the checkpoint, the entries named, the tree that proves them together, proof files of the most important ones, and
  that the log continues the checkpoint of the bundle before;
- openings/: detail of entries in clear, if any was needed: each is what the entry committed to.

What the {audience} is given
{scope}

People are pseudonyms in here, others in each project. What is in grade `measured` the gateway measured itself; `observed` is
from other systems' logs; `evidence` from papers; `declared` is somebody's word. Unknown is never counted as met.

What it does not prove
{not_proved}
"""
