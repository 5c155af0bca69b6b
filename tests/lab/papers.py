"""What the lab's own people would write down: the catalog, who is who, IAM policies, and GitHub's collaborators.

The policies and the collaborators' rights allow more than anybody uses; what is used is in the truth.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab import logs
from lab.cast import (
    ACCOUNT,
    CLONED_BY,
    DEPLOY_KEY,
    LAB_LOGIN,
    ORG,
    PLACES,
    REPOSITORIES,
    SHARED,
    TRAINER,
    UNMAPPED,
    VENDOR_ONLY,
    entity,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ROLE = f"aws:role/{ACCOUNT}"
ISSUER = "https://id.example"


def who_toml(people: dict[str, list[str]]) -> str:
    """The mapping: each person's principals, one rule a line; the shared role, the vendor's, the lab's; not the unmapped one."""
    rules: list[dict[str, Any]] = []
    for vendor, members in people.items():
        for person in members:
            handle = person.partition("/")[2]
            if vendor == "quillwork":
                rules.append({"principal": f"{ROLE}/quill-annotator", "session": handle, "person": person})
            else:
                rules.append({"principal": f"aws:user/{ACCOUNT}/{vendor}-{handle}", "person": person})
            if vendor in CLONED_BY.values():
                rules.append({"principal": f"github:{logs.github_name(person)}", "person": person})
                rules.append({"principal": f"vault:entity/{entity(person)}", "person": person})
    rules += [
        {"principal": f"{ROLE}/{SHARED}", "people": people["tessel"][:2]},
        {"principal": f"{ROLE}/{VENDOR_ONLY}", "vendor": "marlow"},
        {"principal": f"github:deploy-key/{DEPLOY_KEY}", "vendor": "marlow"},
        {"principal": f"{ROLE}/{TRAINER}", "lab": True},
        {"principal": f"github:{LAB_LOGIN}", "lab": True},
    ]
    mapped = [{"resource": f"{place.uri}*", "asset": place.asset} for place in PLACES.values() if place.asset]
    return "".join(_table("who", rule) for rule in rules) + "".join(_table("place", place) for place in mapped)


def _table(name: str, row: dict[str, Any]) -> str:
    # A JSON string, a list of them, and true are TOML too.
    return f"[[{name}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items()) + "\n"


def catalog(people: dict[str, list[str]]) -> dict[str, Any]:
    """The import document."""
    vendors = [{"id": v, "name": v.title(), "contact": f"ops@{v}.example"} for v in people]
    mira = {"id": "lab/mira", "issuer": ISSUER, "subject": "mira", "name": "Mira Example", "roles": ["owner", "security"]}
    members = [
        {"id": person, "issuer": ISSUER, "subject": person.partition("/")[2], "name": f"Person {person}"}
        for each in people.values()
        for person in each
    ]
    project_of = {"orchid-data": "orchid", "helio-data": "helio", "aurelia-core": "core", "marlow-intake": "intake"}
    return {
        "vendor": vendors,
        "person": [mira, *members],
        "project": [{"id": p, "title": p.title(), "owner": "lab/mira"} for p in project_of.values()],
        "class": [{"name": "training", "vendors": True}, {"name": "core", "vendors": False}],
        "agreement": [
            {"id": f"msa-{v}", "vendor": v, "digest": "ab" * 32, "valid_from": "2026-01-01", "valid_until": "2036-01-01"}
            for v in people
        ],
        "asset": [
            {
                "id": place.asset,
                "project": project_of[place.bucket],
                "class": "core" if place.asset == "aurelia-core" else "training",
                "tier": "internal",
            }
            for place in PLACES.values()
            if place.asset
        ],
        "grant": [
            {
                "holder": person,
                "project": "orchid",
                "assets": ["orchid-sft-v3", "orchid-prefs-v1"],
                "actions": ["read", "head", "list"],
                "granted_by": "lab/mira",
                "expires": "2036-01-01",
            }
            for person in people["quillwork"]
        ],
    }


def policies(people: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """IAM policy documents by principal, each wider than what its holder does."""
    wide = {
        f"{ROLE}/quill-annotator": _policy(
            ["s3:Get*", "s3:ListBucket"], ["arn:aws:s3:::orchid-data", "arn:aws:s3:::orchid-data/*"]
        ),
        f"{ROLE}/{SHARED}": _policy(["s3:*"], ["arn:aws:s3:::orchid-data*", "arn:aws:s3:::helio-data*"]),
        f"{ROLE}/{VENDOR_ONLY}": _policy(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::marlow-intake/*"]),
    }
    for vendor, bucket in (("tessel", "helio-data"), ("marlow", "marlow-intake")):
        for person in people[vendor]:
            name = f"aws:user/{ACCOUNT}/{vendor}-{person.partition('/')[2]}"
            wide[name] = _policy(["s3:GetObject", "s3:ListBucket"], [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    return wide


def _policy(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resources}]}


def collaborators(people: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Repository -> `GET /repos/ORG/REPO/collaborators`: everybody of a vendor may read both repositories, and uses one."""
    found: dict[str, list[dict[str, Any]]] = {name: [_collaborator(LAB_LOGIN, "admin")] for name in REPOSITORIES}
    for vendor in CLONED_BY.values():
        for person in people[vendor]:
            for repository in CLONED_BY:
                found[repository].append(_collaborator(logs.github_name(person), "write"))
    return found


def _collaborator(login: str, role: str) -> dict[str, Any]:
    may = ("pull", "triage", "push", "maintain", "admin")
    reach = {"read": 1, "write": 3, "admin": 5}[role]
    return {"login": login, "id": 1, "type": "User", "permissions": {p: i < reach for i, p in enumerate(may)}, "role_name": role}


def narrow(people: dict[str, list[str]], used: dict[str, set[tuple[str, str]]]) -> dict[str, set[tuple[str, str]]]:
    """By principal of a vendor, the narrowest scope that loses nothing: IAM actions with patterns, or rights in repositories.

    Of all that the papers grant: what no paper grants, no proposal may add.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for principal in policies(people):
        scope = found[principal] = set()
        lists = principal.rpartition("/")[2] != VENDOR_ONLY  # the one policy that does not allow it
        for action, resource in used.get(principal, ()):
            bucket, _, key = resource.removeprefix("s3://").partition("/")
            if action in {"read", "head"}:
                scope.add(("s3:GetObject", f"arn:aws:s3:::{bucket}/{key.partition('/')[0]}/*"))
            elif action == "list" and lists:
                scope.add(("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    for vendor in CLONED_BY.values():
        for person in people[vendor]:
            principal = f"github:{logs.github_name(person)}"
            did = used.get(principal, set())
            rights = {
                repository: {action for action, where in did if where.endswith(f"/{repository}")} for repository in CLONED_BY
            }
            found[principal.lower()] = {
                (f"{ORG}/{repository}", "push" if "push" in actions else "pull")
                for repository, actions in rights.items()
                if actions
            }
    return found


def write(folder: Path, people: dict[str, list[str]]) -> None:
    """All of it as files."""
    (folder / "who.toml").write_text(who_toml(people))
    (folder / "catalog.json").write_text(json.dumps(catalog(people), indent=1))
    unmapped = {f"{ROLE}/{UNMAPPED}": _policy(["s3:GetObject"], ["*"])}
    for principal, document in {**policies(people), **unmapped}.items():
        path = folder / "iam" / f"{principal.rpartition('/')[2]}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1))
    for repository, list_ in collaborators(people).items():
        path = folder / "collaborators" / ORG / f"{repository}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list_, indent=1))
