"""`limen advisory import|list|show|window|vex`: what is known to be bad, taken in and asked for.

What is taken in goes into the blob store here, and only its digest to the gateway: a feed may be as large as it likes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from limen.cli import PARTLY_DONE
from limen.cli.exposure import microseconds
from limen.cli.link import F, call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INVALID: Final = 2
SHOWN: Final = 20
_CHUNK: Final = 1 << 20
_SIGNATURE: Final = ".sig"
_FEEDS: Final = ["entry", "received", "source", "signed", "records", "fresh", "in_quarantine"]
_ADVISED: Final = ["id", "number", "affects", "modified", "withdrawn", "malicious", "signed", "summary"]
_WINDOWS: Final = ["entry", "channel", "source", "from", "to", "image", "tag"]
_STATED: Final = ["entry", "vendor", "ids", "status", "products", "why", "at", "newest"]


def _as_of_option(command: F) -> F:
    return click.option("--as-of", help="RFC 3339: only what was known at this time.")(command)


@click.command()
@click.argument("feed", metavar="FILE | DIRECTORY | -")
@click.option("--source", default="", help="Whom it is from, in your words; a signed feed says it itself.")
@click.option("--signature", type=click.Path(path_type=Path), help="Its SSH signature; FEED.sig is used if it is there.")
@data_option
@json_option
def import_(data: Path, feed: str, source: str, signature: Path | None, *, as_json: bool) -> None:
    """Take in OSV records: one, a list, one a line, a zip, or a directory of them. The same bytes again change nothing.

    What is no record is kept in quarantine, with the reason; then the exit code is 6, or 2 if nothing was a record.
    """
    armor = _armor(feed, signature)
    if not source and armor is None:
        raise Invalid("--source", "is missing; say whom it is from, or give its signature")
    digest = _put(data, _given(feed))
    answer = call(data, "advisory.feed", {"digest": digest, "source": source, "signature": armor})
    if as_json:
        print_json("limen/advisory.import/v1", answer)
    else:
        _tell_feed(answer)
    if answer["in_quarantine"]:
        sys.exit(PARTLY_DONE if answer["records"] else INVALID)


@click.command()
@click.option("--package", "purl", help="A purl: only what names this package, and says so of this version.")
@click.option("--quarantined", is_flag=True, help="Also what is no record, and why.")
@_as_of_option
@data_option
@json_option
def list_(data: Path, purl: str | None, as_of: str | None, *, quarantined: bool, as_json: bool) -> None:
    """List the feeds that were taken in; with --package, the standing records that name a package."""
    as_of_us = microseconds("--as-of", as_of)
    if purl is not None:
        _list_package(data, purl, as_of_us, as_json=as_json)
        return
    answer = call(data, "advisory.list", {"as_of_us": as_of_us, "quarantined": quarantined})
    if as_json:
        print_json("limen/advisory.list/v1", answer)
        return
    if answer["feeds"]:
        click.echo(table(answer["feeds"], _FEEDS))
    for each in answer.get("quarantined", ()):
        click.echo(f"QUARANTINED feed {each['feed']} piece {each['number']} {each['name']}: {each['why']}")
    for name, why in answer["refused"].items():
        click.echo(f"REFUSED {name or 'the watched directory'}: {why}")
    census = answer["census"]
    say(
        f"limen: {census['records']} records in {census['revisions']} revisions, about {census['packages']} packages;"
        f" {census['quarantined']} pieces in quarantine"
    )


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--raw", "number", type=click.IntRange(min=1), help="Print this revision of this record, byte for byte.")
@_as_of_option
@data_option
@json_option
def show(data: Path, id_: str, number: int | None, as_of: str | None, *, as_json: bool) -> None:
    """Show the finding that an id belongs to: all its ids, every revision of its records, and when it could be had."""
    if number is not None:
        answer = call(data, "advisory.raw", {"id": id_, "number": number})
        sys.stdout.buffer.write(answer["text"].encode())
        return
    answer = call(data, "advisory.show", {"id": id_, "as_of_us": microseconds("--as-of", as_of)})
    if as_json:
        print_json("limen/advisory.show/v1", answer)
        return
    click.echo(f"{answer['finding']}  {answer['summary']}")
    click.echo(f"  ids        {', '.join(answer['ids'])}")
    click.echo(f"  malicious  {_yes(answer['malicious'])}")
    if answer["withdrawn"]:
        click.echo("  WITHDRAWN: none of its records holds any more")
    for each in answer["revisions"]:
        signers = ", ".join(f"{s['source']} ({'signed' if s['signed'] else 'unsigned'})" for s in each["sources"])
        click.echo(
            f"{'*' if each['standing'] else ' '} {each['id']} revision {each['number']}, entry {each['entry']},"
            f" received {each['received']}, modified {each['modified']}, from {signers}"
            + (f", withdrawn {each['withdrawn']}" if each["withdrawn"] else "")
        )
        for affected in each["affected"]:
            click.echo(f"    {affected['ecosystem']} {affected['name']}: {_rule(affected)}")
    _tell_windows(answer["windows"])


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--channel", help="Where it could be had: pypi, ghcr, …")
@click.option("--source", help="Who says so.")
@click.option("--from", "start", help="RFC 3339: from when on.")
@click.option("--to", "end", help="RFC 3339: until when; without it, it still can.")
@click.option("--image", default="", help="A container image that held it under --tag meanwhile.")
@click.option("--tag", default="", help="The floating tag.")
@click.option("--take-back", is_flag=True, help="What this source said about this channel counts no more.")
@_as_of_option
@data_option
@json_option
def window(  # noqa: PLR0917  click passes options by name
    data: Path,
    id_: str,
    channel: str | None,
    source: str | None,
    start: str | None,
    end: str | None,
    image: str,
    tag: str,
    as_of: str | None,
    *,
    take_back: bool,
    as_json: bool,
) -> None:
    """Show when what an id names could be had, by every source; with --channel, --source and --from, state it.

    Sources disagree, and all of them are kept: the widest counts by default, and how far they are apart is shown.
    """
    if channel is None and source is None and start is None and not take_back:
        answer = call(data, "advisory.windows", {"id": id_, "as_of_us": microseconds("--as-of", as_of)})
    else:
        if take_back == (start is not None):
            raise Invalid("--from", "say from when on, or --take-back, not both")
        stated = {"from": microseconds("--from", start), "to": microseconds("--to", end), "image": image, "tag": tag}
        ecosystem = "container" if image else ""
        answer = call(
            data,
            "advisory.window.add",
            {"id": id_, "channel": channel, "source": source, "ecosystem": ecosystem, **stated},
        )
    if as_json:
        print_json("limen/advisory.window/v1", answer)
        return
    _tell_windows(answer)
    if "entry" in answer:
        say(f"limen: stated as entry {answer['entry']}")


@click.command()
@click.argument("vendor", required=False)
@click.argument("document", required=False, metavar="[FILE]")
@_as_of_option
@data_option
@json_option
def vex(data: Path, vendor: str | None, document: str | None, as_of: str | None, *, as_json: bool) -> None:
    """Show what a vendor (or everybody) states by VEX; with FILE (OpenVEX or CycloneDX; - is standard input), file it.

    Such statements are declared. None ever clears a malicious package.
    """
    if document is not None:
        digest = _put(data, _document(document))
        answer = call(data, "advisory.vex.add", {"vendor": vendor, "digest": digest})
        if as_json:
            print_json("limen/advisory.vex.add/v1", answer)
        else:
            say(f"limen: {answer['statements']} statements ({answer['form']}, declared) filed as entry {answer['entry']}")
        return
    answer = call(data, "advisory.vex", {"vendor": vendor, "as_of_us": microseconds("--as-of", as_of)})
    if as_json:
        print_json("limen/advisory.vex/v1", answer)
        return
    rows = [{**s, "ids": " ".join(s["ids"]), "products": " ".join(s["products"])} for s in answer["statements"]]
    if rows:
        click.echo(table(rows, _STATED))
    say(f"limen: {len(rows)} statements, declared by whom they are about; none clears a malicious package")


def _list_package(data: Path, purl: str, as_of_us: int | None, *, as_json: bool) -> None:
    answer = call(data, "advisory.package", {"purl": purl, "as_of_us": as_of_us})
    if as_json:
        print_json("limen/advisory.package/v1", answer)
        return
    rows = [{**a, "signed": any(s["signed"] for s in a["sources"])} for a in answer["advisories"]]
    if rows:
        click.echo(table(rows, _ADVISED))
    say(f"limen: {len(rows)} standing records name {answer['ecosystem']} {answer['name']}")


def _given(feed: str) -> Iterable[bytes]:
    """The feed's bytes: a directory's records as one sequence."""
    from limen.assurance.advisories.feed import sequence

    if feed == "-":
        return _stream(None)
    path = Path(feed)
    if path.is_dir():
        found = sorted(each for each in path.rglob("*.json") if each.is_file())
        if not found:
            raise Invalid("DIRECTORY", f"{path} holds no file named .json; nothing was taken in")
        return sequence(each.read_bytes() for each in found)
    if not path.is_file():
        raise Invalid("FILE", f"{path} is not there; nothing was taken in")
    return _stream(path)


def _document(name: str) -> Iterable[bytes]:
    if name == "-":
        return _stream(None)
    if not Path(name).is_file():
        raise Invalid("FILE", f"{name} is not there; nothing was filed")
    return _stream(Path(name))


def _stream(path: Path | None) -> Iterator[bytes]:
    if path is None:
        stream = sys.stdin.buffer
        while chunk := stream.read(_CHUNK):
            yield chunk
        return
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            yield chunk


def _armor(feed: str, signature: Path | None) -> str | None:
    """The signature's text, if there is one."""
    if signature is None and feed != "-":
        beside = Path(feed).with_name(Path(feed).name + _SIGNATURE)
        signature = beside if beside.is_file() else None
    if signature is None:
        return None
    if Path(feed).is_dir():
        raise Invalid("--signature", "is one of a file; a directory of records can't be signed as it lies there")
    try:
        return signature.read_text("ascii")
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid("--signature", f"{signature} can't be read: {e}") from e


def _put(data: Path, chunks: Iterable[bytes]) -> str:
    from limen.store.blobs import Blobs

    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    digest, _ = Blobs(data / "blobs").put(chunks)
    return digest


def _tell_feed(answer: dict[str, Any]) -> None:
    signed = f"signed by {answer['key']}" if answer["signed"] else "unsigned"
    if answer["again"]:
        click.echo(f"nothing new: these bytes of {answer['source']} are entry {answer['entry']} already")
    else:
        click.echo(
            f"entry {answer['entry']}: {answer['records']} records of {answer['source']} ({signed}), {answer['fresh']} new"
        )
    for each in answer["reasons"][:SHOWN]:
        click.echo(f"QUARANTINED piece {each['number']} {each['name']}: {each['why']}")
    if answer["in_quarantine"] > SHOWN:
        click.echo(f"… and {answer['in_quarantine'] - SHOWN} more; `limen advisory list --quarantined` names them")


def _tell_windows(answer: dict[str, Any]) -> None:
    if answer["windows"]:
        click.echo(table(answer["windows"], _WINDOWS))
    for channel, each in answer["channels"].items():
        click.echo(
            f"{channel}: from {each['widest']['from']} to {each['widest']['to'] or 'now'} at the widest;"
            f" sources begin it {_between(each['start'])} and end it {_between(each['end'])}"
        )


def _between(times: Iterable[str | None]) -> str:
    first, last = times
    return f"at {first or 'no time'}" if first == last else f"between {first} and {last or 'no time'}"


def _rule(affected: dict[str, Any]) -> str:
    parts = [", ".join(affected["versions"])] if affected["versions"] else []
    parts += [" ".join(f"{kind} {v}" for event in each["events"] for kind, v in event.items()) for each in affected["ranges"]]
    parts += affected["digests"]
    return "; ".join(parts) or "no version is named"


def _yes(value: object) -> str:
    return "yes" if value else "no"
