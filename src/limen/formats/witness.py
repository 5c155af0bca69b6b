"""What is said to a witness and heard from it: `add-checkpoint`. C2SP tlog-witness v1.

Pure. `Request` is the body of the POST; `cosignatures` reads the body of a 200, `recorded_size` that of a 409. Nothing here
is verified: a witness verifies the checkpoint and the proof, a log the cosignatures.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from limen.core.errors import Invalid
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note

ADD_CHECKPOINT: Final = "add-checkpoint"
TLOG_SIZE: Final = "text/x.tlog.size"
MAX_HASHES: Final = 63
MAX_REQUEST: Final = 2 * note.MAX_NOTE


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint for a witness to cosign, and the proof that it continues the tree of `old_size` entries."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old_size}", *(base64.b64encode(value).decode() for value in self.proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint


def decode(raw: bytes) -> Request:
    """Read the body of a request without verifying it; Invalid names the line that is wrong."""
    if len(raw) > MAX_REQUEST:
        raise Invalid("request", f"longer than {MAX_REQUEST} bytes")
    # The checkpoint has a blank line of its own: the first one is ours.
    head, separator, checkpoint = raw.partition(b"\n\n")
    if not separator:
        raise Invalid("request", "has no checkpoint after a blank line")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as e:
        raise Invalid("request", "is not ASCII above the checkpoint") from e
    if not lines[0].startswith("old "):
        raise Invalid("old size", "is missing")
    old_size = checkpoints.decimal(lines[0][4:], "old size")
    if len(lines) - 1 > MAX_HASHES:
        raise Invalid("proof", f"has more than {MAX_HASHES} hashes")
    proof = tuple(note.decode_base64(line, f"proof line {number}") for number, line in enumerate(lines[1:], 1))
    for number, value in enumerate(proof, 1):
        if len(value) != merkle.HASH_BYTES:
            raise Invalid(f"proof line {number}", f"is not a hash of {merkle.HASH_BYTES} bytes")
    note.parse(checkpoint)
    return Request(old_size, proof, checkpoint)


def cosignatures(raw: bytes) -> tuple[note.Signature, ...]:
    """The unverified signature lines that a witness answered with."""
    return note.parse_lines(raw)


def recorded_size(raw: bytes) -> int:
    """The size that a witness says it has recorded, from the body of its 409."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as e:
        raise Invalid("size", "is not ASCII") from e
    if not text.endswith("\n"):
        raise Invalid("size", "has no newline")
    return checkpoints.decimal(text[:-1], "size")


def monitoring_path(origin: str) -> str:
    """Where below its monitoring prefix a witness shows the newest checkpoint of a log that it cosigned."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
