"""The two ways of saying which lab person acts: `--id-token` proves it, `--as` is root's word."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound="Callable[..., Any]")


def acting_options(command: F) -> F:
    """Give a command `--as` and `--id-token`, as its arguments `acting` and `id_token`."""
    named = click.option("--as", "acting", metavar="lab/NAME", help="Root only: the lab person whom you act for.")
    shown = click.option(
        "--id-token",
        type=click.Path(path_type=Path, allow_dash=True),
        help="A file with your own identity token (- for standard input): it proves who you are.",
    )
    return named(shown(command))


def who(acting: str | None, id_token: Path | None) -> dict[str, str]:
    """What a verb is told of who acts."""
    if acting and id_token:
        raise Invalid("--as", "and --id-token are two ways of saying who acts; give one")
    if id_token is None:
        return {"as": acting} if acting else {}
    try:
        return {"id_token": (sys.stdin.read() if str(id_token) == "-" else id_token.read_text()).strip()}
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid("--id-token", f"can't be read: {e}") from e
