"""`limen doctor`: is this directory, and the machine under it, fit to serve."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli.link import ask, data_option, json_option, print_json, say
from limen.core.errors import Invalid


@click.command()
@data_option
@json_option
def doctor(data: Path, *, as_json: bool) -> None:
    """Look at clock, disk, ledger, witnesses, issuers, upstreams, ports, keys and extras; change nothing.

    Exit code 0: nothing is broken; 1: something is; 5: the ledger does not verify; 6: something can't be said.
    """
    from limen.doctor.visit import exit_code, visit

    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    lines = []
    for line in visit(data, lambda verb: ask(data, verb, {})):
        lines.append(line)
        if not as_json:
            click.echo(f"{line.state:<10}  {line.part:<13}  {line.says}")
            if line.step:
                click.echo(f"{'':<27}next: {line.step}")
    counts = {state: sum(line.state == state for line in lines) for state in ("ok", "warning", "broken", "cannot say")}
    if as_json:
        checks = [{"part": line.part, "state": line.state, "says": line.says, "next": line.step or None} for line in lines]
        print_json("limen/doctor/v1", {"data": str(data), "counts": counts, "checks": checks})
    say("limen: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    sys.exit(exit_code(lines))
