"""A depot of given rows, laid down as an import lays them down: parts by day, and a manifest."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from limen.observe import manifest as manifests
from limen.observe.depot import Depot
from limen.observe.manifest import Covered, Manifest, Part
from limen.observe.rows import DAY_US, SCHEMA, US

if TYPE_CHECKING:
    from pathlib import Path


def row(at_us: int, principal: str, resource: str, **more: Any) -> dict[str, Any]:
    """One observation: a read that went through, unless told otherwise."""
    told = {"source": "trail", "kind": "cloudtrail", "session": "", "credential": "", "action": "read", "bytes": 10}
    rest = {"outcome": "ok", "network": "", "detail": ""}
    return {**told, **rest, "at_us": at_us, "principal": principal, "resource": resource, **more}


def lay_down(root: Path, rows: list[dict[str, Any]], *, skews: dict[str, int], covered: tuple[Covered, ...] = ()) -> Depot:
    """A depot that holds these rows, one import for each source; `skews` names the sources."""
    for entry, (source, skew_s) in enumerate(sorted(skews.items())):
        mine = [each for each in rows if each["source"] == source]
        by_day: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for number, each in enumerate(mine):
            by_day[each["at_us"] // DAY_US].append({"id": number.to_bytes(16, "big"), **each})
        parts = []
        for day, some in sorted(by_day.items()):
            name = f"day={datetime.fromtimestamp(day * DAY_US // US, UTC):%Y-%m-%d}"
            folder = root / f"entry={entry}" / name
            folder.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(some, schema=SCHEMA), folder / "part.parquet")
            parts.append(Part(f"{name}/part.parquet", name[4:], len(some), ""))
        times = [each["at_us"] for each in mine]
        told = Manifest(
            source=source,
            kind="cloudtrail",
            skew_s=skew_s,
            gap_s=3600,
            inputs=(),
            parts=tuple(parts),
            covered=covered,
            events=len(mine),
            kept=len(mine),
            new=len(mine),
            fields=(),
            first_us=min(times, default=None),
            last_us=max(times, default=None),
        )
        (root / f"entry={entry}").mkdir(parents=True, exist_ok=True)
        (root / f"entry={entry}" / manifests.NAME).write_bytes(told.encode())
    return Depot.open(root)
