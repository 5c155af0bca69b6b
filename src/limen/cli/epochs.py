"""`limen ledger new-epoch` and `check-receipt`: what is known of a log that was set back, and how it goes on after it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli.link import ask, data_option, json_option, print_json, say
from limen.core.errors import Conflict, Denied, Invalid, TamperDetected

if TYPE_CHECKING:
    from limen.config import Config
    from limen.formats.note import Signer
    from limen.ledger.rollback.epoch import Loss, Plan
    from limen.ledger.store import Head


@click.command("new-epoch")
@click.option("--reason", required=True, help="Why: it is kept, sealed, beside the epoch's first entry.")
@click.option("--force", is_flag=True, help="Begin one although nothing is known to be lost.")
@click.option("--dry-run", is_flag=True, help="Only say what would be kept and what is lost.")
@data_option
@json_option
def new_epoch(data: Path, reason: str, *, force: bool, dry_run: bool, as_json: bool) -> None:
    """Go on under a new name after the newest entries of the log were lost for good. Not while a gateway runs."""
    from limen import directory
    from limen.config import load
    from limen.ledger.rollback.epoch import Plan

    if not reason.strip():
        raise Invalid("--reason", "say why: somebody will ask")
    with directory.owned(_data_directory(data)):
        config = load(data)
        plan = Plan.read(data)
        if plan is not None:
            say(f"limen: epoch {plan.epoch} was begun before and not finished; its plan and its reason stand")
            if dry_run:
                return
        else:
            loss = _surveyed(config, force=force)
            if dry_run:
                _tell_loss(loss, as_json=as_json)
                return
            plan = _planned(config, loss, reason.strip())
            plan.begin(data)
        head, signer = _completed(config, plan)
    _tell(config, plan, head, signer, as_json=as_json)


def _data_directory(data: Path) -> Path:
    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} has no ledger.db; restore the newest backup first: `limen restore BACKUP {data}`")
    return data


def _surveyed(config: Config, *, force: bool) -> Loss:
    from limen import directory
    from limen.ledger.rollback.epoch import survey
    from limen.ledger.rollback.guard import evidence_of, read_alarm
    from limen.verify.published import Published

    verifier = directory.signer(config).verifier
    standing = read_alarm(config.data)
    kept = evidence_of(standing, verifier)
    evidence = [*directory.guard(config, verifier, now=time.time).evidence(), *([kept] if kept else [])]
    copies = [
        "log",
        *([config.ledger.publish] if config.ledger.publish else []),
    ]  # storage elsewhere is no directory: passed over
    logs = [Published(config.data / path) for path in copies]
    loss = survey(directory.store(config), evidence, logs, verifier=verifier)
    if not force and loss.furthest.reach <= (loss.epoch - 1, loss.kept.size):
        if standing:
            why = "an alarm stands that nothing bears out; start limen, which looks at every entry once more"
        else:
            why = "no alarm stands; start limen"
        raise Denied(f"nothing is known to be lost: {why}. With --force a new epoch begins all the same", rule="new-epoch")
    return loss


def _planned(config: Config, loss: Loss, reason: str) -> Plan:
    """The plan with its entry, sealed under the gateway's own key."""
    from limen.catalog.catalog import Catalog
    from limen.core.types import Side
    from limen.custody import GATEWAY
    from limen.ledger.rollback.epoch import Plan
    from limen.ledger.scribe import Scribe

    catalog = Catalog.open(f"sqlite:///{config.data / 'control.db'}", random=os.urandom)
    try:
        if catalog.applied >= loss.kept.size:
            raise Conflict(
                f"control.db holds the change of entry {catalog.applied}, and ledger.db ends at {loss.kept.size}: "
                "put back the control.db that belongs to it (`limen restore` puts back both)"
            )
        scribe = Scribe(lambda: time.time_ns() // 1000, os.urandom, catalog.subject_key, lambda: None)
        side = Side(GATEWAY, {"epoch": {"reason": reason}})
        entry, sides = scribe.write("epoch.begin", {**loss.fields(), "by": f"uid:{os.getuid()}"}, side)
    finally:
        catalog.close()
    return Plan.of(loss, entry, sides or {})


def _completed(config: Config, plan: Plan) -> tuple[Head, Signer]:
    """Carry the plan out, then open the log once, so that it is published under its new name and is known to open."""
    import asyncio

    from limen import directory
    from limen.config import load
    from limen.formats.note import Signer
    from limen.ledger.ledger import Ledger

    signer = Signer(plan.origin, directory.secret(config.data, "log.key"))
    stores = {origin: directory.store(config, origin=origin) for origin in (plan.old_origin, plan.origin)}
    head = plan.complete(config.data, stores, signer, now=int(time.time()))

    async def publish() -> None:
        guard = directory.guard(load(config.data), signer.verifier, now=time.time)
        ledger = Ledger.open(config.data, origin=plan.origin, signer=signer, now=time.time, guard=guard)
        try:
            await ledger.flush()
        finally:
            await ledger.close()

    asyncio.run(publish())
    return head, signer


def _tell_loss(loss: Loss, *, as_json: bool) -> None:
    if as_json:
        print_json("limen/ledger-new-epoch/v1", {**loss.fields(), "lost": loss.lost, "dry_run": True})
        return
    said = loss.furthest
    click.echo(f"epoch {loss.epoch} would keep {loss.kept.size} entries and lose {loss.lost}")
    click.echo(f"known by: {said}")
    click.echo(f"witnessed: {loss.witnessed or 'nothing that is known here'}")
    click.echo(
        "kept entries: " + ("shown to be the beginning of that log" if loss.proved else "nothing shows that they began it")
    )
    say("limen: nothing was changed")


def _tell(config: Config, plan: Plan, head: Head, signer: Signer, *, as_json: bool) -> None:
    if as_json:
        fields = {"epoch": plan.epoch, "origin": plan.origin, "kept": plan.kept, "lost": plan.lost, "dry_run": False}
        print_json("limen/ledger-new-epoch/v1", {**fields, "vkey": signer.vkey, "checkpoint": head.checkpoint.note.decode()})
    else:
        click.echo(head.checkpoint.note.decode(), nl=False)
    say(f"limen: epoch {plan.epoch} of the log has begun: {plan.kept} entries kept, {plan.lost} lost; entry {plan.kept} says so")
    say(f"limen: the log is now {plan.origin}; its key, for witnesses and for whoever verifies:\nlimen:   {signer.vkey}")
    if config.ledger.policy:
        say(f"limen: put that key into the `log` line of {config.data / config.ledger.policy}; limen does not start before")
    say(
        "limen: changes among the lost entries are gone: who was ended, revoked or paused since is back in. Order it again first,"
    )
    say("limen: then `limen serve`. `limen exposure` shows the lost range as unknown.")


@click.command("check-receipt")
@click.argument("receipt", metavar="FILE|HEADER")
@data_option
@json_option
def check_receipt(receipt: str, data: Path, *, as_json: bool) -> None:
    """Hold a receipt against the log: a file, or the value of an `x-limen-receipt` header.

    A log that is behind the receipt, or another log, is an alarm: nothing is signed any more, and exit code 5.
    """
    text = _text_of(receipt)
    answer = ask(data, "ledger.receipt", {"receipt": text})
    if answer is None:
        answer = _held(data, text)
    if as_json:
        print_json("limen/ledger-receipt/v1", {"ok": True, **answer})
    else:
        click.echo(
            f"entry {answer['index']} is in the log, under the checkpoint of {answer['size']} entries of {answer['origin']}"
        )
        click.echo("OK")


def _held(data: Path, text: str) -> dict[str, Any]:
    """The same as a running gateway would answer, when none runs."""
    from limen import directory
    from limen.config import load
    from limen.formats.receipt import decode
    from limen.ledger.rollback.receipts import check
    from limen.ledger.stored import look
    from limen.verify.published import Published

    config = load(data)
    verifier = directory.signer(config).verifier
    store = look(config.data, verifier.name)
    head = store.head()
    try:
        held = check(decode(text), head, store, Published(data / "log"), verifier=verifier)
    except TamperDetected as why:
        if why.evidence:
            directory.guard(config, verifier, now=time.time).keep(why, head.checkpoint if head else None)
        raise
    return {"index": held.index, "origin": held.origin, "size": held.size}


def _text_of(receipt: str) -> str:
    """What is in the file of that name; the receipt itself if there is none."""
    if receipt == "-":
        return sys.stdin.read()
    path = Path(receipt)
    try:
        return path.read_text() if path.is_file() else receipt
    except UnicodeDecodeError as e:
        raise Invalid("receipt", f"{receipt} is not text") from e
    except OSError:  # a header's value is longer than any name that a file can have
        return receipt
