"""Git repositories made for a test: many commits in a moment, by `git fast-import`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ADA = b"Ada L <12+ada-l@users.noreply.github.com>"


@dataclass
class Repository:
    """A bare repository that commits are put into, each on a branch, one after another."""

    path: Path
    at: int = 1_750_000_000
    _stream: list[bytes] = field(default_factory=list)
    _tips: set[str] = field(default_factory=set)
    _written: set[str] = field(default_factory=set)

    @classmethod
    def make(cls, path: Path) -> Repository:
        """An empty one."""
        found = cls(path)
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True, env=cls.environment())
        return found

    @staticmethod
    def environment() -> dict[str, str]:
        """What git needs and no more: the developer's own settings must not decide a test."""
        who = {
            "GIT_AUTHOR_NAME": "Ada L",
            "GIT_AUTHOR_EMAIL": "a@x.example",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@x",
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **who,
        }

    def commit(self, changes: dict[str, bytes | None], *, branch: str = "main", parent: str = "", author: bytes = ADA) -> None:
        """One commit: paths to their new bytes, None to remove. Written by `write`."""
        self.at += 60
        ref = f"refs/heads/{branch}" if not branch.startswith("refs/") else branch
        head = b"commit %b\nauthor %b %d +0000\ncommitter %b %d +0000\ndata 1\nm\n" % (
            ref.encode(),
            author,
            self.at,
            ADA,
            self.at,
        )
        if ref not in self._tips and parent:
            head += b"from refs/heads/" + parent.encode() + b"\n"
        elif ref in self._written:
            head += b"from " + ref.encode() + b"^0\n"
            self._written.discard(ref)
        self._tips.add(ref)
        body = b"".join(
            b"D %b\n" % path.encode() if raw is None else b"M 100644 inline %b\ndata %d\n%b\n" % (path.encode(), len(raw), raw)
            for path, raw in changes.items()
        )
        self._stream.append(head + body + b"\n")

    def write(self) -> Repository:
        """Put the commits that were told into the repository."""
        stream, self._stream = b"".join(self._stream), []
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", "fast-import", "--quiet", "--force", "--done"],
            input=stream + b"done\n",
            env=self.environment(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        self._written = set(self._tips)
        return self

    def git(self, *words: str, told: bytes = b"") -> str:
        """Run git on it."""
        command = ["git", f"--git-dir={self.path}", *words]
        return subprocess.run(command, input=told, env=self.environment(), capture_output=True, check=True).stdout.decode()
