"""The story's papers: bills of material in CycloneDX 1.6, all written here. A vendor's are versions of one serial number."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from limen.story import cast

WITH_BOMS: Final = ("quillwork", "lexara", "tessel", "brightfold")
WEEK: Final = tuple(range(-60, 8, 7))
WEEKLY_AT: Final = "08:00"


@dataclass(frozen=True, slots=True)
class Paper:
    """One document on its way to limen: the verb that takes it, its bytes, and what is said with it."""

    verb: str
    raw: bytes = field(repr=False)
    args: dict[str, Any]


_COMMON: Final = (
    ("boto3", "1.42.9"),
    ("fastapi", "0.121.0"),
    ("httpx", "0.28.1"),
    ("jinja2", "3.1.6"),
    ("openai", "2.7.1"),
    ("pandas", "2.3.3"),
    ("pydantic", "2.12.4"),
    ("tiktoken", "0.12.0"),
    ("uvicorn", "0.38.0"),
)
_SPACE: Final = uuid.UUID("0a6a2f0e-7d0e-4a58-9b6f-54f4f2d9a001")


def bom(vendor: str, *, number: int, effective: str, litellm: str | None) -> bytes:
    """A vendor's bill of materials: complete by its own word, effective at an RFC 3339 time."""
    components = [_component(name, version, "/srv/annotate/.venv") for name, version in _COMMON]
    if litellm is not None:
        components.append(_component("litellm", litellm, "/srv/annotate/.venv"))
    platform = f"urn:vendor:{vendor}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, vendor)}",
        "version": number,
        "metadata": {
            "timestamp": effective,
            "component": {"type": "platform", "bom-ref": platform, "name": vendor},
        },
        "components": components,
        "services": [_labelling(vendor)],
        "compositions": [{"aggregate": "complete", "assemblies": [platform]}],
    }
    return json.dumps(document, indent=1).encode()


def _component(name: str, version: str, place: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "evidence": {"occurrences": [{"location": f"{place}/{name}"}]},
    }


def _labelling(vendor: str) -> dict[str, Any]:
    """Where the lab's training assets go at the vendor: its own labelling service."""
    return {
        "bom-ref": f"{vendor}-annotate",
        "provider": {"name": vendor},
        "name": "annotate",
        "authenticated": True,
        "x-trust-boundary": True,
        "data": [{"flow": "inbound", "classification": "training"}],
    }


def weekly(day: int) -> list[Paper]:
    """The bill of materials of each vendor that sends any, as it comes every week."""
    number, effective = WEEK.index(day) + 1, cast.written(day, WEEKLY_AT)
    return [fresh(v, effective=effective, litellm=litellm_of(v, day), number=number) for v in WITH_BOMS]


def fresh(vendor: str, *, effective: str, litellm: str | None, number: int) -> Paper:
    """One bill of materials on its way."""
    return Paper("bom.add", bom(vendor, number=number, effective=effective, litellm=litellm), {"vendor": vendor})


def litellm_of(vendor: str, day: int) -> str | None:
    """Which version of litellm a vendor's weekly bill of materials lists on a day of the story."""
    if vendor == "tessel":
        return None
    bad = {"quillwork": ("1.82.8", -9, -2), "brightfold": ("1.82.7", -9, 3)}.get(vendor)
    if bad and day > bad[1]:
        return bad[0] if day < bad[2] else "1.83.0"
    return "1.82.6"
