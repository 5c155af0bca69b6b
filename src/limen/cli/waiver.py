"""`limen waiver`: clauses that a named person of the lab signed off for some days."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli._acting import acting_options, who
from limen.cli.link import call, data_option, json_option, print_json, say, table

COLUMNS = ["entry", "vendor", "contract", "clause", "starts", "until", "state", "signer", "reason"]


@click.group()
def waiver() -> None:
    """Clauses that somebody signed off for some days: they are judged all the same, and then cost nothing and lead to nothing."""


@waiver.command()
@click.argument("vendor")
@click.argument("clause", metavar="CLAUSE|onboarding")
@click.option("--until", required=True, help="The day on whose beginning (UTC) it ends, as 2026-04-30.")
@click.option("--from", "starts", help="Its first day; today if left out.")
@click.option("--reason", required=True, help="Kept encrypted with it.")
@click.option("--contract", "id_", help="Another of the vendor's contracts, by id.")
@acting_options
@data_option
@json_option
def add(
    data: Path,
    vendor: str,
    clause: str,
    *,
    until: str,
    starts: str | None,
    reason: str,
    id_: str | None,
    acting: str | None,
    id_token: Path | None,
    as_json: bool,
) -> None:
    """Waive a clause of VENDOR's contract until a day; or its `onboarding`, which admits it until then. A named person signs."""
    args = {"vendor": vendor, "clause": clause, "until": until, "from": starts, "reason": reason, "contract": id_}
    answer = call(data, "waiver.add", {**args, **who(acting, id_token)})
    if as_json:
        print_json("limen/waiver-add/v1", answer)
        return
    click.echo(f"{vendor}: {clause} waived from {answer['starts']} to {answer['until']} (entry {answer['entry']})")
    if answer["admitted"]:
        say(f"limen: grants to its people can be made until {answer['until']}")


@waiver.command()
@click.argument("entry", type=click.IntRange(min=0))
@data_option
@json_option
def end(data: Path, entry: int, *, as_json: bool) -> None:
    """End the waiver of ENTRY: this day is not waived any more."""
    answer = call(data, "waiver.end", {"entry": entry})
    if as_json:
        print_json("limen/waiver-end/v1", answer)
    else:
        click.echo(
            f"{answer['vendor']}: {answer['clause']} is waived no more from {answer['until']} on (entry {answer['entry']})"
        )


@waiver.command(name="list")
@click.option("--vendor", help="Of one vendor.")
@data_option
@json_option
def list_(data: Path, vendor: str | None, *, as_json: bool) -> None:
    """List waivers, ended ones too, each with who signed it and why."""
    rows = call(data, "waiver.list", {"vendor": vendor})
    if as_json:
        print_json("limen/waivers/v1", {"waivers": rows})
    elif rows:
        click.echo(table(rows, COLUMNS))
    else:
        say("limen: nothing is waived")
