"""CloudTrail's digest files (log file integrity validation, hash chain with SHA-256): which log files there must be.

Each hour CloudTrail names the log files it delivered, with their hashes, also when there were none; and the hash of the
digest before. Where all that a run of digests names is here, unchanged and whole, coverage is exact, however quiet it was;
a log file that is named and missing, or changed, is a hole. AWS's signature of a digest is not checked: that needs its
public keys and the object's metadata. So this shows what was lost, not what was forged.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from limen.core.intervals import Intervals
from limen.observe.manifest import Bad, Hole
from limen.observe.moments import rfc3339
from limen.observe.rows import US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.observe.inputs import Feed
    from limen.observe.manifest import Source

_NAME: Final = re.compile(r"(?:^|/)[^/]*_CloudTrail-Digest_[^/]*\.json(?:\.gz)?\Z")
LARGEST: Final = 32 << 20
LATE_US: Final = 15 * 60 * US  # an event may be delivered that much later than it happened


class _LogFile(msgspec.Struct, gc=False):
    s3Object: str  # noqa: N815  CloudTrail's own names
    hashValue: str  # noqa: N815
    newestEventTime: str | None = None  # noqa: N815
    oldestEventTime: str | None = None  # noqa: N815


class _Digest(msgspec.Struct, gc=False):
    awsAccountId: str  # noqa: N815
    digestStartTime: str  # noqa: N815
    digestEndTime: str  # noqa: N815
    digestS3Object: str  # noqa: N815
    logFiles: list[_LogFile]  # noqa: N815
    previousDigestS3Object: str | None = None  # noqa: N815
    previousDigestHashValue: str | None = None  # noqa: N815


_decode = msgspec.json.Decoder(_Digest).decode


@dataclass(frozen=True, slots=True)
class _Told:
    """A digest that was read."""

    digest: _Digest
    name: str
    start_us: int
    end_us: int
    hashes: tuple[str, str]  # of its content, and of its bytes as they lie


@dataclass(slots=True)
class Digests:
    """The digests among an import's inputs. `wanted` says whether log files' contents must be hashed."""

    wanted: bool = False
    _told: list[_Told] = field(default_factory=list)

    def take(self, feed: Feed) -> str:
        """Read a digest; returns why it can't be read, if it can't."""
        held = bytearray()
        for chunk in feed.chunks():
            held += chunk[: LARGEST - len(held)]
        if feed.damage:
            return feed.damage
        try:
            digest = _decode(held)
            start_us, end_us = rfc3339(digest.digestStartTime), rfc3339(digest.digestEndTime)
            for log in digest.logFiles:
                _span(log)
        except ValueError as e:
            return f"is no CloudTrail digest: {type(e).__name__}"
        self._told.append(_Told(digest, feed.name, start_us, end_us, (hashlib.sha256(held).hexdigest(), feed.digest)))
        return ""

    def conclude(self, sources: list[Source], contents: dict[str, str]) -> tuple[Intervals, list[Hole], list[Bad]]:
        """What is covered exactly, in every region that has digests; the holes; and which digests don't count.

        `contents` are the hashes of the log files' contents, by the last part of their names.
        """
        whole = {last_part(source.name) for source in sources if not source.damaged and not source.bad}
        broken = self._broken()
        holes: list[Hole] = []
        regions: dict[str, list[tuple[int, int]]] = {}
        for told in self._told:
            missing = [log for log in told.digest.logFiles if not _is_here(log, whole, contents)]
            for log in missing:
                span = _span(log)
                if span is not None:
                    holes.append(_hole(last_part(log.s3Object), span, known=contents))
            spans = regions.setdefault(_region(told.name), [])
            if not missing and told.name not in broken:
                spans.append((told.start_us, told.end_us))
        exact: Intervals | None = None
        for spans in regions.values():
            runs = Intervals.of((start, end - LATE_US) for start, end in Intervals.of(spans))
            exact = runs if exact is None else exact.common(runs)
        return exact or Intervals(), holes, [Bad(name, 0, "is not the digest that the next one names") for name in sorted(broken)]

    def _broken(self) -> set[str]:
        """The digests whose hash is not the one that their successor holds."""
        by_object = {told.digest.digestS3Object: told for told in self._told}
        return {
            before.name
            for told in self._told
            if (before := by_object.get(told.digest.previousDigestS3Object or "")) is not None
            and told.digest.previousDigestHashValue not in before.hashes
        }


def is_digest(name: str) -> bool:
    """Whether an input is a digest, by its name."""
    return _NAME.search(name) is not None


def last_part(name: str) -> str:
    """A log file's own name: CloudTrail never gives one twice."""
    return name.rpartition("/")[2]


def _is_here(log: _LogFile, whole: set[str], contents: dict[str, str]) -> bool:
    name = last_part(log.s3Object)
    return name in whole and contents.get(name) == log.hashValue


def _hole(name: str, span: tuple[int, int], *, known: Mapping[str, str]) -> Hole:
    """A hole where a log file is missing or changed. One that is changed is not mended by being imported again."""
    if name in known:
        return Hole(f"{name} by its digest", *span, "it is not what CloudTrail's digest says")
    return Hole(name, *span, "CloudTrail's digest names it, and it is not here")


def _span(log: _LogFile) -> tuple[int, int] | None:
    if not log.oldestEventTime or not log.newestEventTime:
        return None
    return rfc3339(log.oldestEventTime), rfc3339(log.newestEventTime) + US


def _region(name: str) -> str:
    """`ACCOUNT_CloudTrail-Digest_REGION_TRAIL_REGION_TIME.json.gz`: account and region, whatever the trail is called."""
    account, _, rest = last_part(name).partition("_CloudTrail-Digest_")
    return f"{account} {rest.partition('_')[0]}"
