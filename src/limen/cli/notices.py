"""`limen notice`, `static-key` and `rotation`: what happened at a vendor, what it said, and which long-lived keys it has."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation's value
from typing import Any

import click

from limen.cli._papers import at_option, document_option, put, tell
from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say, table


@click.group()
def notice() -> None:
    """What happened at a vendor, and what it said: incidents, people who left, what came back."""


@notice.command()
@click.argument("vendor")
@click.argument("incident")
@click.option("--known", required=True, metavar="TIME", help="When it became known, to the lab or the vendor: the earlier.")
@click.option("--shown-by", "of", multiple=True, type=int, metavar="ENTRY", help="An entry that shows it; may be given again.")
@click.option("--key", "keys", multiple=True, help="A long-lived key that it concerns; may be given again. Default: all.")
@document_option
@data_option
@json_option
def incident(
    data: Path,
    vendor: str,
    *,
    incident: str,
    known: str,
    of: tuple[int, ...],
    keys: tuple[str, ...],
    document: Path | None,
    as_json: bool,
) -> None:
    """Enter an INCIDENT at a VENDOR: from --known on its notice and its rotations are awaited."""
    args = {"incident": incident, "at_us": microseconds("--known", known), "of": list(of), "keys": list(keys)}
    _notice(
        data,
        {"vendor": vendor, "notice": "incident", **args},
        document=document,
        line=f"{vendor}: incident {incident}",
        as_json=as_json,
    )


@notice.command()
@click.argument("vendor")
@click.argument("incident")
@at_option
@document_option
@data_option
@json_option
def told(data: Path, vendor: str, *, incident: str, at: str | None, document: Path | None, as_json: bool) -> None:
    """Enter that the VENDOR gave notice of an INCIDENT. Measured if it is entered as it comes, without --at."""
    args = {"incident": incident, "at_us": microseconds("--at", at)}
    _notice(
        data,
        {"vendor": vendor, "notice": "told", **args},
        document=document,
        line=f"{vendor}: gave notice of {incident}",
        as_json=as_json,
    )


@notice.command()
@click.argument("vendor")
@click.argument("person", metavar="VENDOR/HANDLE")
@click.option("--left", required=True, metavar="TIME", help="When they left, as the vendor says.")
@document_option
@data_option
@json_option
def leaver(data: Path, vendor: str, *, person: str, left: str, document: Path | None, as_json: bool) -> None:
    """Enter that somebody left the VENDOR. End their access with `limen person end`."""
    args = {"person": person, "at_us": microseconds("--left", left)}
    _notice(
        data, {"vendor": vendor, "notice": "leaver", **args}, document=document, line=f"{vendor}: {person} left", as_json=as_json
    )


def _about_project(name: str, line: str, text: str) -> click.Command:
    @click.command(name=name, help=text)
    @click.argument("vendor")
    @click.argument("project")
    @at_option
    @document_option
    @data_option
    @json_option
    def command(data: Path, vendor: str, *, project: str, at: str | None, document: Path | None, as_json: bool) -> None:
        args = {"project": project, "at_us": microseconds("--at", at)}
        _notice(
            data,
            {"vendor": vendor, "notice": name, **args},
            document=document,
            line=f"{vendor}: {line.format(project)}",
            as_json=as_json,
        )

    return command


notice.add_command(_about_project("project-end", "its work in {} ended", "Enter that the VENDOR's work in a PROJECT ended."))
notice.add_command(
    _about_project("returned", "returned what it held of {}", "Enter that the VENDOR returned what it was served of a PROJECT.")
)
notice.add_command(
    _about_project(
        "destroyed", "destroyed what it held of {}", "Enter that the VENDOR destroyed what it was served of a PROJECT."
    )
)


def _notice(data: Path, args: dict[str, Any], *, document: Path | None, line: str, as_json: bool) -> None:
    tell("limen/notice.add/v1", call(data, "notice.add", {**args, **put(data, document)}), line, as_json=as_json)


# --- long-lived keys


@click.group(name="static-key")
def static_key() -> None:
    """Long-lived keys of a vendor, by name: what limen was told, or other systems' logs showed."""


@static_key.command(name="add")
@click.argument("vendor")
@click.argument("key")
@click.option(
    "--what", required=True, help="deploy-key, webhook-secret, api-key, access-key, token, password, certificate, other."
)
@click.option("--issued", required=True, metavar="TIME", help="When it was issued.")
@click.option("--observed", is_flag=True, help="Another system's log showed it (`limen keys list`).")
@data_option
@json_option
def static_add(data: Path, vendor: str, *, key: str, what: str, issued: str, observed: bool, as_json: bool) -> None:
    """Enter a long-lived KEY of a VENDOR by a name; never the key itself."""
    args = {"vendor": vendor, "key": key, "what": what, "issued_us": microseconds("--issued", issued), "observed": observed}
    tell("limen/static-key.add/v1", call(data, "static.add", args), f"{vendor}: {what} {key}", as_json=as_json)


@static_key.command(name="end")
@click.argument("vendor")
@click.argument("key")
@click.option("--old", required=True, type=click.Choice(["refused", "alive", "untried"]), help="What trying it showed.")
@at_option
@data_option
@json_option
def static_end(data: Path, vendor: str, *, key: str, old: str, at: str | None, as_json: bool) -> None:
    """Enter that a KEY is no more. It counts until it was tried and refused."""
    args = {"vendor": vendor, "key": key, "old": old, "at_us": microseconds("--at", at)}
    answer = call(data, "static.end", args)
    tell("limen/static-key.end/v1", answer, f"{vendor}: {key} {_life(answer)}", as_json=as_json)


@static_key.command(name="complete")
@click.argument("vendor")
@data_option
@json_option
def static_complete(data: Path, vendor: str, *, as_json: bool) -> None:
    """Enter that the keys of a VENDOR which are known are all. It holds for 31 days."""
    answer = call(data, "static.list", {"vendor": vendor})
    tell("limen/static-key.complete/v1", answer, f"{vendor}: {answer['count']} long-lived keys, and no other", as_json=as_json)
    if answer["seen"] and not as_json:
        say(f"limen: but other systems' logs show {len(answer['seen'])} keys of {vendor}'s that are not entered:")
        for one in answer["seen"]:
            say(f"  {one['kind']} {one['name']} ({', '.join(one['reasons'])})")
        say("limen: enter them with `limen static-key add --observed`, or say by `static-key end` that they are no more")


@static_key.command(name="list")
@click.argument("vendor")
@click.option("--as-of", metavar="TIME", help="What was known then (RFC 3339). Default: now.")
@data_option
@json_option
def static_list(data: Path, vendor: str, *, as_of: str | None, as_json: bool) -> None:
    """List the long-lived keys of a VENDOR."""
    answer = call(data, "static.known", {"vendor": vendor, "as_of_us": microseconds("--as-of", as_of)})
    if as_json:
        print_json("limen/static-key.list/v1", answer)
        return
    click.echo(table(answer["keys"], ["key", "what", "grade", "issued", "fresh", "ended", "entry"]))
    if answer["listed"] is None:
        click.echo("UNKNOWN: whether there are others; `limen static-key complete` says that these are all")


@click.group()
def rotation() -> None:
    """Replacements of long-lived keys."""


@rotation.command(name="add")
@click.argument("vendor")
@click.argument("key")
@click.option("--old", required=True, type=click.Choice(["refused", "alive", "untried"]), help="What trying the old one showed.")
@click.option("--new", default="", help="The new key's name. Default: it keeps its name.")
@click.option("--incident", default="", help="The incident after which it was replaced.")
@at_option
@document_option
@data_option
@json_option
def rotation_add(
    data: Path,
    vendor: str,
    *,
    key: str,
    old: str,
    new: str,
    incident: str,
    at: str | None,
    document: Path | None,
    as_json: bool,
) -> None:
    """Enter that a KEY was replaced. It is no rotation before the old one was tried and refused."""
    args = {"vendor": vendor, "key": key, "old": old, "new": new, "incident": incident, "at_us": microseconds("--at", at)}
    answer = call(data, "rotation.add", {**args, **put(data, document)})
    tell("limen/rotation.add/v1", answer, f"{vendor}: {key} replaced; the old one {_life(answer)}", as_json=as_json)


def _life(answer: dict[str, Any]) -> str:
    return "still counts as alive" if answer["alive"] else "was refused"
