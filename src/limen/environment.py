"""Start-up code that nobody asked for: what runs in every Python process of this environment before limen does.

In March 2026 a poisoned release of LiteLLM came with `litellm_init.pth`: one executable line that ran at every start of
the interpreter. limen holds signing keys, so it looks for such lines before it loads any of them.

What counts, after the `site` module of CPython 3.11 to 3.15 (and PEP 829 for `.start`):

    NAME.pth        in a site directory, if a line begins with `import` and a blank; lines that name a directory run nothing
    NAME.start      in a site directory: names functions to call at start
    sitecustomize   and `usercustomize`, as a module or package, wherever modules are imported from, also from a
                    directory that a `.pth` line adds

A file whose SHA-256 is allowed is passed over; a name never is. This check runs inside the process that it judges, so it
finds what is lying about, not an attacker who already runs in this process and hides; nor does it look inside ordinary
packages: the lock file's hashes answer for those at installation.
"""

from __future__ import annotations

import hashlib
import site
import sys
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from limen.core.errors import Denied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

log = structlog.get_logger("limen")

KNOWN: Final = frozenset(
    {
        # setuptools' distutils-precedence.pth, the same in its versions 65 and 84: imports setuptools' own `_distutils_hack`
        "2638ce9e2500e572a5e0de7faed6661eb569d1b696fcba07b0dd223da5f5d224",
        # Debian's and Ubuntu's /etc/python3.*/sitecustomize.py: installs the crash reporter's hook if there is one
        "43d81125d92376b1a69d53a71126a041cc9a18d8080e92dea0a2ae23be138b1e",
    }
)
CUSTOMIZERS: Final = ("sitecustomize", "usercustomize")
UNREADABLE: Final = "cannot be read, so it cannot be cleared"


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """One piece of start-up code that is not allowed. `digest` is the hex SHA-256 to allow it by, empty if nothing can be."""

    path: Path
    why: str
    digest: str = ""


def unexpected_startup_code(
    site_dirs: Iterable[Path], allow: AbstractSet[str] = KNOWN, *, import_dirs: Iterable[Path] = ()
) -> list[Found]:
    """List what runs at interpreter start and is not in `allow` (hex SHA-256 of whole files), by path.

    `site_dirs` are searched for `.pth` and `.start`; these, `import_dirs` and every directory that a `.pth` line adds for
    `sitecustomize` and `usercustomize`. A directory that does not exist holds nothing.
    """
    sites = _distinct(site_dirs)
    configured = [path for directory in sites for path in _configuration(directory)]
    added = [extra for path in configured if path.suffix == ".pth" for extra in _directories_added(path)]
    places = _distinct([*sites, *import_dirs, *added])
    found = {
        *(hit for path in configured for hit in _judge(path, allow)),
        *(hit for directory in places for hit in _customizers(directory, allow)),
    }
    return sorted(found)


def check_startup_code(*, allowed: Iterable[str] = (), strict: bool) -> list[Found]:
    """Look at this interpreter's own directories; `allowed` adds to what is KNOWN.

    With `strict`, anything found is Denied, with each place and the hash to allow it by; without, it is logged and returned.
    """
    found = unexpected_startup_code(site_directories(), KNOWN | set(allowed), import_dirs=import_directories())
    if found and strict:
        places = "; ".join(f"{hit.path} {hit.why}" + (f" (sha256 {hit.digest})" if hit.digest else "") for hit in found)
        next_step = "remove it, or if you know it, put its sha256 into `allowed_startup` under [supply] in limen.toml"
        reason = "unexpected start-up code in this Python environment"
        raise Denied(reason, rule="startup-code", detail=f"{reason}: {places}. Nothing was started; {next_step}")
    for hit in found:
        log.warning("unexpected start-up code; in production this refuses to start", path=str(hit.path), why=hit.why)
    return found


def site_directories() -> list[Path]:
    """The directories whose `.pth` files this interpreter runs at start."""
    named = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return [Path(name) for name in named]


def import_directories() -> list[Path]:
    """The directories that this interpreter imports from now."""
    return [Path(name or ".") for name in sys.path]


def _distinct(directories: Iterable[Path]) -> list[Path]:
    """Each directory once, though it be named through a symbolic link too (`lib64`)."""
    return list(dict.fromkeys(directory.resolve() for directory in directories if directory.is_dir()))


def _configuration(directory: Path) -> list[Path]:
    # Hidden files are listed too: older interpreters run them, newer ones do not.
    return sorted(path for path in directory.iterdir() if path.suffix in {".pth", ".start"} or path.name in {".pth", ".start"})


def _judge(path: Path, allow: AbstractSet[str]) -> Iterator[Found]:
    """A `.pth` with an executable line, or any `.start`, unless its hash is allowed."""
    raw = _bytes(path)
    if raw is None:
        yield Found(path, UNREADABLE)
        return
    why = _runs_by(raw) if path.suffix == ".pth" or path.name == ".pth" else _names_functions(raw)
    digest = hashlib.sha256(raw).hexdigest()
    if why and digest not in allow:
        yield Found(path, why, digest)


def _runs_by(raw: bytes) -> str:
    """Why this `.pth` would run code; empty if it only names directories."""
    try:
        lines = _lines(raw)
    except UnicodeDecodeError:
        return "is not UTF-8: what it runs would depend on the locale"
    number = next((n for n, line in enumerate(lines, 1) if line.startswith(("import ", "import\t"))), 0)
    return f"line {number} runs code at every start of Python" if number else ""


def _names_functions(raw: bytes) -> str:
    """Why this `.start` would run code; empty if it is empty or all comment."""
    try:
        lines = _lines(raw)
    except UnicodeDecodeError:
        return "is not UTF-8: what it runs would depend on the locale"
    named = any(line.strip() and not line.startswith("#") for line in lines)
    return "names functions that run at every start of Python 3.15 and later" if named else ""


def _lines(raw: bytes) -> list[str]:
    # `splitlines` also breaks at form feeds and the like, as newer interpreters do; older ones see fewer starts of lines.
    return raw.decode("utf-8-sig").splitlines()


def _directories_added(path: Path) -> Iterator[Path]:
    raw = _bytes(path)
    if raw is None:
        return
    for line in raw.decode("utf-8-sig", "replace").splitlines():
        if line.strip() and not line.startswith(("#", "import ", "import\t")) and "\0" not in line:
            yield path.parent / line.rstrip()


def _customizers(directory: Path, allow: AbstractSet[str]) -> Iterator[Found]:
    for name in CUSTOMIZERS:
        for path in (directory / f"{name}{suffix}" for suffix in all_suffixes()):
            if not path.is_file():
                continue
            raw = _bytes(path)
            digest = "" if raw is None else hashlib.sha256(raw).hexdigest()
            if raw is None or digest not in allow:
                yield Found(path, UNREADABLE if raw is None else "is imported at every start of Python", digest)
        for init in (directory / name / f"__init__{suffix}" for suffix in all_suffixes()):
            if init.is_file():
                yield Found(init, "is a package imported at every start of Python; one hash cannot answer for all of it")


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
