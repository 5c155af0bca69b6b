"""`limen case`: samples of one leak that add up, and the second human who opens a name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from limen.cli._acting import acting_options, who
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.cli.trace import give, report_options, tell_bundle
from limen.core.errors import Invalid

_COLUMNS = ["case", "began", "looks", "verdict", "slots", "copies", "opened", "unscored"]


@click.group()
def case() -> None:
    """Cases: samples of one leak that add up (`limen trace --case`), their reports, and their review."""


@case.command(name="list")
@data_option
@json_option
def list_(data: Path, *, as_json: bool) -> None:
    """List every case, with what its last sample made of it."""
    found = call(data, "case.list", {})
    if as_json:
        print_json("limen/case-list/v1", {"cases": found})
        return
    day = [datetime.fromtimestamp(row["began_us"] // 1_000_000, UTC).strftime("%Y-%m-%d %H:%MZ") for row in found]
    click.echo(table([{**row, "began": began} for row, began in zip(found, day, strict=True)], _COLUMNS))


@case.command()
@click.argument("name")
@click.option("--look", type=click.IntRange(min=1), help="An earlier sample's report; default: the last one's, for all so far.")
@report_options
@data_option
def show(data: Path, name: str, look: int | None, form: str, out: Path | None, *, as_json: bool) -> None:
    """Show a case's report again, with the names that were opened since. Nothing is scored."""
    give(call(data, "case.show", {"case": name, "look": look}), "json" if as_json else form, out)


@case.command()
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write.")
@click.option("--look", type=click.IntRange(min=1), help="Only up to this sample; default: all so far.")
@data_option
@json_option
def export(data: Path, name: str, output: Path, look: int | None, *, as_json: bool) -> None:
    """Write a case as one file, with the program by which an arbiter who is given the mark keys recomputes every figure."""
    found = call(data, "case.export", {"case": name, "look": look, "output": str(output.absolute())})
    if as_json:
        print_json("limen/case-export/v1", found)
    else:
        tell_bundle(found)


@case.command()
@click.argument("name")
@click.option(
    "--open", "opened", metavar="COPY", help="Open the name behind this copy: its id, the beginning of it, or pseudonym."
)
@click.option("--leave-closed", "closed", metavar="COPY", help="Enter that you looked, and that the name stays closed.")
@click.option("--reason", help="What you looked at, and why you decide so; kept sealed beside the entry.")
@acting_options
@data_option
@json_option
def review(  # noqa: PLR0917  click passes options by name
    data: Path,
    name: str,
    opened: str | None,
    closed: str | None,
    reason: str | None,
    acting: str | None,
    id_token: Path | None,
    *,
    as_json: bool,
) -> None:
    """Review a case that somebody else traced, and open a name or leave it closed. Refused to whoever ran a trace of it."""
    if (opened is None) == (closed is None):
        raise Invalid("case review", "takes one of --open COPY and --leave-closed COPY")
    outcome = "open" if opened is not None else "closed"
    asked = {"case": name, "copy": opened or closed, "outcome": outcome, "reason": reason, **who(acting, id_token)}
    answer = call(data, "case.review", asked)
    if as_json:
        print_json("limen/case-review/v1", answer)
        return
    if outcome == "closed":
        click.echo(f"{answer['who']} stays closed (entry {answer['entry']})")
        return
    click.echo(f"{answer['who']} is {answer['person']} (entry {answer['entry']})")
    for field in ("name", "email", "issuer", "subject", "sponsor"):
        if answer.get(field):
            click.echo(f"  {field:<8} {answer[field]}")
    say("limen: a copy says whose it was, not who leaked it; tell them and hear them before anything follows")
