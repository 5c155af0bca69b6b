"""What the ledger says was handed over: every read intent with the part of its span that its outcome proves.

One pass over the entries. An intent with no outcome, or with `unknown`, counts as handed over whole; an entry that
can't be read, or an index that is missing, is reported, never skipped in silence. Exposure and trace both stand on this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limen.core.errors import Invalid
from limen.core.events import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Handover:
    """Bytes [start, end) of one shard of one version, to one pseudonym in one session.

    `certain` is False when no outcome narrowed it.
    """

    index: int
    at_us: int
    session: str
    who: str
    project: str
    asset: str
    version: int
    shard: str
    digest: str
    start: int
    end: int
    certain: bool = False


@dataclass(slots=True)
class Reading:
    """The ledger range that was read, what it handed over, what it refused, and what could not be read."""

    entries: int = 0
    handovers: list[Handover] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)  # HEAD, LIST and answers without content
    unknown: list[str] = field(default_factory=list)


def at_us(entry: dict[str, Any]) -> int:
    """When it happened, as windows count it: the story's time if one was told."""
    return int(entry.get("story_at", entry["at"]))


def read(entries: Iterable[tuple[int, bytes]], *, size: int, concerns: Callable[[dict[str, Any]], bool]) -> Reading:
    """Read a ledger of `size` entries from its first; `concerns` picks the accesses to keep, outcomes follow theirs."""
    reading = Reading()
    pending: dict[int, Handover] = {}
    expected = 0
    for index, raw in entries:
        if index != expected:
            reading.unknown.append(f"entries {expected} to {index - 1} are missing: what they served is not known")
        expected = index + 1
        reading.entries += 1
        try:
            entry = decode(raw)
        except Invalid as e:
            reading.unknown.append(f"entry {index} can't be read ({e}): what it served is not known")
            continue
        match entry["kind"]:
            case "access.outcome":
                _narrow(pending.pop(entry["of"], None), entry)
            case "access.intent" if concerns(entry):
                _take(reading, pending, index, entry)
            case "access.refusal" if concerns(entry):
                reading.refusals.append({**entry, "index": index})
            case "epoch.begin":
                reading.unknown += _lost(index, entry)
    if expected != size:
        reading.unknown.append(f"entries {expected} to {size - 1} are missing: what they served is not known")
    return reading


def _take(reading: Reading, pending: dict[int, Handover], index: int, entry: dict[str, Any]) -> None:
    if entry["action"] == "write":
        reading.uploads.append({**entry, "index": index})
    if "span" not in entry:
        reading.looks.append({**entry, "index": index})
        return
    handover = Handover(
        index=index,
        at_us=at_us(entry),
        session=entry["session"],
        who=entry["who"],
        project=entry["project"],
        asset=entry["asset"],
        version=entry.get("version", 0),
        shard=entry.get("shard", ""),
        digest=entry.get("digest", ""),
        start=entry["span"][0],
        end=entry["span"][1],
    )
    reading.handovers.append(handover)
    pending[index] = handover


def _lost(index: int, entry: dict[str, Any]) -> list[str]:
    """What a new epoch says is gone: served and logged once, and known to nobody here."""
    kept, previous = entry["kept"], entry["previous"]
    end = previous["size"]
    if kept >= end:
        return []
    gone = f"entries {kept} to {end - 1} of {previous['origin']}"
    return [f"{gone} were lost before epoch {entry['epoch']} (entry {index} says so): what they served is not known"]


def _narrow(handover: Handover | None, outcome: dict[str, Any]) -> None:
    """An outcome says how much of the span was handed over; one that doesn't know leaves it whole."""
    if handover is None or outcome.get("end") == "unknown" or "sent" not in outcome:
        return
    handover.end = min(handover.end, handover.start + outcome["sent"])
    handover.certain = True
