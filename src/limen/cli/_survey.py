"""What there is on day one: asked at a terminal or given by options, and written into limen.toml.

Nothing is asked where nobody can answer: without a terminal, or with `--yes`, what no option says is not there.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from limen.config import KnownLog, Survey
from limen.core.errors import Invalid
from limen.objectstore import SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOG_FORM: Final = "KIND:SOURCE=PLACE [skew=SECONDS] [gap=SECONDS] [covers=FROM/TO] [scope=…]"
KINDS: Final = ("cloudtrail", "s3access", "github", "vault")  # `generic` needs a mapping: by its own command
_LOG: Final = re.compile(r"([a-z0-9]+):([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)\Z")
_VENDOR: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,62})=(.+)\Z")


@dataclass(slots=True)
class Told:
    """What somebody said there is. `vendors`: id -> whom to reach there."""

    vendors: dict[str, str] = field(default_factory=dict)
    buckets: list[str] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    logs: list[KnownLog] = field(default_factory=list)
    boms: list[str] = field(default_factory=list)

    @property
    def survey(self) -> Survey:
        """What is noted in the configuration; vendors are in the catalog."""
        return Survey(
            buckets=tuple(self.buckets), repositories=tuple(self.repositories), boms=tuple(self.boms), log=tuple(self.logs)
        )


def ask(told: Told) -> None:
    """Ask for whatever no option has said. An empty answer goes on to the next question."""
    click.echo("What is there? An empty answer goes on; all of it can be added later.", err=True)
    if not told.vendors:
        for text in _each("Outside vendor, as ID=CONTACT (quillwork=ops@quillwork.example)", vendor):
            told.vendors.update([vendor(text)])
    if not told.buckets:
        told.buckets += _each("Bucket they work on, as s3://BUCKET/PREFIX", bucket)
    if not told.repositories:
        told.repositories += _each("Repository they work on, as the path of a clone", here)
    if not told.logs:
        click.echo(f"Logs to import now. Kinds: {', '.join(KINDS)}. Form: {LOG_FORM}", err=True)
        told.logs += [log(text) for text in _each("Log (vault:vault-eu=/var/log/vault/audit.log)", log)]
    if not told.boms:
        told.boms += _each("Vendor's bill of materials (noted where it lies; limen does not read them yet)", here)


def _each(question: str, check: Callable[[str], object]) -> Iterator[str]:
    """Answers to one question until an empty one; a wrong one is asked again."""
    while text := click.prompt(question, default="", show_default=False, err=True).strip():
        try:
            check(text)
        except Invalid as e:
            click.echo(f"  {e}", err=True)
        else:
            yield text


def vendor(text: str) -> tuple[str, str]:
    """`ID=CONTACT`."""
    found = _VENDOR.match(text)
    if not found:
        raise Invalid("vendor", f"{text!r} is not ID=CONTACT, like quillwork=ops@quillwork.example")
    return found[1], found[2].strip()


def bucket(text: str) -> str:
    """`s3://BUCKET/PREFIX`."""
    if not text.startswith(SCHEME) or not text.removeprefix(SCHEME).partition("/")[0]:
        raise Invalid("bucket", f"{text!r} is not s3://BUCKET/PREFIX")
    return text


def here(text: str) -> str:
    """Something on this machine, by its whole path."""
    path = Path(text).expanduser()
    if not path.exists():
        raise Invalid("path", f"{path} is not there")
    return str(path.resolve())


def log(text: str) -> KnownLog:
    """`KIND:SOURCE=PLACE`, and then what an import should know of it."""
    try:
        first, *more = shlex.split(text)
    except ValueError as e:
        raise Invalid("log", f"{text!r} can't be read: {e}. Its form is {LOG_FORM}") from e
    found = _LOG.match(first)
    if not found:
        raise Invalid("log", f"{first!r} does not begin with KIND:SOURCE=PLACE. Its form is {LOG_FORM}")
    if found[1] not in KINDS:
        raise Invalid("log", f"{found[1]!r} is none of {', '.join(KINDS)}")
    place = found[3] if found[3].startswith(SCHEME) else here(found[3])
    given: dict[str, list[str]] = {}
    for word in more:
        name, equals, value = word.partition("=")
        if not equals or name not in {"skew", "gap", "covers", "scope"}:
            raise Invalid("log", f"{word!r} is unknown. Its form is {LOG_FORM}")
        given.setdefault(name, []).append(value)
    return KnownLog(
        kind=found[1],
        source=found[2],
        place=place,
        skew_s=_seconds(given.get("skew", ["0"])[-1]),
        gap_s=_seconds(given["gap"][-1]) if "gap" in given else None,
        covers=given.get("covers", [""])[-1],
        scopes=tuple(given.get("scope", ())),
    )


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise Invalid("log", f"{text!r} is not a number of seconds")
    return int(text)


def import_words(log: KnownLog) -> list[str]:
    """The command that imports a log."""
    words = ["observe", "import", log.kind, log.place, "--source", log.source]
    words += ["--skew", str(log.skew_s)] if log.skew_s else []
    words += ["--gap", str(log.gap_s)] if log.gap_s is not None else []
    words += ["--covers", log.covers] if log.covers else []
    return words + [word for scope in log.scopes for word in ("--scope", scope)]


def as_toml(survey: Survey) -> str:
    """The survey as a part of limen.toml. JSON's strings and lists are TOML's too."""
    lines = [
        "",
        "# What was there on day one, as `limen init` was told. `limen doctor` looks whether it is within reach; nothing else",
        "# reads it, so a mistake here does no harm.",
        "[survey]",
        f"buckets = {_list(survey.buckets)}        # `limen asset adopt` puts one behind the door, without a copy",
        f"repositories = {_list(survey.repositories)}   # `limen scan` finds keys and governed content in their history",
        f"boms = {_list(survey.boms)}           # only noted: limen does not read bills of material yet",
    ]
    for log in survey.log:
        lines += ["", "[[survey.log]]  # limen " + " ".join(shlex.quote(word) for word in import_words(log))]
        lines += [
            f"{name} = {json.dumps(value)}" for name, value in (("kind", log.kind), ("source", log.source), ("place", log.place))
        ]
        lines += [f"skew_s = {log.skew_s}"] if log.skew_s else []
        lines += [f"gap_s = {log.gap_s}"] if log.gap_s is not None else []
        lines += [f"covers = {json.dumps(log.covers)}"] if log.covers else []
        lines += [f"scopes = {_list(log.scopes)}"] if log.scopes else []
    return "\n".join(lines) + "\n"


def _list(values: tuple[str, ...]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
