"""Reads GitHub's audit log of an organisation or enterprise (JSON export, API answer or stream; event names as of 2026).

Kept: git over HTTP and SSH, downloads of a repository's archive, and what changes who may reach what (members, teams,
deploy keys, tokens, apps, visibility). Every other event is counted and left out, but shows that the log was alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.observe.moments import any_form
from limen.observe.reader import read_json
from limen.observe.rows import OddError, id_of, network_of

if TYPE_CHECKING:
    from limen.observe.inputs import Feed
    from limen.observe.reader import Taken
    from limen.observe.report import Report
    from limen.observe.rows import Rows

_ACTIONS: Final = {
    "git.clone": "clone",
    "git.fetch": "fetch",
    "git.push": "push",
    "repo.download_zip": "download",
}
# Categories of events that change who may reach what.
_ADMIN: Final = frozenset(
    {
        *("org", "repo", "team", "business", "enterprise", "role", "external_identity", "external_group"),
        *("public_key", "deploy_key", "ssh_certificate_authority", "personal_access_token", "oauth_access"),
        *("oauth_authorization", "oauth_application", "org_credential_authorization", "integration", "integration_installation"),
        *("repository_invitation", "repository_visibility_change", "private_repository_forking", "ip_allow_list"),
        *("ip_allow_list_entry", "hook", "codespaces", "protected_branch", "repository_ruleset", "secret_scanning"),
    }
)
_FINGERPRINTS: Final = ("deploy_key_fingerprint", "public_key_fingerprint", "key_fingerprint", "fingerprint")


class GitHub:
    """Reads GitHub's audit log."""

    kind = "github"
    fields = (
        "@timestamp or created_at",
        "_document_id (hashed)",
        "action (as action and detail)",
        "actor",
        "user (whom a change of members is about)",
        "org, repo, business",
        "hashed_token",
        "the fingerprint of a deploy key",
        "actor_ip (its /24 or /48 network)",
    )
    gap_s = 24 * 3600
    basis = "gap"

    def ends_us(self, name: str) -> None:
        """Names say nothing of it."""
        del name

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one export."""
        read_json(feed, rows, report, take=_take, many=_many, like=lambda text: '"action"' in text)


_any = msgspec.json.Decoder().decode


def _many(raw: bytes) -> list[Any]:
    found = _any(raw)
    if isinstance(found, dict):
        found = found["Records"]
    if not isinstance(found, list):
        raise OddError("is no list of events")
    return found


def _take(given: Any) -> Taken:
    event = given if isinstance(given, dict) else _any(given)
    if not isinstance(event, dict):
        raise OddError("is no JSON object")
    told = event.get("@timestamp", event.get("created_at"))
    if told is None:
        raise OddError("has no @timestamp")
    at_us = any_form(told)
    name = event.get("action")
    if not isinstance(name, str) or not name:
        raise OddError("has no action")
    action = _ACTIONS.get(name)
    if action is None:
        if name.partition(".")[0] not in _ADMIN:
            return at_us, [], "events that are neither git nor about access"
        action = "admin"
    key = next((value for field in _FINGERPRINTS if (value := _text(event, field))), "")
    principal = _actor(event, key)
    resource = _resource(event)
    detail = ""
    if action == "admin":
        made = key or _text(event, "user") or _text(event, "team")
        detail = f"{name} {made}" if made else name
    row = (
        id_of(_text(event, "_document_id"), at_us, principal, "", f"{name} {detail}", resource),
        at_us,
        principal,
        "",
        _text(event, "hashed_token") or (key if action != "admin" else ""),
        action,
        resource,
        None,
        "ok",
        network_of(_text(event, "actor_ip")),
        detail,
    )
    return at_us, [row], ""


def _actor(event: dict[str, Any], key: str) -> str:
    if actor := _text(event, "actor"):
        return f"github:{actor}"
    if key:
        return f"github:deploy-key/{key}"
    if token := _text(event, "hashed_token"):
        return f"github:token/{token}"
    return "github:unknown"


def _resource(event: dict[str, Any]) -> str:
    for field in ("repo", "repository"):
        if name := _text(event, field):
            return f"github:{name}"
    if org := _text(event, "org"):
        return f"github:{org}"
    return f"github:business/{_text(event, 'business')}"


def _text(event: dict[str, Any], field: str) -> str:
    value = event.get(field)
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else ""
