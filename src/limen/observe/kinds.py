"""The kinds of log that can be read, by the word that the command takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.observe.cloudtrail import CloudTrail
from limen.observe.generic import Generic, Mapping
from limen.observe.github import GitHub
from limen.observe.s3access import S3Access
from limen.observe.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from limen.observe.reader import Reader

_PLAIN: Final[dict[str, type[CloudTrail | S3Access | GitHub | Vault]]] = {
    "cloudtrail": CloudTrail,
    "s3access": S3Access,
    "github": GitHub,
    "vault": Vault,
}
KINDS: Final = (*_PLAIN, Generic.kind)


def reader_of(kind: str, mapping: Path | None = None) -> Reader:
    """The reader of a kind. `generic` needs a mapping, and no other kind takes one: Invalid otherwise."""
    if kind != Generic.kind:
        if mapping is not None:
            raise Invalid("--map", f"is for generic logs; {kind} needs none")
        return _PLAIN[kind]()
    if mapping is None:
        raise Invalid("--map", "is needed: a TOML file that says how the log reads (docs/formats/observations.md)")
    try:
        raw = mapping.read_bytes()
    except OSError as e:
        raise Invalid("--map", f"{mapping} can't be read: {e.strerror}") from e
    return Generic(Mapping.read(raw, str(mapping)))
