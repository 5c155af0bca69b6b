"""Checkpoints: the text of a signed tree head. C2SP tlog-checkpoint v1.0.0, without extension lines.

Pure, and without signatures: `note` puts them on and checks them.
"""

from __future__ import annotations

import base64

from limen.core.errors import Invalid
from limen.formats.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from limen.formats.note import decode_base64


def encode(origin: str, size: int, root: bytes) -> str:
    """The three lines: origin, size, root."""
    if not origin or "\n" in origin:
        raise Invalid("origin", "is empty, or more than one line")
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def decode(text: str) -> tuple[str, int, bytes]:
    """Origin, size and root; Invalid names the line that is wrong. Extension lines are refused: nothing of ours has any."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:  # noqa: PLR2004  three lines, each with its newline
        raise Invalid("checkpoint", "is not the three lines origin, size, root")
    size, root = decimal(lines[1], "size"), decode_base64(lines[2], "root")
    if len(root) != HASH_BYTES:
        raise Invalid("root", f"has {len(root)} bytes, not {HASH_BYTES}")
    if size == 0 and root != EMPTY_ROOT:
        raise Invalid("root", "is not the root of an empty tree")
    return lines[0], size, root


def decimal(text: str, what: str) -> int:
    """A number in the one spelling that C2SP allows: ASCII digits, no sign, no leading zero, below 2^63."""
    if not (text.isascii() and text.isdecimal()) or (text[0] == "0" and text != "0") or len(text) > len(str(MAX_SIZE)):
        raise Invalid(what, "is not a plain decimal number")
    number = int(text)
    if number > MAX_SIZE:
        raise Invalid(what, "is 2^63 or more")
    return number
