"""Reads a BOM again that was judged when it was filed: of its JSON only what `cyclonedx.read` looks at is made.

Most of a BOM are properties, licences and references that nobody here asks for; leaving them out makes reading again three
times as fast. What is read is the same: whatever has another type than is expected here is read whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from limen.assurance.bom.quiet import collector_still
from limen.formats import cyclonedx

if TYPE_CHECKING:
    from limen.formats.cyclonedx import Document


class _Hash(TypedDict, total=False):
    alg: Any
    content: Any


class _Occurrence(TypedDict, total=False):
    location: Any


class _Evidence(TypedDict, total=False):
    occurrences: list[_Occurrence]


_Component = TypedDict(
    "_Component",
    {
        "bom-ref": Any,
        "type": Any,
        "group": Any,
        "name": Any,
        "version": Any,
        "purl": Any,
        "scope": Any,
        "isExternal": Any,
        "hashes": list[_Hash],
        "evidence": _Evidence,
        "components": list["_Component"],
    },
    total=False,
)


class _Metadata(TypedDict, total=False):
    timestamp: Any
    component: _Component
    tools: Any


class _Bom(TypedDict, total=False):
    specVersion: Any
    serialNumber: Any
    version: Any
    metadata: _Metadata
    components: list[_Component]
    services: Any
    compositions: Any
    formulation: Any


_decoder: Final = msgspec.json.Decoder(_Bom)
_MARK: Final = b"\xef\xbb\xbf"  # of the byte order, which some programs write


def read_again(raw: bytes) -> Document:
    """What a BOM says that was judged good. ValueError, RecursionError or Invalid for bytes that can't have been."""
    raw = raw.removeprefix(_MARK)
    with collector_still():
        try:
            found: Any = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            found = json.loads(raw)
        return cyclonedx.read(found if isinstance(found, dict) else {})
