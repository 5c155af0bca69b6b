"""How long personal detail stays: network detail (address, agent) goes after `ledger.network_days`, once a day.

A legal hold keeps the held person's. The entry comes first; what a crash then leaves is found, and told, on the next day.
Entries keep their commitment, so that a disclosure that was made before still verifies. An erasure that somebody's reading
has held up is finished here too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.ledger.scribe import side_ref
from limen.privacy.erasure import sweep

if TYPE_CHECKING:
    from limen.authority import Authority
    from limen.custody import Custody

DAY_S: Final = 86_400
SWEEP_EVERY_S: Final = 60
NETWORK: Final = "network"


@dataclass(slots=True)
class Retention:
    """Keeps the calendar. Owned by the event loop; `due` and `sweep_due` are when it looks next."""

    custody: Custody
    authority: Authority
    network_days: int
    due: int = 0
    sweep_due: int = 0

    async def keep(self) -> int | None:
        """Once a day, drop what is past its time: the index of the entry that says so, None if there was nothing to do."""
        now = self.custody.clock.now()
        if self.custody.catalog.unswept and now >= self.sweep_due:
            self.sweep_due = now + SWEEP_EVERY_S
            await sweep(self.custody, self.authority)
        if now < self.due:
            return None
        self.due = now + DAY_S
        return await expire(self.custody, before=now - self.network_days * DAY_S)


async def expire(custody: Custody, *, before: int) -> int | None:
    """Drop the network detail of entries written before a moment (seconds); the entry's index, None if there was none."""
    past = await asyncio.to_thread(_past, custody, before)
    if not past:
        return None
    entry, _ = custody.scribe.write("network.expire", {"before": before, "count": len(past)}, None)
    receipt = await custody.ledger.append(entry)
    await custody.ledger.delete_sides(past)
    await custody.ledger.forget()  # if a reader is in the way, the next commit that wraps around overwrites it
    return receipt.index


def _past(custody: Custody, before: int) -> list[tuple[int, str]]:
    catalog, ledger = custody.catalog, custody.ledger
    held = {ref for hold in catalog.snapshot.holds() for ref in _refs(custody, hold.person)}
    # A second early, so that an entry's own commit time, in whole seconds, is before the moment.
    end = ledger.first_since(before * 1_000_000)
    heads = ledger.side_heads(0, end)
    return [(index, name) for index, name, head in heads if name == NETWORK and side_ref(head) not in held]


def _refs(custody: Custody, person: str) -> list[bytes]:
    """The references of everybody whom a person was or answers for."""
    everybody = custody.catalog.snapshot.state.same_person(person)
    return [ref for holder in everybody if (ref := custody.catalog.ref(holder)) is not None]
