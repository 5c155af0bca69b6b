"""The catalog's commands: `import`, and one group a noun.

Each `add` is an import of one thing, so one set of checks and messages serves both.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.cli.review import page
from limen.core.errors import Invalid


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["toml", "json"]), help="Default: by the file's ending.")
@click.option("--dry-run", is_flag=True, help="Only check.")
@data_option
@json_option
def import_(data: Path, file: Path, form: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Import vendors, people, projects, assets, agreements and grants: all of the file, or nothing."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(str(file), f"can't be read: {e}") from e
    form = form or ("json" if file.suffix == ".json" else "toml")
    answer = call(data, "import", {"text": text, "format": form, "dry_run": dry_run})
    if as_json:
        print_json("limen/import/v1", answer)
        return
    counts = {kind: answer["changes"].count(kind) for kind in answer["changes"]}
    done = "would make" if dry_run else "made"
    click.echo(f"{done} {len(answer['changes'])} changes: {', '.join(f'{n} {kind}' for kind, n in counts.items())}")
    if answer["entries"]:
        click.echo(f"entries {answer['entries'][0]} to {answer['entries'][-1]}")


def _one(data: Path, table_name: str, row: dict[str, Any], *, as_json: bool) -> None:
    """Import one thing."""
    kept = {key: value for key, value in row.items() if value not in (None, ())}
    document = json.dumps({table_name: [kept]})
    answer = call(data, "import", {"text": document, "format": "json"})
    if as_json:
        print_json("limen/import/v1", answer)
    else:
        click.echo(f"{answer['changes'][0]}: done (entry {answer['entries'][0]})")


def _change(data: Path, kind: str, fields: dict[str, Any], *, as_json: bool) -> None:
    answer = call(data, "change", {"kind": kind, "change": fields})
    if as_json:
        print_json("limen/change/v1", {"kind": kind, **answer})
    else:
        click.echo(f"{kind}: done (entry {answer['entry']})")


def _list(data: Path, what: str, columns: list[str], *, as_json: bool) -> None:
    rows = call(data, "show", {"what": what})
    if as_json:
        print_json(f"limen/{what}/v1", {what: rows})
    elif rows:
        click.echo(table([{**row, **_readable(row)} for row in rows], columns))
    else:
        say(f"limen: there are no {what} yet")


def _readable(row: dict[str, Any]) -> dict[str, str]:
    """The row's lists and times as a person reads them."""
    lists = {key: ", ".join(map(str, value)) for key, value in row.items() if isinstance(value, list)}
    times = {key: _moment(value) for key, value in row.items() if key.endswith(("_at", "_from", "_until", "_since")) and value}
    return {**lists, **times}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _listing(group: click.Group, what: str, columns: list[str]) -> None:
    """Give a group its `list`."""

    @group.command(name="list")
    @data_option
    @json_option
    def list_(data: Path, *, as_json: bool) -> None:
        _list(data, what, columns, as_json=as_json)

    list_.help = f"List {what}."


@click.group()
def vendor() -> None:
    """Outside companies."""


@vendor.command(name="add")
@click.argument("id_", metavar="ID")
@click.option("--name", required=True)
@click.option("--contact", required=True, help="Whom to reach there.")
@data_option
@json_option
def vendor_add(data: Path, id_: str, name: str, contact: str, *, as_json: bool) -> None:
    """Add a vendor."""
    _one(data, "vendor", {"id": id_, "name": name, "contact": contact}, as_json=as_json)


@click.group()
def person() -> None:
    """Named humans: `vendor/handle`, or `lab/handle` for the lab's own."""


@person.command(name="add")
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--issuer", required=True, help="OpenID Connect issuer URL.")
@click.option("--subject", required=True, help="The issuer's `sub` for them; with the issuer, their identity.")
@click.option("--name", required=True, help="Kept encrypted, never in an entry.")
@click.option("--email", help="Shown, never identity; kept encrypted.")
@click.option("--role", "roles", multiple=True, help="Lab roles, such as owner or security.")
@data_option
@json_option
def person_add(data: Path, id_: str, roles: tuple[str, ...], *, as_json: bool, **fields: str | None) -> None:
    """Add a person."""
    _one(data, "person", {"id": id_, **fields, "roles": list(roles) or None}, as_json=as_json)


@person.command(name="end")
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--reason", required=True)
@data_option
@json_option
def person_end(data: Path, id_: str, reason: str, *, as_json: bool) -> None:
    """End a person's access for good: sessions now, grants with them."""
    _change(data, "person.end", {"id": id_, "reason": reason}, as_json=as_json)


@click.group()
def workload() -> None:
    """Non-human identities, each with a sponsor."""


@workload.command(name="add")
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--issuer", required=True)
@click.option("--subject", required=True)
@click.option("--sponsor", required=True, help="The person who answers for it.")
@data_option
@json_option
def workload_add(data: Path, id_: str, *, as_json: bool, **fields: str) -> None:
    """Add a workload."""
    _one(data, "workload", {"id": id_, **fields}, as_json=as_json)


@workload.command(name="end")
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--reason", required=True)
@data_option
@json_option
def workload_end(data: Path, id_: str, reason: str, *, as_json: bool) -> None:
    """End a workload."""
    _change(data, "workload.end", {"id": id_, "reason": reason}, as_json=as_json)


@click.group()
def project() -> None:
    """Sandboxes: what a session in one can name."""


@project.command(name="add")
@click.argument("id_", metavar="ID")
@click.option("--title", required=True)
@click.option("--owner", required=True, help="lab/handle")
@data_option
@json_option
def project_add(data: Path, id_: str, *, as_json: bool, **fields: str) -> None:
    """Add a project."""
    _one(data, "project", {"id": id_, **fields}, as_json=as_json)


@click.group()
def asset() -> None:
    """Datasets, guidelines, prompts, drop boxes."""


@asset.command(name="class")
@click.argument("name")
@click.option("--no-vendors", is_flag=True, help="The hard barrier: no vendor grant can ever name this class.")
@data_option
@json_option
def asset_class(data: Path, name: str, *, no_vendors: bool, as_json: bool) -> None:
    """Add an asset class. It can't be changed later."""
    _one(data, "class", {"name": name, "vendors": not no_vendors}, as_json=as_json)


@asset.command(name="add")
@click.argument("id_", metavar="ID")
@click.option("--project", required=True)
@click.option("--class", "class_", required=True)
@click.option("--tier", required=True, help="open, internal, confidential, restricted")
@click.option("--drop", is_flag=True, help="A drop box: its writers put, and list their own, and nothing else.")
@click.option("--canary", is_flag=True, help="Nobody has a reason to open it: whoever does is told to `limen alert` targets.")
@click.option("--description")
@data_option
@json_option
def asset_add(data: Path, id_: str, class_: str, *, drop: bool, canary: bool, as_json: bool, **fields: str | None) -> None:
    """Add an asset to a project."""
    kind = "drop" if drop else "dataset"
    _one(data, "asset", {"id": id_, "class": class_, "kind": kind, "canary": canary, **fields}, as_json=as_json)


@asset.command(name="register")
@click.argument("id_", metavar="ID")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--unmarked", is_flag=True, help="Serve the same bytes to everybody.")
@click.option("--withhold", default=0, show_default=True, help="Percent of records given to some only (JSONL).")
@click.option("--pairs", default=100, show_default=True, help="Percent of the other records to pair.")
@click.option("--canaries", type=click.Path(path_type=Path, exists=True), help="JSONL: a record for each recipient, or several.")
@click.option("--canaries-each", default=1, show_default=True, help="How many of them each recipient gets.")
@click.option("--gold-field", default="", help="The canaries' field with the expected answer. It is not served.")
@data_option
@json_option
def asset_register(  # noqa: PLR0917  click passes options by name
    data: Path,
    id_: str,
    paths: tuple[Path, ...],
    withhold: int,
    pairs: int,
    canaries: Path | None,
    canaries_each: int,
    gold_field: str,
    *,
    unmarked: bool,
    as_json: bool,
) -> None:
    """Register the next version of an asset from files or directories; prepares every recipient's copies."""
    from limen.registration import sources_below

    lines = canaries.read_text().splitlines() if canaries else []
    answer = call(
        data,
        "register",
        {
            "asset": id_,
            "sources": [{"path": s.path, "local": str(s.local.resolve())} for s in sources_below(list(paths))],
            "marking": {
                "marked": not unmarked,
                "pairs_percent": pairs,
                "withhold_percent": withhold,
                "canaries": [line for line in lines if line.strip()],
                "canaries_each": canaries_each,
                "gold_field": gold_field,
            },
        },
    )
    if as_json:
        print_json("limen/register/v1", answer)
        return
    click.echo(f"{answer['asset']} version {answer['version']}: {len(answer['shards'])} shards (entry {answer['entry']})")
    for line in answer["unmarked"]:
        click.echo(f"  not marked: {line}")


@click.group()
def agreement() -> None:
    """What a vendor signed; nobody is served without a current one."""


@agreement.command(name="add")
@click.argument("id_", metavar="ID")
@click.option("--vendor", required=True)
@click.option("--document", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its digest is recorded.")
@click.option("--digest", help="SHA-256 in hex, instead of the document.")
@click.option("--from", "valid_from", required=True, metavar="DATE")
@click.option("--until", "valid_until", required=True, metavar="DATE")
@data_option
@json_option
def agreement_add(data: Path, id_: str, document: Path | None, digest: str | None, *, as_json: bool, **fields: str) -> None:
    """Record an agreement by its digest."""
    if (document is None) == (digest is None):
        raise Invalid("--document", "give the document or its digest, one of the two")
    digest = digest or hashlib.sha256(document.read_bytes() if document else b"").hexdigest()
    _one(data, "agreement", {"id": id_, "digest": digest, **fields}, as_json=as_json)


@click.group()
def grant() -> None:
    """Person, project, assets, actions, expiry."""


@grant.command(name="add")
@click.argument("holder", metavar="VENDOR/HANDLE")
@click.option("--project", required=True)
@click.option("--asset", "assets", multiple=True, required=True, help="Again for more; '*' for all of the project's.")
@click.option("--action", "actions", multiple=True, default=("read", "head", "list"), show_default=True)
@click.option("--by", "granted_by", required=True, help="The lab person who grants it.")
@click.option("--until", "expires", required=True, metavar="DATE")
@data_option
@json_option
def grant_add(
    data: Path, holder: str, assets: tuple[str, ...], actions: tuple[str, ...], *, as_json: bool, **fields: str
) -> None:
    """Grant somebody assets of one project."""
    _one(data, "grant", {"holder": holder, "assets": list(assets), "actions": list(actions), **fields}, as_json=as_json)


@grant.command(name="end")
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True)
@data_option
@json_option
def grant_end(data: Path, id_: str, reason: str, *, as_json: bool) -> None:
    """Revoke a grant now."""
    _change(data, "grant.end", {"id": id_, "reason": reason}, as_json=as_json)


@click.group()
def tier() -> None:
    """Sensitivity tiers and their floors."""


@click.group()
def session() -> None:
    """Sessions in force."""


@session.command(name="end")
@click.argument("id_", metavar="ID")
@data_option
@json_option
def session_end(data: Path, id_: str, *, as_json: bool) -> None:
    """End one session now, at every door."""
    answer = call(data, "session.end", {"session": id_.removeprefix("session/")})
    if as_json:
        print_json("limen/session-end/v1", answer)
    else:
        click.echo(f"session {answer['session']}: ended")


_listing(vendor, "vendors", ["vendor", "name", "contact", "people"])
_listing(person, "people", ["person", "vendor", "sponsor", "roles", "ended_at", "erased_at", "held_since"])
_listing(project, "projects", ["project", "title", "owner"])
_listing(asset, "assets", ["asset", "project", "class", "tier", "kind", "version", "shards", "records", "marked", "unmarked"])
_listing(agreement, "agreements", ["id", "vendor", "digest", "valid_from", "valid_until"])
_listing(grant, "grants", ["grant", "holder", "project", "assets", "actions", "granted_by", "expires_at", "ended_at"])
_listing(tier, "tiers", ["name", "granted_by", "session_s", "hardware_key", "export_bytes_day", "window_bytes", "window_s"])
_listing(session, "sessions", ["id", "holder", "project", "issued_at", "expires_at", "strength"])
asset.add_command(page)
