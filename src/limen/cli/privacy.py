"""The commands about people's detail: `limen person`'s erase, hold, release and open; `limen ledger disclose`.

What else `limen person` can do is in `limen.cli.catalog`, which begins the group.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from limen.cli import PARTLY_DONE
from limen.cli._acting import acting_options, who
from limen.cli.catalog import person
from limen.cli.link import call, data_option, json_option, print_json, say
from limen.core.errors import Invalid


@person.command()
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--reason", required=True, help="Kept for ever: don't say the name, give the case.")
@click.option("--end", is_flag=True, help="End their access first, if it has not ended.")
@data_option
@json_option
def erase(data: Path, id_: str, reason: str, *, end: bool, as_json: bool) -> None:
    """Destroy a person's name, address, identity and network detail, for good. Entries, proofs and pseudonyms stay."""
    answer = call(data, "person.erase", {"person": id_, "reason": reason, "end": end})
    if as_json:
        print_json("limen/person-erase/v1", answer)
    else:
        counts = ", ".join(f"{count} {name}" for name, count in answer["records"].items()) or "none were left"
        click.echo(f"{id_}: erased (entry {answer['entry']}); side records destroyed: {counts}")
        if answer["also"]:
            click.echo(f"  with them: {', '.join(answer['also'])}")
        say("limen: backups made before still hold sealed records and the key; see docs/privacy.md")
    if not answer["swept"]:
        say("limen: something reads the databases, so older pages are not overwritten yet; ask again, or let the gateway finish")
        sys.exit(PARTLY_DONE)


@person.command()
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--reason", required=True, help="Kept encrypted under their key.")
@data_option
@json_option
def hold(data: Path, id_: str, reason: str, *, as_json: bool) -> None:
    """Put a person's records on legal hold: they are neither erased nor dropped for age until it is lifted."""
    _hold(data, "hold.set", id_, reason, as_json=as_json)


@person.command()
@click.argument("id_", metavar="VENDOR/HANDLE")
@click.option("--reason", required=True, help="Kept encrypted under their key.")
@data_option
@json_option
def release(data: Path, id_: str, reason: str, *, as_json: bool) -> None:
    """Lift a legal hold."""
    _hold(data, "hold.lift", id_, reason, as_json=as_json)


def _hold(data: Path, kind: str, id_: str, reason: str, *, as_json: bool) -> None:
    answer = call(data, "change", {"kind": kind, "change": {"id": id_, "reason": reason}})
    if as_json:
        print_json("limen/change/v1", {"kind": kind, **answer})
    else:
        word = "on legal hold" if kind == "hold.set" else "no longer on legal hold"
        click.echo(f"{id_}: {word} (entry {answer['entry']})")


@person.command(name="open")
@click.argument("pseudonym", required=False)
@click.option("--project", default="", help="Whose entries call them so; leave it out for entries that belong to none.")
@click.option("--reason", help="What the second person reads before they approve.")
@click.option("--approve", type=click.IntRange(min=0), metavar="REQUEST", help="Open the name that somebody else asked for.")
@click.option("--show", type=click.IntRange(min=0), metavar="REQUEST", help="Read a request, before you approve it.")
@acting_options
@data_option
@json_option
def open_(
    data: Path,
    *,
    pseudonym: str | None,
    project: str,
    reason: str | None,
    approve: int | None,
    show: int | None,
    acting: str | None,
    id_token: Path | None,
    as_json: bool,
) -> None:
    """Ask who is behind a pseudonym, or approve what somebody else asked. It takes two, and both are entries."""
    ways = [way for way in (pseudonym, approve, show) if way is not None]
    if len(ways) != 1:
        raise Invalid("person open", "takes a PSEUDONYM to ask for, or --show or --approve with a request's number")
    if show is not None:
        _show(call(data, "name.why", {"request": show}), as_json=as_json)
    elif approve is not None:
        _opened(call(data, "name.approve", {"request": approve, **who(acting, id_token)}), as_json=as_json)
    elif not reason:
        raise Invalid("--reason", "say why the name is needed")
    else:
        asked = {"pseudonym": pseudonym, "project": project, "reason": reason, **who(acting, id_token)}
        _asked(call(data, "name.request", asked), as_json=as_json)


def _asked(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("limen/name-request/v1", answer)
        return
    click.echo(f"request {answer['request']}, until {_moment(answer['until'])}")
    say(f"limen: now somebody else runs `limen person open --approve {answer['request']}`")


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("limen/name-why/v1", answer)
        return
    where = f"project {answer['project']}" if answer["project"] else "no project"
    click.echo(f"request {answer['request']}: {answer['who']} in {where}, until {_moment(answer['until'])}")
    click.echo(f"  by {answer['by']}: {answer['reason']}")


def _opened(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("limen/name-open/v1", answer)
        return
    click.echo(f"{answer['who']} is {answer['person']} (entry {answer['entry']})")
    for name in ("name", "email", "issuer", "subject", "sponsor"):
        if answer.get(name):
            click.echo(f"  {name:<8} {answer[name]}")
    say("limen: a pseudonym says whose session it was, not who sat there")


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--class", "name", required=True, help="identity, network, request, change, ...: what the entry's `commit` lists.")
@click.option("--request", type=click.IntRange(min=0), help="The opened request about this person; see `limen person open`.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there instead of to standard output.")
@acting_options
@data_option
def disclose(
    data: Path, *, index: int, name: str, request: int | None, out: Path | None, acting: str | None, id_token: Path | None
) -> None:
    """Take one class of an entry's detail out in clear, with its proof; the others stay closed. Check: python -m limen.verify."""
    answer = call(data, "name.disclose", {"index": index, "class": name, "request": request, **who(acting, id_token)})
    if out is None:
        click.echo(answer["disclosure"], nl=False)
    else:
        out.write_text(answer["disclosure"])
        out.chmod(0o600)
    say(f"limen: {name} of entry {index}, with its proof (entry {answer['entry']} says that it was taken out)")


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
