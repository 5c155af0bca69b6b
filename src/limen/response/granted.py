"""What other systems say that they granted, read from documents their own tools print: IAM policies, GitHub's collaborators.

Grade *evidence*: a document says so, limen has not seen it hold. Read as they come, changed nowhere; what can't be read is
named, and nothing is then said about it.

IAM: the answer of `aws iam get-account-authorization-details` (IAM API 2010-05-08), or a directory of policy documents
named after their user or role: `NAME.json`, or `user/ACCOUNT/NAME.json` where names are not unique. GitHub: the answer of
`GET /repos/OWNER/REPO/collaborators` (REST API 2022-11-28), as `OWNER/REPO.json` below a directory.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from limen.core.errors import Invalid
from limen.formats import iampolicy
from limen.response.narrowing import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from limen.formats.iampolicy import Policy

LARGEST: Final = 256 << 20
_ROLE_NAMES: Final = {"read": "pull", "write": "push"}
_DETAILS: Final = (
    ("UserDetailList", "user", "UserName", "UserPolicyList"),
    ("RoleDetailList", "role", "RoleName", "RolePolicyList"),
)


@dataclass(slots=True)
class Paper:
    """What is granted to one IAM user or role by identity policies, its tags, and what stays open."""

    principal: str
    policies: list[Policy] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    cannot_say: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The user's name as policies know it; empty for a role."""
        return self.principal.rpartition("/")[2] if self.principal.startswith("aws:user/") else ""


@dataclass(slots=True)
class Papers:
    """All of it: by principal, and (login, repository) to role. `unread` says in words what was left out."""

    iam: dict[str, Paper] = field(default_factory=dict)
    roles: dict[tuple[str, str], str] = field(default_factory=dict)
    repositories: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)


def read(iam: Path | None, collaborators: Path | None, *, principals: Iterable[str]) -> Papers:
    """Read the documents. `principals` are those known from logs and mapping: a document named `NAME` alone is theirs."""
    papers = Papers()
    if iam is not None:
        _iam(papers, iam, set(principals))
    if collaborators is not None:
        _collaborators(papers, collaborators)
    return papers


def details(document: object) -> dict[str, Paper]:
    """Users and roles of `get-account-authorization-details`, with the policies of their own, of groups, and attached ones."""
    if not isinstance(document, dict) or not {row[0] for row in _DETAILS} & document.keys():
        raise Invalid("--iam", "is not what `aws iam get-account-authorization-details` prints")
    managed = {row["Arn"]: _default(row) for row in document.get("Policies", ())}
    groups = {row["GroupName"]: row for row in document.get("GroupDetailList", ())}
    found: dict[str, Paper] = {}
    for section, kind, name_key, inline in _DETAILS:
        for row in document.get(section, ()):
            paper = Paper(f"aws:{kind}/{row['Arn'].split(':')[4]}/{row[name_key]}")
            paper.tags = {str(tag["Key"]): str(tag["Value"]) for tag in row.get("Tags", ())}
            sources = [(row, inline), *((groups.get(g, {}), "GroupPolicyList") for g in row.get("GroupList", ()))]
            for source, list_ in sources:
                paper.policies += [_policy(each["PolicyDocument"], each["PolicyName"]) for each in source.get(list_, ())]
                for attached in source.get("AttachedManagedPolicies", ()):
                    policy = managed.get(attached["PolicyArn"])
                    paper.policies.append(
                        policy
                        or iampolicy.Policy(attached["PolicyName"], (), (f"{attached['PolicyArn']} is not in the document",))
                    )
            if boundary := row.get("PermissionsBoundary"):
                paper.cannot_say.append(f"its boundary {boundary.get('PermissionsBoundaryArn')} may take some of it away")
            found[paper.principal] = paper
    return found


def _iam(papers: Papers, path: Path, principals: set[str]) -> None:
    if path.is_file():
        try:
            papers.iam = details(_json(path))
        except (KeyError, TypeError, AttributeError, IndexError) as e:
            raise Invalid(str(path), f"is not what `aws iam get-account-authorization-details` prints ({e!r})") from e
        return
    for file in sorted(path.rglob("*.json")):
        place = file.relative_to(path).with_suffix("").as_posix()
        named = _named(place, principals)
        if len(named) != 1:
            why = "names no user or role that is known here" if not named else f"may be any of {', '.join(sorted(named))}"
            papers.unread.append(f"{file.name}: {why}; it was left out")
            continue
        principal = named.pop()
        papers.iam.setdefault(principal, Paper(principal)).policies.append(_policy(_json(file), file.name))


def _named(place: str, principals: set[str]) -> set[str]:
    """Whose document it is: `user/ACCOUNT/NAME` says it; a name alone, whoever is known to have it."""
    if place.count("/") > 1:
        return {f"aws:{place}"}
    return {p for p in principals if p.startswith(("aws:user/", "aws:role/")) and p.endswith(f"/{place}")}


def _collaborators(papers: Papers, path: Path) -> None:
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    for file in files:
        repository = "/".join(file.with_suffix("").parts[-2:])
        answer = _json(file)
        if not isinstance(answer, list):
            papers.unread.append(f"{file.name} is not a list of collaborators; it was left out")
            continue
        papers.repositories.add(repository)
        for row in answer:
            role = _role(row) if isinstance(row, dict) and isinstance(row.get("login"), str) else None
            if role is None:
                papers.unread.append(f"{repository}: a collaborator without a login or a known right; left out")
            else:
                papers.roles[row["login"], repository] = role


def _role(row: dict[str, Any]) -> str | None:
    """The highest right that the answer tells."""
    told = row.get("permissions")
    if isinstance(told, dict):
        return next((role for role in reversed(ROLES) if told.get(role) is True), None)
    name = _ROLE_NAMES.get(str(row.get("role_name")), str(row.get("role_name")))
    return name if name in ROLES else None


def _policy(document: object, name: str) -> Policy:
    if isinstance(document, str):  # as the API itself answers: percent-encoded JSON
        try:
            document = json.loads(unquote(document))
        except ValueError:
            return iampolicy.Policy(name, (), (f"{name} is not JSON",))
    return iampolicy.read(document, name)


def _default(row: dict[str, Any]) -> Policy:
    """A managed policy in its default version."""
    name = str(row.get("PolicyName", row["Arn"]))
    for version in row.get("PolicyVersionList", ()):
        if version.get("IsDefaultVersion"):
            return _policy(version.get("Document"), name)
    return iampolicy.Policy(name, (), (f"{name} has no default version in the document",))


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid(str(path), f"is larger than {LARGEST >> 20} MiB")
        return json.loads(path.read_bytes())
    except OSError as e:
        raise Invalid(str(path), f"can't be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise Invalid(str(path), "is not JSON") from e


def holders_of(roles: dict[tuple[str, str], str]) -> dict[str, dict[str, str]]:
    """Login -> repository -> role."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for (login, repository), role in roles.items():
        found[login][repository] = role
    return found
