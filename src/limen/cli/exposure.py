"""`limen exposure`: exactly what a vendor, project, person or session was served."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  click reads the annotation's value
from typing import Any

import click

from limen.cli._observed import tell
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

COLUMNS = ["asset", "granted", "served_ever", "served_since", "by_session", "never_served", "canaries", "unit"]


@click.command()
@click.argument("subject", metavar="vendor/… | project/… | person/… | session/…")
@click.option("--since", help="RFC 3339: start of the window for `served since` (the compromise).")
@click.option("--until", help="RFC 3339: leave out what came at or after this.")
@click.option("--session", help="The suspect session, as `session/…` or its id.")
@click.option("--objects", is_flag=True, help="List every object that other systems' logs say was handed over (with --json).")
@data_option
@json_option
def exposure(
    data: Path, subject: str, since: str | None, until: str | None, session: str | None, *, objects: bool, as_json: bool
) -> None:
    """Report what was handed over, per asset and per person, record by record; and what other systems' logs say besides."""
    args = {
        "subject": subject,
        "since_us": microseconds("--since", since),
        "until_us": microseconds("--until", until),
        "session": session.removeprefix("session/") if session else None,
        "objects": objects,
    }
    report = call(data, "exposure", args)
    if as_json:
        print_json(report.pop("schema"), report)
        return
    ledger = report["ledger"]
    click.echo(f"Exposure of {subject}, measured; ledger {ledger['origin']}, entries 0 to {ledger['to'] - 1}")
    if since:
        click.echo(f"served_since counts from {since}")
    click.echo()
    click.echo(table([_row(asset) for asset in report["assets"]], COLUMNS))
    click.echo()
    lines = [{"asset": asset["asset"], **line} for asset in report["assets"] for line in asset["people"] if line["accesses"]]
    if lines:
        click.echo(table(lines, ["asset", "person", "granted", "served_ever", "served_since", "accesses", "uncertain"]))
    for line in report["received"]:
        click.echo(f"received from {line['person']}: {line['uploads']} uploads in {line['asset']} ({line['tier']}, assume held)")
    for line in report["refusals"]:
        what = line["asset"] or "a path that names no asset"
        click.echo(f"refused: {line['person']} at {what}, {line['count']} times by {line['rule']} (entry {line['first_entry']})")
    for line in report["unknown"]:
        click.echo(f"UNKNOWN: {line}")
    if not report["unknown"]:
        click.echo("Of what limen served nothing is unknown: every index is there and every access has its outcome.")
    tell(report["observed"])
    say(f"limen: {report['note']}; the record ids (--json) tell whose copy held what: keep them secret")


def _row(asset: dict[str, Any]) -> dict[str, Any]:
    counts = {tier: asset[tier]["count"] for tier in COLUMNS[1:6]}
    return {"asset": asset["asset"], **counts, "canaries": len(asset["canaries"]), "unit": asset["unit"]}


def microseconds(field: str, text: str | None) -> int | None:
    """A time as typed, in microseconds since 1970; Invalid names the option."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise Invalid(field, f"{text!r} is not an RFC 3339 time like 2026-04-02T09:00:00Z") from e
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
