"""The verifier where nothing else is: no package but `cryptography`, and no part of limen that serves or stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from laid_out import SIGNER

SOURCE = Path(__file__).resolve().parents[3] / "src"

# Runs `python -m limen.verify` in a process that can import the standard library, cryptography, and what of limen is allowed.
ALONE = """
import runpy, sys

class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        allowed = name == "limen" or name.startswith(("limen.verify", "limen.formats", "limen.core"))
        allowed = allowed or name.partition(".")[0] in {*sys.stdlib_module_names, "cryptography", "_cffi_backend"}
        if not allowed:
            raise ImportError(f"{name} is not on this machine")

sys.path.insert(0, sys.argv.pop(1))
extra = sys.argv.pop(1)
sys.meta_path.insert(0, OnlyThese())
for name in [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names]:
    del sys.modules[name]  # what the environment has loaded at its start
if extra:
    import limen.verify
    exec(compile(f"import {extra}", "limen/verify/another.py", "exec"))
sys.argv[0] = "limen.verify"
try:
    runpy.run_module("limen.verify", run_name="__main__", alter_sys=True)
finally:
    print("loaded:", *(name for name in ("socket", "ssl", "http", "sqlite3", "asyncio") if name in sys.modules), file=sys.stderr)
"""


def alone(*words, extra=""):
    """The verifier's exit code and what it said, run by itself; `extra` is a module that it imports besides."""
    command = [sys.executable, "-c", ALONE, str(SOURCE), extra, *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_directory_verifies_where_only_cryptography_is_installed(original):
    done = alone(original, "--vkey", SIGNER.vkey)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nOK\n")
    assert done.stderr.splitlines()[-1] == "loaded:", "nothing of a network or a database is loaded to read a directory"


@pytest.mark.parametrize("module", ["sqlalchemy", "click", "obstore", "limen.ledger.publication.publisher", "limen.server"])
def test_that_check_sees_what_the_verifier_must_not_import(original, module):
    done = alone(original, "--vkey", SIGNER.vkey, extra=module)

    assert done.returncode == 1
    assert f"{module} is not on this machine" in done.stderr or "limen.ledger is not on this machine" in done.stderr


def test_the_command_can_be_run_as_people_run_it(original):
    command = [sys.executable, "-m", "limen.verify", str(original)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
