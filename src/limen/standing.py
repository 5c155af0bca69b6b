"""What the log adds up to so far: bytes taken on the latest day, reads and writes that are open, sessions that were begun.

Start-up needs this sum over every entry since the day, or since the longest session, began: on a busy log, minutes of
reading. So a running gateway adds up behind its own back, and notes the sum from time to time in `DATA/standing`; the next
start adds only what came after. The note is derived: without it, or if it is damaged or of another log, a start reads
what it must, and comes to the same.

The note, version 1: hex SHA-256 of its second line; canonical JSON {"v", "upto", "leaf" (hash of the entry before `upto`,
hex), "change" (the last change of authority below `upto`, or -1), "day" (since 1970), "taken" ([[who, asset, bytes]]),
"open" and "sessions" ([[index, entry]])}. It holds nothing that is not in the log.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from limen.catalog.changes import CHANGES
from limen.core.errors import Invalid, TamperDetected
from limen.core.events import canonical
from limen.durable import write_atomically
from limen.formats.merkle import leaf_hash
from limen.ledger.recovery import needs_outcome
from limen.policy.quota import DAY_S, Quota
from limen.windows import covered

if TYPE_CHECKING:
    from pathlib import Path

    from limen.ledger.ledger import Ledger

log = structlog.get_logger("limen")

NOTE: Final = "standing"
VERSION: Final = 1
LONGEST_SESSION_S: Final = 43_200
NOTED_EVERY: Final = 8_192  # entries; a start after a crash has to read so many at most, and a second's worth more
BREATH: Final = 256  # entries; then whoever waits for the interpreter may have it


class Standing:
    """The sum over the entries below `upto`. After start-up only `keep` is called, from any thread."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger
        self._keeping = threading.Lock()
        self._noted = 0
        self._changes: list[int] = []  # the changes of authority known to it, in order; of those before the note, the last
        self.upto = 0
        self.quota = Quota()
        self.open: dict[int, dict[str, Any]] = {}  # intents under which bytes may pass, and whose outcome is still to come
        self.sessions: dict[int, dict[str, Any]] = {}  # as they were begun; one may have been ended since

    @classmethod
    def of(cls, path: Path, ledger: Ledger, *, now: int) -> Standing:
        """The sum over the whole log, from the note on; without one, from where nothing older matters any more.

        TamperDetected names an entry from there on that is missing or can't be read.
        """
        standing = cls(path, ledger)
        try:
            standing._resume()
        except (Invalid, OSError, ValueError, KeyError, TypeError) as e:
            if not isinstance(e, FileNotFoundError):
                log.warning("the note of what the log adds up to can't be used; the log is read instead", why=str(e))
            standing = cls(path, ledger)
            standing._begin(now)
        standing.catch_up()
        return standing

    def catch_up(self) -> None:
        """Add what was committed since."""
        for index, raw in self._ledger.entries(self.upto):
            if index != self.upto:
                raise TamperDetected(f"entry {self.upto} is missing from ledger.db", index=self.upto)
            self._add(index, raw)
            self.upto = index + 1
            if not self.upto % BREATH:
                time.sleep(0)

    def keep(self, *, now: int, closing: bool = False) -> None:
        """Catch up, and write a note if enough has come since the last one, or anything when this is the end."""
        with self._keeping:
            self.catch_up()
            if self.upto - self._noted >= (1 if closing else NOTED_EVERY):
                write_atomically(self._path, self._note(now))
                self._noted = self.upto

    def first_change_after(self, applied: int) -> int:
        """From where on to look for changes of authority that are not in the tables; `applied` is the last that is."""
        known = iter(self._changes)
        if next(known, -1) > applied:
            return applied + 1  # between the two may be others
        return next((change for change in known if change > applied), self.upto)

    def all_applied(self, applied: int) -> None:
        """Every change of authority below `upto` is in the tables, and `applied` is the last."""
        self._changes = [applied]

    # --- adding

    def _add(self, index: int, raw: bytes) -> None:
        if b'"kind":"access.refusal"' in raw:  # if it says so anywhere else, it is in another's words, and escaped
            return
        try:
            entry = json.loads(raw)
            match entry["kind"]:
                case "access.intent":
                    self._begun(index, entry)
                case "access.outcome":
                    self._ended(entry)
                case "session.start":
                    self.sessions[index] = entry
                case kind if kind in CHANGES:
                    self._changes.append(index)
        except (ValueError, KeyError, TypeError) as e:
            raise TamperDetected(f"entry {index} is not an entry: {e!r}", index=index) from e

    def _begun(self, index: int, intent: dict[str, Any]) -> None:
        if reach := _reach(intent):
            self.quota.load(intent["who"], intent["asset"], reach, now=_told_at(intent))
        if needs_outcome(intent):
            self.open[index] = intent

    def _ended(self, outcome: dict[str, Any]) -> None:
        """Count what was handed over instead of what was covered; under a window the same bytes may have gone twice."""
        intent = self.open.pop(outcome["of"], None)
        if intent is None or not (reach := _reach(intent)) or "sent" not in outcome:
            return
        unsent = reach - outcome["sent"]
        if unsent >= 0:
            self.quota.credit(intent["who"], intent["asset"], unsent, reserved_at=_told_at(intent))
        else:
            self.quota.load(intent["who"], intent["asset"], -unsent, now=_told_at(intent))

    # --- the note

    def _begin(self, now: int) -> None:
        horizon = min(now - now % DAY_S, now - LONGEST_SESSION_S)
        self.upto = min(self._ledger.low_water(), self._ledger.first_since(horizon * 1_000_000))
        if self.upto:
            self._changes = [self.upto - 1]  # there may be one as late as that

    def _resume(self) -> None:
        digest, _, body = self._path.read_bytes().partition(b"\n")
        if digest.decode() != hashlib.sha256(body).hexdigest():
            raise Invalid("note", "is damaged")
        note = json.loads(body)
        if note["v"] != VERSION or note["upto"] > self._ledger.head().size or note["leaf"] != self._leaf_before(note["upto"]):
            raise Invalid("note", "is of another log, or of another limen")
        self.upto = self._noted = note["upto"]
        self._changes = [note["change"]]
        for who, asset, taken in note["taken"]:
            self.quota.load(who, asset, taken, now=note["day"] * DAY_S)
        self.open = dict(note["open"])
        self.sessions = dict(note["sessions"])

    def _note(self, now: int) -> bytes:
        day, taken = self.quota.day()
        self.sessions = {index: entry for index, entry in self.sessions.items() if entry["until"] > now}
        self._changes = self._changes[-1:]
        body = canonical(
            {
                "v": VERSION,
                "upto": self.upto,
                "leaf": self._leaf_before(self.upto),
                "change": self._changes[0] if self._changes else -1,
                "day": day,
                "taken": [[who, asset, nbytes] for (who, asset), nbytes in taken.items()],
                "open": list(self.open.items()),
                "sessions": list(self.sessions.items()),
            }
        )
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    def _leaf_before(self, index: int) -> str:
        """Which log this is, by its last entry below an index."""
        return next((leaf_hash(raw).hex() for _, raw in self._ledger.entries(index - 1, index)), "") if index > 0 else ""


def _reach(intent: dict[str, Any]) -> int:
    """Bytes that an intent covers."""
    return sum(end - start for _, start, end in covered(intent))


def _told_at(entry: dict[str, Any]) -> int:
    return int(entry.get("story_at", entry["at"])) // 1_000_000
