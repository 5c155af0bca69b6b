"""`limen asset key`: the keys behind an asset's copies, shown, rotated, retired, opened to an arbiter.

What else `limen asset` can do is in `limen.cli.catalog` and `limen.cli.adopt`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from limen.cli._acting import acting_options, who
from limen.cli.adopt import asset
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Conflict, Invalid

__all__ = ["asset"]
COLUMNS = ["key", "levels", "rests", "versions", "state"]


@asset.group(name="key")
def key() -> None:
    """The secret behind an asset's copies: show, rotate, retire, open."""


@key.command()
@click.argument("id_", metavar="ASSET")
@data_option
@json_option
def show(data: Path, id_: str, *, as_json: bool) -> None:
    """Which keys ASSET has, where they rest, and whether each can be used now."""
    answer = call(data, "key.show", {"asset": id_})
    if as_json:
        print_json("limen/asset-keys/v1", answer)
        return
    click.echo(table([_row(one) for one in answer["keys"]], COLUMNS))
    for one in answer["keys"]:
        if one["why"]:
            say(f"limen: {one['key']}: {one['why']}")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    state = "good" if one["entry"] is not None else "not used yet"
    if one["why"]:
        state = "CAN'T BE USED"
    elif one["opened"] is not None:
        state = f"opened by entry {one['opened']}"
    elif one["retired"] is not None:
        state = f"retired by entry {one['retired']}"
    versions = ", ".join(map(str, one["versions"]))
    return {**one, "rests": one["keep"], "versions": versions or "none", "state": state}


@key.command()
@click.argument("id_", metavar="ASSET")
@click.option("--keep", type=click.Choice(["file", "split", "token"]), help="Where it rests. Default: as the key before it.")
@click.option("--levels", type=click.Choice(["nuida8", "nuida16"]), help="The table of bias levels. Default: limen.toml's.")
@click.option("--reason", default="", help="Kept encrypted.")
@data_option
@json_option
def rotate(data: Path, id_: str, keep: str | None, levels: str | None, reason: str, *, as_json: bool) -> None:
    """Make the key that ASSET's next version takes. Versions that there are keep theirs, and everyone their copies."""
    answer = call(data, "key.rotate", {"asset": id_, "keep": keep, "levels": levels, "reason": reason})
    if as_json:
        print_json("limen/key-rotate/v1", answer)
    else:
        click.echo(f"{id_}: the next version takes key {answer['key']} (entry {answer['entry']})")


@key.command()
@click.argument("id_", metavar="ASSET")
@click.option("--key", "key_id", help="Which. Default: the newest.")
@click.option("--reason", required=True, help="Kept encrypted.")
@data_option
@json_option
def retire(data: Path, id_: str, key_id: str | None, reason: str, *, as_json: bool) -> None:
    """End a key that somebody may know: samples that are logged from now on don't count under it."""
    answer = call(data, "key.retire", {"asset": id_, "key": key_id, "reason": reason})
    if as_json:
        print_json("limen/key-retire/v1", answer)
    else:
        click.echo(f"{answer['key']}: retired (entry {answer['entry']}); the next version takes another key")


@key.command(name="open")
@click.argument("id_", metavar="[ASSET]", required=False)
@click.option("--key", "key_id", help="Which. Default: that of the newest marked version.")
@click.option("--use", "uses", multiple=True, help="Open this subkey (again for more). Default: all but `order`.")
@click.option("--lost", multiple=True, type=click.IntRange(min=0), metavar="ENTRY", help="A logged sample that can't be scored.")
@click.option("--reason", help="For which case: what the second person reads before they approve.")
@click.option("--approve", type=click.IntRange(min=0), metavar="REQUEST", help="Open what somebody else asked for.")
@click.option("--to", type=click.Path(path_type=Path), help="With --approve: the new file that the arbiter is given.")
@click.option("--show", "shown", type=click.IntRange(min=0), metavar="REQUEST", help="Read a request, before you approve it.")
@acting_options
@data_option
@json_option
def open_(
    data: Path,
    *,
    id_: str | None,
    key_id: str | None,
    uses: tuple[str, ...],
    lost: tuple[int, ...],
    reason: str | None,
    approve: int | None,
    to: Path | None,
    shown: int | None,
    acting: str | None,
    id_token: Path | None,
    as_json: bool,
) -> None:
    """Open ASSET's key to an arbiter. It takes two people, and ends the key: trace every sample that you have first."""
    if sum(way is not None for way in (id_, approve, shown)) != 1:
        raise Invalid("asset key open", "takes an ASSET to ask for, or --show or --approve with a request's number")
    if shown is not None:
        _show_request(call(data, "key.why", {"request": shown}), as_json=as_json)
    elif approve is not None:
        _approve(data, approve, to, who(acting, id_token), as_json=as_json)
    elif not reason:
        raise Invalid("--reason", "say for which case")
    else:
        asked = {"asset": id_, "key": key_id, "uses": list(uses), "lost": list(lost), "reason": reason}
        _asked(call(data, "key.request", {**asked, **who(acting, id_token)}), as_json=as_json)


def _asked(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("limen/key-request/v1", answer)
        return
    click.echo(f"request {answer['request']}: {answer['key']}, subkeys {', '.join(answer['uses'])}")
    say(f"limen: now somebody else runs `limen asset key open --approve {answer['request']} --to FILE`; that ends the key")


def _show_request(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("limen/key-why/v1", answer)
        return
    click.echo(f"request {answer['request']}: {answer['key']}, subkeys {', '.join(answer['uses'])}")
    click.echo(f"  by {answer['by']}: {answer['reason']}")
    if answer["lost"]:
        click.echo(f"  samples that will never be scored: entries {', '.join(map(str, answer['lost']))}")


def _approve(data: Path, number: int, to: Path | None, acting: dict[str, str], *, as_json: bool) -> None:
    """The file is there, empty and ours alone, before anything is opened: nothing is opened that can't be written down."""
    if to is None:
        raise Invalid("--to", "name a new file; the arbiter is given it")
    try:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{to} is there already; nothing was opened. Name a new file") from None
    except OSError as e:
        raise Invalid("--to", f"{to} can't be written: {e.strerror}; nothing was opened") from e
    with os.fdopen(handle, "w") as stream:
        try:
            answer = call(data, "key.approve", {"request": number, **acting})
        except BaseException:
            to.unlink()
            raise
        json.dump(answer, stream, indent=1)
    if as_json:
        print_json("limen/key-open/v1", {"key": answer["id"], "entry": answer["entry"], "file": str(to)})
    else:
        click.echo(f"{answer['id']}: opened (entry {answer['entry']}); subkeys {', '.join(answer['subkeys'])} are in {to}")
        say("limen: whoever has that file can work out everybody's copy; the key has ended, so register the next version")
