"""`limen pause` and `limen resume`: cut off a vendor, project, person or session; let them in again."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003  click reads the annotation

import click

from limen.cli.link import call, data_option, json_option, print_json, say


@click.command()
@click.argument("subject", metavar="vendor/… | project/… | person/… | session/…")
@click.option("--reason", required=True, help="What every refused person reads.")
@click.option("--essential", multiple=True, metavar="person/…", help="Whose work goes on; may be given again.")
@click.option("--contact", default="", help="Whom refused people are told to ask (default: limen.toml).")
@click.option("--drill", is_flag=True, help="A rehearsal: it cuts like any other, and says that it was one. Resume after it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be cut.")
@data_option
@json_option
def pause(
    data: Path,
    subject: str,
    *,
    reason: str,
    essential: tuple[str, ...],
    contact: str,
    drill: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cut a subject off at every door, now: sessions, uploads and running streams."""
    args = {"subject": subject, "reason": reason, "essential": list(essential), "contact": contact, "drill": drill}
    args["dry_run"] = dry_run
    ordered = time.monotonic_ns()
    answer = call(data, "pause", args)
    took_us = (time.monotonic_ns() - ordered) // 1000
    if not dry_run and answer["entry"] is not None:
        # The answer came after the last stream was cut, so this process's clock bounds order to last byte from above.
        measured = {"subject": subject, "order": answer["entry"], "last_byte_us": took_us, "clock": "operator"}
        answer["measured_entry"] = call(data, "pause.measured", measured)["entry"]
    answer["order_to_last_byte_us_at_most"] = None if dry_run else took_us
    if as_json:
        print_json("limen/pause/v1", answer)
        return
    word = "would cut" if dry_run else "cut"
    people, sessions = len(answer["people"]), len(answer["sessions"])
    click.echo(f"{subject}: {word} {people} people and workloads, {sessions} sessions, {answer['streams']} running streams")
    for session in answer["sessions"]:
        click.echo(f"  {session['session']}  {session['holder']}  {session['project']}")
    if answer["essential"]:
        click.echo(f"  goes on: {', '.join(answer['essential'])}")
    if dry_run:
        say("limen: dry run, nothing was changed; leave out --dry-run to do it")
    elif answer["entry"] is None:
        say("limen: the pause is in force and kept, but the ledger can't be written; its entry follows when it can")
    else:
        click.echo(f"  entry {answer['entry']}; order to last byte at most {took_us / 1000:.1f} ms by this command's clock")


@click.command()
@click.argument("subject")
@click.option("--reason", required=True, help="Why it is lifted.")
@data_option
@json_option
def resume(data: Path, subject: str, reason: str, *, as_json: bool) -> None:
    """Lift a pause. Sessions that it cut stay ended: their owners log in again."""
    answer = call(data, "resume", {"subject": subject, "reason": reason})
    if as_json:
        print_json("limen/resume/v1", answer)
    else:
        click.echo(f"{subject}: may log in again (entry {answer['entry']}); sessions that were cut stay ended")
