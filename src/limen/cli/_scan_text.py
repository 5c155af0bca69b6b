"""What `limen scan` prints for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click

from limen.cli.link import say

_SHOWN: Final = 3
_REACH: Final = {"refs": "", "reflog": ", named by a reflog only", "nothing": ", named by nothing any more"}
_APART: Final = {"boilerplate": "hold only boilerplate that stands in an asset too", "trivial": "share runs that say nothing"}


def show(answer: dict[str, Any]) -> None:
    """One scan: keys, references, what was not counted, and what was left out."""
    of_git = answer["subject"] == "git"
    what = f"{answer['blobs']} blobs, {answer['bytes']} bytes"
    if of_git:
        what += f", {answer['commits']} commits, {answer['refs']} refs; {answer['read']} blobs read now"
    click.echo(f"{answer['repo']}: {what}")
    for key in answer["keys"]:
        _key(key)
    if not answer["keys"]:
        click.echo("  no keys found" if answer["kingfisher"] else "  keys: nobody looked")
    if of_git:
        _references(answer)
        _takers(answer["taken_by"], covered=answer["takers_covered"])
    for reason in answer["left_out"]:
        click.echo(f"  LEFT OUT: {reason}")
    if not answer["boxed"]:
        click.echo("  Kingfisher ran without a sandbox, as told")
    say("limen: nothing was recorded" if answer["entry"] is None else f"limen: recorded as entry {answer['entry']}")


def _key(key: dict[str, Any]) -> None:
    click.echo(f"  KEY {key['key']}  {key['kind']} ({key['confidence']})")
    for place in key["places"]:
        if place["asset"]:
            record = f", record {place['record']}" if place["record"] >= 0 else ""
            click.echo(f"    {place['asset']}@{place['version']}/{place['shard']} line {place['line']}{record}")
        else:
            inside = f", in {place['inside']}" if place["inside"] else ""
            click.echo(f"    blob {place['blob'][:12]} line {place['line']}{inside}")
            _commits(place)


def _references(answer: dict[str, Any]) -> None:
    found = [one for one in answer["references"] if one["kind"] == "reference"]
    for one in found:
        names = ", ".join(f"{asset}@{version}/{shard}" for asset, version, shard in one["names"])
        click.echo(f"  REFERENCE to {names}: {'at least ' if one['at_least'] else ''}{one['runs']} stretches")
        for stretch in one["stretches"][:_SHOWN]:
            lines = f"blob {one['blob'][:12]} lines {stretch['line']} to {stretch['last_line']}"
            click.echo(f"    {lines}: {stretch['length']} characters of the shard's line {stretch['source_line']}")
        _commits(one)
    if not found:
        click.echo("  no governed content found" if answer["index"] else "  governed content: none was compared")
    for kind, why in _APART.items():
        if blobs := {one["blob"] for one in answer["references"] if one["kind"] == kind}:
            click.echo(f"  not counted as references: {len(blobs)} blobs {why} (--json lists them)")


def _takers(takers: list[dict[str, Any]], *, covered: bool) -> None:
    """Who is known to have taken this history, by vendor; unknown principals by name."""
    last: dict[str, int] = {}
    for one in takers:
        names = one["vendors"] or ([] if one["lab"] else [f"unknown principal {one['principal']}"])
        for name in names:
            last[name] = max(last.get(name, 0), one["last_us"])
    for name, at_us in sorted(last.items()):
        click.echo(f"  TAKEN by {name}, last {day(at_us)} (observed)")
    if not last:
        found = "no vendor is known to have taken this history" if covered else "UNKNOWN who took this history"
        click.echo(
            f"  {found}: {'what the imported logs cover shows none' if covered else 'no log of this repository was imported'}"
        )


def day(at_us: int) -> str:
    """A moment as its UTC date."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d")


def _commits(one: dict[str, Any]) -> None:
    for commit in one["commits"][:_SHOWN]:
        click.echo(f"      {commit['path']} in {commit['commit'][:12]} by {commit['author']}{_REACH[commit['reach']]}")
    if more := len(one["commits"][_SHOWN:]) + one["more_commits"]:
        click.echo(f"      and {more} more commits")
    if not one["commits"]:
        click.echo("      no commit names it")
    if one["taken_by"]:
        click.echo(f"      in a history that {', '.join(one['taken_by'])} took since")
