"""`limen init` and `limen serve`: make a data directory, and put its doors on a socket."""

from __future__ import annotations

from pathlib import Path

import click

from limen.cli.link import data_option, say
from limen.core.errors import Conflict

CONFIG = """# limen's configuration; `limen serve` reads it at start. Every key has a default; an unknown key is an error.

[server]
mode = "{mode}"
listen = "{listen}"
contact = "the lab's security team"   # whom a paused person is told to ask

[ledger]
origin = "{origin}"
# publish = "s3://bucket/prefix"       # publish there too (keys: AWS_… in the environment), or in a directory

# One table for each OpenID Connect issuer whose tokens are accepted:
# [[issuer]]
# url = "https://login.vendor.example"
# audiences = ["limen"]
# client_id = "limen"
# algorithms = ["RS256", "ES256"]
# vendors = ["quillwork"]             # whose people it may name
"""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--dev", is_flag=True, help="Development mode: brings its own issuer. Never for real assets.")
@click.option("--listen", default="127.0.0.1:8460", show_default=True, metavar="HOST:PORT")
@click.option("--origin", default="limen.local/log", show_default=True, help="The ledger's name, for good.")
def init(directory: Path, *, dev: bool, listen: str, origin: str) -> None:
    """Make a data directory: its configuration, keys and an empty ledger."""
    import asyncio

    from limen.config import load
    from limen.server import Gateway

    if (directory / "limen.toml").exists():
        raise Conflict(f"{directory} is a data directory already; nothing was changed")
    directory.mkdir(parents=True, exist_ok=True)
    mode = "development" if dev else "production"
    (directory / "limen.toml").write_text(CONFIG.format(mode=mode, listen=listen, origin=origin))

    async def make() -> None:
        await (await Gateway.open(load(directory))).close()

    asyncio.run(make())
    say(f"limen: made {directory} ({mode} mode). Next: edit {directory / 'limen.toml'}, import your vendors and people")
    say(f"limen: with `limen import FILE --data {directory}`, then `limen serve --data {directory}`.")


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
