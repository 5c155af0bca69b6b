"""Writes entries and their side records: canonical bytes in the log, personal detail sealed beside it.

An entry commits to each class of detail with a salted hash; the clear values and their salts lie in the side record,
encrypted under the subject's own key (AES-256-GCM, bound to the entry by its salt). Destroying that key erases them,
and every proof still holds. Clock, randomness and keys are passed in.

Side record, version 1: 0x01, subject's length (2 bytes, big-endian), subject (UTF-8), nonce (12 bytes), ciphertext.
Plaintext: canonical JSON {class: {"salt": hex, "value": {...}}}.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from limen.core import events
from limen.core.errors import Invalid, TamperDetected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limen.core.types import Side

SIDE_VERSION: Final = 1
NONCE_BYTES: Final = 12
_HEADER: Final = 3


class Scribe:
    """Writes entries in version 1 of the canonical form. `subject_key` gives 32 bytes for a subject's id."""

    def __init__(
        self,
        now_us: Callable[[], int],
        random: Callable[[int], bytes],
        subject_key: Callable[[str], bytes],
        story_at: Callable[[], int | None],
    ) -> None:
        self._now_us = now_us
        self._random = random
        self._subject_key = subject_key
        self._story_at = story_at

    def write(self, kind: str, fields: Mapping[str, Any], side: Side | None) -> tuple[bytes, bytes | None]:
        """An entry's bytes, and its sealed side record if it has one. Nothing is stored yet.

        Invalid for a value that has no canonical form; whatever `subject_key` raises for a subject that has been erased.
        """
        salt = self._random(events.SALT_BYTES)
        told_at = self._story_at()
        story = {} if told_at is None else {"story_at": told_at}
        if side is None:
            return events.encode(kind, self._now_us(), salt, {**fields, **story}), None
        events.check(side.classes, "side")
        clear = {name: (self._random(events.SALT_BYTES), value) for name, value in side.classes.items()}
        commit = {name: events.commitment(own, name, value) for name, (own, value) in clear.items()}
        entry = events.encode(kind, self._now_us(), salt, {**fields, **story, "commit": commit})
        return entry, self._sealed(side.subject, salt, clear)

    def _sealed(self, subject: str, salt: bytes, clear: Mapping[str, tuple[bytes, Mapping[str, object]]]) -> bytes:
        nonce = self._random(NONCE_BYTES)
        plain = events.canonical({name: {"salt": own.hex(), "value": value} for name, (own, value) in clear.items()})
        name = subject.encode()
        ciphertext = AESGCM(self._subject_key(subject)).encrypt(nonce, plain, salt)
        return bytes([SIDE_VERSION]) + len(name).to_bytes(2, "big") + name + nonce + ciphertext


def side_subject(raw: bytes) -> str:
    """Whose key opens a side record. The name is not authenticated: with another's key the record does not open."""
    return _frame(raw)[0]


def open_side(raw: bytes, entry: bytes, key: bytes) -> dict[str, dict[str, Any]]:
    """The clear values by class, each checked against the entry's commitment.

    TamperDetected if the record does not open under this key beside this entry, or does not hold exactly what the entry
    commits to.
    """
    _, nonce, ciphertext = _frame(raw)
    fields = events.decode(entry)
    try:
        plain = AESGCM(key).decrypt(nonce, ciphertext, bytes.fromhex(fields["salt"]))
    except InvalidTag as e:
        raise TamperDetected("the side record does not open under its subject's key beside this entry") from e
    clear: dict[str, Any] = json.loads(plain)
    commit = fields.get("commit", {})
    if clear.keys() != commit.keys():
        raise TamperDetected("the side record does not hold the classes that the entry commits to")
    for name, sealed in clear.items():
        if events.commitment(bytes.fromhex(sealed["salt"]), name, sealed["value"]) != commit[name]:
            raise TamperDetected(f"the side record's {name} is not what the entry commits to")
    return {name: sealed["value"] for name, sealed in clear.items()}


def _frame(raw: bytes) -> tuple[str, bytes, bytes]:
    """Subject, nonce and ciphertext; Invalid for bytes that no scribe wrote."""
    if len(raw) < _HEADER or raw[0] != SIDE_VERSION:
        raise Invalid("side record", f"is not of version {SIDE_VERSION}")
    end = _HEADER + int.from_bytes(raw[1:_HEADER], "big")
    if len(raw) < end + NONCE_BYTES:
        raise Invalid("side record", "is too short")
    try:
        subject = raw[_HEADER:end].decode()
    except UnicodeDecodeError as e:
        raise Invalid("side record", "its subject is not UTF-8") from e
    return subject, raw[end : end + NONCE_BYTES], raw[end + NONCE_BYTES :]
