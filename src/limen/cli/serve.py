"""`limen serve`: put the doors of a data directory on a socket."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli.link import data_option, say


@click.command()
@data_option
@click.option("--listen", metavar="HOST:PORT", help="Listen here instead of where limen.toml says.")
def serve(data: Path, listen: str | None) -> None:
    """Serve the doors of a data directory until stopped."""
    import asyncio

    import msgspec
    import uvloop

    from limen.config import load
    from limen.server import Gateway
    from limen.server import serve as run

    config = load(data)
    if listen:
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=listen))

    def ready(gateway: Gateway) -> None:
        found = gateway.recovered
        say(f"limen: serving {data} at {config.url} ({config.server.mode} mode); ledger {found.entries} entries")
        if found.outcomes_unknown:
            say(f"limen: {found.outcomes_unknown} accesses had no outcome; they are logged as unknown, so as fully exposed")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(config, ready=ready))
