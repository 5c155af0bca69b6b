"""What the commands share that tell limen about a vendor: the paper, the time, the reason, the one line of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from limen.cli.link import print_json
from limen.core.errors import Invalid

document_option = click.option(
    "--document",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The paper itself; it is kept, and named by its digest.",
)
reason_option = click.option("--reason", required=True, help="Why; kept sealed beside the entry.")
at_option = click.option("--at", metavar="TIME", help="When it happened (RFC 3339). Default: now.")


def put(data: Path, document: Path | None) -> dict[str, Any]:
    """Put a document's bytes where the gateway finds them by digest."""
    if document is None:
        return {}
    from limen.store.blobs import Blobs

    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    with document.open("rb") as stream:
        digest, _ = Blobs(data / "blobs").put(iter(lambda: stream.read(1 << 20), b""))
    return {"digest": digest}


def tell(schema: str, answer: dict[str, Any], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(schema, answer)
    else:
        click.echo(f"{line} (entry {answer['entry']})")
