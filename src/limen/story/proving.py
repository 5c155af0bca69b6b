"""Day +7: a bundle of evidence, verified with tools that know nothing of limen, and with the small program inside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.story import papers
from limen.story.telling import Telling, holds

if TYPE_CHECKING:
    from pathlib import Path

    from limen.story.theft import Serving

PRINCIPAL: Final = "evidence@limen"
NAMESPACE: Final = "limen-evidence"
SIGNED: Final = "tagmanifest-sha256.txt"


@dataclass(slots=True)
class Proving:
    """Exports a bundle at a gateway that runs, and lets others judge it."""

    serving: Serving
    telling: Telling
    directory: Path

    def run(self) -> None:
        """Export it, verify it five times over, and see that a changed byte is caught."""
        self.telling.doing("day +7: the bundle of evidence")
        path = self.directory / "quillwork-evidence.zip"
        period = f"{papers.STARTS}/{papers.UNTIL}"
        made = self.serving.ask(
            "evidence", "export", "quillwork", "--period", period, "--for", "auditor", "--renewal", "-o", str(path)
        )
        said = [f"{made['documents']} documents, {made['entries']} entries proved under one checkpoint"]
        with zipfile.ZipFile(path) as archive:
            archive.extractall(self.directory)
            bag = self.directory / archive.namelist()[0].partition("/")[0]
        said += [self._sums(bag), self._signature(bag, made["key"]), self._program(path, bag, made["log"])]
        self.telling.act(
            "+7",
            "limen evidence export quillwork --for auditor",
            happened=["An auditor gets one file, and checks it on a machine without limen."],
            said=said,
            proof=f"entry {made['entry']}; {path.name}, SHA-256 {made['digest'][:16]}…",
        )

    def _sums(self, bag: Path) -> str:
        if shutil.which("sha256sum") is None:
            return "sha256sum is not on this machine, so it was not asked"
        for manifest in ("manifest-sha256.txt", SIGNED):
            done = _run(["sha256sum", "--check", "--strict", "--quiet", manifest], bag)
            holds(f"sha256sum -c must accept {manifest}: {done.stdout}{done.stderr}", true=done.returncode == 0)
        return "sha256sum -c: every file is as it was"

    def _signature(self, bag: Path, key: str) -> str:
        """The signature under the key that the lab gave the auditor some other way; not the one that lies in the bundle."""
        if shutil.which("ssh-keygen") is None:
            return "ssh-keygen is not on this machine, so it was not asked"
        signers = self.directory / "allowed_signers"
        signers.write_text(f"{PRINCIPAL} {key}\n")
        command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", PRINCIPAL, "-n", NAMESPACE, "-s", f"{SIGNED}.sig"]
        signed = (bag / SIGNED).read_bytes()
        done = _run(command, bag, signed)
        holds(f"ssh-keygen -Y verify must accept the bundle: {done.stderr}", true=done.returncode == 0)
        changed = _run(command, bag, signed.replace(b"a", b"b", 1))
        holds("ssh-keygen -Y verify must refuse a changed manifest", true=changed.returncode != 0)
        return "ssh-keygen -Y verify: signed by the lab's evidence key; with one byte changed, refused"

    def _program(self, path: Path, bag: Path, log: str) -> str:
        """The program inside, with a bare interpreter, told only which log to believe."""
        program = ["-I", "-S", str(bag / "data" / "verify.py")]
        done = _run([sys.executable, *program, str(path), "--log", log], self.directory)
        holds(f"verify.py must accept the bundle: {done.stdout}{done.stderr}", true=done.returncode == 0)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        bent = self.directory / "bent.zip"
        bent.write_bytes(raw)
        refused = _run([sys.executable, *program, str(bent), "--log", log], self.directory)
        holds("verify.py must refuse a bundle with one bit changed", true=refused.returncode == 5)  # noqa: PLR2004  unverifiable
        return "verify.py: whole, ours, in the log, and the same verdict when replayed; with one bit changed, refused"


def _run(command: list[str], cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=False)  # noqa: S603  our own words
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
