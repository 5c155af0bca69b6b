"""`limen ledger verify`, `prove`, `consistency`: what of the log can be shown to somebody who does not trust it.

All verification is `limen.verify`, which runs by itself as `python -m limen.verify`; here it is joined with the database
of a data directory, and with the making of proofs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from limen.cli._place import Place, trust_options
from limen.cli.ledger_read import entry_line
from limen.cli.link import data_option, json_option, print_json, say
from limen.core.errors import TamperDetected

if TYPE_CHECKING:
    from limen.verify.answer import Answer, Question


@click.command()
@click.argument("target", required=False)
@click.option("--entry", type=click.Path(path_type=Path), help="The entry's bytes, if a proof does not carry them.")
@click.option("--old", type=click.Path(path_type=Path), help="The older checkpoint that a consistency proof speaks about.")
@data_option
@trust_options
@json_option
def verify(
    *,
    target: str | None,
    entry: Path | None,
    old: Path | None,
    data: Path,
    policy: Path | None,
    vkey: str | None,
    as_json: bool,
) -> None:
    """Check TARGET: a directory, a server's address or a proof file; without it, --data. Exit code 5 on damage.

    Of a log: the signatures, every entry and every tile; of a data directory also the database. Of a proof: the entry, the
    way to the root, and the checkpoint under --policy or --vkey.
    """
    from limen.verify.answer import SCHEMA, Question, file_bytes, trusted

    asked = Question(
        str(data) if target is None else target,
        trusted(policy, vkey),
        None if entry is None else file_bytes(entry),
        None if old is None else file_bytes(old),
    )
    try:
        found, of_database = _answered(asked, policy, vkey)
    except TamperDetected as e:
        bad = e.index if e.index >= 0 else None
        if as_json:
            print_json(SCHEMA, {"ok": False, "first_bad": bad, "why": str(e)})
        where = "no single entry can be named" if bad is None else f"first bad index {bad}"
        raise TamperDetected(f"{e} ({where})", index=e.index) from e
    if as_json:
        print_json(SCHEMA, {"ok": True, "first_bad": None, **found.fields, "database": of_database})
        return
    click.echo("\n".join(found.lines))
    if of_database:
        click.echo(f"database  OK, {of_database['size']} entries")
    click.echo("OK")


def _answered(asked: Question, policy: Path | None, vkey: str | None) -> tuple[Answer, dict[str, int] | None]:
    from limen.verify.answer import answer, of_log

    path = Path(asked.target)
    if "://" in asked.target or not path.is_dir():
        return answer(asked), None
    place = Place.find(path, policy=policy, vkey=vkey)
    verified, found = of_log(place.log, asked.trust)
    if place.database is None:
        return found, None
    from limen.ledger.repair.fsck import verify_stored

    stored = verify_stored(place.database, place.log, verified.checkpoint, verifier=place.verifier)
    return found, {"size": stored.size, "low_water": stored.low_water}


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@data_option
@trust_options
@json_option
def prove(index: int, data: Path, policy: Path | None, vkey: str | None, *, as_json: bool) -> None:
    """Print a proof that an entry is in the published log (c2sp.org/tlog-proof@v1); checked before it is printed.

    The proof carries the entry: the file and a policy, or the log's key, are all that `limen ledger verify` needs.
    """
    from limen.formats.merkle import leaf_hash
    from limen.verify import published
    from limen.verify.answer import base64_text

    place = Place.find(data, policy=policy, vkey=vkey)
    proof, entry = published.prove(place.log, place.trust, index)
    text = proof.encode().decode()
    if as_json:
        fields = {"index": index, "entry": entry.decode(errors="replace"), "leaf_hash": base64_text(leaf_hash(entry))}
        print_json("limen/ledger-prove/v1", {**fields, "vkey": place.verifier.vkey, "proof": text})
    else:
        click.echo(text, nl=False)
    say(f"limen: {entry_line(index, entry)}")


@click.command()
@click.argument("old_checkpoint", type=click.Path(path_type=Path))
@data_option
@trust_options
@json_option
def consistency(old_checkpoint: Path, data: Path, policy: Path | None, vkey: str | None, *, as_json: bool) -> None:
    """Print a proof that the published log continues OLD_CHECKPOINT (a note, or a proof file that holds one).

    Checked before it is printed; exit code 5 if the log does not continue it. The form is that of a request to a witness.
    """
    from limen.verify import consistency as consistencies
    from limen.verify.answer import checkpoint_of, file_bytes, of_consistency

    place = Place.find(data, policy=policy, vkey=vkey)
    request, found = consistencies.prove(place.log, place.trust, checkpoint_of(file_bytes(old_checkpoint)))
    text = request.encode().decode()
    if as_json:
        print_json("limen/ledger-consistency/v1", {**of_consistency(found).fields, "vkey": place.verifier.vkey, "proof": text})
    else:
        click.echo(text, nl=False)
    say(f"limen: the log of {found.new.size} entries continues its checkpoint of {found.old.size}")
