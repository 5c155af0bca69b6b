"""The story's papers: bills of material, advisory records, a contract. All written here, nothing copied.

The advisory records hold the public facts of 24 to 26 March 2026 and no more: which versions of which package, named when,
under which ids. Bills of material are CycloneDX 1.6; a vendor's are versions of one serial number.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from limen.assurance import profile
from limen.story import cast

MAL, PYSEC, GHSA = "MAL-2026-2144", "PYSEC-2026-2", "GHSA-5mg7-485q-xm76"
QUIET: Final = "AURELIA-2026-"  # records of the story's own, about a package that does not exist
SOURCE: Final = "osv-mirror"
WITH_BOMS: Final = ("quillwork", "lexara", "tessel", "brightfold")
WEEK: Final = tuple(range(-60, 8, 7))
WEEKLY_AT: Final = "08:00"
INCIDENT: Final = "litellm-2026-03"
STATIC_KEYS: Final = (("orchid-deploy", "deploy-key"), ("quill-webhook", "webhook-secret"))
# How long the packages could be had from PyPI on 24 March, from 10:39 on: the sources don't agree, and all are kept.
WINDOWS: Final = (("litellm: about 40 minutes", "11:19"), ("PyPI: 2 h 32 min", "13:11"), ("litellm's advice to others", "16:00"))
TOLD: Final = -2  # the day on which quillwork says so itself
STARTS, UNTIL, ENDS = "2026-02-02", "2026-04-10", "2026-05-10"  # of quillwork's contract; UNTIL: notice is due then


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


def contract() -> str:
    """Quillwork's contract: the profile that limen ships, with its first lines filled in."""
    return profile.contract({"contract": "quillwork-2026", "vendor": "quillwork", "starts": STARTS, "ends": ENDS})


def clawback() -> Decimal:
    """What quillwork owes on day +7, counted again by hand, by the dearest clause of each day that was over.

    Two static keys cost 0.10 % of the monthly fee a day once 14 days to cure it had passed, from day -44 to -9. From day -8, the
    first that began with a malicious component, an unsaid incident and its keys older than 24 hours, it is 1.00 %: until the
    notice for three clauses, then for the keys, which nobody has replaced. No month reaches its cap of 20 %.
    """
    fee, static, incident = Decimal("120000.00"), len(range(-44, -8)), len(range(-8, 7))
    return (fee * (static * Decimal("0.10") + incident * Decimal("1.00")) / 100).quantize(Decimal("0.01"))


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
    """What comes every week: a bill of materials of each vendor that sends any, and a feed with nothing new for anybody."""
    number, effective = WEEK.index(day) + 1, cast.written(day, WEEKLY_AT)
    boms = [fresh(v, effective=effective, litellm=litellm_of(v, day), number=number) for v in WITH_BOMS]
    quiet = _record(f"{QUIET}{number}", effective, effective, ["0.1"], [], package="nobody-runs-this")
    return [*boms, feed([quiet])]


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


def feed(records: list[dict[str, Any]]) -> Paper:
    """A feed of advisories that nobody signed."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    return Paper("advisory.feed", lines.encode(), {"source": SOURCE})


def advisory(revision: int) -> list[dict[str, Any]]:
    """The records of one moment: 1 (24 March, 11:15), 2 (22:11), 3 (the 26th: three ids for one thing)."""
    first, second, merged = "2026-03-24T11:15:14Z", "2026-03-24T22:11:32Z", "2026-03-26T09:53:17Z"
    if revision == 1:
        return [_record(MAL, first, first, ["1.82.8"], [])]
    if revision == 2:  # noqa: PLR2004  the second of three
        return [_record(MAL, second, first, ["1.82.7", "1.82.8"], [])]
    both = ["1.82.7", "1.82.8"]
    return [
        _record(MAL, merged, first, both, [PYSEC]),
        _record(PYSEC, merged, first, both, [MAL, GHSA]),
        _record(GHSA, merged, first, both, [PYSEC]),
    ]


def _record(
    id_: str, modified: str, published: str, versions: list[str], aliases: list[str], *, package: str = "litellm"
) -> dict[str, Any]:
    return {
        "schema_version": "1.7.4",
        "id": id_,
        "modified": modified,
        "published": published,
        "aliases": aliases,
        "summary": f"{package} on PyPI carries code that steals credentials",
        "affected": [{"package": {"ecosystem": "PyPI", "name": package}, "versions": versions}],
    }
