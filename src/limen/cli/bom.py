"""`limen bom`: what vendors say they run. File it, judge it, see what it leaves unsaid, and get it back as it came."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from limen.cli import PARTLY_DONE
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid, TamperDetected

_SHOWN = 20
_COLUMNS = ["entry", "vendor", "state", "effective", "received", "components", "unnamed", "version", "serial"]
_AS_OF = "RFC 3339: only what was received by then counts."


@click.group()
def bom() -> None:
    """Vendors' bills of material (CycloneDX 1.2 to 1.7, JSON)."""


@bom.command()
@click.argument("vendor")
@click.argument("file", metavar="FILE|-", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--effective", help="RFC 3339: since when it holds, if not since its own timestamp.")
@click.option(
    "--sub-processor", "declared", multiple=True, metavar="NAME", help="One that the vendor declared to you; again for more."
)
@click.option(
    "--classification", "classes", multiple=True, metavar="TEXT=CLASS", help="What a data classification of theirs stands for."
)
@data_option
@json_option
def add(
    data: Path,
    vendor: str,
    file: Path,
    effective: str | None,
    *,
    declared: tuple[str, ...],
    classes: tuple[str, ...],
    as_json: bool,
) -> None:
    """File the BOM in FILE as VENDOR's. Exit code 6: it breaks the rules, is kept in quarantine, and nothing of it counts."""
    from limen.assurance.bom.judge import judge
    from limen.store.blobs import Blobs

    args: dict[str, Any] = {
        "vendor": vendor,
        "effective_us": _moment("--effective", effective),
        "declared": list(declared),
        "classes": [_pair(text) for text in classes],
    }
    raw = _read(file)
    judge(raw)  # a refusal costs the gateway nothing
    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    args["digest"], _ = Blobs(data / "blobs").put([raw])
    answer = call(data, "bom.add", args)
    if as_json:
        print_json("limen/bom.add/v1", answer)
    else:
        _print_added(answer)
    if answer["quarantined"]:
        sys.exit(PARTLY_DONE)


@bom.command()
@click.argument("file", metavar="FILE|-", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@json_option
def check(file: Path, *, as_json: bool) -> None:
    """Judge the BOM in FILE without filing it. Exit code 0: valid; 2: invalid, with the reason."""
    from limen.assurance.bom.judge import judge

    judged = judge(_read(file))
    found = judged.document
    if found is None:
        raise Invalid(str(file), f"is not valid CycloneDX: {judged.reason}")
    if as_json:
        fields = {name: value for name, value in judged.fields().items() if name not in {"timestamp_us", "quarantined"}}
        print_json("limen/bom.check/v1", {"valid": True, **fields})
        return
    click.echo(f"valid: CycloneDX {found.spec}, {len(found.parts)} components, {len(found.services)} services")
    _print_left_unsaid("; ".join(found.incomplete), list(judged.gaps))


@bom.command()
@click.option("--at", help="RFC 3339: the moment to look at (default: now).")
@click.option("--as-of", help=_AS_OF)
@click.option(
    "--max-age", "max_age", type=click.IntRange(1, 3650), default=7, show_default=True, help="Days that a BOM speaks for."
)
@data_option
@json_option
def gaps(data: Path, at: str | None, as_of: str | None, max_age: int, *, as_json: bool) -> None:
    """Name the vendors without a BOM, with a stale one, or with one that does not say that it is complete."""
    args = {"at_us": _moment("--at", at), "as_of_us": _moment("--as-of", as_of), "max_age_days": max_age}
    answer = call(data, "bom.gaps", args)
    if as_json:
        print_json("limen/bom.gaps/v1", answer)
        return
    rows = [{**row, "effective": row["effective"] or "-"} for row in answer["gaps"]]
    if rows:
        click.echo(table(rows, ["vendor", "state", "effective", "why"]))
    click.echo(f"{len(rows)} vendors of whom something can't be said, {len(answer['good'])} whose BOM speaks in full")


@bom.command(name="list")
@click.argument("vendor", required=False)
@click.option("--as-of", help=_AS_OF)
@data_option
@json_option
def list_(data: Path, vendor: str | None, as_of: str | None, *, as_json: bool) -> None:
    """List every BOM received, those in quarantine too; of VENDOR, if given."""
    answer = call(data, "bom.list", {"vendor": vendor, "as_of_us": _moment("--as-of", as_of)})
    if as_json:
        print_json("limen/bom.list/v1", answer)
        return
    click.echo(table(answer["boms"], _COLUMNS))
    for row in answer["boms"]:
        if row["quarantined"]:
            click.echo(f"QUARANTINED: entry {row['entry']}: {row['quarantined']}")


@bom.command()
@click.argument("vendor")
@click.option("--entry", type=int, help="Another BOM of theirs than the newest that counts.")
@click.option("--as-of", help=_AS_OF)
@click.option("--components", is_flag=True, help="List every component.")
@data_option
@json_option
def show(data: Path, vendor: str, entry: int | None, as_of: str | None, *, components: bool, as_json: bool) -> None:
    """Show what VENDOR's newest BOM says: components, services, where data goes, and what is left unsaid."""
    asked = {"vendor": vendor, "entry": entry, "as_of_us": _moment("--as-of", as_of), "components": components}
    answer = call(data, "bom.show", asked)
    if as_json:
        print_json("limen/bom.show/v1", answer)
        return
    click.echo(
        f"{answer['vendor']}: BOM of entry {answer['entry']}, effective {answer['effective']}, received {answer['received']}"
    )
    if answer["quarantined"]:
        click.echo(f"QUARANTINED: {answer['quarantined']}")
    packages = ", ".join(f"{count} {name or 'that no advisory can name'}" for name, count in answer["packages"].items())
    click.echo(f"  {answer['components']} components: {packages or 'none'}")
    for each in answer.get("components_listed", ()):
        scope = "" if each["scope"] == "required" else f" [{each['scope']}]"
        click.echo(f"  {each['purl'] or each['name']} {each['path']}{scope}".rstrip())
    for service in answer["services"]:
        _print_service(service)
    _print_left_unsaid(answer["why"], answer["gaps"])


@bom.command()
@click.argument("entry", type=int)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("-"), help="Where to."
)
@data_option
def export(data: Path, entry: int, output: Path) -> None:
    """Write the BOM that ENTRY files, byte for byte as it came (to standard output, unless --output says where)."""
    import hashlib

    from limen.store.blobs import Blobs

    digest = call(data, "bom.find", {"entry": entry})["digest"]
    raw = Blobs(data / "blobs").path(digest).read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise TamperDetected(f"the bytes of the BOM of entry {entry} are not those that were filed; nothing was written")
    if str(output) == "-":
        sys.stdout.buffer.write(raw)
    else:
        output.write_bytes(raw)
        say(f"limen: {len(raw)} bytes, sha256 {digest}, written to {output}")


def _read(file: Path) -> bytes:
    """The bytes, at most one more than the limit, so that what is too large is refused without being read whole."""
    from limen.formats.cyclonedx import MAX_BYTES

    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as e:
        raise Invalid(str(file), f"can't be read: {e.strerror}") from e


def _moment(option: str, text: str | None) -> int | None:
    from limen.observe.moments import rfc3339

    try:
        return None if text is None else rfc3339(text)
    except ValueError as e:
        raise Invalid(option, f"{text!r} is not an RFC 3339 time like 2026-04-02T09:00:00Z") from e


def _pair(text: str) -> list[str]:
    classification, equals, name = text.rpartition("=")
    if not equals:
        raise Invalid("--classification", f"{text!r} is not of the form TEXT=CLASS")
    return [classification, name]


def _print_added(answer: dict[str, Any]) -> None:
    if answer["quarantined"]:
        click.echo(f"{answer['vendor']}: kept as entry {answer['entry']}, in quarantine: {answer['quarantined']}")
        say("limen: nothing of it counts, and what changed at the vendor is not known until a valid BOM comes")
        return
    word = "filed before as" if answer["already"] else "filed as"
    unnamed = f", {answer['unnamed']} of them no advisory can name" if answer["unnamed"] else ""
    click.echo(f"{answer['vendor']}: {word} entry {answer['entry']}, effective {answer['effective']}")
    click.echo(f"  {answer['components']} components{unnamed}")
    for each in answer["undisclosed"]:
        click.echo(f"UNDISCLOSED: {each['service']}: {each['why']}")
    if answer["unbound"]:
        click.echo(f"UNKNOWN: of {answer['unbound']} flows of data nothing says which of our asset classes they carry")
    _print_left_unsaid(answer["why"], answer["gaps"])


def _print_service(service: dict[str, Any]) -> None:
    beyond = {True: ", across a trust boundary", False: "", None: ", boundary not said"}[service["crosses_boundary"]]
    click.echo(f"  service {service['service']} by {service['provider'] or 'nobody named'}{beyond}")
    for flow in service["flows"]:
        carries = ", ".join(flow["classes"]) if flow["bound"] else "cannot say which of our assets"
        name = f" {flow['name']}" if flow["name"] else ""
        click.echo(f"    {flow['flow']}{name}, {flow['classification'] or 'not classified'}: {carries}")
    if service["undisclosed"]:
        click.echo(f"UNDISCLOSED: {service['service']}: {service['why']}")


def _print_left_unsaid(why: str, gaps: list[str]) -> None:
    click.echo(f"INCOMPLETE: {why}" if why else "complete: what it does not list is not there, by its own word")
    for gap in gaps[:_SHOWN]:
        click.echo(f"UNKNOWN: {gap}")
