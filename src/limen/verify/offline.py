"""What can be checked with Python's standard library alone: Ed25519, SSH signatures, DSSE, notes, Merkle proofs, bundles' zips.

Python 3.9 or later; nothing is imported from limen, so that this file lies beside `verify.py` and `spotcheck.py` in an
evidence bundle and runs there with `python3 -I -S`. Everything raises `Refused` with a sentence; nothing returns a trusted
value that was not asked for with a key. Specifications: RFC 8032, RFC 6962, RFC 8493, RFC 8785, OpenSSH PROTOCOL.sshsig,
DSSE v1.0.2, C2SP signed-note, tlog-checkpoint, tlog-cosignature v1 (Ed25519), APPNOTE 6.3 (zip).

The package's own codecs (`limen.formats`) do the same with `cryptography`, and tests hold the two against each other.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from typing import Any, NamedTuple

NAMESPACE = "limen-evidence"
IN_TOTO = "application/vnd.in-toto+json"
MANIFEST, TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
SIGNATURE, ENVELOPE = TAGS + ".sig", TAGS + ".dsse.json"


class Refused(Exception):
    """What was found is not what the format promises."""


# --- Ed25519, RFC 8032

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)


def _added(one: Any, two: Any) -> Any:
    """§5.1.4: the sum of two points in extended coordinates."""
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % _P, (one[1] + one[0]) * (two[1] + two[0]) % _P
    c, d = 2 * one[3] * two[3] * _D % _P, 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(scalar: int, point: Any) -> Any:
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _added(total, point)
        point = _added(point, point)
        scalar >>= 1
    return total


def _point(raw: bytes) -> Any:
    """§5.1.3: the point that 32 bytes encode, or None. An encoding that is not the shortest is none."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return (x, y, 1, x * y % _P)


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """§5.1.7: whether this is the key's signature of the message."""
    if len(public) != 32 or len(signature) != 64:  # noqa: PLR2004  RFC 8032's lengths
        return False
    key, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= _L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _added(r, _times(h, key))
    return bool((left[0] * right[2] - right[0] * left[2]) % _P == 0 and (left[1] * right[2] - right[1] * left[2]) % _P == 0)


# --- the zip: stored, in order, every field fixed, so that there is one zip for one set of files


def zipped(files: dict[str, bytes]) -> bytes:
    """The zip of these files. Nothing in it depends on a clock, a system or a library."""
    out, central = [], []
    at = 0
    if len(files) > 0xFFFE:  # noqa: PLR2004  what a zip without extensions can count
        raise Refused("a bundle of more than 65,534 files has no form")
    for path in sorted(files):
        raw, name = files[path], path.encode("ascii")
        common = struct.pack("<HHHHHIIIHH", 10, 0, 0, 0, 0x21, zlib.crc32(raw), len(raw), len(raw), len(name), 0)
        out += [b"PK\x03\x04" + common + name, raw]
        central.append(b"PK\x01\x02\x14\x03" + common + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, at) + name)
        at += 30 + len(name) + len(raw)
    listing = b"".join(central)
    if at + len(listing) > 0xFFFFFFFF:  # noqa: PLR2004  likewise
        raise Refused("a bundle of 4 GiB or more has no form")
    return b"".join([*out, listing, b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(listing), at, 0)])


def unzipped(raw: bytes) -> dict[str, bytes]:
    """The files of a zip; Refused unless it is byte for byte the zip of those files."""
    files: dict[str, bytes] = {}
    at = 0
    while raw[at : at + 4] == b"PK\x03\x04" and at + 30 <= len(raw):
        length, named = struct.unpack_from("<I", raw, at + 18)[0], struct.unpack_from("<H", raw, at + 26)[0]
        start = at + 30 + named
        files[raw[at + 30 : start].decode("latin-1")] = raw[start : start + length]
        at = start + length
    if not all(path.isascii() for path in files) or zipped(files) != raw:
        raise Refused(
            "the zip is not, byte for byte, the one zip that these files have: it was changed, or made by another program"
        )
    return files


# --- the bag


def opened(raw: bytes) -> dict[str, bytes]:
    """The files of a bundle below its one directory, each held against its manifest; Refused names the first that is wrong."""
    files = unzipped(raw)
    roots = {path.partition("/")[0] for path in files}
    if len(roots) != 1:
        raise Refused("the zip does not hold exactly one directory")
    root = roots.pop()
    bag = {path[len(root) + 1 :]: content for path, content in files.items()}
    for name in (MANIFEST, TAGS, SIGNATURE, ENVELOPE, "bagit.txt", "bag-info.txt"):
        if name not in bag:
            raise Refused(f"{name} is missing")
    named = {**_manifest(bag[TAGS], payload=False), **_manifest(bag[MANIFEST], payload=True)}
    for path, digest in named.items():
        if path not in bag:
            raise Refused(f"{path} is missing: a manifest names it")
        if hashlib.sha256(bag[path]).hexdigest() != digest:
            raise Refused(f"{path} is not the one that its manifest names")
    extra = sorted(bag.keys() - named.keys() - {TAGS, SIGNATURE, ENVELOPE})
    if extra:
        raise Refused(f"{extra[0]} is there, and no manifest names it")
    if f"External-Identifier: {root}\n".encode() not in bag["bag-info.txt"]:
        raise Refused("the directory has another name than the bag gives itself")
    return bag


def _manifest(raw: bytes, *, payload: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in raw.decode("ascii").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)", line)
        if match is None or match[2] in found or match[2].startswith("data/") is not payload:
            raise Refused(f"a manifest's line does not read: {line!a}")
        found[match[2]] = match[1]
    return found


# --- keys and signatures


class Key(NamedTuple):
    """An Ed25519 key of a note: its name, its id, its bytes."""

    name: str
    id: bytes
    raw: bytes
    kind: int


def vkey(text: str) -> Key:
    """C2SP signed-note: `<name>+<key id>+<Base64 of kind and key>`."""
    name, _, rest = text.strip().partition("+")
    ident, _, encoded = rest.partition("+")
    raw = canonical_base64(encoded)
    if not raw or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != ident:
        raise Refused(f"{text.strip()[:80]!a} is no log's or witness's key")
    return Key(name, bytes.fromhex(ident), raw[1:], raw[0])


def ssh_key(text: str) -> bytes:
    """The 32 bytes of an `ssh-ed25519 …` line."""
    words = text.split()
    blob = canonical_base64(words[1]) if len(words) > 1 and words[0] == "ssh-ed25519" else b""
    if len(blob) != 51 or blob[:19] != _ssh(b"ssh-ed25519") + b"\0\0\0\x20":  # noqa: PLR2004  RFC 8709 §4
        raise Refused("not an ssh-ed25519 key")
    return blob[19:]


def key_line(raw: bytes) -> str:
    """The key as SSH writes it."""
    return "ssh-ed25519 " + base64.b64encode(_ssh(b"ssh-ed25519") + _ssh(raw)).decode()


def fingerprint(raw: bytes) -> str:
    """The key's SHA-256, as `ssh-keygen -l` shows it."""
    blob = hashlib.sha256(_ssh(b"ssh-ed25519") + _ssh(raw)).digest()
    return "SHA256:" + base64.b64encode(blob).decode().rstrip("=")


def _ssh(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def canonical_base64(text: str) -> bytes:
    """Base64 in its one canonical spelling."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as e:
        raise Refused("something that should be Base64 is not") from e
    if base64.b64encode(raw).decode() != text:
        raise Refused("Base64 in a spelling that is not canonical")
    return raw


def sshsig(armor: bytes, key: bytes, message: bytes) -> None:
    """OpenSSH PROTOCOL.sshsig: Refused unless this is, byte for byte, the key's armored signature of the message."""
    digest = _ssh(NAMESPACE.encode()) + _ssh(b"") + _ssh(b"sha512")
    head = b"SSHSIG" + struct.pack(">I", 1) + _ssh(_ssh(b"ssh-ed25519") + _ssh(key)) + digest
    body = "".join(armor.decode("ascii").split("\n")[1:-2])
    raw = canonical_base64(body)
    blob = raw[-64:]
    if raw != head + _ssh(_ssh(b"ssh-ed25519") + _ssh(blob)):
        raise Refused(f"{SIGNATURE} is not a signature by {fingerprint(key)} for {NAMESPACE}")
    lines = [body[at : at + 70] for at in range(0, len(body), 70)]
    if armor.decode("ascii") != "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]):
        raise Refused(f"{SIGNATURE} is not written as ssh-keygen writes it")
    if not ed25519(key, b"SSHSIG" + digest + _ssh(hashlib.sha512(message).digest()), blob):
        raise Refused(f"{SIGNATURE} does not verify under {fingerprint(key)}")


def by_ssh_keygen(armor: bytes, key: bytes, message: bytes) -> bool | None:
    """What `ssh-keygen` says of the same; None where there is none."""
    program = shutil.which("ssh-keygen")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as place:
        allowed, signature = os.path.join(place, "allowed"), os.path.join(place, "sig")  # noqa: PTH118  few modules
        with open(allowed, "w", encoding="ascii") as out:  # noqa: PTH123
            out.write(f'evidence@limen namespaces="{NAMESPACE}" {key_line(key)}\n')
        with open(signature, "wb") as out_raw:  # noqa: PTH123
            out_raw.write(armor)
        asked = [program, "-Y", "verify", "-f", allowed, "-I", "evidence@limen", "-n", NAMESPACE, "-s", signature]
        return subprocess.run(asked, input=message, capture_output=True, check=False).returncode == 0  # noqa: S603


def dsse(raw: bytes, key: bytes) -> dict[str, Any]:
    """DSSE v1.0.2: the Statement in an envelope that this key signed; the envelope is in the one form that limen writes."""
    envelope = json.loads(raw)
    signature, payload = canonical_base64(envelope["signatures"][0]["sig"]), canonical_base64(envelope["payload"])
    form = {"payload": envelope["payload"], "payloadType": IN_TOTO}
    form["signatures"] = [{"keyid": fingerprint(key), "sig": envelope["signatures"][0]["sig"]}]
    if raw != canonical(form) + b"\n":
        raise Refused(f"{ENVELOPE} is not one envelope by {fingerprint(key)}")
    if not ed25519(key, b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload), signature):
        raise Refused(f"{ENVELOPE} does not verify under {fingerprint(key)}")
    statement: dict[str, Any] = json.loads(payload)
    return statement


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a value without floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# --- the log, RFC 6962 and C2SP


class Head(NamedTuple):
    """A checkpoint: what it says, its signed text, and the lines below."""

    origin: str
    size: int
    root: bytes
    text: bytes
    lines: list[tuple[str, bytes]]


def checkpoint(note: bytes) -> Head:
    """What a signed note says, unverified."""
    text, _, lines = note.decode().rpartition("\n\n")
    parts = text.split("\n")
    if len(parts) != 3 or not lines.endswith("\n") or not re.fullmatch("0|[1-9][0-9]{0,18}", parts[1]):  # noqa: PLR2004
        raise Refused("a checkpoint is not origin, size and root under a signature")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        if dash != "—":
            raise Refused("a signature line of a checkpoint does not begin with a dash")
        signatures.append((name, canonical_base64(encoded)))
    return Head(parts[0], int(parts[1]), canonical_base64(parts[2]), (text + "\n").encode(), signatures)


def signed(head: Head, key: Key) -> None:
    """Refused unless the log of this key signed the checkpoint."""
    if key.name != head.origin or key.kind != 1:
        raise Refused(f"the checkpoint is of the log {head.origin}, and the key given is of {key.name}")
    found = [blob for name, blob in head.lines if name == key.name and blob[:4] == key.id]
    if not found or not all(ed25519(key.raw, head.text, blob[4:]) for blob in found):
        raise Refused(f"the checkpoint of {head.size} entries is not signed by the log's key {key.name}+{key.id.hex()}")


def cosigned_at(head: Head, key: Key) -> int | None:
    """C2SP tlog-cosignature v1, Ed25519: when this witness cosigned the checkpoint (s since 1970); None if it did not."""
    for name, blob in head.lines:
        if name == key.name and blob[:4] == key.id and key.kind == 4:  # noqa: PLR2004  the kind's number
            at = int.from_bytes(blob[4:12], "big")
            if not ed25519(key.raw, b"cosignature/v1\ntime %d\n" % at + head.text, blob[12:]):
                raise Refused(f"the cosignature of {name} does not verify")
            return at
    return None


def leaf(entry: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of an entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of two neighbours."""
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)


class Tree:
    """The named leaves of a log and the subtrees between them, of which one root follows; and each entry's own path."""

    def __init__(self, size: int, leaves: dict[int, bytes], others: dict[tuple[int, int], bytes]) -> None:
        self.size, self.leaves, self.others = size, leaves, others
        self.named = sorted(leaves)
        self.used = 0
        self.known: dict[tuple[int, int], bytes] = {}

    def hash(self, start: int, end: int) -> bytes:
        """The hash of entries [start, end); Refused if what is here does not make it."""
        if (start, end) in self.known:
            return self.known[start, end]
        if bisect.bisect_left(self.named, start) == bisect.bisect_left(self.named, end):
            found = self.others.get((start, end))
            if found is None:
                raise Refused(f"the tree has no hash for entries {start} to {end - 1}")
            self.used += 1
        elif end - start == 1:
            found = self.leaves[start]
        else:
            middle = start + split(end - start)
            found = node(self.hash(start, middle), self.hash(middle, end))
        self.known[start, end] = found
        return found

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of one entry, the leaf's sibling first."""
        start, end, path = 0, self.size, []
        while end - start > 1:
            middle = start + split(end - start)
            near, far = ((start, middle), (middle, end)) if index < middle else ((middle, end), (start, middle))
            path.append(self.hash(*far))
            start, end = near
        return path[::-1]


def included(index: int, size: int, found: bytes, path: list[bytes]) -> bytes:
    """RFC 6962 §2.1.1: the root that a leaf's hash and its path make."""
    turns, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        turns.append(index < middle)
        start, end = (start, middle) if index < middle else (middle, end)
    if len(turns) != len(path):
        raise Refused(f"the proof of entry {index} has {len(path)} hashes, not {len(turns)}")
    for left, sibling in zip(reversed(turns), path):  # noqa: B905  its lengths were compared; Python 3.9 has no `strict`
        found = node(found, sibling) if left else node(sibling, found)
    return found


def consistent(old: int, new: int, old_root: bytes, path: list[bytes]) -> bytes:
    """RFC 6962 §2.1.2: the new root that a consistency proof makes; Refused if it does not make the old one."""
    if not 0 < old <= new:
        raise Refused(f"a tree of {new} entries can't continue one of {old}")
    left = list(path)

    def rebuilt(start: int, end: int, whole: bytes | None) -> tuple[bytes, bytes]:
        if end == old:
            if whole is None and not left:
                raise Refused("the consistency proof is too short")
            found = left.pop() if whole is None else whole
            return found, found
        if not left:
            raise Refused("the consistency proof is too short")
        middle, sibling = start + split(end - start), left.pop()
        if old <= middle:
            before, after = rebuilt(start, middle, whole)
            return before, node(after, sibling)
        before, after = rebuilt(middle, end, None)
        return node(sibling, before), node(sibling, after)

    before, after = rebuilt(0, new, old_root)
    if before != old_root or left:
        raise Refused(f"the log of {new} entries does not continue the one of {old} entries: something was cut or changed")
    return after
