"""Reads inputs into a staged import: rows, coverage, holes, and what could not be read. Nothing counts until it is committed.

Everything that is in an input is somebody else's text: whatever it holds, reading it goes on, and says what it could not
read, by input and offset.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.core.intervals import Intervals
from limen.observe.coverage import claimed, covered
from limen.observe.digests import Digests, is_digest, last_part
from limen.observe.inputs import Feed
from limen.observe.manifest import Bad, Hole, Manifest, Source
from limen.observe.report import BAD_KEPT, Pulse, Report
from limen.observe.rows import DAY_US, US, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.observe.depot import Depot
    from limen.observe.inputs import Input
    from limen.observe.manifest import Part
    from limen.observe.reader import Reader
    from limen.observe.staging import Staging

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the operator asked for. `told` and `scopes` are their word about coverage; `gap_s` None is the kind's own."""

    source: str
    scopes: tuple[str, ...] = ()
    told: Intervals | None = None
    gap_s: int | None = None
    skew_s: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.match(self.source):
            raise Invalid("--source", "is a short name: small letters, digits, '.', '_' and '-', at most 64")
        if self.skew_s < 0:
            raise Invalid("--skew", "is a number of seconds, 0 or more")
        if self.gap_s is not None and self.gap_s < 60:  # noqa: PLR2004  what a pulse can tell apart
            raise Invalid("--gap", "is a number of seconds, 60 or more")


@dataclass(slots=True)
class Found:
    """What reading all inputs found. `progress` is called after each with the bytes read so far, as they lie."""

    pulse: Pulse = field(default_factory=Pulse)
    inputs: list[Source] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    bad_count: int = 0
    events: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    digests: Digests = field(default_factory=Digests)
    contents: dict[str, str] = field(default_factory=dict)
    exact: Intervals = field(default_factory=Intervals)  # what CloudTrail's own digests prove to be all there


def read(
    reader: Reader,
    inputs: Iterable[Input],
    order: Order,
    staging: Staging,
    *,
    now_us: int,
    progress: Callable[[int, int], None] = lambda _bytes, _events: None,
) -> Found:
    """Read every input into the staging."""
    found = Found()
    rows = Rows(order.source, reader.kind, staging.write)
    gap_us = (order.gap_s or reader.gap_s) * US
    done = 0
    inputs = list(inputs)
    found.digests.wanted = reader.kind == "cloudtrail" and any(is_digest(given.name) for given in inputs)
    for given in inputs:
        feed = Feed(given, hash_content=found.digests.wanted, heard=partial(_heard, progress, found, done))
        ends_us = reader.ends_us(given.name)
        report = Report(given.name, gap_us=gap_us, latest_us=now_us + DAY_US, pulse=found.pulse, ends_us=ends_us)
        if found.digests.wanted and is_digest(given.name):
            if why := found.digests.take(feed):
                report.spoil(0, why)
        else:
            reader.read(feed, rows, report)
        _add(found, report, feed)
        done += feed.length
    rows.flush()
    exact, holes, bad = found.digests.conclude(found.inputs, found.contents)
    found.exact = exact
    found.holes += holes
    found.bad += bad[: BAD_KEPT - len(found.bad)]
    found.bad_count += len(bad)
    return found


def _heard(progress: Callable[[int, int], None], found: Found, before: int, length: int) -> None:
    progress(before + length, found.events)


def _add(found: Found, report: Report, feed: Feed) -> None:
    found.holes += report.end()
    found.events += report.events
    found.bad_count += report.bad_count
    found.bad += report.bad[: BAD_KEPT - len(found.bad)]
    found.left_out += report.left_out
    if feed.content_digest:
        found.contents[last_part(report.name)] = feed.content_digest
    found.inputs.append(
        Source(
            name=report.name,
            digest=feed.digest,
            length=feed.length,
            events=report.events,
            bad=report.bad_count,
            damaged=report.damaged,
            damaged_at=report.damaged_at,
            first_us=report.first_us,
            last_us=report.last_us,
        )
    )


def manifest_of(reader: Reader, order: Order, found: Found, staging: Staging, parts: tuple[Part, ...]) -> Manifest:
    """What the import says of itself."""
    gap_s = order.gap_s or reader.gap_s
    alive = found.pulse.alive(gap_s * US)
    claims = claimed(alive, staging.scopes(), scopes=order.scopes, told=order.told, basis=reader.basis, exact=found.exact)
    spans = alive.spans
    return Manifest(
        source=order.source,
        kind=reader.kind,
        skew_s=order.skew_s,
        gap_s=gap_s,
        options=dict(sorted(order.options.items())),
        inputs=tuple(found.inputs),
        parts=parts,
        covered=claims,
        holes=tuple(found.holes),
        bad=tuple(found.bad),
        events=found.events,
        kept=staging.rows,
        new=sum(part.rows for part in parts),
        left_out=dict(sorted(found.left_out.items())),
        bad_count=found.bad_count,
        fields=reader.fields,
        first_us=spans[0][0] if spans else None,
        last_us=spans[-1][1] - 1 if spans else None,
    )


def says_nothing_new(manifest: Manifest, depot: Depot) -> bool:
    """Whether earlier imports of the source hold all of it: the same bytes, no new row, no more and no less covered."""
    earlier = [each.manifest for each in depot.imports() if each.source == manifest.source]
    known = {given.digest for each in earlier for given in each.inputs}
    return (
        manifest.new == 0
        and bool(earlier)
        and all(given.digest in known for given in manifest.inputs)
        and manifest.skew_s <= max(each.skew_s for each in earlier)
        and covered([*earlier, manifest]) == covered(earlier)
    )
