"""What a new epoch lost is shown as unknown, never dropped."""

from __future__ import annotations

import pytest

from limen.core import events
from limen.response import served

PREVIOUS = {"origin": "limen.local/log", "size": 9, "root": "ab" * 32, "checkpoint": "a note"}


def reading(kept):
    fields = {"epoch": 1, "kept": kept, "proved": True, "previous": PREVIOUS, "witnessed": None, "by": "uid:0"}
    entries = [(i, events.encode("server.start", 1, bytes(16), {})) for i in range(kept)]
    entries.append((kept, events.encode("epoch.begin", 1, bytes(16), fields)))
    return served.read(entries, size=kept + 1, concerns=lambda _: True)


@pytest.mark.parametrize("kept", [0, 4, 8])
def test_the_lost_range_is_unknown(kept):
    [line] = reading(kept).unknown

    assert line.startswith(f"entries {kept} to 8 of limen.local/log were lost before epoch 1 (entry {kept} says so)")


def test_an_epoch_that_lost_nothing_leaves_nothing_unknown():
    assert reading(9).unknown == []
