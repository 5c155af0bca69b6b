"""Verifies an evidence bundle of limen (limen-evidence/v1). Python 3.9 or later, standard library only.

    python3 -I -S verify.py BUNDLE.zip --log VKEY | --key 'ssh-ed25519 …' [--previous OLD.zip] [--witness VKEY] [--tsa CA.pem]
    python3 -I -S verify.py BUNDLE.zip --proof INDEX > PROOF        one entry's proof as c2sp.org/tlog-proof@v1

`offline.py` lies beside it. It asks six questions and says what it found, in words. Exit code 0: no answer is a no, and none
that matters is missing. 5: the evidence is unverifiable. 2: it was called wrongly.

    1 whole?    the zip is byte for byte the one its files make; manifests name every file, and there is nothing else
    2 ours?     the tag manifest is signed by the key that YOU gave, or by one that the log YOU named holds as its evidence key
    3 in the log?   the checkpoint is signed by the log, every entry named is under its root, documents are those entries name
    4 nothing cut since last time?  the log continues the checkpoint of this vendor's last bundle
    5 same verdict when replayed?   verdict.py, the contract and the facts give verdict.json again, byte for byte
    6 when?     who else says so: witnesses whose keys you gave, a time stamping authority; else it is the lab's word alone

Nothing in a bundle is trusted for being in it: neither its list of signers nor its copy of the log's key. Its verdict.py
runs only after question 2 was answered with yes. In limen this file is `limen/verify/evidence.py`, shipped as `verify.py`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from datetime import datetime, timezone
from typing import Any, NamedTuple

if __package__:
    from limen.verify import offline
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100,PTH120  -I leaves it out
    import offline  # type: ignore[import-not-found,no-redef]

Refused = offline.Refused

FORMAT = "limen-evidence/v1"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://limen.example/evidence/v1"
INDEX, FACTS, CONTRACT, VERDICT = "data/bundle.json", "data/facts.json", "data/contract.json", "data/verdict.json"
EVALUATOR = "data/verdict.py"
CHECKPOINT, ENTRIES, TREE = "data/ledger/checkpoint", "data/ledger/entries.txt", "data/ledger/tree.txt"
CONSISTENCY, TOKEN = "data/ledger/consistency", "data/ledger/checkpoint.tsr"
PROOFS, OPENINGS = "data/ledger/proofs/", "data/openings/"
YES, NO, UNKNOWN, NONE = "YES", "NO", "CANNOT SAY", "NOTHING TO ASK"
UNVERIFIABLE = 5


class Answer(NamedTuple):
    """One question, and what was found."""

    question: str
    answer: str
    words: str


class Asked(NamedTuple):
    """What the caller trusts, and what they hold from earlier."""

    key: bytes | None = None  # of the evidence key, 32 bytes
    log: offline.Key | None = None
    previous: bytes | None = None
    witnesses: tuple[offline.Key, ...] = ()
    tsa: str = ""  # path of a time stamping authority's certificates, PEM


class Bundle:
    """A bundle's files, each the one that its manifest names, and what they say of themselves."""

    def __init__(self, raw: bytes) -> None:
        self.bag = offline.opened(raw)
        self.length = len(raw)
        self.index: dict[str, Any] = json.loads(self.bag[INDEX])
        if self.index["format"] != FORMAT:
            raise Refused(f"the bundle is of format {self.index['format']!a}, and read here is {FORMAT}")
        self.head = offline.checkpoint(self.bag[CHECKPOINT])
        self.entries: dict[int, bytes] = {}
        self.tree = offline.Tree(self.head.size, self._leaves(), self._subtrees())

    def _leaves(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        last = -1
        for line in self.bag[ENTRIES].decode("ascii").splitlines():
            index, leaf, *rest = line.split(" ")
            if not last < int(index) < self.head.size or len(rest) > 1:
                raise Refused(f"{ENTRIES}: entry {index!a} is out of its place")
            last = int(index)
            found[last] = offline.canonical_base64(leaf)
            if rest:
                self.entries[last] = offline.canonical_base64(rest[0])
                if offline.leaf(self.entries[last]) != found[last]:
                    raise Refused(f"the bytes of entry {last} are not those of its hash")
        return found

    def _subtrees(self) -> dict[tuple[int, int], bytes]:
        found: dict[tuple[int, int], bytes] = {}
        for line in self.bag[TREE].decode("ascii").splitlines():
            start, end, value = line.split(" ")
            found[int(start), int(end)] = offline.canonical_base64(value)
        return found

    def entry(self, index: int) -> dict[str, Any]:
        """An entry's fields; Refused if its bytes are not in the bundle."""
        if index not in self.entries:
            raise Refused(f"the bytes of entry {index} are needed, and not in the bundle")
        fields: dict[str, Any] = json.loads(self.entries[index])
        return fields

    def proof(self, index: int) -> bytes:
        """One entry's proof as c2sp.org/tlog-proof@v1, with the entry in it if its bytes are here."""
        if index not in self.tree.leaves:
            raise Refused(f"entry {index} is not among those that the bundle names")
        lines = ["c2sp.org/tlog-proof@v1"]
        if index in self.entries:
            lines.append("extra " + _text(self.entries[index]))
        lines += [f"index {index}", *map(_text, self.tree.path(index))]
        return "\n".join(lines).encode() + b"\n\n" + self.bag[CHECKPOINT]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# --- the six questions


def verify(raw: bytes, asked: Asked) -> list[Answer]:
    """The six answers, in order."""
    names = ["whole?", "ours?", "in the log?", "nothing cut since last time?", "same verdict when replayed?", "when?"]
    try:
        bundle = Bundle(raw)
    except Exception as e:  # noqa: BLE001  whatever damaged bytes raise on the way is a no
        return [Answer(names[0], NO, _why(e)), *(Answer(name, UNKNOWN, "it is not whole") for name in names[1:])]
    questions = [_whole, _ours, _in_the_log, _nothing_cut, _same_verdict, _when]
    answers: list[Answer] = []
    for name, question in zip(names, questions):  # noqa: B905  Python 3.9 has no `strict`
        if name == names[4] and answers[1].answer != YES:
            answers.append(Answer(name, UNKNOWN, "its verdict.py is not run before question 2 is answered with yes"))
            continue
        try:
            answer, words = question(bundle, asked)
        except Exception as e:  # noqa: BLE001  likewise
            answer, words = NO, _why(e)
        answers.append(Answer(name, answer, words))
    return answers


def _why(e: Exception) -> str:
    return str(e) if isinstance(e, Refused) else f"it does not read ({type(e).__name__}: {e})"


def _whole(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    """Reading it was the check."""
    del asked
    return (
        YES,
        f"{len(bundle.bag)} files, {bundle.length} bytes; each is the one that its manifest names, and nothing else is there",
    )


def _ours(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    tags, armor = bundle.bag[offline.TAGS], bundle.bag[offline.SIGNATURE]
    key = offline.ssh_key(bundle.index["key"])
    shown = offline.fingerprint(key)
    offline.sshsig(armor, key, tags)
    statement = offline.dsse(bundle.bag[offline.ENVELOPE], key)
    subject = [{"name": offline.TAGS, "digest": {"sha256": hashlib.sha256(tags).hexdigest()}}]
    about = {"vendor": bundle.index["vendor"], "for": bundle.index["for"], "period": bundle.index["period"], "format": FORMAT}
    if statement != {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": about}:
        raise Refused("the signed Statement is about something else than this bundle")
    again = offline.by_ssh_keygen(armor, key, tags)
    if again is False:
        raise Refused("ssh-keygen does not accept the signature")
    how = "ssh-keygen says so too" if again else "no ssh-keygen is here to ask as well"
    if asked.key is not None and asked.key != key:
        raise Refused(f"it is signed by {shown}, and the key you gave is {offline.fingerprint(asked.key)}")
    if asked.log is not None:
        _rooted(bundle, asked.log)
        logged = bundle.entry(bundle.index["key_entry"])
        if logged.get("kind") != "evidence.key" or logged.get("key") != bundle.index["key"]:
            raise Refused(f"it is signed by {shown}, which the log does not hold as its evidence key")
        return YES, f"signed by {shown}, which entry {bundle.index['key_entry']} of the log you named holds; {how}"
    if asked.key is None:
        return UNKNOWN, f"signed by {shown}; whose key that is only you can say: give --key or --log"
    return YES, f"signed by {shown}, the key you gave; {how}"


def _log_key(bundle: Bundle, asked: Asked) -> offline.Key:
    return asked.log or offline.vkey(bundle.index["log"]["vkey"])


def _rooted(bundle: Bundle, key: offline.Key) -> None:
    """The checkpoint is the log's, and all that the bundle names is under its root."""
    head, tree = bundle.head, bundle.tree
    offline.signed(head, key)
    if tree.hash(0, head.size) != head.root:
        raise Refused("the entries named do not lead to the root that the log signed")
    if tree.used != len(tree.others):
        raise Refused(f"{TREE} has hashes that are no part of the proof")


def _in_the_log(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    key = _log_key(bundle, asked)
    _rooted(bundle, key)
    head, index = bundle.head, bundle.index
    told = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "vkey": index["log"]["vkey"]}
    if index["log"] != told or offline.vkey(told["vkey"]) != key:
        raise Refused(f"{INDEX} tells of another log, size or root than the checkpoint")
    for path in bundle.bag:
        if path.startswith(PROOFS):
            _check_proof(bundle, path)
        elif path.startswith(OPENINGS):
            _check_opening(bundle, path)
    for document in index["documents"]:
        _check_document(bundle, document)
    named = named_by(json.loads(bundle.bag[FACTS])) if FACTS in bundle.bag else set()
    if named - bundle.tree.leaves.keys():
        raise Refused(f"a fact names entry {min(named - bundle.tree.leaves.keys())}, which is not proved")
    return YES, (
        f"{len(bundle.tree.leaves)} entries ({len(bundle.entries)} with their bytes) of the log {head.origin}, size {head.size}, "
        f"signed by {key.name}+{key.id.hex()}{'' if asked.log else ', the key that the signer of the bundle names'}"
    )


def _check_proof(bundle: Bundle, path: str) -> None:
    index = int(path[len(PROOFS) :].partition(".")[0])
    if bundle.bag[path] != bundle.proof(index):
        raise Refused(f"{path} is not the proof of entry {index} under the checkpoint")
    hashes = bundle.tree.path(index)
    if offline.included(index, bundle.head.size, bundle.tree.leaves[index], hashes) != bundle.head.root:
        raise Refused(f"{path} does not lead to the root")


def _check_document(bundle: Bundle, document: dict[str, Any]) -> None:
    path, entry = document["path"], document["entry"]
    if not document["withheld"] and hashlib.sha256(bundle.bag["data/" + path]).hexdigest() != document["digest"]:
        raise Refused(f"{path} is not the document that it is said to be")
    if entry is not None and entry not in bundle.tree.leaves:
        raise Refused(f"{path} is said to be named by entry {entry}, which is not proved")
    if entry in bundle.entries and document["filed"] and bundle.entry(entry).get(document["field"]) != document["digest"]:
        raise Refused(f"{path} is not the document that entry {entry} names")


def _check_opening(bundle: Bundle, path: str) -> None:
    """limen-disclosure/v1: salt and value make the commitment that the entry holds."""
    found = json.loads(bundle.bag[path])
    index = int(path[len(OPENINGS) :].partition("-")[0])
    opened = bytes.fromhex(found["salt"]) + found["class"].encode() + b"\0" + offline.canonical(found["value"])
    if offline.canonical_base64(found["entry"]) != bundle.entries.get(index) or found["proof"].encode() != bundle.proof(index):
        raise Refused(f"{path} is not about entry {index}")
    if bundle.entry(index)["commit"].get(found["class"]) != hashlib.sha256(opened).hexdigest():
        raise Refused(f"{path} is not what entry {index} committed to")


def named_by(facts: dict[str, Any]) -> set[int]:
    """The entries that a facts document names."""
    named: set[int] = set()
    for fact in facts["facts"]:
        for sample in fact["samples"]:
            named.update(sample["entries"])
        if fact.get("disputed"):
            named.add(fact["disputed"]["entry"])
    return named


def _nothing_cut(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    previous, head = bundle.index["previous"], bundle.head
    held = None if asked.previous is None else _held(bundle, asked)
    if previous is None:
        if held is not None:
            raise Refused("it says that it is this vendor's first, and you hold an earlier one")
        return NONE, "it says that it is this vendor's first; if you hold an earlier one, give --previous"
    _check_continued(bundle, previous)
    words = f"the log of {head.size} entries continues its {previous['size']} of the last bundle (entry {previous['entry']})"
    if held is None:
        return YES, words
    if held.head.size != previous["size"]:
        return UNKNOWN, f"{words}; the one you gave is of {held.head.size} entries: give the one before this"
    if held.head.root.hex() != previous["root"] or hashlib.sha256(asked.previous or b"").hexdigest() != previous["digest"]:
        raise Refused(f"the bundle you hold is not the one that entry {previous['entry']} tells of")
    return YES, words + ", which is the one you gave"


def _held(bundle: Bundle, asked: Asked) -> Bundle:
    """The bundle that the caller was given before: of the same log and vendor."""
    held = Bundle(asked.previous or b"")
    offline.signed(held.head, _log_key(bundle, asked))
    if held.index["vendor"] != bundle.index["vendor"]:
        raise Refused(f"the earlier bundle you gave is about {held.index['vendor']!a}")
    return held


def _check_continued(bundle: Bundle, previous: dict[str, Any]) -> None:
    """The log's own entry of the last export is what the bundle says, and the log continues the checkpoint of that time."""
    entry = bundle.entry(previous["entry"])
    said = {name: entry.get(name) for name in ("digest", "size", "root")}
    if entry.get("kind") != "evidence.export" or {**said, "entry": previous["entry"]} != previous:
        raise Refused(f"entry {previous['entry']} tells of another bundle before this one")
    lines = bundle.bag[CONSISTENCY].partition(b"\n\n")
    old, *hashes = lines[0].decode("ascii").split("\n")
    if old != f"old {previous['size']}" or lines[2] != bundle.bag[CHECKPOINT]:
        raise Refused(f"{CONSISTENCY} is about other checkpoints")
    path = [offline.canonical_base64(value) for value in hashes]
    if offline.consistent(previous["size"], bundle.head.size, bytes.fromhex(previous["root"]), path) != bundle.head.root:
        raise Refused(f"the log does not continue its {previous['size']} entries of last time: something was cut or changed")


def _same_verdict(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    """The bundle's own verdict, and those of the runs of the gate whose contract and facts are in it."""
    del asked
    if (bundle.index["verdict"] is None) is (VERDICT in bundle.bag):
        raise Refused("there is a verdict that the bundle does not speak of, or it speaks of one that is not there")
    evaluator = types.ModuleType("verdict")
    sys.modules["verdict"] = evaluator  # dataclasses look their module up
    exec(compile(bundle.bag[EVALUATOR], "verdict.py", "exec"), evaluator.__dict__)  # noqa: S102  what it is for; signed, see verify
    runs = _runs(bundle)
    for path, entry in runs.items():
        facts = json.loads(bundle.bag[f"{path}.facts.json"])
        contract = json.loads(bundle.bag[f"{path}.contract.json"])
        again = evaluator.evaluate(contract, facts, facts["as_of"], bundle.entry(entry)["purpose"])
        if offline.canonical(again) != bundle.bag[f"{path}.json"]:
            raise Refused(f"the run of entry {entry} gives another verdict when its contract and facts are judged again")
    also = f"; so do {len(runs)} runs of the gate" if runs else ""
    if bundle.index["verdict"] is None:
        return (YES if runs else NONE), f"there is no verdict of its own in it: {bundle.index['no_verdict']}{also}"
    contract, facts = json.loads(bundle.bag[CONTRACT]), json.loads(bundle.bag[FACTS])
    found = evaluator.evaluate(contract, facts, bundle.index["as_of"], bundle.index["purpose"])
    if offline.canonical(found) != bundle.bag[VERDICT]:
        raise Refused("the contract and the facts give another verdict than the one in the bundle")
    said = found.get("decision") or found.get("outcome")
    return YES, f"{len(found['clauses'])} clauses over {len(facts['facts'])} facts give the same bytes again: {said}{also}"


def _runs(bundle: Bundle) -> dict[str, int]:
    """The runs whose verdict, contract and facts are all here: path without its ending, and entry."""
    whole = {}
    for document in bundle.index["documents"]:
        path = "data/" + document["path"].rpartition(".json")[0]
        if document["what"] == "run" and all(f"{path}{end}.json" in bundle.bag for end in ("", ".contract", ".facts")):
            whole[path] = document["entry"]
    return whole


def _when(bundle: Bundle, asked: Asked) -> tuple[str, str]:
    period = bundle.index["period"]
    said = [f"about {period['from']} to {period['to']}, as known at {bundle.index['as_of']}"]
    others = []
    for witness in asked.witnesses:
        at = offline.cosigned_at(bundle.head, witness)
        if at is None:
            raise Refused(f"the witness {witness.name} did not cosign the checkpoint")
        others.append(f"the witness {witness.name} cosigned the checkpoint at {datetime.fromtimestamp(at, timezone.utc):%FT%TZ}")  # noqa: UP017  Python 3.9
    if TOKEN in bundle.bag and not asked.tsa:
        said.append("a time stamp lies in it that nobody checked: give --tsa")
    if asked.tsa:
        others.append(f"a time stamping authority says: {_stamped(bundle, asked.tsa)}")
    return YES, "; ".join([*said, *(others or ["the lab's word alone says when"])])


def _stamped(bundle: Bundle, tsa: str) -> str:
    """RFC 3161, by `openssl ts`."""
    program = shutil.which("openssl")
    if TOKEN not in bundle.bag or program is None:
        raise Refused("there is no time stamp in it" if program else "no openssl is here to check a time stamp with")
    with tempfile.TemporaryDirectory() as place:
        for name, path in (("token", TOKEN), ("checkpoint", CHECKPOINT)):
            with open(os.path.join(place, name), "wb") as out:  # noqa: PTH118,PTH123  few modules
                out.write(bundle.bag[path])
        check = [program, "ts", "-verify", "-in", "token", "-data", "checkpoint", "-CAfile", os.path.abspath(tsa)]  # noqa: PTH100
        if subprocess.run(check, cwd=place, capture_output=True, check=False).returncode:  # noqa: S603
            raise Refused("the time stamp is not one of this checkpoint by the authority you named")
        show = [program, "ts", "-reply", "-in", "token", "-text"]
        shown = subprocess.run(show, cwd=place, capture_output=True, check=False).stdout.decode(errors="replace")  # noqa: S603
    found = re.search(r"Time stamp: (.+)", shown)
    return found[1] if found else "at a time that openssl does not show"


# --- for people


def trusted_words(asked: Asked) -> str:
    """What the answers rest on besides arithmetic."""
    parts = []
    if asked.key is not None:
        parts.append(f"the evidence key {offline.fingerprint(asked.key)}, which you gave")
    if asked.log is not None:
        parts.append(f"the log {asked.log.name}+{asked.log.id.hex()}, whose key you gave")
    parts += [f"the witness {witness.name}, whose key you gave" for witness in asked.witnesses]
    return "; ".join(parts) or "nothing: no key was given"


def accepted(answers: list[Answer]) -> bool:
    """Whether every answer is yes, or there was nothing to ask."""
    return bool(answers) and all(each.answer in (YES, NONE) for each in answers)


def given(text: str) -> str:
    """A key as typed, or the file that holds it."""
    if os.path.isfile(text):  # noqa: PTH113  few modules
        with open(text, encoding="utf-8") as source:  # noqa: PTH123
            return source.read().strip()
    return text


def _read(path: str) -> bytes:
    with open(path, "rb") as source:  # noqa: PTH123
        return source.read()


def main(argv: list[str] | None = None) -> int:
    """Answer for one bundle; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Verifies an evidence bundle of limen.", epilog="Exit codes: 0, 2 usage, 5 unverifiable."
    )
    parser.add_argument("bundle")
    parser.add_argument("--key", help="the evidence key you expect: an ssh-ed25519 line, or a file that holds it")
    parser.add_argument("--log", help="the log's key: its vkey, or a file that holds it")
    parser.add_argument("--previous", help="the bundle that you were given before this one")
    parser.add_argument(
        "--witness", action="append", default=[], help="a witness's vkey, or a file that holds it; may be repeated"
    )
    parser.add_argument("--tsa", default="", help="certificates of a time stamping authority (PEM)")
    parser.add_argument("--proof", type=int, metavar="INDEX", help="print one entry's proof (tlog-proof@v1) and stop")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    options = parser.parse_args(argv)
    try:
        asked = Asked(
            offline.ssh_key(given(options.key)) if options.key else None,
            offline.vkey(given(options.log)) if options.log else None,
            _read(options.previous) if options.previous else None,
            tuple(offline.vkey(given(each)) for each in options.witness),
            options.tsa,
        )
        raw = _read(options.bundle)
    except (OSError, Refused) as e:
        parser.error(str(e))
    if options.proof is not None:
        return _print_proof(raw, options.proof)
    answers = verify(raw, asked)
    good = accepted(answers)
    if options.json:
        found = {"schema": "limen/evidence.verify/v1", "ok": good, "trusted": trusted_words(asked)}
        found["answers"] = [each._asdict() for each in answers]
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    else:
        for number, each in enumerate(answers, 1):
            sys.stdout.write(f"{number} {each.question} {each.answer}: {each.words}\n")
        sys.stdout.write(f"trusted: {trusted_words(asked)}\n")
        sys.stdout.write("VERIFIED (not that facts were honest when written: see README.txt)\n" if good else "NOT VERIFIED\n")
    return 0 if good else UNVERIFIABLE


def _print_proof(raw: bytes, index: int) -> int:
    try:
        sys.stdout.write(Bundle(raw).proof(index).decode())
    except Exception as e:  # noqa: BLE001  as in verify
        sys.stderr.write(f"verify.py: {_why(e)}\n")
        return UNVERIFIABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
