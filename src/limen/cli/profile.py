"""`limen profile`: the AI training contractor profile, to read, and to take along as a contract or as OSCAL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from limen.cli.link import json_option, print_json, say, table
from limen.core.errors import Conflict, Invalid

FORMS = ("contract", "oscal-catalog", "oscal-profile")


@click.group()
def profile() -> None:
    """What to ask of a company whose people work on training assets: fourteen controls, and how each is checked."""


@profile.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the controls, each with what is asked and who can check it."""
    from limen.assurance.profile import definition, statement

    rows = [
        {"control": one["id"], "title": one["title"], "checked by": _checked_by(one), "asks": statement(one)}
        for one in definition()["controls"]
    ]
    if as_json:
        print_json("limen/profile/v1", {**_head(definition()), "controls": rows})
        return
    click.echo(table(rows, ["control", "title", "checked by"]))
    say("limen: `limen profile show CONTROL` says what is asked; what says manual no program can check")


@profile.command()
@click.argument("control")
@json_option
def show(control: str, *, as_json: bool) -> None:
    """Show one control: what is asked and why, how it is measured, what is manual, and which standards' controls it answers."""
    from limen.assurance import profile as shipped

    one = shipped.control(control)
    if as_json:
        print_json("limen/profile.control/v1", {**one, "statement": shipped.statement(one)})
        return
    click.echo(f"{one['id']}  {one['title']}\n\n{shipped.statement(one)}\n\nWhy: {one['why'].strip()}\n")
    for each in one["measures"]:
        click.echo(f"  {each['grade']:<10}{each['measure']}: {each['says']}")
    for each in one.get("manual", ()):
        click.echo(f"  {'manual':<10}{each['says']}")
    click.echo()
    frameworks = shipped.definition()["frameworks"]
    for name, ids in one["maps"].items():
        click.echo(f"  {frameworks[name]['title']}: {', '.join(ids)}")


@profile.command()
@click.argument("form", type=click.Choice(FORMS))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write here, into a new file, instead of to stdout.")
@click.option("--contract", "name", help="The contract's id.")
@click.option("--vendor", help="The vendor's id.")
@click.option("--starts", help="First day, YYYY-MM-DD.")
@click.option("--ends", help="The day on whose beginning it ends, YYYY-MM-DD.")
@click.option("--fee", help="Monthly fee, as 120000.00.")
@click.option("--currency", help="ISO 4217.")
def export(form: str, out: Path | None, **given: str | None) -> None:
    """Export the profile as a contract (YAML), or as an OSCAL catalog or profile (JSON). The options fill in a contract."""
    from limen.assurance import profile as shipped

    names = {"name": "contract", "fee": "monthly_fee"}
    settings = {names.get(key, key): value for key, value in given.items() if value is not None}
    if form == "contract":
        text = shipped.contract(settings)
    elif settings:
        raise Invalid("--" + next(iter(settings)), f"belongs to a contract, and {form} is none")
    else:
        made = shipped.oscal_catalog() if form == "oscal-catalog" else shipped.oscal_profile()
        text = json.dumps(made, ensure_ascii=False, indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    if form == "oscal-profile":
        say(f"limen: it imports {shipped.CATALOG}, which it expects beside it: `limen profile export oscal-catalog`")


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as e:
        raise Conflict(f"{out} is there already; nothing was written. Name a new file") from e
    except OSError as e:
        raise Invalid("--out", f"{out} can't be written: {e.strerror}") from e
    say(f"limen: written to {out}")


def _head(definition: dict[str, Any]) -> dict[str, Any]:
    return {name: definition[name] for name in ("profile", "title", "version")}


def _checked_by(one: dict[str, Any]) -> str:
    return "program, manual" if one.get("manual") else "program"
