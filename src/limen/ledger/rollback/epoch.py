"""A new epoch: the log goes on after its newest entries were lost, under a new name, and says first what is lost.

Same database, same indexes, same key. The kept entries are hashed and must make the head that was signed; where the old
log's published tiles reach further, the kept entries must be their beginning. The next entry is `epoch.begin`; it is the
first under the new origin (`core.epochs`), and names the old log as far as it is known.

The plan lies in `DATA/epoch.next` from before the first step until after the last: every step may be repeated, and a
gateway that finds it refuses to start.
"""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core import epochs
from limen.core.errors import Conflict, Invalid, NotFound, TamperDetected
from limen.durable import sync
from limen.formats.merkle import leaf_hash
from limen.ledger.rollback.evidence import Evidence, contradiction, first_difference, roots
from limen.ledger.rollback.guard import ALARM, HIGH_WATER, UNFINISHED, archive, write_durably
from limen.ledger.sequencer import check_head, sign_checkpoint
from limen.ledger.store import Batch, Head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from limen.formats.note import Signer, Verifier
    from limen.ledger.rollback.evidence import Tiles
    from limen.ledger.store import Reading, Store

EPOCH_FILE: Final = "epoch"
PUBLISHED: Final = "log"
_RESTORE: Final = "restore a backup that ends before the first bad index: those entries are not the log's"


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known of the old log: where it is kept to, and how far it had come.

    `proved` is True if the kept entries are shown to be the beginning of the furthest checkpoint, False if nothing
    shows it. `witnessed` is the furthest one that others signed too.
    """

    kept: Head
    furthest: Evidence
    witnessed: Evidence | None
    proved: bool

    @property
    def epoch(self) -> int:
        """The epoch that comes next."""
        return max(self.furthest.epoch, epochs.split(self.kept.checkpoint.origin)[1]) + 1

    @property
    def lost(self) -> int:
        """How many entries are known to be lost."""
        return max(0, self.furthest.checkpoint.size - self.kept.size)

    def fields(self) -> dict[str, Any]:
        """What the `epoch.begin` entry says of it."""
        return {
            "epoch": self.epoch,
            "kept": self.kept.size,
            "proved": self.proved,
            "previous": _fields(self.furthest),
            "witnessed": None if self.witnessed is None else _fields(self.witnessed),
        }


def survey(store: Reading, evidence: Sequence[Evidence], logs: Sequence[Tiles], *, verifier: Verifier) -> Loss:
    """What a new epoch would keep and lose. Reads and hashes every stored entry; changes nothing.

    TamperDetected if the entries are not what was signed, or not the beginning of the log that the evidence shows: no epoch
    begins on those.
    """
    head = store.head()
    if head is None:
        raise NotFound("a log in ledger.db; restore the newest backup first")
    check_head(head, verifier)
    if roots(store, [head.size]) != [head.checkpoint.root]:
        raise TamperDetected(
            f"the entries of ledger.db do not make the root signed at size {head.size}; an epoch can't begin on them",
            next_step="restore a backup whose entries are whole",
        )
    mine = Evidence("ledger.db", head.checkpoint)
    for seen in evidence:
        why = contradiction(seen, head, store, logs[0], origin=verifier.name)
        if why is not None and seen.reach <= mine.reach:
            raise TamperDetected(f"{why}; an epoch can't begin on it", index=why.index, next_step=_RESTORE)
    furthest = max([mine, *evidence], key=lambda e: e.reach)
    witnessed = max((seen for seen in evidence if seen.witnessed), key=lambda e: e.reach, default=None)
    return Loss(head, furthest, witnessed, proved=_proved(furthest, head, store, logs))


def _proved(furthest: Evidence, head: Head, store: Reading, logs: Sequence[Tiles]) -> bool:
    """Whether some copy of the published tiles shows that the kept entries begin the furthest log that is known.

    TamperDetected if it shows that they do not.
    """
    said = furthest.checkpoint
    if (said.size, said.root) == (head.size, head.checkpoint.root):
        return True
    for log in logs:
        first = first_difference(said, store, log)
        if 0 <= first < head.size:
            raise TamperDetected(
                f"entry {first} of ledger.db is not the one in {furthest}; an epoch can't begin on it",
                index=first,
                next_step=_RESTORE,
            )
        if first == head.size:
            return True
    return False


# --- the plan, and its steps


@dataclass(frozen=True, slots=True)
class Plan:
    """A new epoch, decided: its entry is written, and every step from here on may be repeated."""

    epoch: int
    old_origin: str
    origin: str
    kept: int
    lost: int
    entry: bytes
    sides: Mapping[str, bytes]

    @classmethod
    def of(cls, loss: Loss, entry: bytes, sides: Mapping[str, bytes]) -> Plan:
        """The plan of a loss, with its `epoch.begin` entry."""
        old = loss.kept.checkpoint.origin
        return cls(loss.epoch, old, epochs.name(epochs.split(old)[0], loss.epoch), loss.kept.size, loss.lost, entry, sides)

    @classmethod
    def read(cls, data: Path) -> Plan | None:
        """The plan that was begun and not finished, if there is one. TamperDetected if it can't be read."""
        try:
            value = json.loads((data / UNFINISHED).read_bytes())
            sides = {name: base64.b64decode(raw) for name, raw in value.pop("sides").items()}
            return cls(entry=base64.b64decode(value.pop("entry")), sides=sides, **value)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise TamperDetected(
                f"{data / UNFINISHED} can't be read", next_step="compare ledger.db's head with DATA/epoch; then move it away"
            ) from e

    def begin(self, data: Path) -> None:
        """Make the plan durable; from here on the gateway waits for `complete`."""
        value = {name: getattr(self, name) for name in ("epoch", "old_origin", "origin", "kept", "lost")}
        value["entry"] = base64.b64encode(self.entry).decode()
        value["sides"] = {name: base64.b64encode(raw).decode() for name, raw in self.sides.items()}
        write_durably(data / UNFINISHED, json.dumps(value, indent=2).encode() + b"\n")

    def complete(self, data: Path, stores: Mapping[str, Store], signer: Signer, *, now: int) -> Head:
        """Every step that is left; the head of the new epoch. `stores`: one for each of the two origins, over `ledger.db`.

        1. The entry and the first head under the new name, in one commit. 2. The old log's published directory, its
        high-water note and the alarm out of the way, under names of their own. 3. The epoch's number. 4. The plan away.
        """
        head = self._append(stores, signer, now)
        left = f"epoch-{self.epoch - 1}"
        (data / "log.synced").unlink(missing_ok=True)
        for name in (PUBLISHED, HIGH_WATER, ALARM):
            archive(data / name, left)
        write_durably(data / EPOCH_FILE, f"{self.epoch}\n".encode())
        (data / UNFINISHED).unlink()
        sync(data)
        return head

    def _append(self, stores: Mapping[str, Store], signer: Signer, now: int) -> Head:
        """The epoch's first entry and head, unless an earlier try has written them."""
        with contextlib.suppress(Invalid):  # the database is still the old log's
            if (done := stores[self.origin].head()) is not None:
                check_head(done, signer.verifier)
                return done
        writer = stores[self.old_origin].writer()
        try:
            old = writer.head()
            if old is None or old.size != self.kept:
                raise Conflict(f"ledger.db is not the one that epoch {self.epoch} was planned for; nothing was written")
            frontier = old.frontier.extended([leaf_hash(self.entry)])
            head = Head(sign_checkpoint(signer, frontier), frontier, old.low_water, max(old.committed_at, now))
            sides = [(self.kept, name, raw) for name, raw in self.sides.items()]
            writer.append(Batch(self.kept, [self.entry], sides), after=old, head=head)
        finally:
            writer.close()
        return head


def _fields(seen: Evidence) -> dict[str, Any]:
    said = seen.checkpoint
    return {"origin": said.origin, "size": said.size, "root": said.root.hex(), "checkpoint": said.note.decode()}
