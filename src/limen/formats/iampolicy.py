"""AWS IAM identity policies: the JSON policy language, version 2012-10-17 (IAM User Guide, "Policy grammar").

Read as evidence of what somebody *may*, so where a document leaves it open the answer claims more, never less: a
conditional Allow counts as granted, a conditional Deny takes nothing away, a policy variable in an Allow stands for
anything. What can't be read is named, and then *not granted* is not said either. Boundaries, session policies, resource
policies and organisation policies are not identity policies: they are not looked at here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

Verdict = Literal["granted", "not granted", "cannot say"]
MATCHED: Final = ("Action", "Resource")
_KNOWN: Final = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_PIECE: Final = re.compile(r"\$\{([^}]*)\}|(\*)|(\?)")
_VERSIONS: Final = ("2012-10-17", "2008-10-17")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `inverted` names those of Action and Resource that are given as NotAction, NotResource."""

    allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    inverted: frozenset[str] = frozenset()
    condition: dict[str, Any] | None = field(default=None, hash=False)
    sid: str = ""
    variables: bool = True  # false for version 2008-10-17, where ${…} is plain text

    def matches(self, action: str, resource: str, *, name: str = "") -> bool:
        """Whether it is about an action on a resource. `name`: of the IAM user who asks, for ${aws:username}."""
        did = any(_matches(p, action.lower(), lower=True) for p in self.actions)
        on = any(self.reaches(p, resource, name=name) for p in self.resources)
        return did != ("Action" in self.inverted) and on != ("Resource" in self.inverted)

    def reaches(self, pattern: str, resource: str, *, name: str = "") -> bool:
        """Whether one of its resource patterns matches; an unknown variable makes it wide in an Allow, narrow in a Deny."""
        wide = self.allow != ("Resource" in self.inverted)
        return _matches(pattern, resource, name=name, variables=self.variables, wide=wide)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        found: dict[str, Any] = {"Sid": self.sid} if self.sid else {}
        found["Effect"] = "Allow" if self.allow else "Deny"
        for noun, values in zip(MATCHED, (self.actions, self.resources), strict=True):
            found[f"Not{noun}" if noun in self.inverted else noun] = list(values)
        return found | ({"Condition": self.condition} if self.condition else {})


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy's statements, and in words what of it could not be read."""

    name: str
    statements: tuple[Statement, ...]
    unread: tuple[str, ...] = ()


def read(document: object, name: str) -> Policy:
    """Read a policy document, a JSON value. What is wrong with it is told in `unread`, statement by statement."""
    if not isinstance(document, dict):
        return Policy(name, (), (f"{name} is not a policy document",))
    version = document.get("Version", "2008-10-17")
    rows = document.get("Statement")
    rows = [rows] if isinstance(rows, dict) else rows
    if version not in _VERSIONS or not isinstance(rows, list):
        return Policy(name, (), (f"{name} has no statements of a known version",))
    statements, unread = [], []
    for number, row in enumerate(rows):
        try:
            statements.append(_statement(row, variables=version == _VERSIONS[0]))
        except _OddError as e:
            unread.append(f"{name}, statement {number}: {e}")
    return Policy(name, tuple(statements), tuple(unread))


def verdict(policies: list[Policy], action: str, resource: str, *, name: str = "") -> Verdict:
    """Whether these identity policies together grant an action on a resource."""
    statements = [s for policy in policies for s in policy.statements if s.matches(action, resource, name=name)]
    if any(not s.allow and not s.condition for s in statements):
        return "not granted"
    if any(s.allow for s in statements):
        return "granted"
    return "cannot say" if any(policy.unread for policy in policies) else "not granted"


def reaches_into(policies: list[Policy], action: str, begin: str, *, name: str = "") -> Verdict:
    """Whether they may grant an action on something whose name begins so: claims more where patterns only may meet."""
    whole = f"{begin}*"  # a text that a pattern matches if it matches everything that begins so
    rows = [s for policy in policies for s in policy.statements]
    if any(not s.allow and not s.condition and s.matches(action, whole, name=name) for s in rows):
        return "not granted"
    for s in rows:
        heads = [re.split(r"[*?]|\$\{", pattern, maxsplit=1)[0] for pattern in s.resources]
        near = "Resource" in s.inverted or any(h.startswith(begin) or begin.startswith(h) for h in heads)
        did = any(_matches(p, action.lower(), lower=True) for p in s.actions) != ("Action" in s.inverted)
        if s.allow and did and near:
            return "granted"
    return "cannot say" if any(policy.unread for policy in policies) else "not granted"


def escaped(text: str) -> str:
    """Text as a pattern that matches it alone (version 2012-10-17)."""
    return re.sub(r"[*?$]", r"${\g<0>}", text)


class _OddError(Exception):
    """A statement that is not read."""


def _statement(row: object, *, variables: bool) -> Statement:
    if not isinstance(row, dict):
        raise _OddError("is not an object")
    if surplus := row.keys() - _KNOWN:
        raise _OddError(f"has {min(map(str, surplus))}, which no identity policy has")
    if row.get("Effect") not in ("Allow", "Deny"):
        raise _OddError("is neither Allow nor Deny")
    actions, resources = (_texts(row, noun) for noun in MATCHED)
    inverted = frozenset(noun for noun in MATCHED if noun not in row)
    condition = row.get("Condition")
    if condition is not None and not isinstance(condition, dict):
        raise _OddError("has a Condition that is no object")
    sid = row.get("Sid", "")
    return Statement(row["Effect"] == "Allow", actions, resources, inverted, condition or None, str(sid), variables)


def _texts(row: dict[str, Any], noun: str) -> tuple[str, ...]:
    if (noun in row) == (f"Not{noun}" in row):
        raise _OddError(f"has not one of {noun} and Not{noun}")
    value = row.get(noun, row.get(f"Not{noun}"))
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise _OddError(f"has a {noun} that is no text and no list of them")
    return tuple(values)


def _matches(
    pattern: str, text: str, *, lower: bool = False, name: str = "", variables: bool = False, wide: bool = False
) -> bool:
    compiled = _compiled(pattern.lower() if lower else pattern, name if variables else "", variables, wide)
    return compiled is not None and compiled.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str, name: str, variables: bool, wide: bool) -> re.Pattern[str] | None:
    """A pattern of the policy language: `*`, `?`, and variables, of which only the user's name is known. None: no match."""
    parts, end = [], 0
    for found in _PIECE.finditer(pattern):
        variable, star, mark = found.groups()
        parts.append(re.escape(pattern[end : found.start()]))
        end = found.end()
        if star or mark:
            parts.append(".*" if star else ".")
        elif not variables:
            parts.append(re.escape(found.group()))
        elif variable in {"*", "?", "$"}:
            parts.append(re.escape(variable))
        elif variable.lower() == "aws:username" and name:
            parts.append(re.escape(name))
        elif wide:
            parts.append(".*")
        else:
            return None
    return re.compile("".join(parts) + re.escape(pattern[end:]), re.DOTALL)
