"""The narrower scope: what is left of a grant when all that nobody used is taken away. Pure; `audit` says over which time.

Three kinds of grant, one promise: a proposal allows everything in `uses` that the grant allowed, and nothing that the
grant did not. `audit` replays every use against the proposal to show the first; a property test holds both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from limen.formats.iampolicy import escaped, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.core.types import Action, Grant
    from limen.formats.iampolicy import Policy, Statement

MOST_PREFIXES: Final = 8  # in one bucket; where there are more, they are joined at a shallower level
ARN: Final = "arn:aws:s3:::"
ROLES: Final = ("pull", "triage", "push", "maintain", "admin")  # GitHub's, each with all rights of those before it

Use = tuple[str, str]  # IAM action and ARN


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A narrowed policy document; and the uses that no statement of the old one allows: they rest on other grants."""

    document: dict[str, Any]
    elsewhere: tuple[Use, ...]


# --- limen's own grants


def narrow_grant(grant: Grant, uses: Iterable[tuple[str, Action]], *, expires_at: int) -> list[Grant]:
    """The grants that replace one of limen's: its used assets, those with the same used actions together."""
    by_asset: dict[str, set[Action]] = defaultdict(set)
    for asset, action in uses:
        if action in grant.actions and ("*" in grant.assets or asset in grant.assets):
            by_asset[asset].add(action)
    by_actions: dict[frozenset[Action], set[str]] = defaultdict(set)
    for asset, actions in by_asset.items():
        by_actions[frozenset(actions)].add(asset)
    until = min(grant.expires_at, expires_at)
    narrowed = [
        replace(grant, assets=frozenset(assets), actions=actions, expires_at=until) for actions, assets in by_actions.items()
    ]
    return sorted(narrowed, key=lambda one: sorted(one.assets))


def allowed(grants: Iterable[Grant], asset: str, action: Action) -> bool:
    """Whether one of these grants is about an asset and an action."""
    return any(action in g.actions and ("*" in g.assets or asset in g.assets) for g in grants)


# --- IAM policies


def narrow_policies(policies: list[Policy], uses: Iterable[Use], *, keeps: Callable[[str], bool], name: str = "") -> Narrowed:
    """The policies as one document in which what logs tell of is narrowed to its uses, and all else stands as it was.

    `keeps` says of an S3 resource pattern that nothing is known of its use: then it stays.
    """
    left = set(uses)
    allows = sorted((s for p in policies for s in p.statements if s.allow), key=lambda s: s.condition is not None)
    rows: list[dict[str, Any]] = []
    for statement in allows:
        mine = {use for use in left if statement.matches(*use, name=name)}
        left -= mine
        rows += _narrowed(statement, mine, keeps=keeps, name=name)
    rows += [s.to_json() for p in policies for s in p.statements if not s.allow]
    return Narrowed({"Version": "2012-10-17", "Statement": rows}, tuple(sorted(left)))


def _narrowed(statement: Statement, uses: set[Use], *, keeps: Callable[[str], bool], name: str) -> list[dict[str, Any]]:
    """One Allow: its uses by prefix, and what of it no log tells of."""
    rows = []
    told = {"Effect": "Allow"}
    condition = {"Condition": statement.condition} if statement.condition else {}
    by_resources: dict[tuple[str, ...], set[str]] = defaultdict(set)
    by_action: dict[str, set[str]] = defaultdict(set)
    for action, resource in uses:
        by_action[action].add(resource)
    for action, resources in by_action.items():
        by_resources[tuple(sorted(_patterns(statement, resources, name=name)))].add(action)
    for patterns, actions in sorted(by_resources.items()):
        rows.append({**told, "Action": sorted(actions), "Resource": list(patterns), **condition})
    kept = [p for p in statement.resources if keeps(p)] if "Resource" not in statement.inverted else []
    if kept and any(_of_s3(p) for p in statement.actions) and "Action" not in statement.inverted:
        actions_kept = [p for p in statement.actions if _of_s3(p)]
        rows.append({**told, "Action": actions_kept, "Resource": kept, **condition})
    if not _only_s3(statement):
        rows += _rest(statement)
    return rows


def _rest(statement: Statement) -> list[dict[str, Any]]:
    """The part of an Allow that is about other services than S3."""
    if "Action" in statement.inverted:
        return [replace(statement, actions=(*statement.actions, "s3:*")).to_json()]
    if any(p.partition(":")[0] == "*" for p in statement.actions):
        outside = replace(statement, actions=("s3:*",), inverted=statement.inverted | {"Action"})
        return [outside.to_json()]
    others = tuple(p for p in statement.actions if not _of_s3(p))
    return [replace(statement, actions=others).to_json()] if others else []


def _of_s3(pattern: str) -> bool:
    """Whether an action pattern reaches S3's actions."""
    return pattern.partition(":")[0].lower() in {"*", "s3"}


def _only_s3(statement: Statement) -> bool:
    return "Action" not in statement.inverted and all(p.lower().startswith("s3:") for p in statement.actions)


def _patterns(statement: Statement, resources: set[str], *, name: str) -> set[str]:
    """Patterns that match these resources and nothing that the statement does not."""
    by_bucket: dict[str, set[str]] = defaultdict(set)
    found: set[str] = set()
    for resource in resources:
        bucket, slash, key = resource.removeprefix(ARN).partition("/")
        if slash:
            by_bucket[bucket].add(key)
        else:
            found.add(escaped(resource))
    for bucket, keys in by_bucket.items():
        for prefix in prefixes(keys):
            begin = f"{ARN}{bucket}/{prefix}"
            if _reaches_all(statement, begin):
                found.add(f"{escaped(begin)}*")
                continue
            mine = [f"{ARN}{bucket}/{key}" for key in keys if key.startswith(prefix)]
            found |= _given(statement, mine, name=name)
    return found


def _reaches_all(statement: Statement, begin: str) -> bool:
    """Whether it surely reaches everything that begins so."""
    if "Resource" in statement.inverted:
        heads = [pattern[: _wild(pattern)] for pattern in statement.resources]
        return not any(head.startswith(begin) or begin.startswith(head) for head in heads)
    return any(
        pattern.endswith("*") and _wild(pattern) == len(pattern) - 1 and begin.startswith(pattern[:-1])
        for pattern in statement.resources
    )


def _given(statement: Statement, resources: list[str], *, name: str) -> set[str]:
    """The statement's own patterns that these resources need; or they themselves, where it gives none but exceptions."""
    if "Resource" in statement.inverted:
        return {escaped(resource) for resource in resources}
    found = set()
    for resource in resources:
        found.add(next(p for p in statement.resources if statement.reaches(p, resource, name=name)))
    return found


def _wild(pattern: str) -> int:
    """Where its first wildcard or variable stands."""
    return min((i for i in (pattern.find(c) for c in "*?$") if i >= 0), default=len(pattern))


def prefixes(keys: Iterable[str], *, most: int = MOST_PREFIXES) -> list[str]:
    """The folders of these keys (`a/b/`; empty for the top), none within another; at most so many, else shallower ones."""
    folders = {tuple(key.split("/")[:-1]) for key in keys}
    depth = max(map(len, folders), default=0)
    while len(cut := {folder[:depth] for folder in folders}) > most and depth:
        depth -= 1
    outer = [f for f in cut if not any(f[:n] in cut for n in range(len(f)))]
    return sorted("".join(f"{part}/" for part in folder) for folder in outer)


def still_granted(document: dict[str, Any]) -> list[Policy]:
    """A proposal read back, as AWS would read it: what the replay is held against."""
    return [read(document, "the proposal")]


# --- GitHub


def narrow_role(role: str, needs: Iterable[str]) -> str | None:
    """The least of GitHub's roles that does for these needs (roles), never more than the role; None if there are none."""
    needed = max((ROLES.index(need) for need in needs), default=-1)
    return None if needed < 0 else ROLES[min(needed, ROLES.index(role))]
