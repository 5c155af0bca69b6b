"""`limen ledger witnesses`: who cosigns this log, how far each has come, and whether their quorum stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@data_option
@json_option
def witnesses(data: Path, *, as_json: bool) -> None:
    """Show each witness's last cosignature and what fails, and whether the quorum stands."""
    state = call(data, "ledger.witnesses", {})
    if as_json:
        print_json("limen/ledger-witnesses/v1", state)
        return
    if not state["quorum"]:
        say("limen: nobody watches this log. Name witnesses in a tlog-policy and set ledger.policy in limen.toml")
        say("limen: (docs/witnesses.md); until then only whoever kept an old checkpoint can tell if it is rewritten.")
        return
    rows = [{**row, "cosigned": _moment(row["at"]), "trouble": row["error"]} for row in state["witnesses"]]
    if rows:
        click.echo(table(rows, ["name", "size", "cosigned", "url", "trouble"]))
    stands = "stands" if state["stands"] else "DOES NOT STAND"
    click.echo(f"quorum {state['quorum']} {stands}: {state['size'] or 0} entries cosigned, {state['published'] or 0} published")


def _moment(at: int | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
