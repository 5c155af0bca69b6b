"""What the CLI can ask of an open gateway: one coroutine a verb, JSON values in and out. One module a subject.

The same table serves the control socket (a gateway is running) and the CLI on its own (none is). Long readings run in a
thread: an exposure report must not hold up a pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.verbs import (
    advisories,
    assets,
    bom,
    catalog,
    contracts,
    cutting,
    drops,
    evidence,
    facts,
    findings,
    gate,
    gathered,
    ledger,
    markkeys,
    matching,
    modelling,
    people,
    reports,
    reviewing,
    spotcheck,
    tracing,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limen.server import Gateway

    Verb = Callable[[Gateway, dict[str, Any], str], Awaitable[Any]]

VERBS: Final[dict[str, Verb]] = {
    **catalog.VERBS,
    **assets.VERBS,
    **markkeys.VERBS,
    **people.VERBS,
    **cutting.VERBS,
    **drops.VERBS,
    **reports.VERBS,
    **reviewing.VERBS,
    **gathered.VERBS,
    **advisories.VERBS,
    **matching.VERBS,
    **findings.VERBS,
    **facts.VERBS,
    **ledger.VERBS,
    **bom.VERBS,
    **contracts.VERBS,
    **gate.VERBS,
    **evidence.VERBS,
    **spotcheck.VERBS,
    **tracing.VERBS,
    **modelling.VERBS,
}
