"""The kinds of log that can be read, by the word that the command takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.observe.cloudtrail import CloudTrail

if TYPE_CHECKING:
    from limen.observe.reader import Reader

READERS: Final[dict[str, type[Reader]]] = {"cloudtrail": CloudTrail}
