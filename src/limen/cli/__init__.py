"""The `limen` command. Groups load on use, so that `limen --help` and a cached `limen creds` answer in about 0.1 s.

Answers go to stdout, talk goes to stderr. Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 refused by policy,
4 not found, 5 verification failed, 6 partly done.
"""

from __future__ import annotations

import builtins
import importlib
import keyword
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from limen.core import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# command -> (module, one line of help); the module has a click command of the same name with `-` as `_`, and
# `_` after a name that Python has taken
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("limen.cli.init", "make a data directory: say what there is, import it, see the first report"),
    "import": ("limen.cli.catalog", "import vendors, people, projects, assets, agreements, grants"),
    "vendor": ("limen.cli.catalog", "outside companies"),
    "person": ("limen.cli.privacy", "named humans: add, end, hold, erase; open a name"),
    "workload": ("limen.cli.catalog", "non-human identities, each with a sponsor"),
    "project": ("limen.cli.catalog", "sandboxes"),
    "asset": ("limen.cli.markkeys", "datasets, guidelines, drop boxes; register their versions, or adopt them where they rest"),
    "agreement": ("limen.cli.catalog", "what a vendor signed"),
    "grant": ("limen.cli.catalog", "who may do what to which asset, until when"),
    "tier": ("limen.cli.catalog", "sensitivity tiers and their floors"),
    "session": ("limen.cli.catalog", "sessions in force; end one"),
    "access": ("limen.cli.access", "explain which rule decides; audit what is granted against what is used"),
    "serve": ("limen.cli.serve", "serve the doors"),
    "pause": ("limen.cli.pause", "cut off a vendor, project, person or session, now"),
    "resume": ("limen.cli.pause", "lift a pause"),
    "restrict": ("limen.cli.restrict", "leave a vendor, person or session some of its work only, now"),
    "unrestrict": ("limen.cli.restrict", "lift a restriction"),
    "observe": ("limen.cli.observe", "import what other systems logged: CloudTrail, S3, GitHub, Vault, others"),
    "who": ("limen.cli.who", "whom the principals of other systems' logs are put down to"),
    "exposure": ("limen.cli.exposure", "exactly what somebody was served"),
    "contract": ("limen.cli.contract", "what a vendor agreed to, as clauses that can be judged: check, set, show"),
    "waiver": ("limen.cli.waiver", "clauses that somebody signed off for some days: add, end, list"),
    "gate": ("limen.cli.gate", "judge a vendor by its contract; renewal, onboarding, what is missing"),
    "evidence": ("limen.cli.evidence", "one file about a vendor that outsiders verify: export, verify, key"),
    "spotcheck": ("limen.cli.spotcheck", "random audits that neither side can steer: commit, draw, result"),
    "scan": ("limen.cli.scan", "secrets and governed content in repositories' whole history"),
    "keys": ("limen.cli.keys", "every key that ever touched a vendor's path, with the reason"),
    "fact": ("limen.cli.facts", "what is known of a vendor, measure by measure and day by day; papers; disputes"),
    "notice": ("limen.cli.notices", "incidents at a vendor, its notice of them, who left, what came back"),
    "static-key": ("limen.cli.notices", "long-lived keys of a vendor"),
    "rotation": ("limen.cli.notices", "replacements of long-lived keys, with the old one refused"),
    "findings": ("limen.cli.findings", "what the log's readers found: list, show, find again"),
    "alert": ("limen.cli.findings", "who is told of findings: list, test"),
    "advisory": ("limen.cli.advisory", "what is known to be bad: take it in, list, show, when it could be had, VEX"),
    "profile": ("limen.cli.profile", "what to ask of a vendor: fourteen controls, as a contract or as OSCAL"),
    "review": ("limen.cli.review", "all vendors and assets at once: exposure, granted against used, pages"),
    "bom": ("limen.cli.bom", "what vendors say they run: bills of material, and what they leave unsaid"),
    "drop": ("limen.cli.drop", "returned work: quality by gold items, release to training without canaries"),
    "trace": ("limen.cli.trace", "whose copy a leaked sample came from"),
    "case": ("limen.cli.case", "leaks that add up: list, show, the second human's review"),
    "model": ("limen.cli.model", "was a model trained on a served copy, and on whose: register, test"),
    "ledger": ("limen.cli.ledger", "the log: its head, its newest lines, its verification and proofs"),
    "mirror": ("limen.cli.mirror", "keep a verified copy of somebody else's log"),
    "witness": ("limen.cli.witness", "cosign other people's logs"),
    "backup": ("limen.cli.backup", "copy the data directory, also while it is served"),
    "restore": ("limen.cli.backup", "put a backup back, and say how far its log reaches"),
    "login": ("limen.cli.login", "open a session in one project (browser or device code)"),
    "creds": ("limen.cli.creds", "print the session for `credential_process`"),
    "doctor": ("limen.cli.doctor", "clock, disk, ledger, upstreams, ports: is it fit to serve"),
    "demo": ("limen.cli.demo", "replay the breach"),
    "whoami": ("limen.cli.whoami", "who this session says you are"),
}

EXIT: Final[tuple[tuple[type[errors.LimenError], int], ...]] = (
    (errors.Invalid, 2),
    (errors.Conflict, 2),
    (errors.Unsupported, 2),
    (errors.Denied, 3),
    (errors.NotFound, 4),
    (errors.TamperDetected, 5),
    (errors.LimenError, 1),
)
PARTLY_DONE: Final = 6


class Lazy(click.Group):
    """A group that imports a command's module when the command is called, from a table like COMMANDS."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the table's order: that of the work."""
        del ctx
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None for a word that is none."""
        del ctx
        if cmd_name not in self._table:
            return None
        name = cmd_name.replace("-", "_") + ("_" if keyword.iskeyword(cmd_name) or hasattr(builtins, cmd_name) else "")
        command = getattr(importlib.import_module(self._table[cmd_name][0]), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._table.items()])


@click.group(cls=Lazy, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="limen", message="limen %(version)s")
def limen() -> None:
    """Custody of AI training assets: who touched what, cut off in a second, and whose copy leaked."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; a LimenError becomes one `limen: error:` line and its exit code."""
    try:
        code = limen.main(args=argv, prog_name="limen", standalone_mode=False)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.Abort:
        click.echo("limen: stopped", err=True)
        sys.exit(1)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except errors.LimenError as e:
        click.echo(f"limen: error: {e}", err=True)
        hint = getattr(e, "hint", "") or getattr(e, "next_step", "")
        if hint:
            click.echo(f"limen: hint: {hint}", err=True)
        sys.exit(exit_code(e))
    if isinstance(code, int) and code:  # click hands a command's own Exit back as a value
        sys.exit(code)


def exit_code(error: errors.LimenError) -> int:
    """The exit code of an error, by the first kind in EXIT that it is."""
    return next(code for kind, code in EXIT if isinstance(error, kind))
