"""Required, measured and unknown, control by control: what is missing until the contract is met, whose it is, and until when.

A row for each clause that asks for something, under its control; a clause without one stands under its own reference. What no
program can check is a row too, and says *manual*: it is never met here, and never counted as missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def gap(verdict: Mapping[str, Any], manual: Mapping[str, Iterable[str]] | None = None) -> list[dict[str, Any]]:
    """The rows, by control; `manual` holds what of a control is for people to check."""
    rows = [_row(row) for row in verdict["clauses"]]
    controls = {row["control"] for row in rows}
    rows += [_by_hand(control, says) for control, some in (manual or {}).items() if control in controls for says in some]
    return sorted(rows, key=lambda row: (row["control"], row["state"] == "manual"))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    asks = f"{row['statistic']} {row['measure']} {row['comparator']} {row['threshold_text']}"
    return {
        "control": row["control"] or row["ref"],
        "ref": row["ref"],
        "required": f"{asks}, {row['window']['days']} days",
        "measured": "" if row["value_text"] is None else f"{row['value_text']} (n {row['n']})",
        "unknown": row["why"] if row["verdict"] == "unknown" else "",
        "state": "waived" if row["waiver"] and row["verdict"] != "met" else row["verdict"],
        "owner": row["owner"] or "",
        "due": row["due"] or "",
        "overdue": row["overdue"],
        "green": row["green"] or "",
    }


def _by_hand(control: str, says: str) -> dict[str, Any]:
    empty = dict.fromkeys(("ref", "measured", "unknown", "owner", "due", "green"), "")
    return {**empty, "control": control, "required": says, "state": "manual", "overdue": False}
