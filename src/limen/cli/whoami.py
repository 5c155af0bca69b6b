"""`limen whoami`: whose session this is, by the gateway's own word (STS GetCallerIdentity), not by what is kept here."""

from __future__ import annotations

import json

import click

from limen.cli import _cache

SCHEMA = "limen/whoami/v1"


@click.command()
@click.option("--project", "--profile", "profile", default="", help="Whose session: the profile or project of a login.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def whoami(profile: str, as_json: bool) -> None:
    """Say who this session says you are."""
    from limen.cli import _gateway, _web

    kept = _cache.read(_cache.chosen(profile))
    with _web.plainly():
        said = _gateway.caller_identity(kept)
    answer = {
        "person": said["Person"],
        "vendor": said["Vendor"] or None,
        "sponsor": said["Sponsor"] or None,
        "project": said["Project"],
        "session": said["Session"],
        "strength": said["Strength"],
        "until": said["Expiration"],
        "endpoint": kept.endpoint,
    }
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **answer}))
        return
    for name, value in answer.items():
        if value is not None:
            click.echo(f"{name:<9} {value}")
