"""How the story is told: one short screen an act, progress on stderr, and the figures for `--json`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limen.story.recount import Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Telling:
    """Collects acts and writes each as a screen."""

    write: Callable[[str], None]
    progress: Callable[[str], None]
    acts: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def act(self, day: str, title: str, *, happened: Iterable[str], said: Iterable[str], proof: str) -> None:
        """Write one act: what happened, what limen said, and which entry proves it."""
        told = {"day": day, "title": title, "happened": list(happened), "said": list(said), "proof": proof}
        self.acts.append(told)
        self.write(f"\n── day {day} · {title} {'─' * max(3, 60 - len(day) - len(title))}")
        for line in told["happened"]:
            self.write(f"   {line}")
        for line in told["said"]:
            self.write(f"   limen: {line}")
        self.write(f"   proof: {proof}")

    def doing(self, what: str) -> None:
        """Say on stderr what runs now."""
        self.progress(f"limen: [{time.monotonic() - self.began:4.1f} s] {what}")


def expect(what: str, told: object, expected: object) -> None:
    """Wrong unless limen's answer is the one that the story expects."""
    if told != expected:
        raise Wrong(f"{what}: expected {expected!r}, limen says {told!r}")


def holds(what: str, *, true: bool) -> None:
    """Wrong unless it is so."""
    if not true:
        raise Wrong(what)
