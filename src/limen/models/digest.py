"""A model's digest: SHA-256 over a manifest of its directory, so that a test can't be registered on one and run on another.

The manifest is `sha256  path` for every plain file below the directory, sorted by path as bytes, one a line with LF; the
digest is `sha256:` and its SHA-256 in hex. Links to files are followed (a hub's cache is made of them), links to
directories refused. Standard library only: it runs where the model is.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path


def digest_of(directory: Path) -> str:
    """The digest of a model's directory. Invalid if it is none, or holds what is neither a file nor a directory."""
    if not (directory / "config.json").is_file():
        raise Invalid("model", f"{directory} is no directory of a Hugging Face model: it has no config.json")
    lines = []
    for path in sorted(directory.rglob("*"), key=lambda p: p.relative_to(directory).as_posix().encode()):
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise Invalid("model", f"{path} is neither a file nor a directory; put the model in a directory of its own")
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{content}  {path.relative_to(directory).as_posix()}\n")
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()
