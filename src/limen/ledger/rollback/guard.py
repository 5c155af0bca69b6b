"""The guard against a log that was set back: before anything is signed, every trace of what the log was must agree.

Traces are the published checkpoint, high-water notes (C2SP signed notes: `DATA/high-water`, and a second place that a
restored disk does not take back with it), and whatever an alarm has brought up: a witness's record, a receipt. Whoever
finds the log behind one of them, or another log, raises an alarm; `DATA/alarm.json` keeps it, and nothing is signed until
the log again holds what the evidence shows, or a new epoch says what is lost.

High-water notes follow the published checkpoint on a thread of their own, at most `PACE_S` behind: synced, replaced
whole, and never turned back. A place that can't be written holds nothing up; `progress` says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Conflict, Invalid, LedgerUnavailable, LimenError, NotFound, TamperDetected
from limen.durable import sync
from limen.ledger.publication.publisher import Progress
from limen.ledger.rollback.evidence import NEXT_STEP, Evidence, contradiction, roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.ledger.store import Head, Reading
    from limen.verify.published import Published

HIGH_WATER: Final = "high-water"
ALARM: Final = "alarm.json"
UNFINISHED: Final = "epoch.next"  # an epoch that was begun; see `ledger.epoch`
PACE_S: Final = 0.5
RETRY_S: Final = 1.0


class Guard:
    """Owns the high-water notes and the alarm of one data directory. `published` and `keep` may be called from any thread."""

    def __init__(
        self,
        data: Path,
        verifier: Verifier,
        *,
        logs: Sequence[Published],
        elsewhere: Path | None,
        now: Callable[[], float],
    ) -> None:
        self._data = data
        self._verifier = verifier
        self._logs = logs
        self._places = [data / HIGH_WATER, *([elsewhere] if elsewhere else [])]
        self._now = now
        self._store: Reading
        self._tampered: Callable[[TamperDetected], None]
        self._change = threading.Condition()  # guards the three below
        self._target: Head | None = None
        self._noted = -1
        self._closing = False
        self._states = [Progress(_named(place), None, "") for place in self._places]  # replaced whole
        self._thread = threading.Thread(target=self._run, name="limen-high-water", daemon=True)

    # --- before anything is signed

    def ready(self) -> None:
        """Conflict if a new epoch was begun and not finished: then the database may be under either name."""
        with _within_reach():
            unfinished = (self._data / UNFINISHED).exists()
        if unfinished:
            raise Conflict("a new epoch was begun and not finished; run `limen ledger new-epoch` again. Nothing was signed")

    def admit(self, head: Head | None, store: Reading) -> None:
        """Pass in silence if the log of this head holds all that is known of it. Changes nothing else.

        TamperDetected, kept as an alarm, names the evidence that it contradicts. An alarm that stands is looked into:
        every entry is hashed, and it ends only if nothing is wrong. LedgerUnavailable if it can't be looked at now.
        """
        try:
            with _within_reach():
                standing = read_alarm(self._data)
                self._compare(head, store, standing)
        except TamperDetected as why:
            self.keep(why, head.checkpoint if head else None)
            raise
        self._store = store
        if standing is not None:
            with _within_reach():
                archive(self._data / ALARM, "ended")

    def _compare(self, head: Head | None, store: Reading, standing: dict[str, Any] | None) -> None:
        kept = evidence_of(standing, self._verifier)
        for evidence in _apart([*self.evidence(), *([kept] if kept else [])]):
            why = contradiction(evidence, head, store, self._logs[0], origin=self._verifier.name)
            if why is not None:
                raise why
        if standing is not None and head is not None and roots(store, [head.size]) != [head.checkpoint.root]:
            raise TamperDetected(
                f"the entries of ledger.db do not make the root that it holds as signed at size {head.size}", next_step=NEXT_STEP
            )

    def evidence(self) -> list[Evidence]:
        """Every checkpoint of this log that is noted or published where we can see it.

        TamperDetected for a high-water note that is none of this log's. A published checkpoint that does not verify shows
        nothing: it is written again.
        """
        found = []
        for place in self._places:
            raw = _note(place)
            if raw is None:
                continue
            try:
                found.append(Evidence.read(raw, f"the high-water note {place}", verifier=self._verifier))
            except Invalid as e:
                raise TamperDetected(
                    f"{e}: so how long the log was can't be said",
                    next_step=f"look at {place}; if another log wrote it, or a disk has damaged it, move it away",
                ) from e
        for log in self._logs:
            with contextlib.suppress(NotFound, TamperDetected, OSError, Invalid):
                raw = log.checkpoint(self._verifier).note
                found.append(Evidence.read(raw, "the published checkpoint", verifier=self._verifier))
        return found

    def keep(self, why: TamperDetected, head: Checkpoint | None) -> None:
        """Keep an alarm across restarts. The one with the furthest evidence stays; a disk that refuses it changes nothing."""
        with contextlib.suppress(LimenError, OSError):
            before = read_alarm(self._data)
            mine = _reach(why.evidence, self._verifier)
            if before is not None and _reach(before["evidence"].encode(), self._verifier) >= mine:
                return
            write_durably(self._data / ALARM, alarm(why, head, at=int(self._now())))

    # --- while it runs

    def start(self, head: Head, tampered: Callable[[TamperDetected], None]) -> None:
        """Begin to note what is published. `tampered` hears of a note that somebody else wrote, and contradicts ours."""
        self._tampered = tampered
        self._thread.start()
        self.published(head)

    def published(self, head: Head) -> None:
        """Note this head soon: it is published. Never blocks."""
        with self._change:
            self._target = head
            self._change.notify()

    def progress(self) -> list[Progress]:
        """How far the note in each place has come, for whoever watches. Any thread."""
        return self._states

    def close(self, *, timeout_s: float) -> None:
        """Note what was published last, and end the thread; gives up after the timeout."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (head := self._next()) is not None:
            try:
                self._states = [self._noted_at(place, head) for place in self._places]
            except TamperDetected as why:
                self._states = [Progress(each.place, each.size, str(why)) for each in self._states]
                self._tampered(why)
                return
            trouble = any(each.error for each in self._states)
            with self._change:
                if not trouble:
                    self._noted = head.size
                elif self._closing:
                    return
                self._change.wait_for(lambda: self._closing, RETRY_S if trouble else PACE_S)

    def _noted_at(self, place: Path, head: Head) -> Progress:
        """The note written, or why it could not be: that delays nobody."""
        name = _named(place)
        try:
            self._raise(place, head)
        except OSError as e:
            before = next(each.size for each in self._states if each.place == name)
            return Progress(name, before, str(e))
        return Progress(name, head.size, "")

    def _next(self) -> Head | None:
        with self._change:
            self._change.wait_for(lambda: self._closing or self._behind())
            return self._target if self._behind() else None

    def _behind(self) -> bool:
        return self._target is not None and self._target.size > self._noted

    def _raise(self, place: Path, head: Head) -> None:
        """Write the note, unless a newer one is there. TamperDetected if one is there that our log contradicts."""
        raw = _note(place)
        if raw is not None:
            try:
                there = Evidence.read(raw, f"the high-water note {place}", verifier=self._verifier)
            except Invalid as e:
                raise TamperDetected(f"{e}: somebody has written it while limen runs", next_step=NEXT_STEP) from e
            if there.checkpoint.origin != head.checkpoint.origin:
                archive(place, f"epoch-{there.epoch}")
            if there.checkpoint.note == head.checkpoint.note:
                return
            # Only what a second process wrote can be ahead of us, or on another branch.
            why = contradiction(there, head, self._store, self._logs[0], origin=self._verifier.name)
            if why is not None:
                raise why
        write_durably(place, head.checkpoint.note)


class Unguarded:
    """No guard: for a log that is not a gateway's, and for the tests that show what a guard is for."""

    def ready(self) -> None:
        """Pass."""

    def admit(self, head: Head | None, store: Reading) -> None:
        """Pass."""

    def start(self, head: Head, tampered: Callable[[TamperDetected], None]) -> None:
        """Do nothing."""

    def published(self, head: Head) -> None:
        """Do nothing."""

    def keep(self, why: TamperDetected, head: Checkpoint | None) -> None:
        """Forget it."""

    def progress(self) -> list[Progress]:
        """Nowhere."""
        return []

    def close(self, *, timeout_s: float) -> None:
        """Do nothing."""


# --- alarms


def alarm(why: TamperDetected, head: Checkpoint | None, *, at: int) -> bytes:
    """`DATA/alarm.json`, schema limen/alarm/v1: what is wrong, the signed evidence if there is any, and where the log stood."""
    value = {
        "schema": "limen/alarm/v1",
        "raised_at": at,
        "why": str(why),
        "first_bad": why.index if why.index >= 0 else None,
        "evidence": why.evidence.decode(errors="replace"),
        "log": None if head is None else {"origin": head.origin, "size": head.size, "root": head.root.hex()},
    }
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def read_alarm(data: Path) -> dict[str, Any] | None:
    """The alarm that stands, or None. TamperDetected for one that can't be read: it stands all the same."""
    raw = _note(data / ALARM)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
        return {"why": str(value["why"]), "evidence": str(value["evidence"]), "raised_at": int(value["raised_at"])}
    except (ValueError, KeyError, TypeError) as e:
        raise TamperDetected(f"{data / ALARM} can't be read: an alarm stands, and what for can't be said") from e


def evidence_of(standing: dict[str, Any] | None, verifier: Verifier) -> Evidence | None:
    """The signed evidence of an alarm, if it has any that verifies."""
    if standing is None:
        return None
    with contextlib.suppress(Invalid):
        return Evidence.read(standing["evidence"].encode(), "the alarm that stands", verifier=verifier)
    return None


def _reach(raw: bytes, verifier: Verifier) -> tuple[int, int]:
    try:
        return Evidence.read(raw, "evidence", verifier=verifier).reach
    except Invalid:
        return (-1, -1)


def _apart(found: Sequence[Evidence]) -> list[Evidence]:
    """Each distinct checkpoint once, the furthest first."""
    apart = {(e.checkpoint.origin, e.checkpoint.size, e.checkpoint.root): e for e in reversed(found)}
    return sorted(apart.values(), key=lambda e: e.reach, reverse=True)


# --- small files


def _named(place: Path) -> str:
    return f"high-water note {place}"


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a file whole: synced before it gets its name, and its directory after."""
    staged = path.with_name(f".{path.name}.new")
    with staged.open("wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(path)
    sync(path.parent)


def _note(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise Invalid("ledger.high_water", f"{path.parent} is not there: is its disk mounted?") from None
        return None


@contextlib.contextmanager
def _within_reach() -> Iterator[None]:
    """A disk that can't be read proves nothing, in either direction."""
    try:
        yield
    except OSError as e:
        raise LedgerUnavailable(f"what is known of the log can't be looked at: {e}. Nothing was signed") from e


def archive(path: Path, word: str) -> None:
    """Keep what is no longer in force as `<name>.<word>`, or under the next free name; never over another. Idempotent."""
    if not path.exists():
        return
    kept, number = path.with_name(f"{path.name}.{word}"), 2
    while kept.exists():
        kept, number = path.with_name(f"{path.name}.{word}-{number}"), number + 1
    path.replace(kept)
    sync(path.parent)
