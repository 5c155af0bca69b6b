"""A PKCS#11 token in software (SoftHSM 2), for tests: one directory a process, as many tokens in it as asked for."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PIN = "4711"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so")
_numbers = itertools.count(1)


@dataclass
class SoftToken:
    """A token that was just initialised. `take_away` and `bring_back` are what an operator's hand does."""

    label: str
    module: str
    folder: Path

    @property
    def _away(self) -> Path:
        return self.folder.parent.with_name(f"away-{self.folder.name}")

    def take_away(self) -> None:
        """Pull the token out."""
        self.folder.rename(self._away)
        _look_again(self.module)

    def bring_back(self) -> None:
        """Put it in again."""
        self._away.rename(self.folder)
        _look_again(self.module)


def soft_token() -> SoftToken:
    """A new token, with PIN as its PIN. Skips without SoftHSM, but fails in CI."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        what = "SoftHSM is not installed: run tools/setup packages"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what}; CI must run these tests")
        pytest.skip(what)
    where = _directory()
    label, before = f"limen-{next(_numbers)}", set(where.iterdir())
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    [folder] = set(where.iterdir()) - before
    _look_again(module)
    return SoftToken(label, module, folder)


@cache
def _directory() -> Path:
    """Where this process's tokens are. The module reads where from the environment when it is loaded."""
    root = Path(tempfile.mkdtemp(prefix="limen-softhsm-"))
    (root / "tokens").mkdir()
    (root / "softhsm2.conf").write_text(
        f"directories.tokendir = {root / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(root / "softhsm2.conf")
    return root / "tokens"


def _look_again(module: str) -> None:
    """Have the module see what has changed: another program did it, and it looks once."""
    import pkcs11  # noqa: PLC0415  the extra `hsm`

    pkcs11.lib(module).reinitialize()
