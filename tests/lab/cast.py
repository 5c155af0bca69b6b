"""Who there is: three vendors, their people, the principals they act as, and what they work on."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

ACCOUNT = "111122223333"
REGION = "eu-central-1"
ORG = "aurelia-lab"
START = 1_772_409_600  # 2026-03-02T00:00:00Z
DAY = 86_400
SHARED, VENDOR_ONLY, UNMAPPED, TRAINER = "tessel-batch", "marlow-ingest", "legacy-export", "aurelia-trainer"


@dataclass(frozen=True)
class Size:
    """How large a lab is to be made. `people`: of each vendor. `events`: in all logs together."""

    people: tuple[int, int, int]
    days: int
    events: int
    files_an_hour: int = 1
    objects: int = 40  # in each data set


@dataclass(frozen=True)
class Actor:
    """A principal as a log names it, and whom the truth puts it down to.

    `who`: a person's id; `a|b` for one of several; `vendor:V` where only the vendor is known; `lab`; `?` for an unmapped one.
    `home`: the places whose objects it reads. `key`: the access key that it signs with.
    """

    principal: str
    session: str
    who: str
    vendor: str
    home: tuple[str, ...]
    key: str
    weight: float = 1.0


@dataclass(frozen=True)
class Place:
    """Objects below one prefix. `asset` is what they are a copy of; empty if nobody has said."""

    bucket: str
    prefix: str
    asset: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


PLACES = {
    "sft": Place("orchid-data", "sft/", "orchid-sft-v3"),
    "prefs": Place("orchid-data", "prefs/", "orchid-prefs-v1"),
    "evals": Place("helio-data", "evals/", "helio-evals-v2"),
    "raw": Place("helio-data", "raw/", ""),
    "core": Place("aurelia-core", "weights/", "aurelia-core"),
    "intake": Place("marlow-intake", "batches/", "marlow-intake-v1"),
}
TRAILED = ("orchid-data", "helio-data", "aurelia-core")  # CloudTrail's; marlow-intake has server access logs


def drawn(*parts: object) -> bytes:
    """Bytes that look random and belong to a name."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()


def access_key(prefix: str, name: str) -> str:
    """An access key id as AWS forms them."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return prefix + "".join(letters[b % 32] for b in drawn("key", name)[:16])


def entity(person: str) -> str:
    """Somebody's Vault entity."""
    return str(uuid.UUID(bytes=drawn("entity", person)[:16], version=4))


def login(person: str) -> str:
    """Somebody's GitHub login; GitHub keeps the case and compares without it."""
    vendor, _, handle = person.partition("/")
    return f"{vendor.title()}-{handle}"


def people_of(size: Size) -> dict[str, list[str]]:
    """Vendor -> people."""
    width = len(str(max(size.people)))
    vendors = ("quillwork", "tessel", "marlow")
    return {
        vendor: [f"{vendor}/{vendor[0]}{i:0{width}}" for i in range(1, count + 1)]
        for vendor, count in zip(vendors, size.people, strict=True)
    }


def aws_actors(people: dict[str, list[str]]) -> list[Actor]:
    """Everybody who reads buckets under CloudTrail."""
    role = f"aws:role/{ACCOUNT}"
    found = []
    for i, person in enumerate(people["quillwork"]):
        handle = person.partition("/")[2]
        home = ("sft", "sft", "prefs") if i % 4 == 0 else ("sft",)
        found.append(Actor(f"{role}/quill-annotator", handle, person, "quillwork", home, access_key("ASIA", person)))
    for i, person in enumerate(people["tessel"]):
        handle = person.partition("/")[2]
        home = ("evals", "raw") if i % 3 == 0 else ("evals",)
        found.append(Actor(f"aws:user/{ACCOUNT}/tessel-{handle}", "", person, "tessel", home, access_key("AKIA", person)))
    both = "|".join(people["tessel"][:2])
    many = max(1.0, len(found) / 12)
    return [
        *found,
        Actor(f"{role}/{SHARED}", "batch", both, "tessel", ("evals", "sft"), access_key("ASIA", SHARED), many),
        Actor(f"{role}/{UNMAPPED}", "cron", "?", "", ("prefs", "core"), access_key("ASIA", UNMAPPED), many),
        Actor(f"{role}/{TRAINER}", "run-7", "lab", "", ("sft", "evals", "core"), access_key("ASIA", TRAINER), many),
    ]


def intake_actors(people: dict[str, list[str]]) -> list[Actor]:
    """Everybody in the server access logs of the intake bucket."""
    found = []
    for person in people["marlow"]:
        name = f"marlow-{person.partition('/')[2]}"
        found.append(Actor(f"aws:user/{ACCOUNT}/{name}", "", person, "marlow", ("intake",), access_key("AKIA", person)))
    role = f"aws:role/{ACCOUNT}/{VENDOR_ONLY}"
    return [*found, Actor(role, "sync", "vendor:marlow", "marlow", ("intake",), access_key("ASIA", VENDOR_ONLY), 2.0)]


REPOSITORIES = ("orchid-tools", "helio-eval", "marlow-sync", "infra")
CLONED_BY = {"orchid-tools": "quillwork", "helio-eval": "tessel"}  # whose people; marlow-sync: a deploy key, infra: the lab
DEPLOY_KEY = "SHA256:9uGHc8Yq3sYQ0pQk2mJ6yF1u0aW5b7rTnVxZ4eLdKiM"
LAB_LOGIN = "mira-aurelia"

SECRETS = {  # mount path -> whose people read it; nobody: never touched
    "kv/data/quillwork/annotator": "quillwork",
    "kv/data/tessel/warehouse": "tessel",
    "kv/data/shared/registry": "tessel",
    "kv/data/aurelia/root": "",
}
