"""`limen init`: make a data directory, import what other systems logged, and show the first report.

What was there before stays as it was: a configuration is never overwritten. Each step is a command of limen's own, printed
before it runs, so that it can be repeated by hand; one that fails is told, and the next goes on.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from limen.cli.link import call, say
from limen.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from limen.cli._survey import Told

CONFIG = """# limen's configuration; `limen serve` reads it at start. Every key has a default; an unknown key is an error.

[server]
mode = "{mode}"
listen = "{listen}"
contact = "the lab's security team"   # whom a paused person is told to ask

[ledger]
origin = "{origin}"
# publish = "s3://bucket/prefix"       # publish there too (keys: AWS_… in the environment), or in a directory

# One table for each OpenID Connect issuer whose tokens are accepted:
# [[issuer]]
# url = "https://login.vendor.example"
# audiences = ["limen"]
# client_id = "limen"
# algorithms = ["RS256", "ES256"]
# vendors = ["quillwork"]             # whose people it may name

# One table for each receiver of alerts (docs/alerts.md); a webhook's secret is in LIMEN_ALERT_SOC_SECRET:
# [[alert]]
# name = "soc"
# kind = "webhook"                    # or email, syslog, file
# url = "https://soc.example/hooks/limen"
"""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--dev", is_flag=True, help="Development mode: brings its own issuer. Never for real assets.")
@click.option("--listen", default="127.0.0.1:8460", show_default=True, metavar="HOST:PORT")
@click.option("--origin", default="limen.local/log", show_default=True, help="The ledger's name, for good.")
@click.option("--catalog", type=click.Path(path_type=Path), help="Vendors, people, projects, assets, grants (limen import).")
@click.option("--who", type=click.Path(path_type=Path), help="Who stands behind the logs' principals (limen who set).")
@click.option("--vendor", "vendors", multiple=True, metavar="ID=CONTACT", help="A vendor that is not in the catalog's file.")
@click.option("--bucket", "buckets", multiple=True, metavar="s3://BUCKET/PREFIX", help="A bucket that vendors work on.")
@click.option("--repository", "repositories", multiple=True, metavar="PATH", help="A clone of a repository they work on.")
@click.option("--log", "logs", multiple=True, metavar="KIND:SOURCE=PLACE…", help="A log to import now; docs/day-one.md.")
@click.option("--bom", "boms", multiple=True, metavar="PATH", help="A vendor's bill of materials: noted only, not read yet.")
@click.option("--yes", is_flag=True, help="Ask nothing. So it is without a terminal.")
def init(  # noqa: PLR0917  click passes options by name
    directory: Path,
    listen: str,
    origin: str,
    catalog: Path | None,
    who: Path | None,
    vendors: tuple[str, ...],
    buckets: tuple[str, ...],
    repositories: tuple[str, ...],
    logs: tuple[str, ...],
    boms: tuple[str, ...],
    *,
    dev: bool,
    yes: bool,
) -> None:
    """Make a data directory, import what there is, and print the first report and the next commands.

    At a terminal it asks what there is; every question has an option. What is there already is never overwritten.
    Exit code 6: the directory is made, and some of what was to be imported could not be.
    """
    from limen.cli import _survey

    if (directory / "ledger.db").exists():
        raise Conflict(f"{directory} is a data directory already; nothing was changed")
    for given in (catalog, who):
        if given is not None and not given.is_file():
            raise Invalid(str(given), "is not there; nothing was made")
    told = _survey.Told(
        dict(map(_survey.vendor, vendors)),
        [_survey.bucket(text) for text in buckets],
        [_survey.here(text) for text in repositories],
        [_survey.log(text) for text in logs],
        [_survey.here(text) for text in boms],
    )
    asked = sys.stdin.isatty() and not yes
    if asked:
        _survey.ask(told)
    mode = "development" if dev else "production"
    surveyed = any((told.buckets, told.repositories, told.logs, told.boms))
    text = CONFIG.format(mode=mode, listen=listen, origin=origin) + (_survey.as_toml(told.survey) if surveyed else "")
    _make(directory, text)
    if not (surveyed or told.vendors or catalog or who):
        say(f"limen: made {directory} ({mode} mode). Next: edit {directory / 'limen.toml'}, import your vendors and people")
        say(f"limen: with `limen import FILE --data {directory}`, then `limen serve --data {directory}`.")
        return
    say(f"limen: made {directory} ({mode} mode); {directory / 'limen.toml'} says what you told")
    failed = _begin(directory, told, catalog, who)
    _next(directory, told, who)
    if failed:
        say("limen: not all was done by: " + "; ".join(failed) + ". Mend what they say, and run them again")
        raise click.exceptions.Exit(6)


def _make(directory: Path, text: str) -> None:
    """The directory with its configuration, keys and an empty ledger."""
    import asyncio

    from limen.config import load
    from limen.server import Gateway

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # what was observed of people lies in it
    if (directory / "limen.toml").exists():
        say(f"limen: {directory / 'limen.toml'} was there already, and stays as it is: what you told now is not noted in it")
    else:
        (directory / "limen.toml").write_text(text)

    async def make() -> None:
        await (await Gateway.open(load(directory))).close()

    asyncio.run(make())


def _begin(directory: Path, told: Told, catalog: Path | None, who: Path | None) -> list[str]:
    """Run the first commands; those that failed."""
    from limen.cli import COMMANDS, _survey

    first: list[list[str]] = []
    if catalog is not None:
        first.append(["import", str(catalog)])
    if told.vendors:
        rows = [{"id": name, "name": name.title(), "contact": contact} for name, contact in told.vendors.items()]
        document = directory / "day-one-vendors.json"
        document.write_text(json.dumps({"vendor": rows}, indent=1))
        first.append(["import", str(document)])
    if who is not None:
        first.append(["who", "set", str(who)])
    first += [_survey.import_words(log) for log in told.logs]
    if told.logs and "review" in COMMANDS:
        first.append(["review"])
    return [shown for words in first if (shown := _run([*words, "--data", str(directory)]))]


def _run(words: list[str]) -> str:
    """Run one command of ours, printed first; its words if it failed."""
    from limen.cli import main

    shown = "limen " + " ".join(shlex.quote(word) for word in words)
    say(f"\nlimen: now `{shown}`")
    try:
        main(words)
    except SystemExit as e:
        return shown if e.code else ""
    return ""


def _next(directory: Path, told: Told, who: Path | None) -> None:
    """The next three commands, by what there is."""
    data = f"--data {shlex.quote(str(directory))}"
    steps = []
    if told.logs and who is None:
        steps.append(f"limen who suggest --toml {data} > who.toml    # read each rule, then: limen who set who.toml {data}")
    steps += [f"limen exposure vendor/{name} {data}" for name in _vendors(directory)[:1]]
    if told.repositories:
        steps.append(f"limen scan {' '.join(map(shlex.quote, told.repositories))} {data}")
    if told.buckets:
        steps.append(f"limen asset adopt ASSET {shlex.quote(told.buckets[0])} {data}")
    steps += [f"limen observe gaps {data}"] if told.logs else []
    steps += [f"limen doctor {data}", f"limen serve {data}"]
    say("\nlimen: Next:" + "".join(f"\n  {step}" for step in steps[:3]))


def _vendors(directory: Path) -> list[str]:
    """The vendors that the catalog knows by now."""
    return [row["vendor"] for row in call(directory, "show", {"what": "vendors"})]
