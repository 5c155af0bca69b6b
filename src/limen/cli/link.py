"""How a command reaches the data directory: through the running gateway's control socket, or by opening it itself.

Both ways run the same verbs. Data directory: `--data`, else `LIMEN_DATA`, else `limen-data` in the working directory.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from limen.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_S = 3600.0
F = TypeVar("F", bound="Callable[..., Any]")


def data_option(command: F) -> F:
    """Give a command `--data`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="LIMEN_DATA",
        default=Path("limen-data"),
        show_default=True,
        help="Data directory (environment: LIMEN_DATA).",
    )(command)


def json_option(command: F) -> F:
    """Give a command `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON only.")(command)


def call(data: Path, verb: str, args: dict[str, Any], *, progress: Callable[[str], None] | None = None) -> Any:
    """Run a verb on the data directory; a refusal or an error comes back as the LimenError that it was.

    `progress` is told what a long verb says of how far it is.
    """
    if not (data / "ledger.db").exists():
        raise errors.Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    answer = _over_socket(data / "control.sock", verb, args, progress)
    return _answered(_in_process(data, verb, args, progress) if answer is None else answer)


def ask(data: Path, verb: str, args: dict[str, Any]) -> Any:
    """The same, of a running gateway alone; None if none runs."""
    answer = _over_socket(data / "control.sock", verb, args)
    return None if answer is None else _answered(answer)


def _answered(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise _as_error(answer["error"])
    return answer["ok"]


def _over_socket(
    path: Path, verb: str, args: dict[str, Any], progress: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """The running gateway's answer, or None if none runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        asked = {"verb": verb, "args": args, **({"progress": True} if progress else {})}
        connection.sendall(json.dumps(asked).encode() + b"\n")
        with connection.makefile("rb") as stream:
            for line in stream:
                answer: dict[str, Any] = json.loads(line)
                if "progress" not in answer:
                    return answer
                if progress is not None:
                    progress(answer["progress"])
    raise errors.LedgerUnavailable("the gateway stopped before it answered", next_step="start it, then ask again")


def _in_process(data: Path, verb: str, args: dict[str, Any], progress: Callable[[str], None] | None) -> dict[str, Any]:
    import asyncio

    from limen import progress as progressing
    from limen.config import load
    from limen.control import answer_to
    from limen.listening import log_without_values
    from limen.server import Gateway

    log_without_values()  # to stderr: stdout holds the answer alone

    async def run() -> dict[str, Any]:
        gateway = await Gateway.open(load(data))
        try:
            with progressing.heard(progress):
                return await answer_to(gateway, verb, args, by=f"uid:{os.getuid()}")
        finally:
            await gateway.close()

    return asyncio.run(run())


def _as_error(error: dict[str, Any]) -> errors.LimenError:
    """The error that the gateway raised, as its nearest kind here."""
    kind = next((found for name in error.get("kinds", ()) if (found := getattr(errors, name, None))), errors.LimenError)
    raised: errors.LimenError = kind.__new__(kind)
    Exception.__init__(raised, error["message"])
    raised.hint = error.get("hint", "")  # type: ignore[attr-defined]
    return raised


def print_json(schema: str, value: dict[str, Any]) -> None:
    """Print one answer for programs: its schema first, then its fields."""
    click.echo(json.dumps({"schema": schema, **value}, ensure_ascii=False, indent=2))


def say(text: str) -> None:
    """Talk goes to stderr, so that stdout holds the answer alone."""
    click.echo(text, err=True)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned text columns, headed by their names."""
    cells = [columns] + [["" if row.get(c) is None else str(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
