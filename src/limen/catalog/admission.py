"""Admission: grants to a gated vendor's people wait until its gate has passed, or somebody has waived it.

A vendor is gated when a contract is filed for it; until then nothing here says no. Gated again, it is admitted no more.
Grants that there are already stay: what may be done about those is a restriction or a pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from limen.catalog.change import Change
from limen.catalog.grammar import check_count
from limen.core.errors import Denied, Invalid
from limen.core.types import Admission

if TYPE_CHECKING:
    from limen.catalog.change import Pseudonym
    from limen.catalog.state import State

RULE: Final = "not-admitted"
Basis = Literal["gate", "waiver"]


class VendorGate(Change, frozen=True, kw_only=True):
    """From now on, grants to this vendor's people wait for its admission."""

    kind: ClassVar[str] = "vendor.gate"
    id: str

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Which vendor."""
        del pseudonym
        return {"vendor": self.id}


class VendorAdmit(Change, frozen=True, kw_only=True):
    """Grants may be made until `valid_until` (integer seconds, exclusive): by the gate run or the waiver of that entry."""

    kind: ClassVar[str] = "vendor.admit"
    id: str
    basis: Basis
    entry: int
    valid_until: int

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it: who signed a waiver stands in the waiver's own entry."""
        del pseudonym
        return {"vendor": self.id, "basis": self.basis, "of": self.entry, "valid_until": self.valid_until}


def gate(state: State, change: VendorGate) -> None:
    """Gate a vendor that is known."""
    if change.id not in state.vendors:
        raise Invalid("id", f"there is no vendor {change.id!a}")
    state.admissions.put(change.id, Admission(change.id))


def admit(state: State, change: VendorAdmit, *, index: int, at: int) -> None:
    """Admit a vendor that is gated, on an entry that is in the log."""
    if change.id not in state.admissions:
        raise Invalid("id", f"{change.id} is not gated: grants to its people wait for nothing")
    check_count("entry", change.entry)
    check_count("valid_until", change.valid_until)
    if change.entry >= index:
        raise Invalid("entry", f"{change.entry} is not in the log")
    if change.valid_until <= at:
        raise Invalid("valid_until", "is in the past")
    state.admissions.put(change.id, Admission(change.id, change.basis, change.entry, change.valid_until))


def check(state: State, vendor: str, at: int) -> None:
    """Pass if grants to this vendor's people may be made at this time; Denied otherwise."""
    admission = state.admissions.get(vendor)
    if admission is not None and at >= admission.valid_until:
        ended = "its admission has ended" if admission.valid_until else "it has not been admitted"
        raise Denied(
            f"holder: {vendor} has a contract, and {ended}; run `limen gate {vendor} --onboarding`, or sign a waiver", rule=RULE
        )
