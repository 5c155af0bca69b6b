"""Validates bags with the PyPI package bagit, whole; prints one line a bag: "" or why not. Run in its own environment.

bagit 1.8.1 imports `pkg_resources`, which newer releases of setuptools don't have any more, to learn its own version. It is
given a stand-in that knows none, a case which it provides for.
"""

import json
import sys
import types

stand_in = types.ModuleType("pkg_resources")
stand_in.DistributionNotFound = LookupError


def get_distribution(name):
    raise LookupError(name)


stand_in.get_distribution = get_distribution
sys.modules["pkg_resources"] = stand_in

import bagit  # noqa: E402  it needs the module above

answers = []
for place in sys.argv[1:]:
    try:
        bagit.Bag(place).validate(fast=False, completeness_only=False)
        answers.append("")
    except bagit.BagError as e:
        answers.append(str(e) or type(e).__name__)
print(json.dumps(answers))
