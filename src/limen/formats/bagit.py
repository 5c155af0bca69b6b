"""Bags: a directory whose every byte is named by a manifest. RFC 8493 (BagIt 1.0), SHA-256 only, no fetch list.

Pure: a bag is a mapping of path to bytes, written and read whole. Paths are plain: ASCII letters, digits and `._-` between
slashes, so that none needs escaping in a manifest, none leaves the directory, and no two are one on another system.
`sha256sum -c manifest-sha256.txt` and `sha256sum -c tagmanifest-sha256.txt` check a bag, and so does any BagIt program.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DECLARATION: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST: Final = "manifest-sha256.txt"
TAG_MANIFEST: Final = "tagmanifest-sha256.txt"
PAYLOAD: Final = "data/"
_PATH: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([^\r\n]+)")
_LABEL: Final = re.compile(r"[A-Za-z0-9-]+")


def bag(payload: Mapping[str, bytes], info: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """Every file of the bag by path, in order: the payload under `data/`, and what describes it. Deterministic."""
    if not payload:
        raise Invalid("bag", "has no payload")
    files = {PAYLOAD + path: raw for path, raw in payload.items()}
    check_paths(files)
    octets = sum(map(len, payload.values()))
    tags = {
        "bag-info.txt": _info([*info, ("Payload-Oxum", f"{octets}.{len(payload)}")]),
        "bagit.txt": DECLARATION,
        MANIFEST: manifest(files),
    }
    return dict(sorted({**files, **tags, TAG_MANIFEST: manifest(tags)}.items()))


def check(files: Mapping[str, bytes], *, beside: Iterable[str] = ()) -> None:
    """Pass in silence if these files are a whole bag and no more; Invalid names the first that is missing, other or too many.

    `beside` are files that no manifest names: signatures of the tag manifest, which can't name them.
    """
    check_paths(files)
    for name in ("bagit.txt", MANIFEST, TAG_MANIFEST):
        if name not in files:
            raise Invalid("bag", f"has no {name}")
    if files["bagit.txt"] != DECLARATION:
        raise Invalid("bagit.txt", "is not that of BagIt 1.0 in UTF-8")
    tags, payload = read_manifest(files[TAG_MANIFEST]), read_manifest(files[MANIFEST])
    if any(path.startswith(PAYLOAD) for path in tags) or not all(path.startswith(PAYLOAD) for path in payload):
        raise Invalid("manifest", f"{PAYLOAD} is the payload's, and the payload's alone")
    for path, digest in {**payload, **tags}.items():
        if path not in files:
            raise Invalid(path, "is in a manifest, and not in the bag")
        if hashlib.sha256(files[path]).hexdigest() != digest:
            raise Invalid(path, "is not what its manifest names")
    extra = files.keys() - payload.keys() - tags.keys() - {TAG_MANIFEST, *beside}
    if extra:
        raise Invalid(min(extra), "is in the bag, and in no manifest")


def manifest(files: Mapping[str, bytes]) -> bytes:
    """The digests of some files, a line each, by path: the form that `sha256sum` writes."""
    lines = [f"{hashlib.sha256(raw).hexdigest()}  {path}\n" for path, raw in sorted(files.items())]
    return "".join(lines).encode()


def read_manifest(raw: bytes) -> dict[str, str]:
    """Path to digest; Invalid for a line that is none, or a path that stands there twice."""
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as e:
        raise Invalid("manifest", "is not UTF-8") from e
    if lines.pop():
        raise Invalid("manifest", "its last line has no newline")
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise Invalid(f"manifest line {number}", "is not a SHA-256 in small hex letters, two spaces and a path")
        digest, path = match.groups()
        if path in found:
            raise Invalid(f"manifest line {number}", f"{path} stands there twice")
        found[path] = digest
    return found


def check_paths(paths: Iterable[str]) -> None:
    """Invalid for a path that a manifest would have to escape, that leaves the bag, or that some system reads as another's."""
    seen: dict[str, str] = {}
    for path in paths:
        if not _PATH.fullmatch(path):
            raise Invalid("path", f"{path!a} can't be in a bag: letters, digits and ._- only, between slashes")
        other = seen.setdefault(path.lower(), path)
        if other != path:
            raise Invalid("path", f"{path} and {other} are one path where capitals don't count")


def _info(pairs: Sequence[tuple[str, str]]) -> bytes:
    for label, value in pairs:
        if not _LABEL.fullmatch(label) or "\n" in value or "\r" in value:
            raise Invalid("bag-info.txt", f"{label!a} is no label, or its value has more than one line")
    return "".join(f"{label}: {value}\n" for label, value in pairs).encode()
