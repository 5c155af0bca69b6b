"""`limen who`: which people and vendors stand behind the principals of other systems' logs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from limen.cli._observed import moment
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

COLUMNS = ["principal", "session", "people", "vendor", "observations", "sessions", "last", "reason"]


@click.group()
def who() -> None:
    """Whom the principals of imported logs are put down to: set, show or suggest the mapping."""


@who.command(name="set")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only check.")
@data_option
@json_option
def set_(data: Path, file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Put the mapping in FILE in force. It is an entry first; reports read it from then on, no import is repeated."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(str(file), f"can't be read: {e}") from e
    answer = call(data, "who.set", {"text": text, "dry_run": dry_run})
    if as_json:
        print_json("limen/who-set/v1", answer)
        return
    done = "would be set" if dry_run else f"set (entry {answer['entry']})"
    click.echo(f"{answer['rules']} rules and {answer['places']} places {done}; mapping {answer['digest'][:16]}")


@who.command()
@data_option
@json_option
def show(data: Path, *, as_json: bool) -> None:
    """Print the mapping in force as it was written: edit it, and set it again."""
    answer = call(data, "who.show", {})
    if as_json:
        print_json("limen/who/v1", answer)
        return
    click.echo(answer["text"], nl=not answer["text"].endswith("\n"))
    for line in answer["unknown"]:
        say(f"limen: UNKNOWN: {line}")


@who.command()
@click.option("--iam", type=click.Path(path_type=Path, exists=True), help="`aws iam get-account-authorization-details`: tags.")
@click.option("--toml", "as_toml", is_flag=True, help="Print rules to paste, each with its reason above it.")
@data_option
@json_option
def suggest(data: Path, iam: Path | None, *, as_toml: bool, as_json: bool) -> None:
    """Suggest rules for principals that the mapping does not know, from what names and tags give away.

    A name is chosen by whoever opens the session, so nothing is put in force here: read each rule, then set it.
    """
    answer = call(data, "who.suggest", {"iam": str(iam.resolve()) if iam else None})
    if as_json:
        print_json("limen/who-suggest/v1", answer)
    elif as_toml:
        click.echo("\n".join(line["rule"] for line in answer["suggestions"]), nl=False)
    elif answer["suggestions"]:
        rows = [
            {**line, "people": ", ".join(line["people"]) or None, "last": moment(line["last_us"])}
            for line in answer["suggestions"]
        ]
        click.echo(table(rows, COLUMNS))
    say(f"limen: {answer['unknown']} principals are unknown; for {answer['unnamed']} of them nothing suggests anybody")
