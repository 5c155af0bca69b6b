"""`limen scan`: secrets and governed content in the whole history of repositories, and secrets in our own assets."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli import PARTLY_DONE
from limen.cli._scan_text import show
from limen.cli.link import call, data_option, json_option, print_json
from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.core.types import Upstream
    from limen.scan.manifest import Manifest
    from limen.scan.run import Looked
    from limen.scan.secrets import Kingfisher

_GITHUB = re.compile(r"(?:https?://(?:[^@/]+@)?|ssh://git@|git@)github\.com[:/]([^/]+)/([^/]+?)(?:\.git)?/?\Z")
_LICENCES = Path("/usr/share/common-licenses")


@click.command()
@click.argument("repos", nargs=-1, type=click.Path(path_type=Path), metavar="[REPO]...")
@click.option("--assets", is_flag=True, help="Search the registered assets themselves for secrets.")
@click.option("--name", help="What the repository is called in observations, as github:ORG/NAME. Default: by its `origin`.")
@click.option("--no-secrets", is_flag=True, help="Look for governed content alone.")
@click.option("--no-references", is_flag=True, help="Look for secrets alone.")
@click.option("--unconfined", is_flag=True, help="Run Kingfisher without a sandbox where the kernel refuses one. It is recorded.")
@click.option(
    "--boilerplate",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="A text, or a directory of texts, that everybody has: what it shares with an asset is told apart. Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Report, and record nothing.")
@data_option
@json_option
def scan(
    repos: tuple[Path, ...],
    data: Path,
    name: str | None,
    boilerplate: tuple[Path, ...],
    *,
    assets: bool,
    no_secrets: bool,
    no_references: bool,
    unconfined: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read every blob that is still in the REPOs: of every ref, of reflogs and stashes, and what nothing names any more."""
    import msgspec

    from limen import scanning
    from limen.directory import secret
    from limen.scan.keyring import Keyring
    from limen.scan.secrets import Kingfisher

    _check(repos, name, assets=assets, no_secrets=no_secrets, no_references=no_references)
    held = scanning.content(data, call(data, "scan.shards", {}), _fetcher(data))
    cache = scanning.folder(data) / "cache"
    answers = []
    with ExitStack() as stack:
        kingfisher: Kingfisher | None = None
        if not no_secrets:
            ready = Kingfisher.ready(Keyring.of(secret(data, "server.key")), boxed=not unconfined, rules=cache / "rules")
            kingfisher = stack.enter_context(ready)
        if assets and kingfisher is not None:
            answers.append(_recorded(data, scanning.scan_assets(held, kingfisher), {}, dry_run=dry_run))
        if repos:
            held = scanning.Content() if no_references else held
            looked, unread = scanning.looked(cache, held, _texts(boilerplate))
        for repo in repos:
            found, authors = _scanned(repo, name, cache, looked=looked, kingfisher=kingfisher)
            found = msgspec.structs.replace(found, left_out=(*found.left_out, *held.left_out, *unread))
            answers.append(_recorded(data, found, authors, dry_run=dry_run))
    if as_json:
        print_json("limen/scan/v1", {"scans": answers})
    else:
        for answer in answers:
            show(answer)
    if any(answer["left_out"] for answer in answers):
        sys.exit(PARTLY_DONE)


def _fetcher(data: Path) -> Callable[[Upstream, int], bytes]:
    """Reads adopted objects where they rest, as the gateway does."""

    def fetch(rests: Upstream, length: int) -> bytes:
        import asyncio

        from limen.config import load
        from limen.server import upstreams

        async def whole() -> bytes:
            return b"".join([chunk async for chunk in upstreams(load(data)).read(rests, length, 0, length)])

        return asyncio.run(whole())

    return fetch


def _check(repos: tuple[Path, ...], name: str | None, *, assets: bool, no_secrets: bool, no_references: bool) -> None:
    if not repos and not assets:
        raise Invalid("REPO", "name a repository's directory, or give --assets")
    if name and len(repos) != 1:
        raise Invalid("--name", "names one repository; scan them one by one")
    if no_secrets and (no_references or assets):
        raise Invalid("--no-secrets", "leaves nothing to look for")


def _scanned(
    repo: Path, name: str | None, cache: Path, *, looked: Looked, kingfisher: Kingfisher | None
) -> tuple[Manifest, dict[str, str]]:
    """One repository's scan, and who its commits say wrote them."""
    from limen.scan.history import History
    from limen.scan.run import Scan

    history = History.open(repo)
    called = name or _called(history.origin(), repo)
    found = Scan(history, called, looked, kingfisher, cache, progress=_bar(called)).run()
    return found, history.authors(sorted(_commits(found)))


def _recorded(data: Path, found: Manifest, authors: dict[str, str], *, dry_run: bool) -> dict[str, Any]:
    """Record a scan; what is printed of it. Authors are in the answer and nowhere else."""
    import msgspec

    from limen import scanning

    entry = None if dry_run else call(data, "scan.commit", {"manifest": scanning.stage(data, found)})["entry"]
    none: dict[str, Any] = {"taken_by": [], "covered": False}
    taken: dict[str, Any] = call(data, "scan.takers", {"repo": found.repo}) if found.subject == "git" else none
    takers = taken["taken_by"]
    answer: dict[str, Any] = {
        "entry": entry,
        **msgspec.to_builtins(found),
        "taken_by": takers,
        "takers_covered": taken["covered"],
    }
    del answer["schema"]
    for one in [*answer["references"], *(place for key in answer["keys"] for place in key["places"])]:
        for commit in one["commits"]:
            commit["author"] = authors.get(commit["commit"], "")
        one["taken_by"] = _took(takers, min((commit["at"] for commit in one["commits"]), default=0))
    return answer


def _took(takers: list[dict[str, Any]], since: int) -> list[str]:
    """The vendors that took the history after a commit was made, by the commit's own date; with none, at any time."""
    return sorted({vendor for one in takers if one["last_us"] >= since * 1_000_000 for vendor in one["vendors"]})


def _commits(found: Manifest) -> set[str]:
    of_keys = {commit.commit for key in found.keys for place in key.places for commit in place.commits}
    return of_keys | {commit.commit for one in found.references for commit in one.commits}


def _called(origin: str, repo: Path) -> str:
    """A repository's name as observations have it, where its origin tells."""
    found = _GITHUB.match(origin)
    return f"github:{found[1]}/{found[2]}" if found else repo.resolve().name.removesuffix(".git")


def _texts(given: tuple[Path, ...]) -> list[bytes]:
    """What everybody has: what was given, this machine's licence texts, and those of the packages that limen stands on."""
    from importlib.metadata import distributions

    found: set[bytes] = set()
    for path in [*given, *([_LICENCES] if _LICENCES.is_dir() else [])]:
        found |= {one.read_bytes() for one in (sorted(path.rglob("*")) if path.is_dir() else [path]) if one.is_file()}
    for package in distributions():
        for part in package.files or ():
            if re.match(r"(?i)(licen[cs]e|copying|notice)", part.name) and (path := Path(str(part.locate()))).is_file():
                found.add(path.read_bytes())
    return sorted(found)


def _bar(name: str) -> Any:
    """Tells how far a scan is, on a terminal only."""
    began = time.monotonic()

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            rate = done / 1e6 / max(time.monotonic() - began, 0.001)
            click.echo(f"\r{name}: {done >> 20} of {total >> 20} MiB, {rate:.0f} MB/s ", nl=done >= total, err=True)

    return told
