"""`limen witness`: watch other people's logs and cosign them; this needs no gateway and no data directory.

A witness is one directory with one file. It says what to paste where: its own lines into the tlog-policy of whoever runs
the log, the log's key into `limen witness add`.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli.link import json_option, print_json, say, table
from limen.core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from limen.ledger.witnesses.witness import Witness

directory_argument = click.argument("directory", type=click.Path(path_type=Path))


@click.group()
def witness() -> None:
    """Cosign other people's logs: init, add, serve, list, policy, fork."""


@witness.command()
@directory_argument
@click.option("--name", required=True, help="Its name, like a URL without its scheme: witness.lab.example/w1.")
@click.option("--ed25519-only", is_flag=True, help="Make no ML-DSA-44 key beside the Ed25519 one.")
@json_option
def init(directory: Path, name: str, *, ed25519_only: bool, as_json: bool) -> None:
    """Make a witness: new keys, and no log yet."""
    import os

    from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE
    from limen.ledger.witnesses.witness import DATABASE, Witness

    kinds = (ED25519_COSIGNATURE,) if ed25519_only else (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE)
    made = Witness.create(directory / DATABASE, name=name, random=os.urandom, kinds=kinds)
    if as_json:
        print_json("limen/witness/v1", _public(made))
    else:
        print_keys(made)
    say(f"limen: made the witness {name} in {directory}. Its keys and its record are one file: never put back an older copy.")
    say(f"limen: Next: `limen witness add {directory} VKEY` for each log, then `limen witness serve {directory}`. Whoever")
    say("limen: runs the log puts one of the lines above into the policy, with the address that this witness will have.")


@witness.command()
@directory_argument
@click.argument("vkey")
@json_option
def add(directory: Path, vkey: str, *, as_json: bool) -> None:
    """Trust a log: its key, or a file that holds it. The first checkpoint that it shows is taken as it is."""
    added = _alone(directory).trust(text_or_content(vkey))
    if as_json:
        print_json("limen/witness-log/v1", _log(added))
    say(f"limen: {added.origin} is cosigned from now on ({added.size} entries so far). Next: `limen witness serve {directory}`;")
    say("limen: a witness that is being served already needs no restart.")


@witness.command()
@directory_argument
@click.option("--listen", default="127.0.0.1:8461", show_default=True, metavar="HOST:PORT")
@click.option("--prefix", default="", metavar="/PATH", help="Path of the submission and monitoring prefix.")
def serve(directory: Path, listen: str, prefix: str) -> None:
    """Answer logs and monitors until stopped."""
    import time

    from limen.doors.witness.app import WitnessDoor
    from limen.listening import address, bound, log_without_values, until_stopped

    served = _alone(directory)
    log_without_values()
    listening = bound(listen)
    url = f"http://{address(listening)}{prefix.rstrip('/')}"

    def ready() -> None:
        for line in _policy_lines(served, url):
            say(line)
        say(f"limen: the witness {served.keys[0].name} answers at {url}; {len(served.logs())} logs. Put TLS before it.")

    until_stopped(WitnessDoor(served, now=time.time, prefix=prefix), listening, ready=ready)


@witness.command("list")
@directory_argument
@json_option
def list_(directory: Path, *, as_json: bool) -> None:
    """List the logs that it watches, and what it has recorded of each."""
    opened = _opened(directory)
    logs = [_log(log) for log in opened.logs()]
    if as_json:
        print_json("limen/witness/v1", {**_public(opened), "logs": logs})
        return
    print_keys(opened)
    click.echo(table(logs, ["origin", "size", "root", "cosigned", "fork"]))
    for log in logs:
        if log["forked_at"] is not None:
            say(f"limen: {log['origin']} showed two trees of one size; both checkpoints: `limen witness fork {directory}`")


@witness.command()
@directory_argument
@click.option("--url", required=True, help="Where this witness answers: its submission prefix.")
@click.option("--log", "vkey", required=True, help="The key of the log that is to be witnessed, or a file that holds it.")
def policy(directory: Path, url: str, vkey: str) -> None:
    """Print a tlog-policy that asks for this witness alone: whoever runs the log starts from it."""
    from limen.formats.note import Verifier

    lines = _policy_lines(_opened(directory), url)
    names = [line.split()[1] for line in lines]
    click.echo(f"log {Verifier.from_vkey(text_or_content(vkey)).vkey}")
    for line in lines:
        click.echo(line)
    # Two keys of one witness are one witness: either will do.
    quorum = names[0].removesuffix("-ed25519")
    if len(names) > 1:
        click.echo(f"group {quorum} any {' '.join(names)}")
    click.echo(f"quorum {quorum}")


@witness.command()
@directory_argument
@click.argument("origin")
def fork(directory: Path, origin: str) -> None:
    """Print the two checkpoints of one size by which a log proved itself forked: anybody can check them."""
    found = _opened(directory).fork(origin)
    if found is None:
        raise NotFound(f"a fork of {origin}")
    for note in found:
        click.echo(note.decode())


def _alone(directory: Path) -> Witness:
    """A witness that may cosign what it has only seen proved. A mirror's key says more: all of it is held."""
    if (directory / "mirror.json").exists():
        raise Conflict(
            f"{directory} is a mirror, which cosigns only what it holds: use `limen mirror run {directory} --listen …`"
        )
    return _opened(directory)


def _opened(directory: Path) -> Witness:
    from limen.ledger.witnesses.witness import DATABASE, Witness

    return Witness(directory / DATABASE)


def _policy_lines(witness: Witness, url: str) -> list[str]:
    """One line a key for a tlog-policy; names there are the policy's own, so they need to be different and no more."""
    name = witness.keys[0].name.replace("/", "-")
    names = [name] if len(witness.keys) == 1 else [f"{name}-ed25519", f"{name}-mldsa44"]
    return [f"witness {name} {key.vkey} {url}" for name, key in zip(names, witness.keys, strict=True)]


def print_keys(witness: Witness) -> None:
    """Print the lines for a policy; its address is not known here."""
    for line in _policy_lines(witness, "URL"):
        click.echo(line)


def _public(witness: Witness) -> dict[str, Any]:
    return {"name": witness.keys[0].name, "vkeys": [key.vkey for key in witness.keys]}


def _log(log: Any) -> dict[str, Any]:
    return {
        "origin": log.origin,
        "vkey": log.vkey,
        "size": log.size,
        "root": base64.b64encode(log.root).decode(),
        "cosigned_at": log.cosigned_at or None,
        "cosigned": datetime.fromtimestamp(log.cosigned_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if log.cosigned_at else "never",
        "forked_at": log.forked_at,
        "fork": "FORKED" if log.forked_at else "",
    }


def text_or_content(vkey: str) -> str:
    """The key itself, or what is in the file of that name. A key has a plus sign; no path that we would write has."""
    if "+" in vkey:
        return vkey
    try:
        return Path(vkey).read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise NotFound(f"a key: {vkey!r} is neither one nor a file that holds one") from e
