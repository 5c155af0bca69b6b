"""What imports prove to cover, and what they do not: the one place that decides it. docs/observe.md tells it in words.

Pure: manifests in, intervals out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from limen.core.intervals import Intervals
from limen.observe.manifest import Covered
from limen.observe.rows import US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from limen.observe.manifest import Manifest

SCOPE_PATTERN: Final = r"^(?:aws:[a-z-]+/[0-9]{12}|[A-Za-z0-9+.-]+:(?://)?[^/]*)"
_SCOPE: Final = re.compile(SCOPE_PATTERN)
_AWS: Final = re.compile(r"aws:[a-z-]+/([0-9]{12})\Z")
LAST_US: Final = 2**53 - 2
BRIDGED: Final = frozenset({"gap", "best-effort"})  # bases that rest on how close events lie to each other


def scope_of(resource: str) -> str:
    """The part of a log that a resource belongs to: its bucket, organisation, mount, or AWS account."""
    found = _SCOPE.match(resource)
    return named(found.group()) if found else resource


def named(matched: str) -> str:
    """A scope by what SCOPE_PATTERN matched."""
    account = _AWS.match(matched)
    return f"aws:account/{account.group(1)}" if account else matched


def claimed(
    alive: Intervals,
    seen: Mapping[str, tuple[int, int]],
    *,
    scopes: Sequence[str] = (),
    told: Intervals | None = None,
    basis: str,
    exact: Intervals | None = None,
) -> tuple[Covered, ...]:
    """What one import covers of each scope, before its holes.

    `alive` is when the log had events at all; `seen` the first and last event of every scope that appears. A scope that the
    operator named is covered whenever the log was alive; one that merely appears, from its first event to its last. So it
    is with what CloudTrail's digests prove to be all there (`exact`).
    """
    if told is not None:
        return tuple(Covered(scope, "told", told.spans) for scope in sorted({*scopes} or {*seen}))
    found: list[Covered] = []
    for scope in sorted({*scopes} or {*seen}):
        first, last = (0, LAST_US) if scopes else seen[scope]
        found.append(Covered(scope, basis, alive.within(first, last + 1).spans))
        if exact:
            found.append(Covered(scope, "digest", exact.within(first, last + 1).spans))
    return tuple(found)


def covered(manifests: Iterable[Manifest]) -> dict[tuple[str, str], Intervals]:
    """What all imports together cover, by source and scope. What is not in an interval of it is *cannot say*.

    Two imports of a source whose events lie no further apart than the smaller of their gaps cover what is between, too.
    A hole counts until its input is imported whole; what digests prove to be all there has none.
    """
    by_source: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        by_source.setdefault(manifest.source, []).append(manifest)
    found: dict[tuple[str, str], Intervals] = {}
    for source, its in by_source.items():
        holes = _holes(its)
        for scope in {claim.scope for manifest in its for claim in manifest.covered}:
            near, told, exact = Intervals(), Intervals(), Intervals()
            for manifest in sorted(its, key=lambda each: each.gap_s, reverse=True):
                for claim in manifest.covered:
                    if claim.scope == scope and claim.basis in BRIDGED:
                        near = Intervals.of((*near, *claim.spans), bridge=manifest.gap_s * US)
                    elif claim.scope == scope and claim.basis == "digest":
                        exact = Intervals.of((*exact, *claim.spans))
                    elif claim.scope == scope:
                        told = Intervals.of((*told, *claim.spans))
            found[source, scope] = near.union(told).minus(holes).union(exact)
    return dict(sorted(found.items()))


def _holes(manifests: Sequence[Manifest]) -> Intervals:
    whole = {_own_name(given.name) for m in manifests for given in m.inputs if not given.damaged and not given.bad}
    return Intervals.of((hole.start_us, hole.end_us) for m in manifests for hole in m.holes if _own_name(hole.input) not in whole)


def _own_name(name: str) -> str:
    """What tells an input again: of a CloudTrail log file the last part, which is never given twice; else all of it."""
    last = name.rpartition("/")[2]
    return last if "_CloudTrail_" in last else name
