"""What every change of authority is: a value that an entry tells in public, and its side record in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    Pseudonym = Callable[[str, str], str]  # (holder, project) -> pseudonym

OUTSIDE: Final = ""  # the pseudonym's project for entries that belong to none


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change of authority. Never made itself."""

    kind: ClassVar[str]

    @property
    def sealed_for(self) -> str | None:
        """The person or workload whose subject key seals the side record."""
        return None

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """The fields of the ledger entry, with no personal detail."""
        raise NotImplementedError  # a Struct can't be an abstract class; every kind says its own

    def to_clear(self) -> dict[str, Any]:
        """Every field as plain JSON values."""
        clear: dict[str, Any] = msgspec.to_builtins(self)
        return clear


class OfHolder(Change, frozen=True, kw_only=True):
    """A change about one person or workload, with its reason. Never made itself."""

    noun: ClassVar[str] = "person"
    id: str
    reason: str

    @property
    def sealed_for(self) -> str | None:
        """Whom it is about: the reason may be about them, and a workload's sponsor may be gone."""
        return self.id

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Who, not why."""
        return {self.noun: pseudonym(self.id, OUTSIDE)}
