"""`limen restrict` and `limen unrestrict`: leave a subject some of its work; let all of it go on again."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli.link import call, data_option, json_option, print_json, say


@click.command()
@click.argument("subject", metavar="vendor/… | person/… | session/…")
@click.option("--read-only", is_flag=True, help="Nothing is written or deleted.")
@click.option("--only-project", "projects", multiple=True, metavar="PROJECT", help="Where work goes on; may be given again.")
@click.option("--reason", required=True, help="What every refused person reads.")
@click.option("--contact", default="", help="Whom refused people are told to ask (default: limen.toml).")
@click.option("--dry-run", is_flag=True, help="Only say whom it would meet.")
@data_option
@json_option
def restrict(
    data: Path,
    subject: str,
    projects: tuple[str, ...],
    reason: str,
    contact: str,
    *,
    read_only: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Leave a subject some of its work only, at every door, now. Its sessions go on; running streams that don't fit are cut."""
    args = {"subject": subject, "read_only": read_only, "projects": list(projects), "reason": reason, "contact": contact}
    answer = call(data, "restrict", {**args, "dry_run": dry_run})
    if as_json:
        print_json("limen/restrict/v1", answer)
        return
    word = "would leave" if dry_run else "left"
    click.echo(f"{subject}: {word} {len(answer['people'])} people and workloads less: {answer['leaves']}")
    if dry_run:
        say("limen: dry run, nothing was changed; leave out --dry-run to do it")
    elif answer["entry"] is None:
        say("limen: the restriction is in force and kept, but the ledger can't be written; its entry follows when it can")
    else:
        click.echo(f"  entry {answer['entry']}; {answer['streams']} running streams were cut")


@click.command()
@click.argument("subject")
@click.option("--reason", required=True, help="Why it is lifted.")
@data_option
@json_option
def unrestrict(data: Path, subject: str, reason: str, *, as_json: bool) -> None:
    """Lift a restriction. Sessions go on where they were."""
    answer = call(data, "unrestrict", {"subject": subject, "reason": reason})
    if as_json:
        print_json("limen/unrestrict/v1", answer)
    else:
        click.echo(f"{subject}: all of its work goes on (entry {answer['entry']})")
