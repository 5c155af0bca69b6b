"""Slots of mark keys that have ended: a sample that was logged later doesn't count under them. Pure.

Once a key was opened, or may be known, anybody who knows it can put together a sample that points at whomever they like.
A sample that the log held before that is what it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from limen.marks.index import Observed


def without(observed: Observed, ended: Collection[str]) -> tuple[Observed, dict[str, int]]:
    """What a sample shows but for the slots of these keys, and how many slots each of them would have shown."""
    numbers = [number for number, key in enumerate(observed.keys) if key in ended]
    if not numbers:
        return observed, {}
    left_out = {observed.keys[number]: int(np.count_nonzero(observed.slots["key"] == number)) for number in numbers}
    kept = observed.slots[~np.isin(observed.slots["key"], numbers)]
    return replace(observed, slots=kept), {key: count for key, count in left_out.items() if count}
