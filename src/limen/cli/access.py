"""`limen access`: which rule decides, and what of all that is granted a vendor uses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say
from limen.core.errors import TamperDetected


@click.group()
def access() -> None:
    """Who may do what, and why."""


@access.command()
@click.argument("person")
@click.argument("asset")
@click.option("--action", default="read", show_default=True, type=click.Choice(["read", "head", "list", "write", "delete"]))
@click.option("--hardware", is_flag=True, help="As if the session had been opened with a hardware key.")
@data_option
@json_option
def explain(data: Path, person: str, asset: str, action: str, *, hardware: bool, as_json: bool) -> None:
    """Say whether PERSON may do this to ASSET now, and which rule decides."""
    args = {"person": person, "asset": asset, "action": action, "strength": "hardware" if hardware else "single"}
    answer = call(data, "explain", args)
    if as_json:
        print_json("limen/explain/v1", {"person": person, "asset": asset, "action": action, **answer})
        return
    click.echo(f"{person} {action} {asset}: {'allowed' if answer['allowed'] else 'refused'} by {answer['rule']}")
    if answer.get("reason"):
        click.echo(f"  {answer['reason']}")
    for rule in answer["rules"]:
        click.echo(f"  {rule['rule']:<28} {rule['verdict']}")


def papers_options(command: Any) -> Any:
    """Give a command the documents of what other systems granted."""
    iam = "IAM: what `aws iam get-account-authorization-details` prints, or a directory of policies NAME.json."
    github = "GitHub: a directory of OWNER/REPO.json, each the REST API's answer for its collaborators."
    kind = click.Path(path_type=Path, exists=True)
    command = click.option("--github-collaborators", type=kind, help=github)(command)
    return click.option("--iam-policies", type=kind, help=iam)(command)


def papers_args(iam_policies: Path | None, github_collaborators: Path | None) -> dict[str, Any]:
    """The same, as the verb takes them."""
    given = {"iam_policies": iam_policies, "github_collaborators": github_collaborators}
    return {name: str(path.resolve()) for name, path in given.items() if path is not None}


@access.command()
@click.argument("vendor")
@click.option("--since", help="RFC 3339: count what was used from then on. Default: all that is known.")
@click.option(
    "--keep-days", type=int, default=90, show_default=True, help="How long a grant of limen's that is in use may go on."
)
@papers_options
@data_option
@json_option
def audit(  # noqa: PLR0917  click passes options by name
    data: Path,
    vendor: str,
    since: str | None,
    keep_days: int,
    iam_policies: Path | None,
    github_collaborators: Path | None,
    *,
    as_json: bool,
) -> None:
    """Hold what VENDOR is granted against what it used, and propose the narrower scope.

    Each proposal is replayed: every use that the grants allowed must be allowed by it. It speaks of the covered time alone.
    """
    args = {"vendor": vendor, "since_us": microseconds("--since", since), "keep_s": keep_days * 86_400}
    report = call(data, "access.audit", args | papers_args(iam_policies, github_collaborators))
    if as_json:
        print_json(report.pop("schema"), report)
    else:
        click.echo("\n".join(told(report)))
        say("limen: nothing was changed; a proposal is for somebody who knows the work to read")
    if not report["holds"]:
        raise TamperDetected("a proposal would take away what was used (see `lost`); do not apply it, and report this")


def told(report: dict[str, Any]) -> list[str]:
    """The report in words, a line each."""
    lines = [f"Access of {report['vendor']}: granted against used"]
    for row in report["principals"]:
        shared = f", shared with {', '.join(row['shared_with'])}" if row["shared_with"] else ""
        lines += ["", f"{row['principal']} ({row['system']}, {row['grade']}{shared})"]
        lines += [f"  granted   {line}" for line in _granted(row)]
        lines += [f"  used      {_used(use)}" for use in row["used"]] or ["  used      nothing"]
        lines += [f"  proposed  {line}" for line in _proposed(row)]
        check = row["check"]
        lines.append(f"  replayed  {check['held']} of {check['uses']} uses stay allowed; lost: {len(check['lost'])}")
        if others := check["elsewhere"]:
            lines.append(f"  CANNOT SAY what allowed {len(others)} uses, such as {others[0]}: these grants did not")
        lines += _coverage(row)
        lines += [f"  CANNOT SAY: {line}" for line in row["cannot_say"]]
    return lines + [f"UNKNOWN: {line}" for line in report["unknown"]]


def _coverage(row: dict[str, Any]) -> list[str]:
    """Where the logs say nothing of what was used, or not all of it."""
    if not row["coverage"]["partial"]:
        return []
    holes = row["coverage"]["uncovered"]
    blind = ", ".join(hole["scope"] for hole in holes if hole["intervals"] is None)
    partly = ", ".join(hole["scope"] for hole in holes if hole["intervals"] is not None)
    lines = [f"  PARTLY COVERED: {partly}; what was used then and there is not known, and may be lost"] if partly else []
    if blind:
        lines.append(f"  NOT COVERED: {blind}; what was used there is not known")
    if not holes and row["proposal"] is not None:
        lines.append("  NOT COVERED: no log of what these grants reach was imported; what was used there is not known")
    return lines


def _granted(row: dict[str, Any]) -> list[str]:
    found = []
    for grant in row["granted"]:
        if row["system"] == "limen":
            until = datetime.fromtimestamp(grant["expires_at"], UTC).strftime("%Y-%m-%d")
            found.append(f"{', '.join(grant['actions'])} on {', '.join(grant['assets'])} until {until} ({grant['grant']})")
        elif row["system"] == "aws":
            odd = f" (all but these: {', '.join(grant['inverted'])})" if grant["inverted"] else ""
            condition = ", on a condition" if grant["conditional"] else ""
            found.append(f"{', '.join(grant['actions'])} on {', '.join(grant['resources'])}{odd}{condition}")
        else:
            found.append(f"{grant['role']} on {grant['repository']}")
    return found or ["not known"]


def _used(use: dict[str, Any]) -> str:
    last = datetime.fromtimestamp(use["last_us"] // 1_000_000, UTC).strftime("%Y-%m-%d")
    return f"{use['action']} {use['resource']}, {use['times']} times, last on {last} ({use['grade']})"


def _proposed(row: dict[str, Any]) -> list[str]:
    proposal = row["proposal"]
    if proposal is None:
        return ["nothing: what is granted is not known"]
    if row["system"] == "limen":
        return _granted({**row, "granted": proposal["grants"]}) if proposal["grants"] else ["end it: nothing of it was used"]
    if row["system"] == "github":
        return [f"{each['role'] or 'no access'} on {each['repository']}" for each in proposal["repositories"]]
    rows = [_statement(row) for row in proposal["document"]["Statement"]]
    return rows or ["no rights: nothing of them was used"]


def _statement(row: dict[str, Any]) -> str:
    actions = row.get("Action") or [f"all but {name}" for name in row["NotAction"]]
    resources = row.get("Resource") or [f"all but {name}" for name in row["NotResource"]]
    condition = ", on a condition" if row.get("Condition") else ""
    return f"{row['Effect']} {', '.join(actions)} on {', '.join(resources)}{condition}"
