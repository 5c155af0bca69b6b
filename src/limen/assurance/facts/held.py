"""How much of each copy its holder has been served: byte ranges, merged as they come, so that nothing counts twice.

Bytes and not records: a copy's own bytes need neither its mark keys nor its content, only the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


def copy_of(connection: sqlite3.Connection, vendor: str, intent: dict[str, Any]) -> int:
    """The row of one person's copy of one version, made if there is none."""
    found = find_copy(connection, intent)
    if found is not None:
        return found
    made = connection.execute(
        "INSERT INTO copy (vendor, project, who, asset, version) VALUES (:vendor, :project, :who, :asset, :version)",
        {"vendor": vendor, **_key(intent)},
    )
    return int(made.lastrowid or 0)


def find_copy(connection: sqlite3.Connection, intent: dict[str, Any]) -> int | None:
    """The row of the copy that an intent reads, if there is one."""
    row = connection.execute(
        "SELECT id FROM copy WHERE project = :project AND who = :who AND asset = :asset AND version = :version", _key(intent)
    ).fetchone()
    return None if row is None else int(row["id"])


def _key(intent: dict[str, Any]) -> dict[str, Any]:
    """Whose copy: what a workload takes its sponsor holds, for they answer for it."""
    who = intent.get("sponsor") or intent["who"]
    return {"project": intent["project"], "who": who, "asset": intent.get("asset", ""), "version": intent.get("version", 0)}


def handed(parts: list[tuple[str, int, int]], outcome: dict[str, Any]) -> Iterable[tuple[str, int, int]]:
    """What of an intent's parts an outcome says was handed over, as `response.served` reads it."""
    if "handed" in outcome:
        return [(parts[place][0], start, end) for place, start, end, *_ in outcome["handed"]]
    return [(shard, start, min(end, start + outcome["sent"])) for shard, start, end in parts]


def grow(connection: sqlite3.Connection, copy: int, parts: Iterable[tuple[str, int, int]]) -> int:
    """Add byte ranges to what a copy's holder has; returns how many bytes are new."""
    new = 0
    for shard, start, end in parts:
        if start >= end:
            continue
        key = {"copy": copy, "shard": shard, "start": start, "end": end}
        touching = connection.execute(
            "SELECT start, end FROM piece WHERE copy = :copy AND shard = :shard AND start <= :end AND end >= :start", key
        ).fetchall()
        first, last = min([start, *(row["start"] for row in touching)]), max([end, *(row["end"] for row in touching)])
        gained = last - first - sum(row["end"] - row["start"] for row in touching)
        if gained == 0 and len(touching) == 1:
            continue
        for row in touching:
            connection.execute(
                "DELETE FROM piece WHERE copy = :copy AND shard = :shard AND start = :start", {**key, "start": row["start"]}
            )
        connection.execute("INSERT INTO piece VALUES (:copy, :shard, :start, :end)", {**key, "start": first, "end": last})
        new += gained
    return new
