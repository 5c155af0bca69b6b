"""Measures of cutting off: how long it took from an order to the last byte. Pure: from `Known` to `Series`.

A pause is measured twice: by the gateway, whose cut is in force before the order's entry is written, so that the entry's time
bounds it from above; and by the clock of whoever gave the order, from before the command reached the gateway. The second is
what the lab waited, and counts where it was logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limen.assurance.facts.series import Sample, Series, Span, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.assurance.facts.known import Known


def revoke(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """Every order about the vendor, one of its people or one of their sessions."""
    return events("revoke_us", span, _orders(known, drills_alone=False), doubt)


def drill(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """The rehearsed ones alone."""
    return events("drill_us", span, _orders(known, drills_alone=True), doubt)


def _orders(known: Known, *, drills_alone: bool) -> Iterator[Sample]:
    for pause in known.pauses:
        if drills_alone and not pause.drill:
            continue
        word = "drill" if pause.drill else "pause"
        if pause.measured is not None and pause.last_byte_us is not None:
            yield Sample(pause.last_byte_us, pause.at_us, (pause.entry, pause.measured), word)
        else:
            yield Sample(pause.took_us, pause.at_us, (pause.entry,), f"{word}; at most, by the gateway's clock")
