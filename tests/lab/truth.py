"""What happened, as plain values: put together while the logs are drawn, never read back from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """What one of the cast did in one place, as far as any log holds it. Times are those that the log tells.

    `untold`: reads of which the log does not say how much they handed over.
    """

    objects: set[str] = field(default_factory=set)
    reads: int = 0
    bytes: int = 0
    untold: int = 0
    looks: int = 0
    writes: int = 0
    denied: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, at: int, action: str, resource: str, length: int | None, *, ok: bool) -> None:
        """One event. `length`: what it handed over, None if the log does not say."""
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        if not ok:
            self.denied += 1
        elif action in {"head", "list"}:
            self.looks += 1
        elif action == "push":
            self.writes += 1
        else:
            self.reads += 1
            self.bytes += length or 0
            self.untold += length is None
            self.objects.add(resource)

    def joined(self, other: Seen) -> Seen:
        """Both together."""
        times = [at for at in (self.first, self.last, other.first, other.last) if at is not None]
        return Seen(
            self.objects | other.objects,
            *(getattr(self, name) + getattr(other, name) for name in ("reads", "bytes", "untold", "looks", "writes", "denied")),
            min(times, default=None),
            max(times, default=None),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One event of which a log tells nothing, or which a test asks about: when (by the log's clock), who, and what."""

    at: int
    source: str
    scope: str
    who: str
    place: str
    resource: str


@dataclass
class Truth:
    """Everything that the reports are held against.

    `seen`: (source, who, principal, session, place) -> what. `windowed`: the same for the window `asked`, widened by the `skew`.
    `lost`: what happened and no log holds. `kept`: how many events each source's log holds. `dark`: (source, scope) -> times
    that the log can't speak of, half-open. `keys`: by vendor, (where, which) of each that touched its path; `never_touched`:
    the others. `used`: by principal, what it did and to what. `narrow`: by principal of a vendor, what its narrowest scope is.
    """

    start: int
    end: int
    seen: dict[tuple[str, str, str, str, str], Seen] = field(default_factory=lambda: defaultdict(Seen))
    windowed: dict[tuple[str, str, str, str, str], Seen] = field(default_factory=lambda: defaultdict(Seen))
    asked: tuple[int, int] = (0, 0)
    skew: dict[str, int] = field(default_factory=dict)
    lost: list[Event] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    dark: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    never_touched: set[tuple[str, str]] = field(default_factory=set)
    used: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    narrow: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def saw(
        self, source: str, at: int, who: tuple[str, str, str], action: str, place: str, resource: str, length: int, *, ok: bool
    ) -> None:
        """One event that a log holds; `who` is whom it is put down to, the principal and its session."""
        self.kept[source] += 1
        key = (source, *who, place)
        self.seen[key].add(at, action, resource, length, ok=ok)
        bear = self.skew.get(source, 0)
        if self.asked[0] - bear <= at < self.asked[1] + bear:
            self.windowed[key].add(at, action, resource, length, ok=ok)
        if ok:
            self.used[who[1]].add((action, resource))
