"""`limen evidence`: bundles for somebody who does not trust us, their key, and their verification."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

AUDIENCES = ["auditor", "vendor", "insurer", "regulator"]
_COLUMNS = ["entry", "vendor", "for", "period", "as_of", "size", "digest"]


@click.group()
def evidence() -> None:
    """Evidence about a vendor, in one file that stock tools and one small program verify."""


@evidence.command()
@click.argument("vendor")
@click.option("--period", required=True, metavar="FROM/TO", help="Days or RFC 3339 times in UTC; the end is excluded.")
@click.option("--for", "audience", required=True, type=click.Choice(AUDIENCES), help="Who is to be given it (docs/evidence.md).")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write.")
@click.option("--renewal", is_flag=True, help="The verdict is the renewal's, with its decision.")
@click.option(
    "--opening",
    "openings",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A disclosure that two people opened (`limen ledger disclose`); again for more.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path, exists=True), help="Under this earlier checkpoint of the log, not the newest."
)
@click.option("--token", type=click.Path(path_type=Path, exists=True), help="An RFC 3161 time stamp (reply) of that checkpoint.")
@data_option
@json_option
def export(
    data: Path,
    vendor: str,
    period: str,
    audience: str,
    output: Path,
    *,
    renewal: bool,
    openings: tuple[Path, ...],
    checkpoint: Path | None,
    token: Path | None,
    as_json: bool,
) -> None:
    """Make a bundle about VENDOR. That it leaves is an entry. The same state and checkpoint give the same bytes."""
    if token is not None and checkpoint is None:
        raise Invalid("--token", "stamps a checkpoint: give that one with --checkpoint")
    start, end = _period(period)
    args = {
        "vendor": vendor,
        "for": audience,
        "from_us": start[1],
        "to_us": end[1],
        "period": [start[0], end[0]],
        "purpose": "renewal" if renewal else "standing",
        "output": str(output.absolute()),
        "openings": [path.read_text() for path in openings],
        "checkpoint": None if checkpoint is None else checkpoint.read_text(),
        "token": None if token is None else base64.b64encode(token.read_bytes()).decode(),
    }
    found = call(data, "evidence.export", args)
    if as_json:
        print_json("limen/evidence.export/v1", found)
        return
    click.echo(f"{output}: {found['length']} bytes, SHA-256 {found['digest']}")
    documents = f"{found['documents']} documents ({found['withheld']} withheld)"
    click.echo(f"  entry {found['entry']}; {documents}, {found['entries']} entries proved")
    click.echo(f"  verdict: {'in it' if found['verdict'] else found['no_verdict']}")
    click.echo(f"  signed by {found['key']}")
    say(f"limen: check it with: python3 -I -S verify.py {output.name} --log '{found['log']}'")


@evidence.command(context_settings={"ignore_unknown_options": False})
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--key", help="The evidence key that you expect: an ssh-ed25519 line, or a file that holds it.")
@click.option("--log", help="The log's key (vkey), or a file that holds it.")
@click.option("--previous", type=click.Path(exists=True), help="The bundle that you were given before this one.")
@click.option("--witness", multiple=True, help="A witness's vkey, or a file that holds it; again for more.")
@click.option("--tsa", type=click.Path(exists=True), help="Certificates of a time stamping authority (PEM).")
@json_option
def verify(
    bundle: Path,
    key: str | None,
    log: str | None,
    previous: str | None,
    *,
    witness: tuple[str, ...],
    tsa: str | None,
    as_json: bool,
) -> None:
    """Verify BUNDLE, as the program in it does: six questions, and what was trusted. Exit code 5: unverifiable."""
    from limen.verify.evidence import main

    argv = [str(bundle), *(["--json"] if as_json else [])]
    for name, value in (("--key", key), ("--log", log), ("--previous", previous), ("--tsa", tsa)):
        argv += [name, value] if value else []
    for each in witness:
        argv += ["--witness", each]
    raise click.exceptions.Exit(main(argv))


@evidence.command(name="key")
@click.option("--new", is_flag=True, help="Make another from now on; the log holds both.")
@data_option
@json_option
def key_(data: Path, *, new: bool, as_json: bool) -> None:
    """Print the key that bundles are signed with; made and entered into the log if there is none yet."""
    found = call(data, "evidence.key", {"new": new})
    if as_json:
        print_json("limen/evidence.key/v1", found)
        return
    click.echo(found["key"])
    say(f"limen: {found['fingerprint']}, entry {found['entry']}; give it to whoever verifies, by another way than the bundle")


@evidence.command(name="list")
@click.argument("vendor", required=False)
@data_option
@json_option
def list_(data: Path, vendor: str | None, *, as_json: bool) -> None:
    """List every bundle that was exported."""
    found = call(data, "evidence.list", {"vendor": vendor})
    if as_json:
        print_json("limen/evidence.list/v1", {"exports": found})
        return
    rows = [{**row, "period": "/".join(each[:10] for each in row["period"]), "digest": row["digest"][:16]} for row in found]
    click.echo(table(rows, _COLUMNS))


@evidence.command()
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="A directory to write them to."
)
@json_option
def programs(output: Path, *, as_json: bool) -> None:
    """Write the programs that verify a bundle and a draw, from this limen and not from a bundle."""
    import hashlib

    from limen.assurance.evidence.bundle import programs as found

    output.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, raw in found().items():
        (output / name).write_bytes(raw)
        digests[name] = hashlib.sha256(raw).hexdigest()
    if as_json:
        print_json("limen/evidence.programs/v1", {"programs": digests})
        return
    for name, digest in digests.items():
        click.echo(f"{digest}  {output / name}")


def _period(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    start, slash, end = text.partition("/")
    if not slash:
        raise Invalid("--period", f"{text!r} is not FROM/TO, as 2026-01-01/2026-04-01")
    return _moment(start), _moment(end)


def _moment(text: str) -> tuple[str, int]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise Invalid("--period", f"{text!r} is neither a day like 2026-04-01 nor an RFC 3339 time") from e
    aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    return aware.strftime("%Y-%m-%dT%H:%M:%SZ"), int(aware.timestamp()) * 1_000_000
