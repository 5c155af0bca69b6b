"""The whole lab in one directory, and its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import logs, papers, places
from lab.cast import CLONED_BY, DEPLOY_KEY, SECRETS, Size, aws_actors
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
    places.repositories(root, truth.end)
    papers.write(root, past.people)
    _keys(past, truth)
    truth.narrow = papers.narrow(past.people, truth.used)
    return Lab(root, past, truth)


def _keys(past: Past, truth: Truth) -> None:
    """Which keys touched each vendor's path: planted in what they cloned, used by them, or read by them.

    (repository, path) of a planted one; else ("", the name that a log gives it). Server access logs name no keys.
    """
    reached = {**CLONED_BY, "marlow-sync": "marlow"}
    for key in places.planted():
        vendor = "" if key.path.startswith("late/") else reached.get(key.repository, "")
        _put(truth, vendor, key.repository, key.path)
    for actor in aws_actors(past.people):
        if actor.vendor:
            _put(truth, "" if actor.who in past.idle else actor.vendor, "", actor.key)
    for path, vendor in SECRETS.items():
        _put(truth, vendor, "", f"vault:{path}")
    for vendor in CLONED_BY.values():
        for person in past.people[vendor]:
            taker = "" if person in past.idle else vendor
            _put(truth, taker, "", logs.token_of(logs.github_name(person)))
            _put(truth, taker, "", logs.accessor_of(person))
    _put(truth, "marlow", "", DEPLOY_KEY)


def _put(truth: Truth, vendor: str, *key: str) -> None:
    (truth.keys[vendor] if vendor else truth.never_touched).add((key[0], key[1]))
