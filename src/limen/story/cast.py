"""Who is in the story, what they hold, and its calendar. Day 0, the pause, is 2 April 2026, 09:00 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

READS: Final = ["read", "head", "list"]
DROPS: Final = ["list", "head", "write", "delete"]
QUILL: Final = tuple(f"quillwork/q{i:02}" for i in range(1, 13))
READERS: Final = (*QUILL, "quillwork/ci")
OTHERS: Final = ("lexara/l01", "tessel/t01")
FROM, UNTIL = "2020-01-01", "2040-01-01"
DAY_0: Final = datetime(2026, 4, 2, tzinfo=UTC)
SFT, GUIDE, JUDGE = "orchid-sft-v3/train.jsonl", "orchid-guide-v7/guide.md", "orchid-judge-prompts/prompts.jsonl"
PREFS, CONFIGS, CORE = "helio-prefs-v2/prefs.jsonl", "helio-run-configs/run.toml", "aurelia-core/weights.bin"
DROP: Final = "quill-assessments"
COMPROMISE: Final = (-9, "11:02")


def at(day: int, clock: str) -> int:
    """A moment of the story, in microseconds since 1970."""
    hours, minutes = clock.split(":")
    moment = DAY_0 + timedelta(days=day, hours=int(hours), minutes=int(minutes))
    return int(moment.timestamp()) * 1_000_000


def written(day: int, clock: str) -> str:
    """The same moment as RFC 3339 text."""
    return datetime.fromtimestamp(at(day, clock) / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_weekday(day: int) -> bool:
    """Whether a day of the story is one on which people work."""
    return (DAY_0 + timedelta(days=day)).weekday() < 5  # noqa: PLR2004  Monday to Friday


def onboarding(issuer: str) -> dict[str, Any]:
    """Day -60: vendors, the lab's own people, projects and assets. Nobody has signed yet."""
    vendors = ("quillwork", "lexara", "tessel", "brightfold", "oakline")
    return {
        "vendor": [{"id": v, "name": v.title(), "contact": f"security@{v}.example"} for v in vendors],
        "person": [
            {**_person("lab/mira", issuer), "roles": ["owner", "security"]},
            {**_person("lab/noor", issuer), "roles": ["legal", "privacy"]},
        ],
        "project": [{"id": p, "title": p.title(), "owner": "lab/mira"} for p in ("orchid", "helio")],
        "class": [{"name": "training", "vendors": True}, {"name": "core", "vendors": False}],
        "asset": [
            _asset("orchid-sft-v3", "orchid", "confidential"),
            _asset("orchid-guide-v7", "orchid", "internal"),
            _asset("orchid-judge-prompts", "orchid", "confidential"),
            {**_asset(DROP, "orchid", "confidential"), "kind": "drop"},
            {**_asset("aurelia-core", "orchid", "restricted"), "class": "core"},
            _asset("helio-prefs-v2", "helio", "confidential"),
            _asset("helio-run-configs", "helio", "internal"),
        ],
    }


def joining(issuer: str) -> dict[str, Any]:
    """Day -59: people join; quillwork's CI gets a sponsor. Still no agreement."""
    people = [*QUILL, *OTHERS, "brightfold/b01", "oakline/o01"]
    return {
        "person": [_person(p, issuer) for p in people],
        "workload": [{"id": "quillwork/ci", "issuer": issuer, "subject": "ci", "sponsor": "quillwork/q11"}],
    }


def grants() -> dict[str, Any]:
    """What each may read, and the drop box that quillwork's people may write to."""
    datasets = ["orchid-sft-v3", "orchid-guide-v7"]
    first = ["quillwork/q11", "quillwork/q03"]  # canaries go by the order of the first grant
    return {
        "grant": [
            *(_grant(p, "orchid", ["orchid-judge-prompts"], READS) for p in first),
            *(_grant(p, "orchid", datasets, READS) for p in (*READERS, *OTHERS)),
            *(_grant(p, "orchid", [DROP], DROPS) for p in QUILL),
            _grant("tessel/t01", "helio", ["helio-prefs-v2", "helio-run-configs"], READS),
        ],
    }


def agreements() -> dict[str, Any]:
    """What was signed: by all but oakline."""
    vendors = ("quillwork", "lexara", "tessel", "brightfold")
    return {
        "agreement": [
            {"id": f"msa-{v}", "vendor": v, "digest": "ab" * 32, "valid_from": FROM, "valid_until": UNTIL} for v in vendors
        ]
    }


def barred() -> dict[str, Any]:
    """A grant that nobody may make: a vendor's person on an asset of a class without vendors."""
    return {"grant": [_grant("quillwork/q05", "orchid", ["aurelia-core"], READS)]}


def _person(id_: str, issuer: str) -> dict[str, Any]:
    return {"id": id_, "issuer": issuer, "subject": id_.partition("/")[2], "name": f"Person {id_}"}


def _asset(id_: str, project: str, tier: str) -> dict[str, Any]:
    return {"id": id_, "project": project, "class": "training", "tier": tier}


def _grant(holder: str, project: str, assets: list[str], actions: list[str]) -> dict[str, Any]:
    common = {"holder": holder, "project": project, "granted_by": "lab/mira", "expires": UNTIL}
    return {**common, "assets": assets, "actions": actions}
