"""`limen demo`: the breach replayed through limen, act by act, on a data directory of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from limen.cli.link import json_option, print_json, say
from limen.core.errors import Conflict, LimenError


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Leave the data directory here, ready to be served.")
@json_option
def demo(keep: Path | None, *, as_json: bool) -> None:
    """Replay the breach of a vendor, and check every answer against the clients' own notes."""
    import tempfile

    from limen.story.recount import Wrong
    from limen.story.replay import NOT_BUILT, replay
    from limen.story.telling import Telling

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise Conflict(f"{keep} is not empty; name a new directory")
    write = (lambda _: None) if as_json else click.echo
    telling = Telling(write, say)
    with tempfile.TemporaryDirectory(prefix="limen-demo-") as away:
        data = keep or Path(away)
        data.mkdir(parents=True, exist_ok=True)
        try:
            summary = replay(data.resolve(), telling)
        except (Wrong, LimenError) as e:
            say(f"limen: THE DEMO FAILED: {e}")
            sys.exit(1)
    telling.doing("done: every answer is the one expected")
    if as_json:
        print_json("limen/demo/v1", summary)
        return
    click.echo("\nNot built yet, so not told here:")
    for line in NOT_BUILT:
        click.echo(f"   {line}")
    if keep is not None:
        click.echo(f"\nThe data directory is {keep}. To go on:")
        click.echo(f"   limen serve --data {keep}")
        click.echo(f"   limen exposure vendor/quillwork --session {summary['suspect']} --data {keep}")
        click.echo(f"   limen trace {keep}/story/L3.jsonl --data {keep}")
