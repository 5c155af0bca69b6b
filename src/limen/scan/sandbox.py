"""Runs somebody else's program on what we hold, so that it can neither send it away nor see more.

The box (see `confine`) is made of Linux namespaces: no network, not even loopback; a file system that holds the program and
the directories given; bounds on memory, time and what it writes. If the kernel refuses, nothing is run: going on without
the box is the caller's explicit choice, and is recorded.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from limen.core.errors import Failed
from limen.scan import confine

LIMITS: Final = {"AS": 4 << 30, "CPU": 3600, "FSIZE": 1 << 30, "NOFILE": 4096, "CORE": 0}


class SandboxRefused(Failed):
    """The kernel does not let this account make a box. Nothing was run."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the kernel refuses to make a sandbox ({why}); the search for secrets was not run")
        self.hint = (
            "allow this account to make user namespaces (sysctl user.max_user_namespaces,"
            " kernel.apparmor_restrict_unprivileged_userns); or scan with --no-secrets; or, if you accept that the"
            " searching program runs with this account's rights and could reach the network, with --unconfined"
        )


class SandboxFailed(Failed):
    """The program in the box ended badly. `hint` says what to try."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.hint = "scan with --no-secrets for the references alone; nothing was recorded of this scan"


@dataclass(frozen=True, slots=True)
class Box:
    """What a program gets. Pairs are (outside, inside); without `boxed` it sees the outside, and paths are not translated."""

    readable: tuple[tuple[Path, str], ...] = ()
    writable: tuple[tuple[Path, str], ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: int = 1800
    boxed: bool = True

    def run(self, command: list[str], *, fine: tuple[int, ...] = (0,)) -> bytes:
        """What the program printed. SandboxRefused, SandboxFailed."""
        with tempfile.TemporaryDirectory(prefix="limen-box-") as root:
            spec = {
                "root": root,
                "readable": [[str(outside.resolve()), inside] for outside, inside in self.readable],
                "writable": [[str(outside.resolve()), inside] for outside, inside in self.writable],
                "command": command,
                "environment": self.environment,
                "limits": LIMITS,
                "boxed": self.boxed,
            }
            begin = [sys.executable, "-I", "-S", str(Path(confine.__file__).resolve()), json.dumps(spec)]
            try:
                done = subprocess.run(begin, capture_output=True, env={}, timeout=self.timeout_s, check=False)  # noqa: S603
            except subprocess.TimeoutExpired as e:
                raise SandboxFailed(f"{Path(command[0]).name} did not end within {self.timeout_s} s") from e
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode == confine.REFUSED and self.boxed:
            raise SandboxRefused(said or "no reason given")
        if done.returncode not in fine:
            last = said.splitlines()[-1][:300] if said else "it said nothing"
            raise SandboxFailed(f"{Path(command[0]).name} ended with {done.returncode}: {last}")
        return done.stdout
