"""The commands about adopted assets: `limen asset adopt`, `check` and `prepare`.

What else `limen asset` can do is in `limen.cli.catalog`, which begins the group; planning is in `limen.cli.plan`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from limen.cli import PARTLY_DONE
from limen.cli.link import call, data_option, json_option, print_json, say
from limen.cli.plan import asset
from limen.core.errors import Invalid

SHOWN = 10

__all__ = ["asset"]


@asset.command(name="adopt")
@click.argument("id_", metavar="ID")
@click.argument("location", metavar="s3://BUCKET/PREFIX|DIRECTORY")
@click.option("--dry-run", is_flag=True, help="Only list, and say what would be left out.")
@data_option
@json_option
def asset_adopt(data: Path, id_: str, location: str, *, dry_run: bool, as_json: bool) -> None:
    """Register what lies in a bucket or directory as the asset's next version, without copying it."""
    answer = call(data, "adopt", {"asset": id_, "url": _url(location), "dry_run": dry_run})
    if as_json:
        print_json("limen/adopt/v1", answer)
    elif dry_run:
        click.echo(f"{location} could be adopted; nothing was registered")
    else:
        length = sum(shard["length"] for shard in answer["shards"])
        click.echo(
            f"{id_} version {answer['version']}: {len(answer['shards'])} objects, {length} bytes (entry {answer['entry']})"
        )
        click.echo(f"  not marked: everyone gets the same bytes until `limen asset prepare {id_}` has read them")
    _warn([f"left out: {path}: {why}" for path, why in answer["left_out"].items()])
    if answer["left_out"]:
        sys.exit(PARTLY_DONE)


@asset.command(name="check")
@click.argument("id_", metavar="ID")
@data_option
@json_option
def asset_check(data: Path, id_: str, *, as_json: bool) -> None:
    """Hold an adopted asset against its bucket or directory as it is now. Reads no object."""
    answer = call(data, "asset.check", {"asset": id_})
    if as_json:
        print_json("limen/asset-check/v1", answer)
    else:
        same = answer["objects"] - len(answer["changed"])
        click.echo(f"{id_}: {same} of {answer['objects']} objects are what was adopted")
        _warn([f"changed or gone, and refused to everybody: {path}" for path in answer["changed"]])
        _warn([f"new there, and in no version: {url}" for url in answer["new"]])
        if answer["changed"] or answer["new"]:
            say(f"limen: hint: `limen asset adopt {id_} …` registers what is there now as the next version")
    if answer["changed"]:
        sys.exit(PARTLY_DONE)


@asset.command(name="prepare")
@click.argument("id_", metavar="ID")
@click.option("--withhold", default=0, show_default=True, help="Percent of records given to some only (JSONL).")
@click.option("--pairs", default=100, show_default=True, help="Percent of the other records to pair.")
@data_option
@json_option
def asset_prepare(data: Path, id_: str, withhold: int, pairs: int, *, as_json: bool) -> None:
    """Read an adopted asset whole and register it with every recipient's copies prepared. This copies its bytes."""
    marking = {"pairs_percent": pairs, "withhold_percent": withhold}
    answer = call(data, "asset.prepare", {"asset": id_, "marking": marking})
    if as_json:
        print_json("limen/register/v1", answer)
        return
    click.echo(f"{id_} version {answer['version']}: {len(answer['shards'])} shards (entry {answer['entry']})")
    for line in answer["unmarked"]:
        click.echo(f"  not marked: {line}")


def _url(location: str) -> str:
    if "://" in location:
        if not location.startswith(("s3://", "file://")):
            raise Invalid("location", f"{location} is neither s3://BUCKET/PREFIX nor a directory of this machine")
        return location
    path = Path(location).resolve()
    if not path.is_dir():
        raise Invalid("location", f"{location} is no directory")
    return f"file://{path}"


def _warn(lines: list[Any]) -> None:
    for line in lines[:SHOWN]:
        say(f"limen: {line}")
    if len(lines) > SHOWN:
        say(f"limen: and {len(lines) - SHOWN} more (--json lists them)")
