"""`limen findings` and `limen alert`: what was found in the log, whether it is found again, and who is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  click reads the annotation
from typing import Any, Final

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table

SEVERITIES: Final = {"low": 2, "medium": 3, "high": 4}
NAMES: Final = {number: name for name, number in SEVERITIES.items()}
COLUMNS: Final = ["finding", "at", "entry", "severity", "grade", "rule", "who", "vendor", "project", "asset"]
DISAGREES: Final = 5


@click.group()
def findings() -> None:
    """What was found in the log of accesses. A finding implicates an access, never a person."""


@findings.command(name="list")
@click.option("--since", type=click.IntRange(min=0), default=0, help="From this entry on.")
@click.option("--least", type=click.Choice([*SEVERITIES]), default="low", show_default=True)
@data_option
@json_option
def list_(data: Path, since: int, least: str, *, as_json: bool) -> None:
    """List findings, in the log's order."""
    answer = call(data, "findings.list", {"since": since, "least": SEVERITIES[least]})
    if as_json:
        print_json("limen/findings/v1", answer)
        return
    if answer["findings"]:
        click.echo(table([_row(found) for found in answer["findings"]], COLUMNS))
    say(f"limen: {len(answer['findings'])} findings; {answer['read']} of {answer['entries']} entries are read")
    if answer["read"] < answer["entries"]:
        say("limen: the rest is read while `limen serve` runs, or by `limen findings replay`: what it holds is not known yet")


@findings.command()
@click.argument("finding")
@data_option
@json_option
def show(data: Path, finding: str, *, as_json: bool) -> None:
    """Show one finding, named by how its id begins: its grounds, and who has been told."""
    answer = call(data, "findings.show", {"finding": finding})
    if as_json:
        print_json("limen/finding/v1", answer)
        return
    event, more = answer["event"], answer["event"]["unmapped"]
    click.echo(f"{answer['uid']}  {_moment(answer['at_us'])}  {NAMES[answer['severity']]}  {more['grade']}")
    click.echo(f"{answer['rule']}: {event['finding_info']['title']}")
    for name, value in [*more["subject"].items(), *more["figures"].items()]:
        click.echo(f"  {name:<16} {value}")
    click.echo(f"  {'entries':<16} {', '.join(map(str, more['entries']))}")
    for name, value in answer.get("actor", {}).items():
        click.echo(f"  {name:<16} {value}")
    for each in answer["deliveries"]:
        done = each["arrived_us"]
        state = f"arrived {_moment(done)}" if done else f"not arrived; {each['last'] or 'not tried yet'}"
        click.echo(f"  told {each['target']}: {state} ({each['attempts']} attempts)")
    say("limen: it names accesses, not who is to blame; `limen ledger prove ENTRY` proves that they are in the log")


@findings.command()
@click.option("--lines", is_flag=True, help="Print every finding's bytes, one a line, instead of the comparison.")
@data_option
@json_option
@click.pass_context
def replay(ctx: click.Context, data: Path, *, lines: bool, as_json: bool) -> None:
    """Find everything again from the log and the rules, and compare. Exit code 5 if it is not the same."""
    answer = call(data, "findings.replay", {})
    found = answer.pop("lines")
    if lines:
        for line in found:
            click.echo(line)
    elif as_json:
        print_json("limen/findings-replay/v1", answer)
    else:
        click.echo(
            f"{len(found)} findings in {answer['entries']} entries, by rules {answer['rules']}; SHA-256 {answer['sha256']}"
        )
        click.echo(f"the same, byte for byte: {answer['same']}")
        for name, says in (
            ("different", "found with other bytes"),
            ("missing", "kept, and not found again"),
            ("new", "found, and not kept"),
            ("cannot_say", "CANNOT SAY: the network detail that they rest on has expired or was erased"),
        ):
            if answer[name]:
                click.echo(f"{says}: {', '.join(uid[:12] for uid in answer[name])}")
        if answer["other_rules"]:
            click.echo(f"{answer['other_rules']} were found by other thresholds, and are not compared")
        for rule, times in answer["too_little_past"].items():
            click.echo(f"{rule} could not be judged {times} times: there was too little past to compare with")
    if not answer["agrees"]:
        ctx.exit(DISAGREES)


@click.group()
def alert() -> None:
    """Who is told of findings: the `[[alert]]` tables of limen.toml."""


@alert.command(name="list")
@data_option
@json_option
def alert_list(data: Path, *, as_json: bool) -> None:
    """List receivers, and how many alerts still wait for each."""
    answer = call(data, "alert.list", {})
    if as_json:
        print_json("limen/alerts/v1", answer)
        return
    if answer["alerts"]:
        click.echo(table(answer["alerts"], ["name", "kind", "to", "least", "waiting", "attempts"]))
    else:
        say("limen: nobody is told: limen.toml has no [[alert]] table (docs/alerts.md)")
    for name in answer["no_longer_configured"]:
        say(f"limen: alerts wait for {name}, which limen.toml does not name any more")


@alert.command()
@click.argument("name")
@data_option
@json_option
def test(data: Path, name: str, *, as_json: bool) -> None:
    """Send one event to a receiver, marked as a test."""
    answer = call(data, "alert.test", {"name": name})
    if as_json:
        print_json("limen/alert-test/v1", answer)
    else:
        click.echo(f"{name}: handed over, as {answer['id']}")


def _row(found: dict[str, Any]) -> dict[str, Any]:
    named = {"finding": found["uid"][:12], "at": _moment(found["at_us"]), "severity": NAMES[found["severity"]]}
    return {**found, **named}


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
