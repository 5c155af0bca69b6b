"""`limen keys`: the key inventory."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation's value
from typing import Any

import click

from limen.cli._scan_text import day
from limen.cli.link import call, data_option, json_option, print_json, say

_SHOWN = 3
_REASONS = {
    "used": "used by",
    "issued": "issued to",
    "read": "read by",
    "cloned": "in a history taken by",
    "served": "in content served to",
}


@click.group()
def keys() -> None:
    """Keys that were ever seen, by fingerprint: in repositories, in assets, in other systems' logs."""


@keys.command(name="list")
@click.argument("vendor", required=False)
@data_option
@json_option
def list_(data: Path, vendor: str | None, *, as_json: bool) -> None:
    """List every key that ever touched VENDOR's path, with the reason; without VENDOR, the whole inventory."""
    answer = call(data, "keys.list", {"vendor": vendor.removeprefix("vendor/") if vendor else None})
    if as_json:
        print_json(answer.pop("schema"), answer)
        return
    whose = f"that touched {answer['vendor']}'s path" if answer["vendor"] else "in the inventory"
    click.echo(f"{len(answer['keys'])} keys {whose}")
    for key in answer["keys"]:
        _print(key)
    for line in answer["unknown_principals"]:
        why = line["reason"]
        click.echo(f"UNKNOWN PRINCIPAL {line['principal']}: {_REASONS[why]} it, {line['where']} ({line['keys']} keys)")
    for line in answer["unknown"]:
        click.echo(f"UNKNOWN: {line}")
    say("limen: fingerprints join equal keys in this data directory alone; no key is kept")


def _print(key: dict[str, Any]) -> None:
    age = "" if key["age_s"] is None else f", first seen {key['age_s'] // 86_400} days ago"
    click.echo(f"{key['kind']}  {key['name'] or key['key']}{age}")
    for place in key["places"][:_SHOWN]:
        click.echo(f"  in {_place(place)}")
    _more(len(key["places"]) - _SHOWN, "places")
    for touch in key["touched"][:_SHOWN]:
        who = " or ".join(touch["people"]) or ", ".join(touch["vendors"]) or touch["principal"] or "the lab"
        sure = "" if touch["certain"] else ", perhaps"
        click.echo(
            f"  {_REASONS[touch['reason']]} {who}: {touch['where']}, last {day(touch['last_us'])} ({touch['grade']}{sure})"
        )
    _more(len(key["touched"]) - _SHOWN, "touches")


def _place(place: dict[str, Any]) -> str:
    if "asset" in place:
        record = f" record {place['record']}" if place["record"] >= 0 else ""
        return f"{place['asset']}@{place['version']}/{place['shard']} line {place['line']}{record}"
    if not place["commits"]:
        return f"{place['repo']} blob {place['blob'][:12]} line {place['line']}, which no commit names"
    first = place["commits"][0]
    return f"{place['repo']} {first['path']} line {place['line']}, commit {first['commit'][:12]}"


def _more(count: int, noun: str) -> None:
    if count > 0:
        click.echo(f"  and {count} more {noun}")
