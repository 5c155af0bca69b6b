"""`limen trace`: whose copy a leaked sample came from. Names are opened by `limen case review`, and by somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli._acting import acting_options, who
from limen.cli.link import call, data_option, say
from limen.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    F = Callable[..., Any]


def report_options(command: F) -> F:
    """Give a command `--format`, `--json` and `--out`, as its arguments `form`, `as_json` and `out`."""
    form = click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
    as_json = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
    out = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there.")
    return form(as_json(out(command)))


@click.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--case", "case_", default="", help="Add the sample to this case: slots count once, alpha is the case's.")
@click.option("--alpha", type=float, help="Bound on naming any innocent copy in the case.  [default: 1e-9, or the case's]")
@report_options
@click.option(
    "--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Also write the case as `limen case export` does."
)
@acting_options
@data_option
def trace(  # noqa: PLR0917  click passes options by name
    data: Path,
    paths: tuple[Path, ...],
    case_: str,
    alpha: float | None,
    form: str,
    out: Path | None,
    bundle: Path | None,
    acting: str | None,
    id_token: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score a leaked sample: plain, a directory, an archive, or several. Its digest is logged before it is scored."""
    if bundle is not None and bundle.exists():
        raise Conflict(f"{bundle} exists; nothing was traced")
    args = {"paths": [str(path.resolve()) for path in paths], "case": case_, "alpha": alpha, **who(acting, id_token)}
    report = call(data, "trace", args, progress=lambda text: say(f"limen: {text}"))
    if report["again"]:
        say(f"limen: this sample is look {report['look']} of case {report['case']} already: nothing was scored again")
    give(report, "json" if as_json else form, out)
    if bundle is not None:
        asked = {"case": report["case"], "look": report["look"], "output": str(bundle.absolute())}
        tell_bundle(call(data, "case.export", asked), say)
    if any(copy["person"] is None for copy in report["copies"]):
        copy = next(copy["copy"] for copy in report["copies"] if copy["person"] is None)
        say(f"limen: somebody else may open a name: limen case review {report['case']} --open {copy[:12]} --reason …")
        if "acting" not in report["traced"]:
            say(
                "limen: under another account, that is: --as or --id-token would have said who you are, and that they are another"
            )


def tell_bundle(found: dict[str, Any], write: Callable[[str], None] = click.echo) -> None:
    """Say what was exported, and how it is checked."""
    write(f"{found['output']}: {found['length']} bytes, SHA-256 {found['digest']} (entry {found['entry']})")
    say(f"limen: an arbiter checks it with: python3 -I -S arbiter.py {Path(found['output']).name} --log '{found['log']}' --key …")


def give(report: dict[str, Any], form: str, out: Path | None) -> None:
    """Print a report, or write it where it is asked for."""
    text = _written(report, form)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text)
        out.chmod(0o600)
    except OSError as e:
        raise Invalid("--out", f"{out} can't be written: {e.strerror}; the trace itself is entry {report['result_entry']}") from e
    say(f"limen: {out}: the report; keep it as you would keep the case")


def _written(report: dict[str, Any], form: str) -> str:
    match form:
        case "json":
            return json.dumps(report, ensure_ascii=False, indent=2) + "\n"
        case "html":
            from limen.response.trace_page import page

            return page(report)
    from limen.response.trace_words import AFTER, plain

    return "\n".join([*plain(report), f"  {AFTER}"]) + "\n"
