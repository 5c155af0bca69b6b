"""Compares versions with the package univers, in its own environment: JSON lines of comparisons in, what it says out."""

import json
import sys

from univers import versions

KINDS = {
    "PyPI": versions.PypiVersion,
    "npm": versions.SemverVersion,
    "Maven": versions.MavenVersion,
    "Debian": versions.DebianVersion,
}

said = []
for ecosystem, left, right in json.load(sys.stdin):
    try:
        mine, other = KINDS[ecosystem](left), KINDS[ecosystem](right)
        said.append("=" if mine == other else "<" if mine < other else ">")
    except Exception as e:  # noqa: BLE001  whatever it makes of a version that it can't read
        said.append(type(e).__name__)
json.dump(said, sys.stdout)
