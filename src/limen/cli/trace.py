"""`limen trace`: whose copy a leaked sample came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from limen.cli.link import call, data_option, json_option, print_json, say


@click.command()
@click.argument("sample", type=click.Path(path_type=Path))
@click.option("--alpha", default=1e-9, show_default=True, help="Bound on naming any innocent copy in this case.")
@data_option
@json_option
def trace(data: Path, sample: Path, alpha: float, *, as_json: bool) -> None:
    """Score a leaked SAMPLE (JSONL, CSV or text, also gzipped). Its digest is logged before it is scored."""
    report = call(data, "trace", {"path": str(sample.resolve()), "alpha": alpha})
    if as_json:
        print_json(report.pop("schema"), report)
        return
    click.echo(f"{_sentence(report)}")
    click.echo(f"  slots matched: {report['slots_matched']} (person tier {report['slots_person']}, vendor tier", nl=False)
    click.echo(f" {report['slots_vendor']}); copies compared: {report['compared']}; alpha {report['alpha']:g} a case")
    for copy in report["copies"]:
        click.echo(f"  copy of {copy['person']} ({copy['vendor']}): p <= {copy['p']:.1e}, q <= {copy['q']:.1e}", nl=False)
        click.echo(f"; {copy['agree']} of {copy['slots']} slots agree")
        for line in copy["sessions"]:
            click.echo(f"    session {line['session']} was handed {line['records']} of the {line['of']} leaked records")
    for vendor in report["vendors"]:
        click.echo(f"  vendor tier: {vendor['vendor'] or vendor['recipient']}: q <= {vendor['q']:.1e}")
    for canary in report["canaries"]:
        click.echo(f"  canary found: {canary}")
    for key in report["retired"]:
        click.echo(
            f"  {key['slots']} slots of the retired key {key['key']} are not counted: the sample was first logged after", nl=False
        )
        click.echo(f" entry {key['entry']}, by which the key ended")
    for line in report["unknown"]:
        click.echo(f"  UNKNOWN: {line}")
    click.echo(f"  entries {report['sample_entry']} (sample logged, before it was scored) and {report['result_entry']} (result)")
    say(f"limen: {report['meaning']}")


def _sentence(report: dict[str, Any]) -> str:
    match report["verdict"]:
        case "named":
            people = ", ".join(copy["person"] for copy in report["copies"]) or "a vendor's copies"
            return f"NAMED: the copies implicated are those of {people}."
        case "none":
            return "NONE: nothing in this sample matches anything that was served."
    return f"ABSTAIN: too little to name a copy; about {report['slots_needed']} matched slots would do."
