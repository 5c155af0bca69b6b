"""Secrets in blobs, found by Kingfisher (PyPI `kingfisher-bin` 2.14; its rules are its own) in a box without a network.

Kingfisher is told not to try what it finds, to ask nobody for updates, to obey no `ignore` comment in what it reads, and to
print places instead of secrets. We read each secret again from its place in our own blob, keep its fingerprint (`keyring`)
and forget it. Blobs lie in a directory of memory while they are searched, under their object ids: names like
`package-lock.json` would make Kingfisher look away.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import contextlib
import gzip
import importlib.util
import io
import json
import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from limen.core.errors import Unsupported
from limen.scan.sandbox import Box, SandboxFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.scan.keyring import Keyring, Sealed

FORMAT: Final = 1  # goes up with whatever changes what is found
_OPTIONS: Final = (
    *("--no-validate", "--no-update-check", "--redact", "--format", "jsonl", "--git-history", "none", "--no-ignore"),
    *("--no-dedup", "--quiet", "--max-file-size", "0", "--jobs", "1"),
)
_FOUND: Final = (0, 200)  # nothing found, something found
_PREFIX: Final = "limen-scan-"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  a directory of memory, in which ours is readable by its owner only
_ARCHIVES: Final = ((b"PK\x03\x04", ".zip"), (b"\x1f\x8b", ".gz"), (b"BZh", ".bz2"), (b"\xfd7zXZ\0", ".xz"))
_UNPACK: Final[dict[str, Callable[[io.BytesIO], IO[bytes]]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_PACKED_MOST: Final = 64 << 20
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_PEM_END: Final = re.compile(rb"-----END [A-Z0-9 ]+-----")
_PEM_MOST: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Found:
    """A secret in a blob: what kind Kingfisher says it is, the line, and its fingerprints. `inside`: within an archive."""

    rule: str
    line: int
    sealed: Sealed
    confidence: str
    inside: str = ""


@dataclass(slots=True)
class Kingfisher:
    """Kingfisher, ready to search. Use it in a `with`: its directories go away after."""

    keyring: Keyring
    program: Path
    version: str
    boxed: bool
    rules: Path | None = None  # where its compiled rules are kept between scans
    _stage: Path = field(init=False)

    @classmethod
    def ready(cls, keyring: Keyring, *, boxed: bool = True, rules: Path | None = None) -> Kingfisher:
        """Unsupported without the extra `scan`; SandboxRefused where no box can be made."""
        program = binary()
        version = Box(readable=((program, "/bin/kingfisher"),), boxed=boxed, timeout_s=60).run(
            ["/bin/kingfisher" if boxed else str(program), "--version"]
        )
        number = version.decode().split()[-1]
        return cls(keyring, program, number, boxed, rules / f"kingfisher-{number}" if rules else None)

    @property
    def engine(self) -> str:
        """What names a way of searching: with an equal one, a blob that was searched need not be searched again."""
        return f"secrets-{FORMAT}-kingfisher-{self.version}"

    def __enter__(self) -> Self:
        roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 1 << 30
        place = _MEMORY if roomy else Path(tempfile.gettempdir())
        _sweep(place)
        self._stage = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
        for name in ("home", "in"):
            (self._stage / name).mkdir()
        if self.rules is not None and self.rules.is_dir():
            shutil.copytree(self.rules, self._stage / "home" / "rules")
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._stage, ignore_errors=True)

    def search(self, blobs: Sequence[tuple[str, bytes]]) -> dict[str, list[Found]]:
        """What is found in each of some blobs. Blocking; seconds for a hundred megabytes."""
        batch = self._stage / "in"
        names = {}
        for oid, raw in blobs:
            name = oid + next((suffix for magic, suffix in _ARCHIVES if raw.startswith(magic)), "")
            names[name] = (oid, raw)
            (batch / name).write_bytes(raw)
        try:
            printed = self._run(batch)
        finally:
            shutil.rmtree(batch)
            batch.mkdir()
        return self._read(printed, names)

    def _run(self, batch: Path) -> bytes:
        home = self._stage / "home"
        inside_home, inside_batch, program = ("/home", "/in", "/bin/kingfisher") if self.boxed else (home, batch, self.program)
        box = Box(
            readable=((self.program, "/bin/kingfisher"), (batch, "/in")),
            writable=((home, "/home"),),
            environment={"HOME": f"{inside_home}", "TMPDIR": f"{inside_home}", "KF_RULE_CACHE_DIR": f"{inside_home}/rules"},
            boxed=self.boxed,
        )
        printed = box.run([f"{program}", "scan", f"{inside_batch}", *_OPTIONS], fine=_FOUND)
        if self.rules is not None and not self.rules.exists() and (home / "rules").is_dir():
            self.rules.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.rules.with_name(f".{self.rules.name}.{os.getpid()}")
            shutil.copytree(home / "rules", temporary, dirs_exist_ok=True)
            with contextlib.suppress(OSError):  # another scan was faster: its rules are the same
                temporary.rename(self.rules)
            shutil.rmtree(temporary, ignore_errors=True)
        return printed

    def _read(self, printed: bytes, names: dict[str, tuple[str, bytes]]) -> dict[str, list[Found]]:
        found: dict[str, list[Found]] = {}
        searched = -1
        for line in printed.splitlines():
            row = json.loads(line)
            if "finding" in row:
                name, _, inside = row["finding"]["path"].partition("!")
                oid, raw = names[name.rpartition("/")[2]]
                found.setdefault(oid, []).append(self._found(row, oid, raw, inside))
            elif "audit" in row and all(one["scan"]["status"] == "completed" for one in row["audit"]["repositories"]):
                searched = sum(one["stats"]["blobs_scanned"] for one in row["audit"]["repositories"])
        # An empty blob may be passed over; archives count for more than one.
        if searched < sum(1 for _, raw in names.values() if raw):
            raise SandboxFailed(f"Kingfisher says that it searched {max(searched, 0)} of {len(names)} blobs")
        return found

    def _found(self, row: dict[str, Any], oid: str, raw: bytes, inside: str) -> Found:
        place = row["finding"]
        rule, line = row["rule"]["id"], int(place["line"])
        text = unpacked(raw, inside)
        secret = text and secret_at(text, line, place["column_start"], place["column_end"], place.get("encoding"))
        if secret:
            sealed = self.keyring.seal(secret)
        else:
            sealed = self.keyring.place(oid, inside, rule, str(line), str(place["column_start"]))
        return Found(rule, line, sealed, place.get("confidence", ""), inside)


def _sweep(place: Path) -> None:
    """Remove what scans that were killed have left: blobs in clear."""
    for left in place.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists() and left.stat().st_uid == os.geteuid():
            shutil.rmtree(left, ignore_errors=True)


def binary() -> Path:
    """Where Kingfisher's program lies. Unsupported if the extra is not installed."""
    found = importlib.util.find_spec("kingfisher")
    if found is None or not found.submodule_search_locations:
        raise Unsupported("the search for secrets needs Kingfisher: pip install 'limen[scan]', or scan with --no-secrets")
    return Path(found.submodule_search_locations[0]) / "bin" / "kingfisher"


def secret_at(raw: bytes, line: int, first: int, last: int, encoding: str | None) -> bytes | None:
    """The bytes of a secret, from where Kingfisher says it is: line from 1, columns from 0, the last included.

    A PEM block runs on to its end. What stands encoded is decoded: `first` is then the block's place plus the place in it.
    """
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raw = raw.decode("utf-16", "replace").encode()
    begin = 0
    for _ in range(line - 1):
        begin = raw.find(b"\n", begin) + 1
        if begin == 0:
            return None
    end = raw.find(b"\n", begin)
    text = raw[begin : end if end >= 0 else len(raw)]
    if encoding:
        return _decoded(text, first, last)
    if text[first:].startswith(b"-----BEGIN") and not (last > first and b"-----END" in text[first : last + 1]):
        stop = _PEM_END.search(raw, begin + first, begin + first + _PEM_MOST)
        return raw[begin + first : stop.end()] if stop else None
    return text[first : last + 1] or None


def unpacked(raw: bytes, inside: str) -> bytes | None:
    """The text that Kingfisher's line and columns are of: the blob's, or what is packed in it. None if that is not plain."""
    try:
        if inside:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive, archive.open(inside) as member:
                return member.read(_PACKED_MOST)
        packing = next((name for magic, name in _ARCHIVES if raw.startswith(magic)), "")
        if packing not in _UNPACK:
            return None if packing else raw
        with _UNPACK[packing](io.BytesIO(raw)) as stream:
            text = stream.read(_PACKED_MOST)
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, NotImplementedError, *_DAMAGED):
        return None  # a packing that we don't read: the key is known by its place
    return None if text[257:262] == b"ustar" else text  # lines are counted in what a tar holds, and nobody says in which part


def _decoded(text: bytes, first: int, last: int) -> bytes | None:
    for block in _BASE64.finditer(text):
        if not block.start() <= first < block.end():
            continue
        letters = block[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        try:
            clear = base64.b64decode(letters + b"=" * (-len(letters) % 4))
        except binascii.Error:
            return None
        return clear[first - block.start() : last + 1 - block.start()] or None
    return None
