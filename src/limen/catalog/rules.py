"""The rules of authority: what a change must satisfy, and what it does to the catalog's state.

Pure: no clock, no randomness, no I/O. `apply` writes into a draft and raises before its first write to it, or leaves a
draft that the caller throws away. A refusal is Invalid(field, why) for a value that can't be, Denied for one that may
not be (the hard barrier, a tier's floor or signers, no agreement), and Conflict when somebody else was first; each
names the field, in the words of an import document.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from limen.catalog import admission, lineage
from limen.catalog import changes as c
from limen.catalog import personal_rules as personal
from limen.catalog.grammar import (
    LAB,
    check_copy_id,
    check_count,
    check_digest,
    check_id,
    check_issuer,
    check_member,
    check_path,
    check_role,
    check_subject,
    check_text,
)
from limen.catalog.tiers import check_floor, floor_of
from limen.core.errors import Conflict, Denied, Invalid
from limen.core.events import MAX_INT
from limen.core.types import Action, Agreement, Asset, AssetClass, Grant, Person, Project, Tier, Vendor, Version, Workload

if TYPE_CHECKING:
    from collections.abc import Container

    from limen.catalog.state import State

MAX_ROLES: Final = 16
MAX_NAMED: Final = 256  # assets that one grant can name; its entry must stay below 64 KiB
MAX_SHARDS: Final = 100_000
MAX_URL: Final = 4_096
FOR_DATASETS: Final = frozenset({Action.READ, Action.HEAD, Action.LIST})
FOR_DROPS: Final = frozenset(Action)
FOR_DROPS_BY_VENDORS: Final = frozenset({Action.LIST, Action.HEAD, Action.WRITE, Action.DELETE})


def apply(state: State, change: c.Change, *, index: int, at: int) -> None:  # noqa: C901, PLR0912  one arm per kind of change
    """Check one change against a draft and write it there. `index` is its entry, `at` its time in seconds."""
    match change:
        case c.VendorAdd():
            _add_vendor(state, change)
        case c.PersonAdd():
            _add_person(state, change)
        case c.PersonEnd():
            _end_person(state, change, at)
        case c.WorkloadAdd():
            _add_workload(state, change)
        case c.WorkloadEnd():
            _end_workload(state, change, at)
        case c.ProjectAdd():
            _add_project(state, change)
        case c.ClassAdd():
            _add_class(state, change)
        case c.TierSet():
            _set_tier(state, change)
        case c.AgreementAdd():
            _add_agreement(state, change)
        case c.VendorGate():
            admission.gate(state, change)
        case c.VendorAdmit():
            admission.admit(state, change, index=index, at=at)
        case c.AssetAdd():
            _add_asset(state, change)
        case c.AssetVersion():
            _add_version(state, change, index, at)
        case c.AssetDigests():
            _set_digests(state, change)
        case c.KeyRotate():
            lineage.rotate(state, change, index)
        case c.KeyRetire() | c.KeyOpen():
            lineage.end(state, change, index)
        case c.GrantAdd():
            _add_grant(state, change, index, at)
        case c.GrantEnd():
            _end_grant(state, change, at)
        case c.HoldSet():
            personal.set_hold(state, change, at)
        case c.HoldLift():
            personal.lift_hold(state, change, at)
        case c.Erasure():
            personal.erase(state, change, at)
        case _:
            raise RuntimeError(f"{type(change).__name__} has no rule")


def _new(table: Container[str], field: str, noun: str, id_: str) -> None:
    if id_ in table:
        raise Invalid(field, f"{noun} {id_} exists already")


def _known(table: Container[str], field: str, noun: str, id_: str) -> None:
    if id_ not in table:
        raise Invalid(field, f"there is no {noun} {id_!a}")


def _add_vendor(state: State, change: c.VendorAdd) -> None:
    check_id("id", change.id)
    if change.id == LAB:
        raise Invalid("id", f"{LAB!r} is the lab itself")
    _new(state.vendors, "id", "vendor", change.id)
    check_text("name", change.name)
    check_text("contact", change.contact)
    check_copy_id("copy_id", change.copy_id)
    if change.copy_id in state.holders:
        raise Invalid("copy_id", "is taken")
    state.put_vendor(Vendor(change.id, change.name, change.contact), change.copy_id)


def _add_person(state: State, change: c.PersonAdd) -> None:
    _check_holder(state, change)
    check_text("name", change.name)
    check_text("email", change.email, empty=True)
    if change.roles and change.vendor is not None:
        raise Invalid("roles", "are for the lab's own people; a vendor's person has none")
    if len(change.roles) > MAX_ROLES:
        raise Invalid("roles", f"are {len(change.roles)}, more than {MAX_ROLES}")
    for role in change.roles:
        check_role("roles", role)
    person = Person(change.id, change.vendor, change.issuer, change.subject, frozenset(change.roles))
    state.put_person(person, change.copy_id)


def _end_person(state: State, change: c.PersonEnd, at: int) -> None:
    check_text("reason", change.reason)
    _known(state.people, "id", "person", change.id)
    person = state.people[change.id]
    if person.ended_at is not None:
        raise Invalid("id", f"{change.id} has ended already")
    state.people.put(person.id, replace(person, ended_at=at))
    _end_grants_of(state, person.id, at)
    # Nobody answers for these any more, so they end too; a new sponsor enrols them again.
    for id_ in state.sponsored.get(person.id) or ():
        workload = state.workloads[id_]
        if workload.ended_at is None:
            state.workloads.put(id_, replace(workload, ended_at=at))
            _end_grants_of(state, id_, at)


def _add_workload(state: State, change: c.WorkloadAdd) -> None:
    _check_holder(state, change)
    sponsor = state.people.get(change.sponsor)
    if sponsor is None:
        raise Invalid("sponsor", f"there is no person {change.sponsor!a}")
    if sponsor.vendor != change.vendor:
        raise Invalid("sponsor", f"{sponsor.id} is not of {change.vendor or LAB}; a workload's sponsor is of its own company")
    if sponsor.ended_at is not None:
        raise Invalid("sponsor", f"{sponsor.id} has ended; name an active person")
    workload = Workload(change.id, change.vendor, change.issuer, change.subject, change.sponsor)
    state.put_workload(workload, change.copy_id)


def _end_workload(state: State, change: c.WorkloadEnd, at: int) -> None:
    check_text("reason", change.reason)
    _known(state.workloads, "id", "workload", change.id)
    workload = state.workloads[change.id]
    if workload.ended_at is not None:
        raise Invalid("id", f"{change.id} has ended already")
    state.workloads.put(workload.id, replace(workload, ended_at=at))
    _end_grants_of(state, workload.id, at)


def _check_holder(state: State, change: c.PersonAdd | c.WorkloadAdd) -> None:
    """People and workloads share one name space, one set of identities and one set of copy ids."""
    company, _ = check_member("id", change.id)
    if company != (change.vendor or LAB) or change.vendor == LAB:
        raise Invalid("vendor", f"{change.vendor or LAB} does not fit the id {change.id}")
    if change.vendor is not None:
        _known(state.vendors, "vendor", "vendor", change.vendor)
    if state.holder(change.id) is not None:
        raise Invalid("id", f"{change.id} exists already; ids are never used twice")
    check_issuer("issuer", change.issuer)
    check_subject("subject", change.subject)
    check_copy_id("copy_id", change.copy_id)
    before = state.identities.get((change.issuer, change.subject))
    if before is None:
        if change.copy_id in state.holders:
            raise Invalid("copy_id", "is taken")
        return
    earlier = state.holder(before)
    if earlier is None or earlier.ended_at is None:
        raise Invalid("subject", f"this identity of {change.issuer} is {before} already")
    # Enrolled again: the copy id stays, or a person could collude with themselves.
    if earlier.vendor != change.vendor or isinstance(earlier, Person) != isinstance(change, c.PersonAdd):
        raise Invalid("subject", f"this identity of {change.issuer} was {before}; it can't become {change.id}")
    if state.copies[before] != change.copy_id:
        raise Invalid("copy_id", f"differs from that of {before}, who has this identity; whoever is enrolled again keeps it")


def _add_project(state: State, change: c.ProjectAdd) -> None:
    check_id("id", change.id)
    _new(state.projects, "id", "project", change.id)
    check_text("title", change.title)
    owner = _lab_person(state, "owner", change.owner)
    state.projects.put(change.id, Project(change.id, change.title, owner.id))


def _lab_person(state: State, field: str, id_: str) -> Person:
    person = state.people.get(id_)
    if person is None:
        raise Invalid(field, f"there is no person {id_!a}")
    if person.vendor is not None:
        raise Invalid(field, f"{id_} is not of the lab")
    if person.ended_at is not None:
        raise Invalid(field, f"{id_} has ended")
    return person


def _add_class(state: State, change: c.ClassAdd) -> None:
    check_id("name", change.name)
    _new(state.classes, "name", "class", change.name)
    state.classes.put(change.name, AssetClass(change.name, change.vendors))


def _set_tier(state: State, change: c.TierSet) -> None:
    check_id("name", change.name)
    if len(change.granted_by) > MAX_ROLES:
        raise Invalid("granted_by", f"names {len(change.granted_by)} roles, more than {MAX_ROLES}")
    for role in change.granted_by:
        check_role("granted_by", role)
    check_count("session_s", change.session_s)
    if change.export_bytes_day is not None:
        check_count("export_bytes_day", change.export_bytes_day)
    floor = floor_of(change.name)
    window_bytes = floor.window_bytes if change.window_bytes is None else change.window_bytes
    window_s = floor.window_s if change.window_s is None else change.window_s
    check_count("window_bytes", window_bytes)
    check_count("window_s", window_s)
    tier = Tier(
        change.name,
        frozenset(change.granted_by),
        change.session_s,
        change.hardware_key,
        change.export_bytes_day,
        window_bytes,
        window_s,
    )
    check_floor(tier)
    state.tiers.put(tier.name, tier)


def _add_agreement(state: State, change: c.AgreementAdd) -> None:
    check_id("id", change.id)
    _new(state.agreements, "id", "agreement", change.id)
    _known(state.vendors, "vendor", "vendor", change.vendor)
    check_digest("digest", change.digest)
    check_count("valid_from", change.valid_from)
    check_count("valid_until", change.valid_until)
    if change.valid_until <= change.valid_from:
        raise Invalid("valid_until", "is not after valid_from")
    state.put_agreement(Agreement(change.id, change.vendor, change.digest, change.valid_from, change.valid_until))


def _add_asset(state: State, change: c.AssetAdd) -> None:
    check_id("id", change.id)
    _new(state.assets, "id", "asset", change.id)
    _known(state.projects, "project", "project", change.project)
    _known(state.classes, "class", "class", change.asset_class)
    _known(state.tiers, "tier", "tier", change.tier)
    check_text("description", change.description, empty=True)
    if change.canary and change.asset_kind == "drop":
        raise Invalid("canary", "a drop box can't be one: its writers have a reason to open it")
    words = change.asset_class, change.tier, change.asset_kind, change.description
    asset = Asset(change.id, change.project, *words, canary=change.canary)
    state.put_asset(asset)


def _add_version(state: State, change: c.AssetVersion, index: int, at: int) -> None:
    _known(state.assets, "asset", "asset", change.asset)
    if state.assets[change.asset].kind == "drop":
        raise Invalid("asset", f"{change.asset} is a drop box; it has no versions")
    following = (state.newest.get(change.asset) or 0) + 1
    if change.number != following:
        raise Conflict(f"number: the next version of {change.asset} is {following}, not {change.number}; register it again")
    if not 1 <= len(change.shards) <= MAX_SHARDS:
        raise Invalid("shards", f"are {len(change.shards)}; a version has 1 to {MAX_SHARDS}")
    _check_shards(change)
    if change.mark_key is not None:
        check_text("mark_key", change.mark_key)
        lineage.check_key(state, change.mark_key)
    state.put_version(Version(change.asset, change.number, change.shards, at, index, change.mark_key))


def _set_digests(state: State, change: c.AssetDigests) -> None:
    version = state.versions.get((change.asset, change.number))
    if version is None:
        raise Invalid("number", f"{change.asset} has no version {change.number}")
    known = {shard.path: shard for shard in version.shards}
    for path, digest in change.digests.items():
        check_digest(f"digests[{path}]", digest)
        if path not in known or known[path].upstream is None or known[path].digest:
            raise Invalid(f"digests[{path}]", "is no adopted shard whose digest is unknown")
    shards = tuple(replace(shard, digest=change.digests.get(shard.path, shard.digest)) for shard in version.shards)
    state.change_version(replace(version, shards=shards))


def _check_shards(change: c.AssetVersion) -> None:
    paths: set[str] = set()
    total = 0
    for i, shard in enumerate(change.shards):
        where = f"shards[{i}]"
        check_path(f"{where}.path", shard.path)
        if shard.path in paths:
            raise Invalid(f"{where}.path", f"{shard.path} stands there twice")
        paths.add(shard.path)
        if shard.upstream is None:
            check_digest(f"{where}.digest", shard.digest)
        else:
            check_text(f"{where}.upstream.url", shard.upstream.url, most=MAX_URL)
            check_text(f"{where}.upstream.etag", shard.upstream.etag)
        for name, count in (("source_length", shard.source_length), ("length", shard.length), ("records", shard.records)):
            check_count(f"{where}.{name}", count)
        check_text(f"{where}.content_type", shard.content_type)
        check_text(f"{where}.unmarked_why", shard.unmarked_why, empty=True)
        if shard.prepared is not None:
            check_text(f"{where}.prepared", shard.prepared)
            if change.mark_key is None:
                raise Invalid("mark_key", f"is missing, and {shard.path} is marked")
        elif not shard.unmarked_why:
            raise Invalid(f"{where}.unmarked_why", "is empty: an unmarked shard says why it is unmarked")
        total += max(shard.length, shard.records)
    if total > MAX_INT:
        raise Invalid("shards", "are longer in all than an entry can say")


def _add_grant(state: State, change: c.GrantAdd, index: int, at: int) -> None:
    check_id("id", change.id)
    _new(state.grants, "id", "grant", change.id)
    holder = state.holder(change.holder)
    if holder is None:
        raise Invalid("holder", f"there is no person or workload {change.holder!a}")
    if holder.ended_at is not None:
        raise Invalid("holder", f"{change.holder} has ended")
    _known(state.projects, "project", "project", change.project)
    assets = _named(state, change)
    _check_barrier(state, holder, assets)
    _check_actions(change, holder, assets)
    start = change.not_before or at
    check_count("not_before", start)
    check_count("expires", change.expires_at)
    if change.expires_at <= at:
        raise Invalid("expires", "is in the past")
    if change.expires_at <= start:
        raise Invalid("expires", "is not after the grant's start")
    _check_signer(state, change, assets)
    if holder.vendor is not None and state.agreement(holder.vendor, at) is None:
        raise Denied(
            f"holder: {holder.vendor} has no agreement in force; add one with `limen agreement add` first", rule="no-agreement"
        )
    if holder.vendor is not None:
        admission.check(state, holder.vendor, at)
    state.put_grant(
        Grant(
            change.id,
            change.holder,
            change.project,
            frozenset(change.assets),
            frozenset(change.actions),
            change.granted_by,
            start,
            change.expires_at,
            index,
        )
    )


def _named(state: State, change: c.GrantAdd) -> list[Asset]:
    """The assets that the grant names; none for "*"."""
    if not change.assets:
        raise Invalid("assets", 'names none; for all of the project\'s say "*"')
    if len(change.assets) > MAX_NAMED:
        raise Invalid("assets", f"names {len(change.assets)}, more than {MAX_NAMED}")
    if "*" in change.assets:
        if len(set(change.assets)) > 1:
            raise Invalid("assets", '"*" stands alone')
        return []
    for id_ in change.assets:
        _known(state.assets, "assets", "asset", id_)
        if state.assets[id_].project != change.project:
            raise Invalid("assets", f"{id_} is not in project {change.project}")
    return [state.assets[id_] for id_ in change.assets]


def _check_barrier(state: State, holder: Person | Workload, assets: list[Asset]) -> None:
    for asset in assets:
        if state.barred(asset, holder.vendor):
            raise Denied(
                f"assets: {asset.id} is of class {asset.asset_class}, which no vendor's grant can name", rule="forbid-barrier"
            )


def _check_actions(change: c.GrantAdd, holder: Person | Workload, assets: list[Asset]) -> None:
    if not change.actions:
        raise Invalid("actions", "names none")
    for asset in assets:
        if asset.kind == "dataset":
            allowed, why = FOR_DATASETS, f"{asset.id} is not a drop box: it takes read, head and list"
        elif holder.vendor is None:
            allowed, why = FOR_DROPS, ""
        else:
            allowed, why = FOR_DROPS_BY_VENDORS, f"{asset.id} is a drop box: a vendor's grant takes write, list, head and delete"
        if wrong := sorted(set(change.actions) - allowed):
            raise Invalid("actions", f"{wrong[0]} can't be granted: {why}")


def _check_signer(state: State, change: c.GrantAdd, assets: list[Asset]) -> None:
    """Whoever signs is of the lab and has one of the roles that each asset's tier asks for.

    For "*" the tier of each asset is checked when the grant is used (`Snapshot.grants_reaching`): assets may be added
    later. Here the signer needs a role that some tier of the project accepts, or of `open` while it has no assets.
    """
    signer = _lab_person(state, "granted_by", change.granted_by)
    if "*" not in change.assets:
        for asset in assets:
            tier = state.tiers[asset.tier]
            if not signer.roles & tier.granted_by:
                _unsigned(signer, f"{asset.id} (tier {tier.name})", tier)
        return
    tiers = [state.tiers[state.assets[id_].tier] for id_ in state.contents.get(change.project) or ()] or [state.tiers["open"]]
    if not any(signer.roles & tier.granted_by for tier in tiers):
        _unsigned(signer, f"any asset of {change.project}", tiers[0])


def _unsigned(signer: Person, what: str, tier: Tier) -> None:
    needed = " or ".join(sorted(tier.granted_by))
    raise Denied(f"granted_by: {signer.id} may not grant {what}: it takes the role {needed}", rule="tier-granted-by")


def _end_grant(state: State, change: c.GrantEnd, at: int) -> None:
    check_text("reason", change.reason)
    grant = state.grants.get(change.id)
    if grant is None:
        raise Invalid("id", f"there is no grant {change.id!a}")
    if change.holder != grant.holder:
        raise Invalid("holder", f"is not that of grant {grant.id}")
    if grant.ended_at is not None:
        raise Invalid("id", f"grant {grant.id} has ended already")
    state.end_grant(replace(grant, ended_at=at))


def _end_grants_of(state: State, holder: str, at: int) -> None:
    for project in state.projects_of.get(holder) or ():
        for id_ in state.held.get((holder, project)) or ():
            state.end_grant(replace(state.grants[id_], ended_at=at))
