"""Lineages: which mark key an asset's next version is prepared under, and whose slots a trace may still count.

The first key of an asset is made when its first marked version is registered, and has the asset's own id. A rotation
names the next; a retirement, or an opening to an arbiter, ends a key: what it prepared is served as before, but the next
version takes another, and only samples that were logged before it count under it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from limen.catalog.change import Change
from limen.catalog.grammar import check_digest, check_text
from limen.core.errors import Conflict, Invalid
from limen.core.types import Lineage

if TYPE_CHECKING:
    from limen.catalog.change import Pseudonym
    from limen.catalog.state import State


class KeyRotate(Change, frozen=True, kw_only=True):
    """The asset's next version is prepared under this key, which is made and durable. `keep`: where it rests."""

    kind: ClassVar[str] = "key.rotate"
    asset: str
    key: str
    code: str
    levels: str
    keep: str
    commitment: str
    subkeys: dict[str, str]
    reason: str = ""

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """What is committed to; not the reason, which is free text."""
        del pseudonym
        names = ("asset", "key", "code", "levels", "keep", "commitment", "subkeys")
        return {name: getattr(self, name) for name in names}


class KeyRetire(Change, frozen=True, kw_only=True):
    """The key ends here: it may have become known to somebody."""

    kind: ClassVar[str] = "key.retire"
    asset: str
    key: str
    reason: str

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Which, not why."""
        del pseudonym
        return {"asset": self.asset, "key": self.key}


class KeyOpen(Change, frozen=True, kw_only=True):
    """The key was opened to an arbiter, and so ends here: the subkeys whose digests these are.

    `request` is the entry that asked; `lost`: samples that were logged and will never be scored. Who approved stands as in a
    name's opening.
    """

    kind: ClassVar[str] = "key.open"
    asset: str
    key: str
    request: int
    subkeys: dict[str, str]
    lost: tuple[int, ...] = ()
    acting: str = ""
    shown: str = ""  # "token" or "root"

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it."""
        del pseudonym
        told: dict[str, Any] = {"asset": self.asset, "key": self.key, "request": self.request, "subkeys": self.subkeys}
        told["lost"] = list(self.lost)
        return told | ({"acting": self.acting, "shown": self.shown} if self.acting else {})


def key_id(asset: str, number: int) -> str:
    """The id of an asset's key: the asset's own for the first. No asset id holds a `~`."""
    return asset if number == 1 else f"{asset}~{number}"


def lineages(state: State, asset: str) -> tuple[Lineage, ...]:
    """Every mark key of an asset, oldest first; the first one too, which no rotation named."""
    known = [state.lineages[id_] for id_ in state.of_asset.get(asset) or ()]
    if not any(one.number == 1 for one in known):
        newest = state.newest.get(asset) or 0
        under = [state.versions[asset, number] for number in range(1, newest + 1)]
        first = next((version for version in under if version.mark_key == asset), None)
        if first is not None or not known:
            known.insert(0, Lineage(asset, asset, 1, first.entry if first else None))
    return tuple(sorted(known, key=lambda one: one.number))


def rotate(state: State, change: KeyRotate, index: int) -> None:
    """Name the asset's next key."""
    if change.asset not in state.assets:
        raise Invalid("asset", f"there is no asset {change.asset!a}")
    if state.assets[change.asset].kind == "drop":
        raise Invalid("asset", f"{change.asset} is a drop box; nothing of it is marked")
    before = lineages(state, change.asset)
    number = 1 if before[-1].entry is None else before[-1].number + 1
    if change.key != key_id(change.asset, number):
        raise Conflict(f"key: the next key of {change.asset} is {key_id(change.asset, number)}, not {change.key}; rotate again")
    for name in ("code", "levels", "keep"):
        check_text(name, getattr(change, name))
    check_text("reason", change.reason, empty=True)
    check_digest("commitment", change.commitment)
    for use, digest in change.subkeys.items():
        check_digest(f"subkeys[{use}]", digest)
    state.put_lineage(Lineage(change.key, change.asset, number, index))


def end(state: State, change: KeyRetire | KeyOpen, index: int) -> None:
    """Retire a key that is there; opened again, it stays retired since the first time."""
    one = next((one for one in _known(state, change.asset) if one.id == change.key and one.entry is not None), None)
    if one is None:
        raise Invalid("key", f"{change.asset} has no mark key {change.key!a}; `limen asset key show {change.asset}` lists them")
    if isinstance(change, KeyRetire):
        check_text("reason", change.reason)
        if one.retired is not None:
            raise Conflict(f"{change.key} is retired since entry {one.retired}")
    elif not change.subkeys:
        raise Invalid("subkeys", "are none: an opening names what was opened")
    retired = index if one.retired is None else one.retired
    opened = index if isinstance(change, KeyOpen) and one.opened is None else one.opened
    state.put_lineage(replace(one, retired=retired, opened=opened))


def _known(state: State, asset: str) -> tuple[Lineage, ...]:
    if asset not in state.assets:
        raise Invalid("asset", f"there is no asset {asset!a}")
    return lineages(state, asset)


def check_key(state: State, key: str) -> None:
    """Pass if a version may be prepared under this key; Conflict once it is retired."""
    one = state.lineages.get(key)
    if one is not None and one.retired is not None:
        raise Conflict(f"mark_key: {key} is retired since entry {one.retired}; another key has to be rotated to")
