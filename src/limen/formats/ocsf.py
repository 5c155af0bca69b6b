"""OCSF 1.5.0 Detection Finding (class 2004): a finding as other people's tools read it.

Open Cybersecurity Schema Framework, https://schema.ocsf.io/1.5.0/classes/detection_finding. Only what is required, and
what tools sort by, is filled in. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = "1.5.0"
CLASS: Final = 2004
FINDINGS: Final = 2  # the category
CREATE: Final = 1  # the activity
RULE: Final = 1  # the kind of analytic
NEW: Final = 1  # the status
SEVERITIES: Final = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}


def detection_finding(
    *,
    uid: str,
    rule: str,
    rule_version: str,
    title: str,
    severity: int,
    time_ms: int,
    actor: str,
    resource: str,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The event as a JSON value. `actor` and `resource` are ids, or empty if there is none."""
    found: dict[str, Any] = {
        "activity_id": CREATE,
        "category_uid": FINDINGS,
        "class_uid": CLASS,
        "type_uid": CLASS * 100 + CREATE,
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": NEW,
        "time": time_ms,
        "metadata": {"version": SCHEMA_VERSION, "product": {"name": "limen", "vendor_name": "limen"}},
        "finding_info": {
            "uid": uid,
            "title": title,
            "analytic": {"type_id": RULE, "uid": rule, "name": rule, "version": rule_version},
        },
        "unmapped": dict(more),
    }
    if actor:
        found["actor"] = {"user": {"uid": actor}}
    if resource:
        found["resources"] = [{"uid": resource, "type": "asset"}]
    return found
