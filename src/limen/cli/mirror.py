"""`limen mirror`: keep a full, verified copy of somebody else's log, and perhaps cosign what is held.

The copy can be published as it is, and `limen ledger verify` takes it. This needs no gateway and no data directory.
"""

from __future__ import annotations

import json
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli.link import say
from limen.core.errors import Conflict, Invalid, LimenError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.ledger.witnesses.mirror import Mirror
    from limen.ledger.witnesses.witness import Witness

SETTINGS = "mirror.json"
directory_argument = click.argument("directory", type=click.Path(path_type=Path))


@click.group()
def mirror() -> None:
    """Copy somebody else's log, verified: init, run."""


@mirror.command()
@directory_argument
@click.option("--log", "url", required=True, metavar="URL", help="Where the log is published: its checkpoint lies below.")
@click.option("--vkey", required=True, help="The log's key as you were given it, or a file that holds it.")
@click.option("--name", help="Cosign what is held, under this name (mirror.vendor.example/m1).")
def init(directory: Path, url: str, vkey: str, name: str | None) -> None:
    """Make a mirror: it holds nothing until it runs."""
    import os

    from limen.cli.witness import print_keys, text_or_content
    from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE
    from limen.formats.note import Verifier
    from limen.ledger.rollback.guard import write_durably
    from limen.ledger.witnesses.witness import DATABASE, Witness
    from limen.verify.remote import Remote

    key = Verifier.from_vkey(text_or_content(vkey))
    Remote(url).close()  # an address that is none is refused here
    if (directory / SETTINGS).exists():
        raise Conflict(f"{directory} is a mirror already; nothing was changed")
    directory.mkdir(parents=True, exist_ok=True)
    if name:
        kinds = (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE)
        made = Witness.create(directory / DATABASE, name=name, random=os.urandom, kinds=kinds)
        made.trust(key.vkey)
        print_keys(made)
        say("limen: whoever runs the log may put one of these lines into the policy, with the address of this mirror")
    write_durably(directory / SETTINGS, json.dumps({"log": url, "vkey": key.vkey}, indent=2).encode() + b"\n")
    say(f"limen: made a mirror of {key.name} in {directory}. Next: `limen mirror run {directory}`, then")
    say(f"limen: `limen ledger verify {directory} --vkey …` at any time.")


@mirror.command()
@directory_argument
@click.option("--once", is_flag=True, help="Copy what is there now, and stop.")
@click.option("--every", default=10.0, show_default=True, metavar="SECONDS", help="How often to look for more.")
@click.option("--listen", metavar="HOST:PORT", help="Serve the copy below /SHA256(ORIGIN)/, and cosign on request.")
def run(directory: Path, *, once: bool, every: float, listen: str | None) -> None:
    """Copy the log and follow it until stopped. Exit code 5 if it contradicts itself; both checkpoints are kept then."""
    import time

    from limen.directory import owned

    if not (directory / SETTINGS).exists():
        raise NotFound(f"{directory / SETTINGS} (make a mirror with `limen mirror init`)")
    with owned(directory), _opened(directory) as (copy, witness, origin):
        if once:
            held = copy.update(int(time.time()))
            say(f"limen: {held.size} entries of {held.origin} are held, verified, in {copy.root}")
        elif listen:
            _serve(copy, witness, origin, listen=listen, every=every)
        else:
            _follow(copy, every, threading.Event())


def _follow(copy: Mirror, every: float, stop: threading.Event) -> None:
    """Look again and again. A server that fails is waited for; a log that contradicts itself is not."""
    import time

    from limen.ledger.witnesses.mirror import Forked

    size, trouble = -1, ""
    while not stop.is_set():
        try:
            held = copy.update(int(time.time()))
        except Forked:
            raise
        except (LimenError, OSError) as e:
            if str(e) != trouble:
                trouble = str(e)
                say(f"limen: {trouble}")
        else:
            if held.size != size or trouble:
                size, trouble = held.size, ""
                say(f"limen: {size} entries of {held.origin} are held, verified")
        stop.wait(every)


def _serve(copy: Mirror, witness: Witness | None, origin: str, *, listen: str, every: float) -> None:
    """Follow the log on a thread, and answer whoever reads the copy or wants it cosigned."""
    import asyncio
    import contextlib

    from limen.listening import address, beside, bound, log_without_values

    log_without_values()
    listening = bound(listen)
    stop = threading.Event()

    async def both() -> None:
        app, below = _app(copy, witness, origin)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(beside(app, listening))
            stack.callback(stop.set)
            say(f"limen: the copy is read at http://{address(listening)}/{below}")
            if witness is not None:
                say(f"limen: it is cosigned on request at http://{address(listening)}, as far as it is held")
            await asyncio.to_thread(_follow, copy, every, stop)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(both())


def _app(copy: Mirror, witness: Witness | None, origin: str) -> tuple[Any, str]:
    """The log's door below the hash of its origin, as tlog-mirror has it; the rest is the witness's."""
    import time

    from limen.doors.log.app import LogDoor
    from limen.doors.witness.app import WitnessDoor
    from limen.formats.witness import monitoring_path

    checkpoint = monitoring_path(origin)
    below = checkpoint.partition("/")[0]
    log = LogDoor(copy.root, prefix=f"/{below}")
    door = WitnessDoor(copy, now=time.time) if witness is not None else log

    async def app(scope: Any, receive: Any, send: Any) -> None:
        cosigning = scope["type"] == "http" and (scope["path"] == f"/{checkpoint}" or not scope["path"].startswith(f"/{below}/"))
        await (door if cosigning else log)(scope, receive, send)

    return app, below


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[Mirror, Witness | None, str]]:
    from limen.formats.note import Verifier
    from limen.ledger.witnesses.mirror import Mirror
    from limen.ledger.witnesses.witness import DATABASE, Witness
    from limen.verify.published import Published
    from limen.verify.remote import Remote

    try:
        settings = json.loads((directory / SETTINGS).read_text())
        url, key = settings["log"], Verifier.from_vkey(settings["vkey"])
    except (ValueError, KeyError, TypeError) as e:
        raise Invalid(str(directory / SETTINGS), f"is not what `limen mirror init` wrote: {e}") from e
    witness = Witness(directory / DATABASE) if (directory / DATABASE).exists() else None
    try:
        with closing(Remote(url)) as remote:
            yield Mirror(directory, Published(remote), key, witness=witness), witness, key.name
    finally:
        if witness is not None:
            witness.close()
