"""The official JSON schemas of CycloneDX 1.2 to 1.7, the strict ones where there are two, as they lie in an installed package.

They come with `cyclonedx-python-lib` (the extra `limen[bom]`), of which nothing else is used and nothing is imported. Schemas
refer to each other by address; every one of them is at hand, and nothing is fetched. Times and addresses are checked too
(`format`), as the specification means them to be.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, Unsupported
from limen.formats.cyclonedx import VERSIONS

if TYPE_CHECKING:
    import jsonschema_rs

_STRICT: Final = frozenset({"1.2", "1.3"})
_BESIDE: Final = ("spdx", "jsf-0.82", "cryptography-defs")
_BASE: Final = "http://cyclonedx.org/schema/"
_LONGEST: Final = 400  # characters of a reason


def fault(document: dict[str, Any]) -> str:
    """Why a document is not valid CycloneDX of the version that it claims: where, and which rule; empty if it is valid.

    Values of the document do not appear in the reason, since it is logged: where and which rule is enough to find them.
    """
    spec = document.get("specVersion")
    if spec not in VERSIONS:
        return f"specVersion: is none of {', '.join(VERSIONS)}"
    validator = _validator(spec)
    try:
        error = None if validator.is_valid(document) else next(iter(validator.iter_errors(document)), None)
    except ValueError as e:  # a number that the validator has no type for
        return f"holds a value that can't be checked: {str(e)[:100]}"
    if error is None:
        return ""
    where = "".join(f"[{each}]" if isinstance(each, int) else f".{each[:60]}" for each in error.instance_path).lstrip(".")
    return f"{where or 'the document'}: {error.message}"[:_LONGEST]


def folder() -> Path:
    """Where the schemas lie; Unsupported, with what to install, if they don't."""
    found = importlib.util.find_spec("cyclonedx")
    if found is None or found.origin is None:
        raise Unsupported(
            "bills of material are checked against the official schemas, which come with `pip install 'limen[bom]'`"
        )
    return Path(found.origin).parent / "schema" / "_res"


@cache
def _validator(spec: str) -> jsonschema_rs.Draft7Validator:
    import jsonschema_rs  # noqa: PLC0415  a start of the gateway does not need it

    beside = [(f"{_BASE}{name}.SNAPSHOT.schema.json", _schema(name)) for name in _BESIDE]
    return jsonschema_rs.Draft7Validator(
        _schema(f"bom-{spec}{'-strict' if spec in _STRICT else ''}"),
        registry=jsonschema_rs.Registry(beside, draft=jsonschema_rs.Draft7, retriever=_never),
        retriever=_never,
        validate_formats=True,
        mask="the value",
    )


def _schema(name: str) -> Any:
    path = folder() / f"{name}.SNAPSHOT.schema.json"
    try:
        return json.loads(path.read_bytes())
    except OSError as e:
        raise Unsupported(f"the schema {path.name} is missing from cyclonedx-python-lib; install it again: {e.strerror}") from e


def _never(address: str) -> Any:
    raise Invalid("schema", f"{address} is not at hand, and nothing is fetched")
