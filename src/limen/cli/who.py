"""`limen who`: which people and vendors stand behind the principals of other systems' logs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from limen.cli.link import call, data_option, json_option, print_json, say
from limen.core.errors import Invalid


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
