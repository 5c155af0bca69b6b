"""The whole lab in one directory, and its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import papers, places
from lab.cast import CLONED_BY, SECRETS, Size, aws_actors, intake_actors
from lab.past import Past

if TYPE_CHECKING:
    from pathlib import Path

    from lab.truth import Truth

SMALL = Size((5, 4, 3), 4, 3_000)
FULL = Size((600, 250, 150), 30, 2_000_000, files_an_hour=4, objects=400)


@dataclass(frozen=True)
class Lab:
    """A lab as it lies in `root`: trail/, intake-log/, github/, vault/, repos/, iam/, collaborators/, who.toml, catalog.json."""

    root: Path
    past: Past
    truth: Truth

    @property
    def contents(self) -> dict[tuple[str, str], bytes]:
        """What lies in the buckets that are to be adopted."""
        return places.bucket_contents(self.past)


def build(root: Path, size: Size = SMALL, *, seed: int = 1) -> Lab:
    """Make a lab. The same seed makes the same lab."""
    root.mkdir(parents=True, exist_ok=True)
    past = Past(size, seed, root)
    truth = past.happen()
    places.repositories(root)
    papers.write(root, past.people)
    _keys(past, truth)
    return Lab(root, past, truth)


def _keys(past: Past, truth: Truth) -> None:
    """Which keys touched each vendor's path: planted in what they cloned, used by them, or read by them."""
    reached = {**CLONED_BY, "marlow-sync": "marlow"}
    for key in places.planted():
        vendor = reached.get(key.repository)
        (truth.keys[vendor] if vendor else truth.never_touched).add((key.repository, key.path))
    for actor in (*aws_actors(past.people), *intake_actors(past.people)):
        if actor.vendor:
            (truth.never_touched if actor.who in past.idle else truth.keys[actor.vendor]).add(("access key", actor.key))
    for path, vendor in SECRETS.items():
        (truth.keys[vendor] if vendor else truth.never_touched).add(("vault", f"vault:{path}"))
