"""One mutant before the tests: a forked process in which its module is the broken one, and the tests that should notice.

The parent has imported pytest and the libraries, and nothing of limen; so a child starts at once, and what it imports of
limen is fresh. A child that hangs is ended, and counts as noticed: a test that never ends does not pass.
"""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

if TYPE_CHECKING:
    import ast
    from importlib.machinery import ModuleSpec
    from types import CodeType

PROJECT = Path(__file__).resolve().parents[2]
UNIT = PROJECT / "tests" / "unit"
CPU_S = 6  # of processor time: the slowest file of tests takes a third of it, whatever else the machine does
LIMIT_S = 300
PASSED, NOTHING_RAN = 0, (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR)
PRELOADED = (http.server, json, ed25519, mldsa)


class Broken(SourceFileLoader):
    """Loads a module from a tree instead of its file."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        super().__init__(name, str(path))
        self._tree = tree

    def get_code(self, _: str) -> CodeType:
        return compile(self._tree, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds one module broken, and leaves the others to Python."""

    def __init__(self, loader: Broken) -> None:
        self._loader = loader

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self._loader.name:
            return None
        return importlib.util.spec_from_file_location(name, self._loader.path, loader=self._loader)


def survives(module: str, tree: ast.Module, tests: list[Path]) -> bool:
    """Whether all of these tests pass with the module broken; RuntimeError if they could not be run at all.

    The files run one after the other, each in a process of its own: most mutants end with the first.
    """
    if any(name.startswith("limen") for name in sys.modules):
        raise RuntimeError("limen is loaded already, so a broken module would not be")
    return all(_passes(module, tree, test) for test in tests)


def _passes(module: str, tree: ast.Module, test: Path) -> bool:
    base = tempfile.mkdtemp(prefix="limen-mutant-")
    child = os.fork()
    if child == 0:
        os._exit(_child(module, tree, test, base))
    try:
        _, status = os.waitpid(child, 0)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    if code in NOTHING_RAN:
        raise RuntimeError(f"{test.name} did not run for {module}: pytest ended with {code}")
    return code == PASSED


def _child(module: str, tree: ast.Module, test: Path, base: str) -> int:
    try:
        signal.alarm(LIMIT_S)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        os.setpgid(0, 0)
        quiet = os.open(os.environ.get("MUTATE_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        sys.meta_path.insert(0, Finder(Broken(module, source_of(module), tree)))
        # Of tests/unit, the folder above, nothing is loaded: its fixtures start a whole gateway.
        options = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", f"{base}/tests", "--confcutdir", str(UNIT / "verify")]
        options += ["--rootdir", str(PROJECT), "-c", str(PROJECT / "pyproject.toml")]
        return int(pytest.main([*options, str(test)]))
    except BaseException:  # noqa: BLE001  a child never returns into the parent's code
        return 1


def source_of(module: str) -> Path:
    """The file of a module of limen."""
    path = PROJECT / "src" / Path(*module.split("."))
    return path.with_suffix(".py")
