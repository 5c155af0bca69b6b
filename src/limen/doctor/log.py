"""The log: its head, what was noted of it elsewhere, how far its publication is, its witnesses, and an alarm.

Only the newest signature and the notes are checked here, in the time that a person waits. `limen ledger fsck` reads every
entry, and says so when asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from limen import directory
from limen.core.errors import LimenError, NotFound, TamperDetected
from limen.core.events import decode
from limen.doctor.lines import broken, ok, unknown, warning
from limen.ledger.ledger import PUBLISHED
from limen.ledger.repair.fsck import stored_head
from limen.ledger.rollback.evidence import NEXT_STEP, contradiction
from limen.ledger.rollback.guard import ALARM, read_alarm
from limen.ledger.stored import DATABASE
from limen.ledger.stored import look as look_at
from limen.verify.published import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from limen.config import Config
    from limen.doctor.lines import Line
    from limen.formats.note import Verifier
    from limen.ledger.store import Head

PART: Final = "ledger"
MANY: Final = 10_000  # entries that a place may be behind for a moment, under load
READ_IT_ALL: Final = "`limen ledger fsck` reads every entry"


def look(config: Config, status: dict[str, Any] | None) -> Iterator[Line]:
    """Everything about the log at rest, and what a running gateway (`status`) says of its places."""
    yield from _alarm(config.data)
    if not (config.data / "keys" / "log.key").exists():
        yield broken(
            PART, "keys/log.key is missing: nothing can be verified or signed", "put the keys back from where you keep them"
        )
        return
    verifier = directory.signer(config).verifier
    try:
        head = stored_head(config.data / DATABASE, verifier)
        yield ok(PART, f"head verifies: {head.size} entries, signed as {verifier.name} ({READ_IT_ALL})")
        yield from _notes(config, verifier, head)
    except NotFound:
        yield broken(PART, f"{DATABASE} has no head of {verifier.name}", "does ledger.origin in limen.toml name another log?")
        return
    except TamperDetected as e:
        yield broken(PART, str(e), e.next_step or NEXT_STEP, tampered=True)
        return
    yield from _published(config, verifier, head, status)


def last_entry_at(config: Config) -> float | None:
    """When the newest entry was written, by the clock of that time; None for an empty log, or one that can't be read."""
    try:
        verifier = directory.signer(config).verifier
        size = stored_head(config.data / DATABASE, verifier).size
        newest = next((raw for _, raw in look_at(config.data, verifier.name).entries(max(0, size - 1), size)), None)
        return None if newest is None else int(decode(newest)["at"]) / 1_000_000
    except (LimenError, OSError, KeyError, ValueError, TypeError):
        return None


def _alarm(data: Path) -> Iterator[Line]:
    try:
        standing = read_alarm(data)
    except TamperDetected as e:
        yield broken(PART, str(e), f"look at {data / ALARM}; docs/restore.md", tampered=True)
        return
    if standing is not None:
        yield broken(PART, f"AN ALARM STANDS, and nothing is signed: {standing['why']}", "docs/restore.md", tampered=True)


def _notes(config: Config, verifier: Verifier, head: Head) -> Iterator[Line]:
    """Hold every checkpoint of this log that is noted somewhere against it."""
    reading = look_at(config.data, verifier.name)
    found = directory.guard(config, verifier, now=time.time).evidence()
    for evidence in found:
        why = contradiction(evidence, head, reading, Published(config.data / PUBLISHED), origin=verifier.name)
        if why is not None:
            yield broken(PART, str(why), why.next_step, tampered=True)
            return
    yield ok(PART, f"holds all that is noted of it elsewhere ({len(found)} checkpoints)")


def _published(config: Config, verifier: Verifier, head: Head, status: dict[str, Any] | None) -> Iterator[Line]:
    if status is None:
        try:
            size = Published(config.data / PUBLISHED).checkpoint(verifier).size
        except (LimenError, OSError) as e:
            yield warning(PART, f"the published log can't be read: {e}", "`limen serve` publishes it again")
            return
        if size < head.size:
            yield warning(PART, f"{head.size - size} of {head.size} entries are not published", "`limen serve` publishes them")
        else:
            yield ok(PART, f"published up to entry {size}" if size else "published (it is empty)")
        if config.ledger.publish:
            says = f"how far {config.ledger.publish} is: no gateway runs, and only it writes there"
            yield unknown(PART, says, "start `limen serve`, then ask again")
        return
    for place in status["published"]:
        behind = status["size"] - (place["size"] or 0)
        if place["error"]:
            says = f"{place['place']} is {behind} entries behind: {place['error']}"
            yield broken(PART, says, "mend the place; publishing goes on by itself")
        elif behind > MANY:
            yield warning(PART, f"{place['place']} is {behind} entries behind", "look again; if it grows, the place is too slow")
        else:
            yield ok(PART, f"{place['place']} is {behind} entries behind")


def witnesses(config: Config, ask: Callable[[str], Any], *, running: bool) -> Iterator[Line]:
    """Whether somebody besides the log's owner would notice that it was rewritten."""
    if not config.ledger.policy:
        says = "no witness cosigns this log: whoever holds its key and its disk can write another history"
        if config.development:
            yield ok("witnesses", f"{says} (fine for development)")
        else:
            yield warning("witnesses", says, "docs/witnesses.md sets two up")
        return
    if not running:
        says = f"whether the witnesses of {config.ledger.policy} cosign: the gateway asks them, and none runs"
        yield unknown("witnesses", says, "start `limen serve`, then ask again")
        return
    state = ask("ledger.witnesses")
    failing = [f"{each['name']} ({each['error']})" for each in state["witnesses"] if each["error"]]
    if state["stands"]:
        yield ok("witnesses", f"the quorum {state['quorum']} has cosigned {state['size']} entries")
        if failing:
            yield warning("witnesses", f"not all of them: {'; '.join(failing)}", "ask whoever runs them")
    else:
        waits = config.ledger.witnessed_projects and config.ledger.without_quorum == "refuse"
        says = f"the quorum {state['quorum']} does not stand: {'; '.join(failing) or 'nobody has cosigned yet'}"
        if waits:
            yield broken("witnesses", f"{says}. Its projects are refused", "ask whoever runs them")
        else:
            yield warning("witnesses", says, "ask whoever runs them")
