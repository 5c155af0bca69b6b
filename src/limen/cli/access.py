"""`limen access explain`: which rule decides."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli.link import call, data_option, json_option, print_json


@click.group()
def access() -> None:
    """Who may do what, and why."""


@access.command()
@click.argument("person")
@click.argument("asset")
@click.option("--action", default="read", show_default=True, type=click.Choice(["read", "head", "list", "write", "delete"]))
@click.option("--hardware", is_flag=True, help="As if the session had been opened with a hardware key.")
@data_option
@json_option
def explain(data: Path, person: str, asset: str, action: str, *, hardware: bool, as_json: bool) -> None:
    """Say whether PERSON may do this to ASSET now, and which rule decides."""
    args = {"person": person, "asset": asset, "action": action, "strength": "hardware" if hardware else "single"}
    answer = call(data, "explain", args)
    if as_json:
        print_json("limen/explain/v1", {"person": person, "asset": asset, "action": action, **answer})
        return
    click.echo(f"{person} {action} {asset}: {'allowed' if answer['allowed'] else 'refused'} by {answer['rule']}")
    if answer.get("reason"):
        click.echo(f"  {answer['reason']}")
    for rule in answer["rules"]:
        click.echo(f"  {rule['rule']:<28} {rule['verdict']}")
