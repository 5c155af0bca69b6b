"""The second human: whoever ran a trace says which copy; whose it was is said once somebody else has looked at the case.

A review is an entry, `case.review`, durable before a name is shown: which copy of which look, whether its name is opened or
left closed, and who decided; why stands sealed beside it under the key of the person whose copy it is. It is refused to
everybody who ran a trace of the case, and each refusal is an entry. How two people are told apart: docs/adr/0011.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.core.errors import Denied, Invalid
from limen.core.types import Side
from limen.privacy import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.custody import Custody
    from limen.privacy.naming import Actor

Outcome = Literal["open", "closed"]
OUTSIDE: Final = ""


@dataclass(frozen=True, slots=True)
class Implicated:
    """A copy that a look implicates: whose it is, by id; the entry of the look's result; `traced`: who ran the case's looks."""

    case: str
    look: int
    result: int
    holder: str
    traced: Sequence[dict[str, Any]]


async def review(custody: Custody, copy: Implicated, outcome: Outcome, *, reason: str, actor: Actor) -> dict[str, Any]:
    """Enter a review; with `open`, returns the name behind the copy. Denied for whoever traced, and for somebody erased."""
    if not reason.strip():
        raise Invalid("--reason", "say what you looked at and why; it is kept sealed beside the review")
    fields = actor.fields(custody)
    who = custody.catalog.pseudonym(copy.holder, OUTSIDE)
    try:
        _refuse_tracers(copy, fields)
        naming.refuse_erased(custody, copy.holder)
    except Denied as refusal:
        refused = {"request": copy.result, "rule": refusal.rule, **fields}
        await custody.ledger.append(*custody.scribe.write("name.refusal", refused, None))
        raise
    about = {"case": copy.case, "look": copy.look, "result": copy.result, "who": who, "outcome": outcome, **fields}
    side = Side(copy.holder, {"reason": {"text": reason}})
    receipt = await custody.ledger.append(*custody.scribe.write("case.review", about, side))
    found = {"case": copy.case, "look": copy.look, "who": who, "outcome": outcome, "entry": receipt.index}
    return found if outcome == "closed" else {**found, **await asyncio.to_thread(naming.name_of, custody, copy.holder)}


def _refuse_tracers(copy: Implicated, fields: dict[str, Any]) -> None:
    for traced in copy.traced:
        if same := naming.same(traced, fields):
            raise Denied(f"{same} ran a trace of this case; somebody else has to review it", rule="same-person")
