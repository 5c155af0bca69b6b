"""`limen contract`: what a vendor agreed to, as clauses that can be judged."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

INVALID = 2


@click.group()
def contract() -> None:
    """Contracts as clauses that can be judged: check one, set it, show what is in force, print the form's schema."""


@contract.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, *, as_json: bool) -> None:
    """Check FILE against the form without setting it. Every mistake is a line `FILE:LINE:COLUMN: …`; then the exit code is 2."""
    from limen.assurance.contract.parse import parse
    from limen.verify.verdict import digest

    form, problems = parse(_read(file))
    rows = [{"line": one.line, "column": one.column, "field": one.where, "why": one.why} for one in problems]
    found = {"valid": form is not None, "problems": rows, "form": None if form is None else digest(form)}
    if as_json:
        print_json("limen/contract-check/v1", {**found, "contract": form})
    elif form is None:
        for one in problems:
            click.echo(f"{file}:{one}")
        say(f"limen: {len(problems)} {'mistake' if len(problems) == 1 else 'mistakes'}; nothing was set")
    else:
        click.echo(f"{file}: contract {form['id']} of {form['vendor']}, {form['starts']} to {form['ends']}")
        click.echo(f"  clauses: {len(form['clauses'])}, rewards: {len(form['rewards'])}; form {found['form']}")
    if form is None:
        ctx.exit(INVALID)


@contract.command(name="set")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only check.")
@data_option
@json_option
def set_(data: Path, file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Put the contract in FILE in force. Of the same id, it amends; a new vendor's people get no grants until its gate passes."""
    from limen.assurance.contract.parse import parsed

    raw = _read(file)
    parsed(raw, str(file))  # here as well: its mistakes are told by line before a gateway is asked
    answer = call(data, "contract.set", {"text": raw.decode(), "name": str(file), "dry_run": dry_run})
    if as_json:
        print_json("limen/contract-set/v1", answer)
        return
    done = "would be set" if dry_run else f"set (entry {answer['entry']})"
    amends = f", amending entry {answer['amends']}" if answer["amends"] is not None else ""
    click.echo(f"{answer['vendor']}: contract {answer['contract']} with {answer['clauses']} clauses {done}{amends}")
    if answer["gates"]:
        verb = "would wait" if dry_run else "wait"
        say(f"limen: grants to its people {verb} until `limen gate {answer['vendor']} --onboarding` passes, or is waived")


@contract.command()
@click.argument("vendor")
@click.option("--contract", "id_", help="Another of its contracts, by id.")
@click.option("--as-of", help="RFC 3339: as far as was known then.")
@data_option
@json_option
def show(data: Path, vendor: str, id_: str | None, as_of: str | None, *, as_json: bool) -> None:
    """Print the contract that VENDOR is judged by, as it was written; with --json also the form in which it is judged."""
    from limen.cli.exposure import microseconds

    answer = call(data, "contract.show", {"vendor": vendor, "contract": id_, "as_of_us": microseconds("--as-of", as_of)})
    if as_json:
        print_json("limen/contract/v1", answer)
        return
    click.echo(answer["text"], nl=not answer["text"].endswith("\n"))
    say(f"limen: entry {answer['entry']}; {len(answer['form']['waivers'])} waivers; judged form {answer['digest']}")


@contract.command(name="list")
@click.option("--vendor", help="Of one vendor.")
@data_option
@json_option
def list_(data: Path, vendor: str | None, *, as_json: bool) -> None:
    """List every contract that was set, amendments too."""
    rows = call(data, "contract.list", {"vendor": vendor})
    if as_json:
        print_json("limen/contracts/v1", {"contracts": rows})
    elif rows:
        click.echo(table(rows, ["entry", "vendor", "id", "starts", "ends"]))
    else:
        say("limen: there is no contract; `limen profile export contract` gives you one to begin with")


@contract.command()
def schema() -> None:
    """Print the form's JSON Schema, for editors (`# yaml-language-server: $schema=…` in the first line)."""
    from limen.assurance.contract.schema import kept

    click.echo(kept(), nl=False)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as e:
        raise Invalid(str(file), f"can't be read: {e.strerror}") from e
