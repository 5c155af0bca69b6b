"""`limen review` and `limen asset page`: the portfolio, and one asset, as values or as pages to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from limen.cli.access import papers_args, papers_options
from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Conflict, Invalid

COLUMNS = ["vendor", "people", "served", "observed", "unknown principals", "unused grants", "cannot say"]


@click.command()
@click.option("--since", help="RFC 3339: count from then on. Default: all that is known.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write Markdown pages into this directory, which must be new or empty."
)
@papers_options
@data_option
@json_option
def review(
    data: Path,
    since: str | None,
    out: Path | None,
    iam_policies: Path | None,
    github_collaborators: Path | None,
    *,
    as_json: bool,
) -> None:
    """Review all vendors at once: exposure, granted against used, and a page for each asset."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(f"{out} is there and not empty; nothing was written. Name a new directory")
    args = {"since_us": microseconds("--since", since), **papers_args(iam_policies, github_collaborators)}
    report = call(data, "review", args)
    if out is not None:
        _write(out, report)
    if as_json:
        print_json(report.pop("schema"), report)
        return
    rows = [{"vendor": v["vendor"], **v["sums"], "cannot say": len(v["unknown"])} for v in report["vendors"]]
    click.echo(table(rows, COLUMNS))
    for line in report["unknown"]:
        click.echo(f"UNKNOWN: {line}")
    if out is not None:
        say(f"limen: {1 + len(report['vendors']) + len(report['assets'])} pages in {out}; begin with {out / 'index.md'}")


@click.command()
@click.argument("asset")
@papers_options
@data_option
@json_option
def page(data: Path, asset: str, iam_policies: Path | None, github_collaborators: Path | None, *, as_json: bool) -> None:
    """Who handles ASSET's data, where it is stored, how access is controlled: a Markdown page, each row with its grade."""
    from limen.response.markdown import asset_page

    answer = call(data, "asset.page", {"asset": asset, **papers_args(iam_policies, github_collaborators)})
    if as_json:
        print_json(answer.pop("schema"), answer)
    else:
        click.echo(asset_page(answer), nl=False)


def _write(out: Path, report: dict[str, Any]) -> None:
    from limen.response.markdown import asset_page, index_page, vendor_page

    pages = {f"vendor-{vendor['vendor']}.md": vendor_page(vendor) for vendor in report["vendors"]}
    pages |= {f"asset-{each['asset']}.md": asset_page(each) for each in report["assets"]}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {**pages, "index.md": index_page(report)}.items():  # the index last: it links to the others
            (out / name).write_text(text)
    except OSError as e:
        raise Invalid("--out", f"{e.filename} can't be written: {e.strerror}; what is there is not whole") from e
