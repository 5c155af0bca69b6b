"""Changes a bundle in every way and counts what `verify.py`, beside this file, catches. Run with `python3 -I -S`.

usage: drive_verify.py BUNDLE VKEY COUNT [WAY...] -> JSON on stdout: whether the bundle is good, and [caught, tried] of each way.
"""

import itertools
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import offline
import verify

path, vkey, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
whole = Path(path).read_bytes()
asked = verify.Asked(log=offline.vkey(vkey))


def good(raw):
    return verify.accepted(verify.verify(raw, asked))


def tally(variants):
    caught = [not good(raw) for raw in variants]
    return [sum(caught), len(caught)]


def changed():
    draw = random.Random(count)
    for place in draw.sample(range(len(whole)), min(count, len(whole))):
        bent = bytearray(whole)
        bent[place] ^= draw.randrange(1, 256)
        yield bytes(bent)


files = offline.unzipped(whole)
names = sorted(files)
root = names[0].partition("/")[0]


def without(name):
    return offline.zipped({other: raw for other, raw in files.items() if other != name})


def swapped(one, two):
    return offline.zipped({**files, one: files[two], two: files[one]})


def renamed(name):
    return offline.zipped({other if other != name else name + "x": raw for other, raw in files.items()})


ways = {
    "changed": changed(),
    "dropped": (without(name) for name in names),
    "added": (offline.zipped({**files, name + ".more": b"x"}) for name in names),
    "swapped": (swapped(one, two) for one, two in itertools.pairwise(names)),
    "renamed": (renamed(name) for name in names),
}
asked_for = sys.argv[4:] or list(ways)
print(json.dumps({"good": good(whole), **{way: tally(ways[way]) for way in asked_for}}))
