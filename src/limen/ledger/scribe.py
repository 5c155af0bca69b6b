"""Writes entries and their side records: canonical bytes in the log, personal detail sealed beside it.

An entry commits to each class of detail with a salted hash; the clear value and its salt lie in a side record of that
class, encrypted under the subject's own key (AES-256-GCM, bound to the entry by its salt and to the class by its name).
So one class can be opened, or dropped, without another. Destroying the key erases them all, and every proof still holds.
Clock, randomness and keys are passed in.

Side record, version 2: 0x02, the subject's reference (16 random bytes, so that the record names nobody), nonce (12 bytes),
ciphertext. Plaintext: canonical JSON {"salt": hex, "value": {...}}.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from limen.core import events
from limen.core.errors import Invalid, TamperDetected
from limen.core.types import REF_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limen.core.types import Side, SubjectKey

SIDE_VERSION: Final = 2
NONCE_BYTES: Final = 12
_HEADER: Final = 1 + REF_BYTES


class Opened(NamedTuple):
    """One class of detail in clear, and the salt that its commitment was made with."""

    salt: bytes
    value: dict[str, Any]


class Scribe:
    """Writes entries in version 1 of the canonical form. `subject_key` gives the reference and key of a subject's id."""

    def __init__(
        self,
        now_us: Callable[[], int],
        random: Callable[[int], bytes],
        subject_key: Callable[[str], SubjectKey],
        story_at: Callable[[], int | None],
    ) -> None:
        self._now_us = now_us
        self._random = random
        self._subject_key = subject_key
        self._story_at = story_at

    def write(self, kind: str, fields: Mapping[str, Any], side: Side | None) -> tuple[bytes, dict[str, bytes] | None]:
        """An entry's bytes, and its sealed side records by class if it has any. Nothing is stored yet.

        Invalid for a value that has no canonical form; whatever `subject_key` raises for a subject that has been erased.
        """
        salt = self._random(events.SALT_BYTES)
        told_at = self._story_at()
        story = {} if told_at is None else {"story_at": told_at}
        if side is None:
            return events.encode(kind, self._now_us(), salt, {**fields, **story}), None
        events.check(side.classes, "side")
        clear = {name: Opened(self._random(events.SALT_BYTES), value) for name, value in side.classes.items()}
        commit = {name: events.commitment(opened.salt, name, opened.value) for name, opened in clear.items()}
        entry = events.encode(kind, self._now_us(), salt, {**fields, **story, "commit": commit})
        subject = self._subject_key(side.subject)
        return entry, {name: self._sealed(subject, salt, name, opened) for name, opened in clear.items()}

    def _sealed(self, subject: SubjectKey, salt: bytes, name: str, opened: Opened) -> bytes:
        nonce = self._random(NONCE_BYTES)
        plain = events.canonical({"salt": opened.salt.hex(), "value": opened.value})
        ciphertext = AESGCM(subject.key).encrypt(nonce, plain, _bound(salt, name))
        return bytes([SIDE_VERSION]) + subject.ref + nonce + ciphertext


def side_ref(raw: bytes) -> bytes:
    """Whose key opens a side record. It is not authenticated: with another's key the record does not open."""
    if len(raw) < _HEADER or raw[0] != SIDE_VERSION:
        raise Invalid("side record", f"is not of version {SIDE_VERSION}")
    return raw[1:_HEADER]


def open_side(name: str, raw: bytes, entry: bytes, key: bytes) -> Opened:
    """The clear value of one class, checked against the entry's commitment.

    TamperDetected if the record does not open under this key beside this entry as this class, or does not hold what the
    entry commits to.
    """
    side_ref(raw)
    sealed = raw[_HEADER:]
    if len(sealed) < NONCE_BYTES:
        raise Invalid("side record", "is too short")
    fields = events.decode(entry)
    try:
        plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(bytes.fromhex(fields["salt"]), name))
    except InvalidTag as e:
        raise TamperDetected(f"the side record of class {name} does not open under its subject's key beside this entry") from e
    clear = json.loads(plain)
    opened = Opened(bytes.fromhex(clear["salt"]), clear["value"])
    if fields.get("commit", {}).get(name) != events.commitment(opened.salt, name, opened.value):
        raise TamperDetected(f"the side record's {name} is not what the entry commits to")
    return opened


def _bound(salt: bytes, name: str) -> bytes:
    """What a record is sealed to: the entry, by its salt, and the class. The salt's length is fixed, so no two meet."""
    return salt + name.encode()
