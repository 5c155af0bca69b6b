"""One visit: every part is looked at, and a part that can't be looked at is a line that says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from limen.config import Config, load
from limen.core.errors import Invalid, LimenError
from limen.doctor import alerts, clock, disk, far, log, near
from limen.doctor.lines import State, broken, ok, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from limen.doctor.lines import Line

    Ask = Callable[[str], Any]  # a verb of the running gateway; None if none runs

VERIFICATION_FAILED, FAILED, PARTLY = 5, 1, 6


def visit(data: Path, ask: Ask) -> Iterator[Line]:
    """Look at everything, in the order in which one thing rests on another."""
    began = clock.Moment(time.time(), time.monotonic())
    try:
        config = load(data)
    except Invalid as e:
        yield broken("configuration", str(e), f"edit {data / 'limen.toml'}; the rest was looked at with defaults")
        config = Config(data=data)
    else:
        yield ok("configuration", f"{data / 'limen.toml'} is read ({config.server.mode} mode)")
    status: dict[str, Any] | None = None
    try:
        status = ask("status")
    except (LimenError, OSError) as e:
        yield unknown("gateway", f"it was asked, and did not answer: {e}", "look at its own log")
    else:
        says = (
            "none runs on this directory"
            if status is None
            else f"runs; {status['streams']} streams, {len(status['pauses'])} pauses"
        )
        yield ok("gateway", says)
    high_water = data / config.ledger.high_water if config.ledger.high_water else None
    parts: list[tuple[str, Callable[[], Iterable[Line]]]] = [
        ("disk", lambda: disk.look(data, deadline_s=config.ledger.append_deadline_s, high_water=high_water)),
        ("ledger", lambda: log.look(config, status)),
        ("witnesses", lambda: log.witnesses(config, ask, running=status is not None)),
        ("issuers", lambda: far.issuers(config)),
        ("upstreams", lambda: far.second_place(config)),
        ("upstreams", lambda: far.upstreams(config)),
        ("upstreams", lambda: far.surveyed(config)),
        ("alerts", lambda: alerts.look(config, ask, running=status is not None)),
        ("ports", lambda: near.ports(config, running=status is not None)),
        ("keys", lambda: near.keys(data)),
        ("start-up", lambda: near.startup_code(config)),
        ("extras", near.extras),
    ]
    for part, look in parts:
        yield from _guarded(part, look)
    now = clock.Moment(time.time(), time.monotonic())
    yield from _guarded("clock", lambda: clock.look(clock.kernel(), began, now, last_entry_at=log.last_entry_at(config)))


def _guarded(part: str, look: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    try:
        yield from look()
    except (LimenError, OSError) as e:
        yield unknown(part, f"it can't be looked at: {e}", getattr(e, "next_step", "") or "ask as the account that serves")


def exit_code(lines: Iterable[Line]) -> int:
    """5 if something signed does not verify, 1 if something is broken, 6 if something can't be said, else 0."""
    lines = list(lines)
    if any(line.tampered for line in lines):
        return VERIFICATION_FAILED
    states = {line.state for line in lines}
    if State.BROKEN in states:
        return FAILED
    return PARTLY if State.UNKNOWN in states else 0
