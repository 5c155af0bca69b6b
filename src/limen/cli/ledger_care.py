"""`limen ledger fsck`, `export`, `seal`, `places`: the log's own health, copies of it, and where its entries lie.

`fsck` and `export` read a data directory, served or not, and ask no gateway; only `fsck --repair` needs to own it. `seal` is
done by the gateway if one runs.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid, TamperDetected

if TYPE_CHECKING:
    from limen.core.types import Checkpoint
    from limen.formats.note import NoteKey, Verifier
    from limen.ledger.repair.examination import Examination

DAY_S = 86_400

vkey_option = click.option("--vkey", help="The log's key, or a file that holds it. Without it: the data directory's own.")


@click.command()
@click.option(
    "--repair", is_flag=True, help="Mend what is hurt: derived parts always, entries only where the signed root proves them."
)
@data_option
@vkey_option
@json_option
def fsck(data: Path, vkey: str | None, *, repair: bool, as_json: bool) -> None:
    """Examine rows, head, side records, tiles, bundles and checkpoint; name the first bad index. Exit code 5 on damage."""
    from limen import directory
    from limen.ledger.repair.examination import examine
    from limen.ledger.repair.mend import mend

    verifier, trusted = _keys(data, vkey)
    mended: list[str] = []
    if repair:
        with directory.owned(data):
            with examine(data, verifier, trusted=trusted, elsewhere=_elsewhere(data, verifier)) as found:
                if found.findings:
                    _tell(found)
                    mended = mend(found)
            answer, damage = _examined(data, verifier, trusted)
    else:
        answer, damage = _examined(data, verifier, trusted)
    answer["mended"] = mended
    if as_json:
        print_json("limen/ledger-fsck/v1", answer)
    for line in mended:
        say(f"limen: mended: {line}")
    if damage is not None:
        raise damage
    if not as_json:
        counts = answer["examined"]
        click.echo(f"log       {answer['origin']}")
        click.echo(f"size      {answer['size']}")
        click.echo(f"examined  {counts['entries']} entries, {counts['tiles']} tiles, {counts['bundles']} bundles,", nl=False)
        click.echo(f" {counts['sides']} side records in {answer['seconds']:.2f} s ({answer['rate']:,.0f} entries/s)")
        click.echo("OK")


def _examined(data: Path, verifier: Verifier, trusted: list[NoteKey]) -> tuple[dict[str, Any], TamperDetected | None]:
    """The answer, and the damage that is left."""
    from limen.ledger.repair.examination import examine
    from limen.ledger.repair.mend import can_mend

    began = time.perf_counter()
    with examine(data, verifier, trusted=trusted, elsewhere=_elsewhere(data, verifier)) as found:
        seconds = time.perf_counter() - began
        answer = {
            "ok": not found.findings,
            "first_bad": found.first_bad,
            "origin": verifier.name,
            "size": found.size,
            "examined": {
                "entries": found.size,
                "tiles": sum(len(widths) for (level, _), widths in found.files.widths.items() if level is not None),
                "bundles": sum(len(widths) for (level, _), widths in found.files.widths.items() if level is None),
                "sides": found.survey.side_records,
            },
            "seconds": round(seconds, 3),
            "rate": round(found.size / seconds),
            "findings": [asdict(finding) for finding in found.findings],
            "can_mend": bool(found.findings) and not can_mend(found),
        }
        if not found.findings:
            return answer, None
        _tell(found)
        return answer, _damage(found, can_mend(found))


def _elsewhere(data: Path, verifier: Verifier) -> list[tuple[str, Checkpoint]]:
    """What the guard would hold against the log: the high-water notes here and on another disk, and a standing alarm's."""
    from limen import directory
    from limen.config import load
    from limen.ledger.rollback.guard import evidence_of, read_alarm

    evidence = directory.guard(load(data), verifier, now=time.time).evidence()
    kept = evidence_of(read_alarm(data), verifier)
    found = [*evidence, *([kept] if kept else [])]
    return [(each.where, each.checkpoint) for each in found if each.checkpoint.origin == verifier.name]


def _tell(found: Examination) -> None:
    for finding in found.findings:
        where = "no entry" if finding.index is None else f"entry {finding.index}"
        say(f"limen: {finding.part}: {finding.why} (first bad: {where}{', can be made again' if finding.derived else ''})")


def _damage(found: Examination, why_not: str) -> TamperDetected:
    where = "no single entry can be named" if found.first_bad is None else f"first bad index {found.first_bad}"
    if why_not:
        step = f"it can't be mended here: {why_not}"
    elif found.only_derived:
        step = "every entry is sound; `limen ledger fsck --repair` makes the rest again (stop the gateway first)"
    else:
        step = (
            "published bundles have every bad row right; `limen ledger fsck --repair` restores them under the signed root and"
            " keeps the damaged database (stop the gateway first)"
        )
    first = found.findings[0]
    return TamperDetected(f"{first.why} ({where})", index=-1 if found.first_bad is None else found.first_bad, next_step=step)


def _keys(data: Path, vkey: str | None) -> tuple[Verifier, list[NoteKey]]:
    """The log's key: as given, else the directory's own, else the one beside the log; and the witnesses that it trusts."""
    from limen import directory
    from limen.config import load
    from limen.formats.note import Verifier
    from limen.formats.tlogpolicy import Policy
    from limen.verify.answer import trusted
    from limen.verify.published import Published

    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} has no ledger.db; a published log alone is checked with `limen ledger verify`")
    config = load(data)
    given = trusted(None, vkey)
    if isinstance(given, Verifier):
        verifier = given
    elif (data / "keys" / "log.key").exists():
        verifier = directory.signer(config).verifier
    else:
        verifier = Published(data / "log").verifier()
    policy = Policy.read((data / config.ledger.policy).read_text()) if config.ledger.policy else None
    return verifier, [witness.key for witness in policy.witnesses.values()] if policy else []


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@data_option
@vkey_option
@json_option
def export(target: Path, data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Write vkey, checkpoint and every tile and bundle into a directory that any reader of C2SP tiles can take.

    Made from the database alone, and verified before the checkpoint is written. Into an older export of the same log only
    what is new is added.
    """
    from limen.ledger.publication.export import export_log

    verifier, _ = _keys(data, vkey)
    checkpoint, written = export_log(data, target, verifier)
    fields = {"origin": checkpoint.origin, "size": checkpoint.size, "written": written, "directory": str(target)}
    if as_json:
        print_json("limen/ledger-export/v1", {**fields, "checkpoint": checkpoint.note.decode()})
        return
    click.echo(checkpoint.note.decode(), nl=False)
    say(f"limen: {checkpoint.size} entries in {target}, {written} files written; verify it with `limen ledger verify {target}`")


@click.command()
@click.option("--before", type=click.IntRange(min=0), help="Seal entries below this index.")
@click.option("--keep", type=click.IntRange(min=0), metavar="DAYS", help="Seal entries that are older than so many days.")
@data_option
@json_option
def seal(data: Path, before: int | None, keep: int | None, *, as_json: bool) -> None:
    """Move older entries out of ledger.db into sealed bundles, which are read as before. The newest stay, whatever is asked.

    Only full bundles that are published and under the signed root; nothing at or above the oldest intent that is still open.
    From then on DATA/sealed is a part of the log of record, and of every backup.
    """
    if (before is None) == (keep is None):
        raise Invalid("--before, --keep", "give one of the two")
    answer = call(data, "ledger.seal", {"below": before} if keep is None else {"keep_s": keep * DAY_S})
    if as_json:
        print_json("limen/ledger-seal/v1", {"sealed": answer["end"], "now": answer["end"] - answer["start"]})
    else:
        say(f"limen: {answer['end'] - answer['start']} entries moved; all below {answer['end']} are in sealed bundles")


@click.command()
@data_option
@json_option
def places(data: Path, *, as_json: bool) -> None:
    """Show where the log is published, how far each place is behind, and why."""
    status = call(data, "status", {})
    rows = [{**row, "behind": status["size"] - (row["size"] or 0)} for row in status["published"]]
    if as_json:
        print_json("limen/ledger-places/v1", {"size": status["size"], "places": rows})
    else:
        click.echo(table(rows, ["place", "size", "behind", "error"]))
