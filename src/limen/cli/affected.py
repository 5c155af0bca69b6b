"""`limen advisory affected|rematch|policy|actions|approve|decline`: who ran it, and what follows.

`affected` is read at two in the morning by somebody who was asleep: the answer for each vendor first, then its grounds.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation
from typing import Any, Final

import click

from limen.cli._acting import acting_options, who
from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

WORDS: Final = {"yes": "YES", "no": "no", "cannot say": "CANNOT SAY"}
_MET: Final = ["vendor", "advisory", "says", "purl", "scope", "from", "to", "bom", "entry", "may"]
_POLICIES: Final = ["vendor", "act", "leaves", "entry"]


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--as-of", help="RFC 3339: as was known then, by what the log had taken in.")
@click.option("--since", help="RFC 3339: ask about the time from here on, instead of the widest window.")
@click.option("--until", help="RFC 3339: and up to here.")
@click.option("--vendor", "vendors", multiple=True, help="Print only this vendor; may be given again.")
@click.option("--no-exposure", is_flag=True, help="Don't read the log for what was served: answers sooner.")
@data_option
@json_option
def affected(
    data: Path,
    id_: str,
    *,
    as_of: str | None,
    since: str | None,
    until: str | None,
    vendors: tuple[str, ...],
    no_exposure: bool,
    as_json: bool,
) -> None:
    """Say of each vendor whether it ran what an advisory names: yes, no, or cannot say; with the grounds."""
    asked = {"as_of": as_of, "since": since, "until": until}
    times = {f"{name}_us": microseconds(f"--{name.replace('_', '-')}", text) for name, text in asked.items()}
    answer = call(data, "advisory.affected", {"id": id_, **times, "exposure": not no_exposure})
    if vendors:
        known = {row["vendor"] for row in answer["vendors"]}
        if strange := sorted(set(vendors) - known):
            raise Invalid("--vendor", f"{strange[0]} is no vendor, and never sent a bill of material")
        answer["vendors"] = [row for row in answer["vendors"] if row["vendor"] in vendors]
    if as_json:
        print_json("limen/advisory.affected/v1", answer)
        return
    _head(answer)
    for row in answer["vendors"]:
        click.echo(f"{WORDS[row['verdict']]:<11} {row['vendor']}: {row['why']}")
    for row in answer["vendors"]:
        if row["verdict"] != "no" or row["components"] or row["near"]:
            _vendor(row)
    for about in dict.fromkeys(_said(each) for row in answer["vendors"] for each in row["disagreements"]):
        click.echo(f"\nDATES DISAGREE: {about}")
    concerned = next((row["vendor"] for row in answer["vendors"] if row["verdict"] == "yes"), None)
    if concerned is not None:
        say(f"limen: next: `limen exposure vendor/{concerned}`, `limen keys list {concerned}`, `limen pause vendor/{concerned}`")


def _head(answer: dict[str, Any]) -> None:
    kind = "MALICIOUS package" if answer["malicious"] else "vulnerability"
    others = ", ".join(each for each in answer["ids"] if each != answer["finding"])
    click.echo(f"{answer['finding']}{f' ({others})' if others else ''}: {kind}. {answer['summary']}")
    if answer["withdrawn"]:
        click.echo("  WITHDRAWN: none of its records holds any more")
    click.echo(f"  as known {'at ' + answer['as_of'] if answer['as_of'] else 'now'}")
    click.echo(f"  a no is covered over {answer['asked']['from']} to {answer['asked']['to']} ({answer['asked']['basis']})")
    for each in answer["records"]:
        state = f", WITHDRAWN {each['withdrawn']}" if each["withdrawn"] else ""
        trust = "signed, may restrict" if each["trusted"] else "not of a source that may restrict"
        click.echo(
            f"  {each['id']} revision {each['revision']}: entry {each['entry']}, received {each['received']}, "
            f"modified {each['modified']}, from {', '.join(each['sources'])} ({trust}){state}"
        )
    click.echo()


def _vendor(row: dict[str, Any]) -> None:
    click.echo(f"\n{row['vendor']}: {WORDS[row['verdict']]}")
    for each in row["components"]:
        records = ", ".join(f"{r['id']} revision {r['revision']} (entry {r['entry']})" for r in each["records"])
        until = each["to"] or "now, as far as its newest bill of material says"
        click.echo(f"  ran {each['purl']} at {each['path'].removeprefix('@ ') or 'its top level'}")
        click.echo(f"    from {each['from']} to {until}; bill of material: entry {each['bom']}")
        click.echo(f"    named by {records}, by its {each['by']}")
        if each["to"] is None and each["seen"]:
            click.echo(f"    a bill of material in force said so until {each['seen'][-1][1]}")
    for each in row["cannot_say"]:
        click.echo(f"  cannot say: {each['why']} (bill of material: entry {each['bom']})")
    for each in row["not_covered"]:
        click.echo(f"  not covered: {each['days']} ({each['from']} to {each['to']}): {each['why']}")
    for each in row["near"]:
        click.echo(f"  not it: {each}")
    for each in row["vex"]:
        click.echo(
            f"  the vendor says (VEX, entry {each['entry']}, declared): {each['status']} {each['why']}; that clears nothing"
        )
    _served(row)
    if row["sessions"]:
        click.echo(f"  {len(row['sessions'])} sessions live now: {', '.join(_session(each) for each in row['sessions'])}")
    elif row["verdict"] != "no":
        click.echo("  no session that this gateway opened lives now")
    if row["actions"]:
        click.echo(f"  policy {row['policy']}; actions: entries {', '.join(map(str, row['actions']))} (`limen advisory actions`)")


def _served(row: dict[str, Any]) -> None:
    served = row["served"]
    if served is None:
        return
    if not served["assets"]:
        click.echo(f"  served: nothing was, up to {served['to'] or 'now'} (measured)")
    for each in served["assets"]:
        when = f"{served['from']} to {served['to'] or 'now'}"
        within = "" if each["served_in_it"] is None else f", {each['served_in_it']} of them {when}"
        count = f"{each['served_before_its_end']} {_plural(each['unit'])} to {each['people']} people"
        click.echo(f"  served up to {served['to'] or 'now'}: {each['asset']}: {count}{within} (measured)")
    for each in served["unknown"]:
        click.echo(f"  UNKNOWN: {each}")


def _plural(unit: str) -> str:
    """`records`, and `records, not fingerprinted`: the noun comes first."""
    noun, comma, rest = unit.partition(",")
    return f"{noun}s{comma}{rest}"


def _session(each: dict[str, Any]) -> str:
    return f"{each['session']} {each['holder']} in {each['project']}" + (
        f" ({each['streams']} streams)" if each["streams"] else ""
    )


def _said(each: dict[str, Any]) -> str:
    return f"{each['about']}\n  " + "\n  ".join(each["says"])


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also vulnerabilities, not only malicious packages.")
@click.option("--as-of", help="RFC 3339: as was known then; then nothing follows from it.")
@data_option
@json_option
def rematch(data: Path, as_of: str | None, *, everything: bool, as_json: bool) -> None:
    """Hold all advisories against what all vendors run, and act upon what nothing was done about yet."""
    answer = call(data, "advisory.rematch", {"all": everything, "as_of_us": microseconds("--as-of", as_of)})
    if as_json:
        print_json("limen/advisory.rematch/v1", answer)
        return
    if answer["met"]:
        click.echo(table(answer["met"], _MET))
    say(f"limen: {answer['count']} met; new actions: {', '.join(map(str, answer['actions'])) or 'none'}")


@click.command()
@click.argument("vendor", required=False)
@click.argument("act", required=False, type=click.Choice(["notify", "restrict", "pause"]))
@click.option("--read-only", is_flag=True, help="Of restrict, the default: nothing is written or deleted.")
@click.option("--only-project", "projects", multiple=True, help="Of restrict: where work goes on; may be given again.")
@acting_options
@data_option
@json_option
def policy(
    data: Path,
    *,
    vendor: str | None,
    act: str | None,
    projects: tuple[str, ...],
    acting: str | None,
    id_token: Path | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """Show what a malicious component at each vendor leads to; with VENDOR and an act, decide it."""
    if act is not None:
        args = {"vendor": vendor, "act": act, "read_only": read_only, "projects": list(projects), **who(acting, id_token)}
        answer = call(data, "advisory.policy", args)
        if as_json:
            print_json("limen/advisory.policy.set/v1", answer)
        else:
            click.echo(f"{vendor}: a malicious component leads to {act} (entry {answer['entry']})")
        return
    answer = call(data, "advisory.policy", {})
    if vendor is not None:
        answer["policies"] = [row for row in answer["policies"] if row["vendor"] == vendor]
    if as_json:
        print_json("limen/advisory.policy/v1", answer)
        return
    click.echo(
        table([{**row, "leaves": _leaves(row), "entry": row["entry"] or "default"} for row in answer["policies"]], _POLICIES)
    )
    caps = answer["caps_a_day"]
    sources = ", ".join(answer["sources"]) or "nobody (no [[advisory_source]] may restrict)"
    say(f"limen: by itself only what signed advisories of {sources} say, and only for")
    say(f"limen: {caps['vendors']} vendors and {caps['people']} people a day; more than {caps['findings']} findings are a flood")


@click.command()
@click.option("--waiting", is_flag=True, help="Only what waits for somebody's word.")
@data_option
@json_option
def actions(data: Path, *, waiting: bool, as_json: bool) -> None:
    """List what followed from advisories, and what waits for whom."""
    answer = call(data, "advisory.actions", {"waiting": waiting})
    if as_json:
        print_json("limen/advisory.actions/v1", answer)
        return
    for each in answer["actions"]:
        _action(each)
    say(f"limen: {len(answer['actions'])} actions{' wait' if waiting else ''}")


@click.command()
@click.argument("action", type=click.IntRange(min=0))
@acting_options
@data_option
@json_option
def approve(data: Path, action: int, acting: str | None, id_token: Path | None, *, as_json: bool) -> None:
    """Approve an action that waits. It takes as many different people as it says, and none who brought the advisory."""
    answer = call(data, "advisory.approve", {"action": action, **who(acting, id_token)})
    if as_json:
        print_json("limen/advisory.action/v1", answer)
    else:
        _action(answer)


@click.command()
@click.argument("action", type=click.IntRange(min=0))
@click.option("--reason", required=True, help="Kept encrypted beside the entry.")
@acting_options
@data_option
@json_option
def decline(data: Path, action: int, reason: str, acting: str | None, id_token: Path | None, *, as_json: bool) -> None:
    """Decline an action that waits: nothing follows from it."""
    answer = call(data, "advisory.decline", {"action": action, "reason": reason, **who(acting, id_token)})
    if as_json:
        print_json("limen/advisory.action/v1", answer)
    else:
        _action(answer)


def _action(each: dict[str, Any]) -> None:
    ids = ", ".join(each["ids"][:5]) + (f" and {each['ids_count'] - 5} more" if each["ids_count"] > 5 else "")  # noqa: PLR2004
    click.echo(f"{each['action']}  {each['at']}  {each['state'].upper()}  {ids}")
    for vendor in each["vendors"]:
        done = f"order: entry {vendor['order']}" if vendor["order"] is not None else "nobody's access was changed"
        click.echo(f"  {vendor['vendor']}: {vendor['act']}{_leaves(vendor, before=', ')}; {vendor['people']} people; {done}")
    for why in each["why"]:
        click.echo(f"  not done by itself: {why}")
    if each["needs"]:
        click.echo(
            f"  approvals: {len(each['approvals'])} of {each['needs']}"
            + "".join(f"; entry {a['entry']}" for a in each["approvals"])
        )
    if each["declined"] is not None:
        click.echo(f"  declined: entry {each['declined']}")


def _leaves(row: dict[str, Any], *, before: str = "") -> str:
    if row["act"] != "restrict":
        return ""
    parts = ["read-only"] if row["read_only"] else []
    parts += [f"only in {', '.join(row['projects'])}"] if row["projects"] else []
    return before + " and ".join(parts) if parts else ""
