"""What bills of material and advisories say of a vendor as of a moment, in the form in which facts need it.

Matching goes over all vendors at once: its answer for one moment is kept until the log has grown or another moment is asked
about, so that the facts of many vendors cost one matching.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from limen.assurance.facts.running import Covered, Filed, Malicious, Running

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from limen.assurance.bom.boms import Boms
    from limen.assurance.bom.values import Service

REQUIRED: Final = "required"  # CycloneDX's word for what is installed


@dataclass(slots=True)
class Meeting:
    """A record and a component of a vendor's that it may name; `said` None where that can't be said."""

    vendor: str
    purl: str
    version: str
    path: str
    start_us: int
    end_us: int | None
    bom: int
    scope: str
    id: str
    feed: int
    said: bool | None


class Matching(Protocol):
    """What is read of the matching."""

    def all(self, *, malicious: bool = False, as_of_us: int | None = None) -> Sequence[Meeting]:
        """Everything that meets, as known at a time; with `malicious`, only records of malicious packages."""


class Fed(Protocol):
    """One feed of advisories."""

    @property
    def received_us(self) -> int:
        """When the log took it in."""


class Feeds(Protocol):
    """What is read of the advisories."""

    def feeds(self, as_of_us: int | None = None) -> Iterable[Fed]:
        """Every feed, as known at a time."""


class Listed:
    """Components by what vendors listed, and what is known of them. From any thread."""

    def __init__(self, boms: Boms, feeds: Feeds, matching: Matching) -> None:
        self._boms = boms
        self._feeds = feeds
        self._matching = matching
        self._lock = threading.Lock()
        self._kept: tuple[tuple[int, int], Mapping[str, tuple[Malicious, ...]], tuple[int, ...]] | None = None

    def running(self, vendor: str, as_of_us: int, *, upto: int) -> Running:
        """What is known of a vendor's components. `upto`: how far the log was read, so that nothing older is given."""
        met, fed = self._met(as_of_us, upto)
        return Running(
            filed=tuple(
                Filed(one.entry, one.effective_us, one.received_us)
                for one in self._boms.revisions(vendor, as_of_us)
                if not one.quarantined
            ),
            covered=tuple(
                Covered(one.start_us, one.end_us, one.complete, one.why) for one in self._boms.coverage(vendor, as_of_us)
            ),
            malicious=met.get(vendor, ()),
            fed=fed,
            undisclosed=tuple((_provider(one), one.bom) for one in self._services(vendor, as_of_us) if one.undisclosed),
        )

    def _met(self, as_of_us: int, upto: int) -> tuple[Mapping[str, tuple[Malicious, ...]], tuple[int, ...]]:
        with self._lock:
            if self._kept is None or self._kept[0] != (as_of_us, upto):
                met = _gathered(self._matching.all(malicious=True, as_of_us=as_of_us))
                fed = tuple(sorted({feed.received_us for feed in self._feeds.feeds(as_of_us)}))
                self._kept = ((as_of_us, upto), met, fed)
            return self._kept[1], self._kept[2]

    def _services(self, vendor: str, as_of_us: int) -> list[Service]:
        # Which of the lab's classes a service is given is not asked here, so none are named.
        return self._boms.services(vendor, as_of_us, classes=(), assets={})


def _gathered(meetings: Iterable[Meeting]) -> dict[str, tuple[Malicious, ...]]:
    """One for each component at one place, however many records name it: ids of one finding are not counted twice."""
    places: dict[tuple[str, str, str, int], list[Meeting]] = defaultdict(list)
    for one in meetings:
        if one.scope == REQUIRED:
            places[one.vendor, one.purl or one.version, one.path, one.start_us].append(one)
    found: dict[str, list[Malicious]] = defaultdict(list)
    for (vendor, name, path, start_us), some in sorted(places.items()):
        sure = [one for one in some if one.said] or some
        entries = tuple(sorted({entry for one in sure for entry in (one.bom, one.feed)}))
        ends = [one.end_us for one in sure]
        end_us = None if None in ends else max(end for end in ends if end is not None)
        ids = ", ".join(sorted({one.id for one in sure}))
        told = f"{name} at {path} ({ids})"
        found[vendor].append(Malicious(told, start_us, end_us, entries, certain=any(one.said for one in sure)))
    return {vendor: tuple(some) for vendor, some in found.items()}


def _provider(one: Service) -> str:
    return one.provider or one.path
