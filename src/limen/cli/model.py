"""`limen model`: was a model trained on a served copy, and on whose. Registered first, then measured, then scored.

Models are measured in this process, never in the gateway's: a directory with torch, an endpoint over HTTP, or files that
were answered elsewhere. Answers so far are kept beside the work, so that it can go on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from limen.cli import PARTLY_DONE
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.cli.trace import report_options
from limen.core.errors import Failed, Invalid

_COLUMNS = ["test", "case", "asset", "measure", "slots", "models", "verdict", "copies"]
_SIDES: Final = ("suspect", "reference")


@click.group()
def model() -> None:
    """Was a model trained on a served copy, and on whose: register a test, measure, score."""


@model.command(name="register-test")
@click.argument("asset")
@click.option("--case", "case_", required=True, help="The case that the suspect belongs to; alpha is the case's.")
@click.option("--suspect", required=True, metavar="MODEL", help="A model's directory, its sha256:… digest, or URL#model.")
@click.option("--reference", required=True, metavar="MODEL", help="What it is compared with; chosen now, not later.")
@click.option("--authority", required=True, help="By what right the lab questions these models. It stands in the log.")
@click.option("--measure", type=click.Choice(["loss", "hits"]), help="Losses, or next words.  [default: hits for endpoints]")
@click.option("--version", type=click.IntRange(min=1), help="Of the asset.  [default: the newest]")
@click.option("--slots", type=click.IntRange(min=1), default=400, show_default=True, help="How many slots to ask about.")
@click.option("--field", "fields", multiple=True, help="A JSON field that training reads; several in order.  [default: all text]")
@click.option("--cuts", type=int, default=4, show_default=True, help="Beginnings of each text, for next words.")
@click.option("--top", type=int, default=3, show_default=True, help="Candidates that count, for next words.")
@click.option("--models", type=int, help="How many tests the case has room for.  [default: 1, or the case's]")
@click.option("--alpha", type=float, help="Bound on naming any innocent copy in the case.  [default: 1e-9, or the case's]")
@data_option
@json_option
def register_test(data: Path, case_: str, suspect: str, reference: str, *, as_json: bool, **options: Any) -> None:
    """Fix suspect, reference, slots and method in the log, before anybody looks at a loss of ASSET's records."""
    ours = {"suspect": _meant(suspect, "--suspect"), "reference": _meant(reference, "--reference")}
    ends = any(address.startswith("http") for address in ours.values())
    options["measure"] = options["measure"] or ("hits" if ends else "loss")
    test = call(data, "model.register", {"case": case_, **ours, **options})
    if as_json:
        print_json("limen/model-test-registered/v1", test)
        return
    click.echo(f"model test {test['test']}: {test['slots']} slots of {test['asset']}@{test['version']}, by {test['measure']}")
    click.echo(f"  suspect   {test['suspect']}")
    click.echo(f"  reference {test['reference']}")
    click.echo(f"  case {test['case']} has room for {test['models']} tests under alpha {test['alpha']}; method {test['method']}")
    say(f"limen: it is registered; next: limen model test {test['test']} --suspect … --reference …")


@model.command()
@click.argument("test", type=int)
@click.option("--suspect", metavar="MODEL", help="The model's directory, or a file of its answers; nothing for an endpoint.")
@click.option("--reference", metavar="MODEL", help="The same of the reference.")
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), help="Where answers so far are kept, to go on later.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The endpoints' key, 0600; else LIMEN_MODEL_KEY.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the picture there.")
@report_options
@data_option
def test(  # noqa: PLR0917  click passes options by name
    data: Path,
    test: int,
    suspect: str | None,
    reference: str | None,
    work: Path | None,
    key_file: Path | None,
    svg: Path | None,
    form: str,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure what registered TEST asks for, and say whose copy the model leans to, if anybody's."""
    work = work or Path(f"model-test-{test}")
    given = {"suspect": suspect, "reference": reference}
    texts = {side: _answered(data, test, side, given[side], work=work, key_file=key_file) for side in _SIDES}
    report = call(data, "model.test", {"test": test, **texts}, progress=lambda text: say(f"limen: {text}"))
    if report["again"]:
        say(f"limen: test {test} was scored with these answers already: nothing was scored again")
    _give(report, "json" if as_json else form, out=out, svg=svg)


@model.command()
@click.argument("test", type=int)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the picture there.")
@report_options
@data_option
def show(data: Path, test: int, svg: Path | None, form: str, out: Path | None, *, as_json: bool) -> None:
    """Show a test's report again. Nothing is scored."""
    _give(call(data, "model.show", {"test": test}), "json" if as_json else form, out=out, svg=svg)


@model.command(name="list")
@data_option
@json_option
def list_(data: Path, *, as_json: bool) -> None:
    """List every registered test, with what came of it."""
    found = call(data, "model.list", {})
    if as_json:
        print_json("limen/model-test-list/v1", {"tests": found})
        return
    click.echo(table(found, _COLUMNS))


@model.command()
@click.argument("test", type=int)
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write them.")
@data_option
def questions(data: Path, test: int, out: Path) -> None:
    """Write what TEST asks to a file, to be answered elsewhere. That it leaves is an entry first."""
    from limen.formats.modelanswers import write_questions

    answer = call(data, "model.questions", {"test": test, "of": "export"})
    _write(out, write_questions(test, answer["questions"]))
    say(f"limen: {out}: {len(answer['questions'])} texts of marked records; whoever has them has both sides of these slots")


@model.command()
@click.argument("asked", metavar="QUESTIONS", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("directory", metavar="MODEL", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write the answers.")
def answer(asked: Path, directory: Path, out: Path) -> None:
    """Answer QUESTIONS with the losses of a model on disk. Needs torch and transformers, and no data directory."""
    from limen.formats.modelanswers import read_questions, write_answers
    from limen.models.causal import answers_of

    head, some = read_questions(_read(asked))
    _write(out, write_answers(answers_of(directory, some, progress=_measured), test=int(head["test"])))


def _meant(text: str, option: str) -> str:
    """How the log names a model: a directory by its digest, others as they are given."""
    from limen.formats.modelanswers import check_digest
    from limen.models.digest import digest_of

    if text.startswith(("http:", "https:")):
        from limen.models.endpoint import Endpoint

        Endpoint.parse(text)
        return text
    if text.startswith("sha256:"):
        return check_digest(text, option)
    return digest_of(Path(text))


def _answered(data: Path, test: int, side: str, given: str | None, *, work: Path, key_file: Path | None) -> str:
    """One side's answers, as the text of an answers file: read, measured here, or asked of its endpoint."""
    from limen.formats.modelanswers import write_answers
    from limen.models.causal import answers_of
    from limen.models.digest import digest_of

    registered = {row["test"]: row for row in call(data, "model.list", {})}
    if test not in registered:
        call(data, "model.show", {"test": test})  # says what there is
    meant = str(registered[test][side])
    if given is not None and Path(given).is_file():
        return _read(Path(given)).decode("utf-8", "replace")
    if given is not None:
        if (digest := digest_of(Path(given))) != meant:
            raise Invalid(f"--{side}", f"{given} is {digest}, and {meant} was registered; nothing was measured")
        asked = call(data, "model.questions", {"test": test, "of": "export"})["questions"]
        return write_answers(answers_of(Path(given), asked, progress=_measured), test=test).decode()
    if not meant.startswith("http"):
        raise Invalid(f"--{side}", f"is missing: test {test} was registered on {meant}; give its directory or a file of answers")
    asked = call(data, "model.questions", {"test": test, "of": side})["questions"]
    return _completed(test, meant, asked, top=int(registered[test]["top"]), kept=work / f"{side}.jsonl", key_file=key_file)


def _completed(test: int, address: str, asked: dict[str, str], *, top: int, kept: Path, key_file: Path | None) -> str:
    """An endpoint's answers, each kept as it comes, so that work that stopped goes on behind the last one."""
    from limen.formats.modelanswers import Answers, read_answers, write_answers
    from limen.models.endpoint import Endpoint, candidates_of, key_from

    endpoint = Endpoint.parse(address, key=key_from(key_file, os.environ))
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = Answers(address)
    if kept.exists():
        whole = kept.read_bytes()
        head, known = read_answers(whole[: whole.rfind(b"\n") + 1])  # the last line may have been cut
        if head["test"] != test or known.model != address:
            raise Invalid("--work", f"{kept} holds answers of {known.model} to test {head['test']}; name another directory")
    left = {name: text for name, text in asked.items() if name not in known.candidates}
    _write(kept, write_answers(known, test=test))
    done = len(asked) - len(left)
    try:
        with kept.open("a") as stream:
            for name, candidates in candidates_of(endpoint, left, top=top, wait=time.sleep):
                stream.write(json.dumps({"question": name, "candidates": candidates}, ensure_ascii=False) + "\n")
                stream.flush()
                done += 1
                _measured(done, len(asked))
    except Failed as e:
        say(f"limen: error: {e}; {done} of {len(asked)} are answered, and kept in {kept}")
        say("limen: hint: nothing was scored; the same command goes on from there")
        sys.exit(PARTLY_DONE)
    return kept.read_text()


def _measured(done: int, total: int) -> None:
    """A line at each tenth."""
    if done == total or done % max(1, total // 10) == 0:
        say(f"limen: {done} of {total} texts")


def _give(report: dict[str, Any], form: str, *, out: Path | None, svg: Path | None) -> None:
    from limen.response import model_words as words

    if svg is not None:
        _write(svg, words.picture(report).encode())
    match form:
        case "json":
            text = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
        case "html":
            text = words.page(report)
        case _:
            text = "\n".join(words.plain(report)) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text.encode())
        say(f"limen: {out}: the report; keep it as you would keep the case")
    for copy in report["copies"]:
        say(f"limen: a name takes two people: limen person open {copy['pseudonym']} --reason …")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise Invalid(str(path), f"can't be read: {e.strerror}") from e


def _write(path: Path, raw: bytes) -> None:
    """Write for the owner alone: records and cases are secret."""
    try:
        path.touch(mode=0o600)
        path.write_bytes(raw)
    except OSError as e:
        raise Invalid(str(path), f"can't be written: {e.strerror}") from e
