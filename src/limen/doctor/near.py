"""What is near: this account's keys, the ports, the optional parts that are installed, and code that runs before limen."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from importlib import metadata
from typing import TYPE_CHECKING, Final

from limen.directory import KEY_BYTES
from limen.doctor.lines import broken, ok, unknown, warning
from limen.environment import KNOWN, import_directories, site_directories, unexpected_startup_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from limen.config import Config
    from limen.doctor.lines import Line

OTHERS: Final = 0o077
WRITING: Final = 0o022
ASK_S: Final = 1.0
EXTRAS: Final = {
    "query": ("duckdb", "reads what other systems logged (`limen observe`)"),
    "scan": ("kingfisher-bin", "finds secrets in repositories (`limen scan`)"),
}


def keys(data: Path) -> Iterator[Line]:
    """Who else can read what must stay with the account that serves."""
    wrong = [*_modes(data / "keys", OTHERS), *_modes(data / "limen.toml", WRITING), *_modes(data / "control.sock", OTHERS)]
    yield from (broken("keys", says, step) for says, step in wrong)
    short = [
        name
        for name in ("log.key", "server.key")
        if (path := data / "keys" / name).is_file() and os.access(path, os.R_OK) and path.stat().st_size != KEY_BYTES
    ]
    if short:
        yield broken("keys", f"not a key of {KEY_BYTES} bytes: {', '.join(short)}", "put it back from where you keep it")
    if not (data / "keys").is_dir():
        yield broken("keys", f"{data / 'keys'} is missing", "put the keys back from where you keep them")
    elif not os.access(data / "keys", os.R_OK | os.X_OK):
        yield unknown("keys", "this account can't read them", "ask as the account that serves")
    elif not wrong and not short:
        yield ok("keys", "readable by the account that serves, and by nobody else")
    if data.stat().st_mode & OTHERS:
        mode = f"{stat.S_IMODE(data.stat().st_mode):04o}"
        says = f"{data} has mode {mode}: other accounts can read what is in it, such as who was observed where"
        yield warning("keys", says, f"chmod go-rwx {data}")


def _modes(path: Path, forbidden: int) -> Iterator[tuple[str, str]]:
    """Each part of a tree that others may do more with than they should."""
    below = sorted(path.rglob("*")) if path.is_dir() and os.access(path, os.R_OK | os.X_OK) else []
    for each in (path, *below):
        try:
            found = each.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            yield f"{each} is a symbolic link: who may change what it leads to can't be said", "put the thing itself there"
        elif found.st_mode & forbidden:
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            yield (
                f"{each} has mode {mode}: other accounts can reach it",
                f"chmod go-{'w' if forbidden == WRITING else 'rwx'} {each}",
            )


def ports(config: Config, *, running: bool) -> Iterator[Line]:
    """Whether the addresses of limen.toml are free, ours, or somebody else's."""
    for name, listen in (("server.listen", config.server.listen), ("ledger.listen", config.ledger.listen)):
        if not listen:
            continue
        if _free(listen):
            if running:
                yield broken("ports", f"a gateway runs, and nobody listens at {listen} ({name})", "was it started with --listen?")
            else:
                yield ok("ports", f"{listen} ({name}) is free")
        elif name == "server.listen" and _is_limen(listen):
            if running:
                yield ok("ports", f"{listen} ({name}) answers as limen")
            else:
                yield broken("ports", f"{listen} ({name}) is taken by another data directory's gateway", "give each its own")
        elif running and name == "ledger.listen":
            yield ok("ports", f"{listen} ({name}) is in use, and a gateway runs")
        else:
            yield broken(
                "ports", f"{listen} ({name}) is taken by something else, or can't be had", "free it, or change limen.toml"
            )


def _free(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except (OSError, OverflowError):
            return False
    return True


def _is_limen(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    connection = http.client.HTTPConnection({"0.0.0.0": "127.0.0.1"}.get(host, host.strip("[]")), int(port), timeout=ASK_S)  # noqa: S104
    try:
        connection.request("GET", "/.well-known/limen")
        return "sts" in json.loads(connection.getresponse().read(65_536))
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def extras(wanted: Mapping[str, tuple[str, str]] = EXTRAS) -> Iterator[Line]:
    """Which optional parts are installed."""
    for extra, (distribution, what_for) in wanted.items():
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            yield warning("extras", f"[{extra}] is not installed; it {what_for}", f"pip install 'limen[{extra}]'")
        else:
            yield ok("extras", f"[{extra}] {distribution} {version} {what_for}")


def startup_code(config: Config) -> Iterator[Line]:
    """What would run in this Python before limen does."""
    allowed = KNOWN | set(config.supply.allowed_startup)
    found = unexpected_startup_code(site_directories(), allowed, import_dirs=import_directories())
    for hit in found:
        step = "remove it" + (f', or allow it: allowed_startup = ["{hit.digest}"] under [supply]' if hit.digest else "")
        says = f"{hit.path} {hit.why}"
        if config.development:
            yield warning("start-up", f"{says}; in production limen does not start", step)
        else:
            yield broken("start-up", f"{says}; limen does not start", step)
    if not found:
        yield ok("start-up", "no unexpected code runs before limen")
