"""Version order of package ecosystems: one sort key each, and *unknown* for whatever has none here.

`key` gives values that are compared within one ecosystem alone. It is None where the text is no version of that ecosystem,
or where the ecosystem's order is not known here: both mean *cannot say*, never *not affected*. Ecosystem names are those of
OSV 1.7; a release after a colon (`Debian:12`) does not change the order.

Each module names the rules that it follows. `certain` leaves out what a key orders by convention only: versions that PyPI
took before PEP 440 have an order among themselves, but nothing says where they stand among today's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from limen.formats.versions import alpine, debian, maven, nuget, packagist, pypi, rpm, rubygems, semver

if TYPE_CHECKING:
    from collections.abc import Callable

# What is longer is not a version that anybody published, and would only cost time to read.
LONGEST: Final = 512
SEMVER: Final = "SemVer"  # not an ecosystem: the order of OSV's range type SEMVER

_KEYS: Final[dict[str, Callable[[str], Any]]] = {
    "PyPI": pypi.key,
    "npm": semver.key,
    "crates.io": semver.key,
    "Go": semver.go_key,
    SEMVER: semver.key,
    "Maven": maven.key,
    "Debian": debian.key,
    "Ubuntu": debian.key,
    "Red Hat": rpm.key,
    "Rocky Linux": rpm.key,
    "AlmaLinux": rpm.key,
    "SUSE": rpm.key,
    "openSUSE": rpm.key,
    "Alpine": alpine.key,
    "NuGet": nuget.key,
    "RubyGems": rubygems.key,
    "Packagist": packagist.key,
}


def known(ecosystem: str) -> bool:
    """Whether the order of this ecosystem's versions is known here."""
    return ecosystem.partition(":")[0] in _KEYS


@lru_cache(maxsize=1 << 15)
def key(ecosystem: str, text: str) -> Any | None:
    """What sorts this version among others of its ecosystem: hashable; None if it can't be placed."""
    order = _KEYS.get(ecosystem.partition(":")[0])
    return None if order is None or not text or len(text) > LONGEST else order(text)


def certain(ecosystem: str, text: str) -> Any | None:
    """The key, where its place is a rule and not a convention; else None. What decides about *affected* uses this one."""
    placed = key(ecosystem, text)
    return None if ecosystem == "PyPI" and placed is not None and pypi.is_legacy(placed) else placed
