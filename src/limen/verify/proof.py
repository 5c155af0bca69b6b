"""One entry, checked from a proof file and a policy: that it is in the log, at its index. C2SP tlog-proof@v1.

The entry's bytes are brought along, or ride in the file's `extra` line, where limen's own proofs have them. Nobody vouches
for that line, and nobody needs to: bytes that are not the entry do not lead to the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limen.core.errors import Invalid, TamperDetected
from limen.formats import tlogproof
from limen.verify.published import as_policy

if TYPE_CHECKING:
    from limen.formats.tlogpolicy import Cosigned
    from limen.verify.published import Trust


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry that is in a log, under an accepted checkpoint."""

    index: int
    entry: bytes
    checkpoint: Cosigned


def check(raw: bytes, trust: Trust, *, entry: bytes | None = None) -> Proven:
    """The proven entry; TamperDetected says what of the file does not hold. Invalid if the entry's bytes are nowhere."""
    try:
        proof = tlogproof.decode(raw)
    except Invalid as e:
        raise TamperDetected(f"the proof does not read: {e}") from e
    if entry is None and not proof.extra:
        raise Invalid("--entry", "the proof does not carry the entry's bytes; give the file that holds them")
    proven = proof.extra if entry is None else entry
    try:
        accepted = proof.verify(proven, as_policy(trust))
    except Invalid as e:
        raise TamperDetected(f"the proof of entry {proof.index} does not hold: {e}", index=proof.index) from e
    return Proven(proof.index, proven, accepted)
