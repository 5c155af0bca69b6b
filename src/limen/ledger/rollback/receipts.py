"""Holds a receipt against the log. Its checkpoint carries the log's signature, so a log that is behind it was set back.

The leaf hash in a receipt is signed by nobody: only together with the stored entry it says something. A receipt whose
checkpoint fits and whose leaf hash does not is a false receipt, and no alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.core import epochs
from limen.core.errors import Invalid, LimenError, NotFound, TamperDetected
from limen.core.events import decode
from limen.formats.merkle import leaf_hash
from limen.ledger.rollback.evidence import NEXT_STEP, Evidence, contradiction, first_difference, roots

if TYPE_CHECKING:
    from limen.formats.note import Verifier
    from limen.formats.receipt import Claim
    from limen.ledger.rollback.evidence import Tiles
    from limen.ledger.store import Head, Reading


@dataclass(frozen=True, slots=True)
class Held:
    """A receipt that the log keeps: its entry is there, under a checkpoint that the log continues."""

    index: int
    origin: str
    size: int


def check(claim: Claim, head: Head | None, store: Reading, log: Tiles, *, verifier: Verifier) -> Held:
    """Pass if the log keeps what the receipt says.

    TamperDetected with evidence if the log is behind the receipt's checkpoint, or another log: an alarm. Without evidence
    if only the leaf hash does not fit. NotFound if the entry was lost with an earlier epoch, as that epoch's end says.
    Invalid if no key of this log signed the checkpoint.
    """
    seen = Evidence.read(claim.checkpoint, f"the receipt of entry {claim.index}", verifier=verifier)
    said = seen.checkpoint
    if claim.index >= said.size:
        raise Invalid("receipt", f"entry {claim.index} can't be under its checkpoint, which has {said.size} entries")
    if seen.epoch < epochs.split(verifier.name)[1]:
        _under_an_earlier_epoch(claim, seen, store, log)
    else:
        why = contradiction(seen, head, store, log, origin=verifier.name)
        if why is not None:
            raise why
    found = [leaf_hash(raw) for _, raw in store.entries(claim.index, claim.index + 1)]
    if found != [claim.leaf_hash]:
        raise TamperDetected(
            f"the receipt is false: its checkpoint is this log's, and entry {claim.index} under it has another leaf hash; "
            "that hash is the one part of a receipt that nobody signs",
            index=claim.index,
        )
    return Held(claim.index, said.origin, said.size)


def _under_an_earlier_epoch(claim: Claim, seen: Evidence, store: Reading, log: Tiles) -> None:
    """What that epoch kept is still here, under the same indexes; what it lost, its successor's first entry says."""
    said = seen.checkpoint
    end, index = _end_of(seen.epoch, store)
    if claim.index >= end:
        raise NotFound(f"entry {claim.index} of {said.origin}: it was lost, with all from {end} on (entry {index} says so)")
    if said.size <= end and roots(store, [said.size]) != [said.root]:
        raise TamperDetected(
            f"the log was rewritten: {seen}, and the entries that were kept make another root there",
            index=first_difference(said, store, log),
            evidence=said.note,
            next_step=NEXT_STEP,
        )


def _end_of(epoch: int, store: Reading) -> tuple[int, int]:
    """How many entries were kept of an epoch and those before it, and which entry says so."""
    ends = []
    for index, raw in store.entries(0, 1 << 62):
        if b'"kind":"epoch.begin"' not in raw:
            continue
        try:
            fields = decode(raw)
        except LimenError:
            continue
        if fields["kind"] == "epoch.begin" and fields["epoch"] > epoch:
            ends.append((int(fields["kept"]), index))
    if not ends:
        raise TamperDetected(f"no entry says how epoch {epoch} of the log ended")
    return min(ends)
