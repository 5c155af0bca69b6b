"""Two checkpoints of one log: that the newer tree begins with the older one, and nothing was taken back. RFC 6962 §2.1.2.

Whoever keeps a checkpoint (from a receipt, a proof, a bundle of last year) can hold the log to it. The proof is written as
C2SP tlog-witness v1 spells it in `add-checkpoint`: the old size, the hashes, the new checkpoint; so what convinces an
auditor also convinces a witness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import merkle, witness
from limen.formats.tlogpolicy import Policy
from limen.formats.witness import Request
from limen.verify.published import as_policy

if TYPE_CHECKING:
    from limen.formats.tlogpolicy import Cosigned
    from limen.verify.published import Published, Trust


@dataclass(frozen=True, slots=True)
class Consistent:
    """Two accepted checkpoints of one log, of which the newer continues the older."""

    old: Cosigned
    new: Cosigned


def prove(log: Published, trust: Trust, old: bytes) -> tuple[Request, Consistent]:
    """The proof that the published checkpoint continues the note `old`, verified before it is returned.

    TamperDetected if it does not, or if the log now shows less than it once signed.
    """
    earlier = _signed(old, trust)
    newest = log.checkpoint(trust)
    if earlier.size > newest.size:
        raise TamperDetected(
            f"the log shows {newest.size} entries and has signed {earlier.size} before: it was rolled back, or the older "
            "checkpoint is seconds old and not published yet"
        )
    try:
        hashes = merkle.consistency_proof(earlier.size, newest.size, log.tree(newest.size))
    except (NotFound, Invalid) as e:
        raise TamperDetected(f"the log can't prove that it continues its checkpoint of size {earlier.size}: {e}") from e
    request = Request(earlier.size, tuple(hashes), newest.note)
    return request, _hold(request, earlier, trust)


def check(raw: bytes, old: bytes, trust: Trust) -> Consistent:
    """Check a proof that somebody else made; TamperDetected says what of it does not hold."""
    try:
        request = witness.decode(raw)
    except Invalid as e:
        raise TamperDetected(f"the consistency proof does not read: {e}") from e
    return _hold(request, _signed(old, trust), trust)


def _signed(old: bytes, trust: Trust) -> Cosigned:
    """The older checkpoint. The log's own signature is enough: it is the log that is held to its word."""
    try:
        return Policy(as_policy(trust).logs).check(old)
    except Invalid as e:
        raise TamperDetected(f"the older checkpoint does not verify: {e}") from e


def _hold(request: Request, old: Cosigned, trust: Trust) -> Consistent:
    try:
        new = as_policy(trust).check(request.checkpoint)
    except Invalid as e:
        raise TamperDetected(f"the newer checkpoint does not verify: {e}") from e
    if new.origin != old.origin:
        raise TamperDetected(f"the newer checkpoint is of the log {new.origin}, the older one of {old.origin}")
    if request.old_size != old.size:
        raise TamperDetected(f"the proof begins at size {request.old_size}, and the older checkpoint is of {old.size} entries")
    try:
        merkle.verify_consistency(old.size, new.size, old.root, new.root, request.proof)
    except Invalid as e:
        raise TamperDetected(f"the log does not continue its checkpoint of size {old.size}: {e}") from e
    return Consistent(old, new)
