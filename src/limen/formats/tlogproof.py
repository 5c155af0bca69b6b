"""Proof files: an entry's index, its inclusion proof and the checkpoint, in one text. C2SP tlog-proof@v1.

Pure. `Proof.verify` is the whole check that an auditor makes: the checkpoint under a policy, or under the log's key alone,
then the path from the entry to the root.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note
from limen.formats.tlogpolicy import Cosigned, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC: Final = "c2sp.org/tlog-proof@v1"
MAX_HASHES: Final = 63
MAX_PROOF: Final = 2 * note.MAX_NOTE


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof of inclusion. `checkpoint` is the signed note, verbatim; `extra` is anybody's and is not authenticated."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [MAGIC]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(value).decode() for value in self.hashes]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    def verify(self, entry: bytes, trust: Policy | Sequence[note.Verifier]) -> Cosigned:
        """The accepted checkpoint; Invalid unless the policy accepts it and the entry is in its tree at `index`.

        A row of log keys stands for the policy that asks for the signature of one of them and for no witness.
        """
        policy = trust if isinstance(trust, Policy) else Policy.of_logs(trust)
        accepted = policy.check(self.checkpoint)
        merkle.verify_inclusion(self.index, accepted.size, merkle.leaf_hash(entry), self.hashes, accepted.root)
        return accepted


def decode(raw: bytes) -> Proof:
    """Read a proof file without verifying it; Invalid names the line that is wrong."""
    if len(raw) > MAX_PROOF:
        raise Invalid("proof", f"longer than {MAX_PROOF} bytes")
    # The checkpoint has a blank line of its own: the first one is ours.
    head, separator, checkpoint = raw.partition(b"\n\n")
    if not separator:
        raise Invalid("proof", "has no checkpoint after a blank line")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as e:
        raise Invalid("proof", "is not ASCII above the checkpoint") from e
    if lines.pop(0) != MAGIC:
        raise Invalid("proof", f"does not begin with {MAGIC}")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = note.decode_base64(lines.pop(0)[6:], "extra")
        if not extra:
            raise Invalid("extra", "is empty; the line is left out then")
    if not lines or not lines[0].startswith("index "):
        raise Invalid("index", "is missing")
    index = checkpoints.decimal(lines.pop(0)[6:], "index")
    if len(lines) > MAX_HASHES:
        raise Invalid("proof", f"has more than {MAX_HASHES} hashes")
    hashes = tuple(note.decode_base64(line, "hash") for line in lines)
    if any(len(value) != merkle.HASH_BYTES for value in hashes):
        raise Invalid("hash", f"is not {merkle.HASH_BYTES} bytes long")
    checkpoints.decode(note.parse(checkpoint)[0])
    return Proof(index, hashes, checkpoint, extra)
