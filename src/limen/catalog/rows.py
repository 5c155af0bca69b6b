"""Records as rows of the control tables, and the whole state read back from them.

The look-up tables are not stored: reading the rows in the order of their entries and putting them into an empty state
rebuilds them, canaries' order included. Stored text that no longer reads as what was written is TamperDetected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from limen.catalog import changes as c
from limen.catalog.state import State
from limen.core.errors import TamperDetected
from limen.core.types import (
    Action,
    Admission,
    Agreement,
    Asset,
    AssetClass,
    Grant,
    Hold,
    Lineage,
    Person,
    Project,
    Shard,
    Tier,
    Vendor,
    Version,
    Workload,
)
from limen.db import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Row = sa.RowMapping

T = TypeVar("T")


def load(connection: sa.Connection) -> State:
    """The state that the tables hold."""
    state = State()
    _load_parties(state, connection)
    _load_assets(state, connection)
    for row in _rows(connection, tables.GRANT):
        state.put_grant(_grant(row))
    return state


def _load_parties(state: State, connection: sa.Connection) -> None:
    for row in _rows(connection, tables.VENDOR):
        state.put_vendor(Vendor(row["id"], row["name"], row["contact"]), row["copy_id"])
    # People and workloads share copy ids and identities, so they go in together, by entry.
    holders = [(row, True) for row in _rows(connection, tables.PERSON)]
    holders += [(row, False) for row in _rows(connection, tables.WORKLOAD)]
    for row, is_person in sorted(holders, key=lambda pair: int(pair[0]["entry"])):
        if is_person:
            state.put_person(_person(row), row["copy_id"])
        else:
            state.put_workload(_workload(row), row["copy_id"])
    for row in _rows(connection, tables.AGREEMENT):
        dates = row["valid_from"], row["valid_until"]
        state.put_agreement(Agreement(row["id"], row["vendor"], row["digest"], *dates))
    for row in _rows(connection, tables.ADMISSION):
        state.admissions.put(row["id"], Admission(row["id"], row["basis"], row["of_entry"], row["valid_until"]))
    for row in _rows(connection, tables.LEGAL_HOLD):
        state.holds.put(row["id"], Hold(row["id"], row["since"], row["lifted_at"]))


def _load_assets(state: State, connection: sa.Connection) -> None:
    for row in _rows(connection, tables.PROJECT):
        state.projects.put(row["id"], Project(row["id"], row["title"], row["owner"]))
    for row in _rows(connection, tables.ASSET_CLASS):
        state.classes.put(row["id"], AssetClass(row["id"], bool(row["vendors"])))
    for row in _rows(connection, tables.TIER):
        state.tiers.put(row["id"], _tier(row))
    for row in _rows(connection, tables.ASSET):
        words = row["asset_class"], row["tier"], row["asset_kind"], row["description"]
        state.put_asset(Asset(row["id"], row["project"], *words, canary=bool(row["canary"])))
    for row in _rows(connection, tables.VERSION):
        state.put_version(_version(row))
    for row in _rows(connection, tables.LINEAGE):
        state.put_lineage(Lineage(row["id"], row["asset"], row["number"], row["named"], row["retired"], row["opened"]))


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[Row]:
    yield from connection.execute(sa.select(table).order_by(table.c.entry)).mappings()


def _read(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as e:
        raise TamperDetected(f"the control database holds what limen never wrote: {e}") from e


def _write(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _person(row: Row) -> Person:
    roles = frozenset(_read(row["roles"], list[str]))
    return Person(row["id"], row["vendor"], row["issuer"], row["subject"], roles, row["ended_at"], row["erased_at"])


def _workload(row: Row) -> Workload:
    return Workload(row["id"], row["vendor"], row["issuer"], row["subject"], row["sponsor"], row["ended_at"], row["erased_at"])


def _tier(row: Row) -> Tier:
    signers = frozenset(_read(row["granted_by"], list[str]))
    window = row["window_bytes"], row["window_s"]
    return Tier(row["id"], signers, row["session_s"], bool(row["hardware_key"]), row["export_bytes_day"], *window)


def _version(row: Row) -> Version:
    shards = _read(row["shards"], tuple[Shard, ...])
    return Version(row["asset"], row["number"], shards, row["registered_at"], row["entry"], row["mark_key"])


def _grant(row: Row) -> Grant:
    return Grant(
        row["id"],
        row["holder"],
        row["project"],
        frozenset(_read(row["assets"], list[str])),
        frozenset(Action(word) for word in _read(row["actions"], list[str])),
        row["granted_by"],
        row["not_before"],
        row["expires_at"],
        row["entry"],
        row["ended_at"],
    )


def _vendor_row(state: State, id_: str) -> dict[str, Any]:
    vendor = state.vendors[id_]
    return {"id": id_, "name": vendor.name, "contact": vendor.contact, "copy_id": state.vendor_copies[id_]}


def _person_row(state: State, id_: str) -> dict[str, Any]:
    person = state.people[id_]
    return {
        "id": id_,
        "vendor": person.vendor,
        "issuer": person.issuer,
        "subject": person.subject,
        "roles": _write(sorted(person.roles)),
        "copy_id": state.copies[id_],
        "ended_at": person.ended_at,
        "erased_at": person.erased_at,
    }


def _workload_row(state: State, id_: str) -> dict[str, Any]:
    workload = state.workloads[id_]
    return {
        "id": id_,
        "vendor": workload.vendor,
        "issuer": workload.issuer,
        "subject": workload.subject,
        "sponsor": workload.sponsor,
        "copy_id": state.copies[id_],
        "ended_at": workload.ended_at,
        "erased_at": workload.erased_at,
    }


def _project_row(state: State, id_: str) -> dict[str, Any]:
    return {"id": id_, "title": state.projects[id_].title, "owner": state.projects[id_].owner}


def _class_row(state: State, id_: str) -> dict[str, Any]:
    return {"id": id_, "vendors": int(state.classes[id_].vendors)}


def _tier_row(state: State, id_: str) -> dict[str, Any]:
    tier = state.tiers[id_]
    return {
        "id": id_,
        "granted_by": _write(sorted(tier.granted_by)),
        "session_s": tier.session_s,
        "hardware_key": int(tier.hardware_key),
        "export_bytes_day": tier.export_bytes_day,
        "window_bytes": tier.window_bytes,
        "window_s": tier.window_s,
    }


def _agreement_row(state: State, id_: str) -> dict[str, Any]:
    agreement = state.agreements[id_]
    return {
        "id": id_,
        "vendor": agreement.vendor,
        "digest": agreement.digest,
        "valid_from": agreement.valid_from,
        "valid_until": agreement.valid_until,
    }


def _asset_row(state: State, id_: str) -> dict[str, Any]:
    asset = state.assets[id_]
    return {
        "id": id_,
        "project": asset.project,
        "asset_class": asset.asset_class,
        "tier": asset.tier,
        "asset_kind": asset.kind,
        "description": asset.description,
        "canary": int(asset.canary),
    }


def _version_row(state: State, key: tuple[str, int]) -> dict[str, Any]:
    version = state.versions[key]
    return {
        "asset": version.asset,
        "number": version.number,
        "registered_at": version.registered_at,
        "mark_key": version.mark_key,
        "shards": _write(version.shards),
    }


def _grant_row(state: State, id_: str) -> dict[str, Any]:
    grant = state.grants[id_]
    return {
        "id": id_,
        "holder": grant.holder,
        "project": grant.project,
        "assets": _write(sorted(grant.assets)),
        "actions": _write(sorted(grant.actions)),
        "granted_by": grant.granted_by,
        "not_before": grant.not_before,
        "expires_at": grant.expires_at,
        "ended_at": grant.ended_at,
    }


def _hold_row(state: State, id_: str) -> dict[str, Any]:
    hold = state.holds[id_]
    return {"id": id_, "since": hold.since, "lifted_at": hold.lifted_at}


def _admission_row(state: State, id_: str) -> dict[str, Any]:
    admission = state.admissions[id_]
    return {"id": id_, "basis": admission.basis, "of_entry": admission.entry, "valid_until": admission.valid_until}


def _lineage_row(state: State, id_: str) -> dict[str, Any]:
    one = state.lineages[id_]
    named = {"id": id_, "asset": one.asset, "number": one.number, "named": one.entry}
    return {**named, "retired": one.retired, "opened": one.opened}


# Each stored table of a state: its name there, its control table, and how one of its records is written. In this order
# every row is written after those that it points to.
STORED: Final[tuple[tuple[str, sa.Table, Callable[[State, Any], dict[str, Any]]], ...]] = (
    ("vendors", tables.VENDOR, _vendor_row),
    ("people", tables.PERSON, _person_row),
    ("workloads", tables.WORKLOAD, _workload_row),
    ("projects", tables.PROJECT, _project_row),
    ("classes", tables.ASSET_CLASS, _class_row),
    ("tiers", tables.TIER, _tier_row),
    ("agreements", tables.AGREEMENT, _agreement_row),
    ("assets", tables.ASSET, _asset_row),
    ("versions", tables.VERSION, _version_row),
    ("grants", tables.GRANT, _grant_row),
    ("holds", tables.LEGAL_HOLD, _hold_row),
    ("admissions", tables.ADMISSION, _admission_row),
    ("lineages", tables.LINEAGE, _lineage_row),
)


def made(change: c.Change) -> tuple[str, Any]:  # noqa: C901, PLR0912  one arm per kind of change
    """The state table and key of the row that a change makes, or (kind, "") for one that only alters rows."""
    match change:
        case c.VendorAdd(id=id_):
            return "vendors", id_
        case c.PersonAdd(id=id_):
            return "people", id_
        case c.WorkloadAdd(id=id_):
            return "workloads", id_
        case c.ProjectAdd(id=id_):
            return "projects", id_
        case c.ClassAdd(name=name):
            return "classes", name
        case c.TierSet(name=name):
            return "tiers", name
        case c.AgreementAdd(id=id_):
            return "agreements", id_
        case c.AssetAdd(id=id_):
            return "assets", id_
        case c.AssetVersion(asset=asset, number=number):
            return "versions", (asset, number)
        case c.GrantAdd(id=id_):
            return "grants", id_
        case c.VendorGate(id=id_):
            return "admissions", id_
        case c.KeyRotate(key=key) | c.KeyRetire(key=key) | c.KeyOpen(key=key):
            return "lineages", key
        case c.HoldSet(id=id_):
            return "holds", id_
        case _:
            return change.kind, ""
