"""What the ledger says was handed over: every read intent with the part of its span that its outcome proves.

One pass over the entries. An intent with no outcome, or with `unknown`, counts as handed over whole; an entry that
can't be read, or an index that is missing, is reported, never skipped in silence. Exposure and trace both stand on this.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from limen.core.errors import Invalid
from limen.core.events import decode
from limen.windows import covered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Handover:
    """Bytes [start, end) of one shard of one version, to one pseudonym in one session, `reads` times.

    They went between `at_us` and `last_us`. `certain` is False when no outcome narrowed it: then `last_us` is the latest
    that the log allows, None for no end.
    """

    index: int
    at_us: int
    last_us: int | None
    session: str
    who: str
    project: str
    asset: str
    version: int
    shard: str
    digest: str
    start: int
    end: int
    reads: int = 1
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
    by_intent: dict[int, list[Handover]] = {}
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
            case "access.outcome" if entry["of"] in by_intent:
                by_intent[entry["of"]] = _narrowed(by_intent[entry["of"]], entry)
            case "access.intent" if concerns(entry):
                by_intent[index] = _taken(reading, index, entry)
            case "access.refusal" if concerns(entry):
                reading.refusals.append({**entry, "index": index})
            case "epoch.begin":
                reading.unknown += _lost(index, entry)
    if expected != size:
        reading.unknown.append(f"entries {expected} to {size - 1} are missing: what they served is not known")
    reading.handovers = [handover for some in by_intent.values() for handover in some]
    return reading


def _taken(reading: Reading, index: int, intent: dict[str, Any]) -> list[Handover]:
    """All that an intent covers: what counts as handed over until its outcome says less."""
    if intent["action"] == "write":
        reading.uploads.append({**intent, "index": index})
    reach = covered(intent)
    if not reach:
        reading.looks.append({**intent, "index": index})
    whole = Handover(
        index=index,
        at_us=at_us(intent),
        last_us=None,
        session=intent["session"],
        who=intent["who"],
        project=intent["project"],
        asset=intent.get("asset", ""),
        version=intent.get("version", 0),
        shard="",
        digest=intent.get("digest", ""),
        start=0,
        end=0,
    )
    return [replace(whole, shard=shard, start=start, end=end) for shard, start, end in reach]


def _lost(index: int, entry: dict[str, Any]) -> list[str]:
    """What a new epoch says is gone: served and logged once, and known to nobody here."""
    kept, previous = entry["kept"], entry["previous"]
    end = previous["size"]
    if kept >= end:
        return []
    gone = f"entries {kept} to {end - 1} of {previous['origin']}"
    return [f"{gone} were lost before epoch {entry['epoch']} (entry {index} says so): what they served is not known"]


def _narrowed(whole: list[Handover], outcome: dict[str, Any]) -> list[Handover]:
    """What an outcome says was handed over; one that doesn't know leaves all of it."""
    if outcome.get("end") == "unknown" or "sent" not in outcome:
        return whole
    if "handed" in outcome:  # a read window
        return [
            replace(
                whole[part],
                at_us=first,
                last_us=last,
                start=start,
                end=end,
                reads=reads,
                certain=True,
            )
            for part, start, end, first, last, reads in outcome["handed"]
        ]
    last_us = at_us(outcome)
    return [replace(one, last_us=last_us, end=min(one.end, one.start + outcome["sent"]), certain=True) for one in whole]
