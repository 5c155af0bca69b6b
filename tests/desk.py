"""The invented lab's logs imported into a data directory, its mapping set, and commands run on it in this process."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

from limen import cli

if TYPE_CHECKING:
    from pathlib import Path

    from lab.build import Lab

SOURCES = {  # source -> kind, folder, and what it logs in full
    "trail-eu": ("cloudtrail", "trail", ["s3://orchid-data", "s3://helio-data", "s3://aurelia-core"]),
    "intake-log": ("s3access", "intake-log", ["s3://marlow-intake"]),
    "github": ("github", "github", ["github:aurelia-lab"]),
    "vault": ("vault", "vault", ["vault:kv"]),
}
PARTLY = 6


class Desk:
    """A data directory, and commands on it."""

    def __init__(self, data: Path) -> None:
        self.data = data

    @classmethod
    def of(cls, lab: Lab, data: Path) -> Desk:
        """A data directory with the lab's catalog, logs and mapping."""
        desk = cls(data)
        desk._main("init", str(data), "--dev")
        desk.run("import", lab.root / "catalog.json")
        for source, (kind, folder, scopes) in SOURCES.items():
            words = [word for scope in scopes for word in ("--scope", scope)]
            if source in lab.truth.skew:
                words += ["--skew", str(lab.truth.skew[source])]
            desk.run("observe", "import", kind, lab.root / folder, "--source", source, *words)
        desk.run("who", "set", lab.root / "who.toml")
        return desk

    def run(self, *words: object) -> str:
        """Run a command; what it answered."""
        return self._main(*map(str, words), "--data", str(self.data))

    def ask(self, *words: object) -> Any:
        """Run it with --json."""
        return json.loads(self.run(*words, "--json"))

    def _main(self, *words: str) -> str:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main(words)
            except SystemExit as e:
                code = int(e.code or 0)
        if code not in {0, PARTLY}:
            raise AssertionError(f"limen {' '.join(words)} exited {code}: {err.getvalue()}")
        return out.getvalue()
