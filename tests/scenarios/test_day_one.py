"""docs/day-one.md on the invented lab: every report is the truth, no more and no less, and what is not known is said.

The page's own commands are run. The small lab in every test run; the full one (1,000 people, 2 million events) with
`tools/walk`. Beside each comparison stands one with a bent truth, or a bent lab, which must fail.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pages import Shell, blocks, shape

from lab.build import FULL, SMALL, build
from lab.cast import PLACES
from lab.storage import Storage
from lab.truth import Seen
from limen import cli
from limen.observe.depot import Depot

PAGE = Path(__file__).parents[2] / "docs" / "day-one.md"
LAST = "2026-03-06"
THERE = "/srv/day-one"  # where the page's commands are run, as the page has it


@dataclass
class Walk:
    """A lab, and the data directory that the page's commands made of it; `printed` is what each command printed."""

    lab: object
    shell: Shell
    printed: dict[str, str]
    data: Path

    @property
    def first(self):
        """The page's first command."""
        return next(iter(self.printed))

    @property
    def depot(self):
        return Depot.open(self.data / "observed")

    @property
    def window(self):
        """The window that the truth was asked about, as options."""
        since, until = (datetime.fromtimestamp(at, UTC).isoformat() for at in self.lab.truth.asked)
        return "--since", since, "--until", until

    def limen(self, *words):
        """Run a command on the data directory, in this process; what it answers."""
        told, code = io.StringIO(), 0
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                cli.main([*words, "--data", str(self.data)])
            except SystemExit as e:
                code = e.code
        assert code in {0, 6}, said.getvalue()
        return told.getvalue()

    def ask(self, *words):
        return json.loads(self.limen(*words, "--json"))


def last_day(lab):
    """The day after the lab's last one: the page names that of the small lab."""
    return datetime.fromtimestamp(lab.truth.end, UTC).date().isoformat()


@pytest.fixture(scope="module", params=[pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.slow)])
def walk(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("walk")
    lab = build(directory / "lab", request.param)
    with Storage(directory / "moto.log") as storage, Shell(directory, (), patience_s=1800) as shell:
        storage.fill(lab)
        shell.environment |= storage.environment
        printed = {command: shell.run(command.replace(LAST, last_day(lab))) for command, _ in blocks(PAGE.read_text())}
        yield Walk(lab, shell, printed, directory / "data")


# --- the page


def test_no_command_of_the_page_fails(walk):
    ended = {command: re.findall(r"^exit (\d+)$", text, re.MULTILINE) for command, text in walk.printed.items()}
    assert {command: codes for command, codes in ended.items() if codes} == {walk.first: ["6"]}  # inputs are broken: it says so


@pytest.mark.parametrize("walk", [pytest.param(SMALL, id="small")], indirect=True)
def test_the_page_shows_what_its_commands_print(walk):
    page, here = PAGE.read_text(), str(walk.shell.directory)
    for command, shown in blocks(page):
        printed = walk.printed[command].replace(here, THERE)
        if os.environ.get("LIMEN_WRITE_PAGE"):
            page = written(page, command, printed)
        else:
            # Keys stand in the order of their fingerprints, which are other ones in every data directory.
            assert sorted(shape(printed, {})) == sorted(shape(shown, {})), command
    if os.environ.get("LIMEN_WRITE_PAGE"):
        PAGE.write_text(page)


def written(page, command, printed):
    """The page with what a command printed; on it the command may be broken into lines."""
    at = next(at for at in (m.end() for m in re.finditer(r"^\$ ", page, re.MULTILINE)) if one_line(page[at:]) == command)
    begin = at + len(re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", page[at:])[0])
    end = re.compile(r"^(\$ |```$)", re.MULTILINE).search(page, begin).start()
    return page[:begin] + printed + page[end:]


def one_line(text):
    return next(blocks(f"```console\n$ {text.partition('```')[0]}```\n"))[0]


def test_ten_commands_lead_from_init_to_the_exposure(walk):
    commands = [command.split()[1] for command, _ in blocks(PAGE.read_text())]
    assert commands[0] == "init"
    assert commands.index("exposure") < 10


# --- what is observed


def container(place):
    """How a report calls a place that nobody has mapped to an asset: its bucket, repository or mount."""
    if place.startswith("s3://"):
        return "/".join(place.split("/")[:3])
    return place.split("/")[0] if place.startswith("vault:") else place


def place_of(resource):
    return next(
        (place.asset or container(resource) for place in PLACES.values() if resource.startswith(place.uri)), container(resource)
    )


def added_up(seen, key):
    """Truth by another key, of those for which there is one."""
    found = {}
    for told, what in seen.items():
        if (name := key(*told)) is not None:
            found[name] = found.get(name, Seen()).joined(what)
    return found


def told_by(seen):
    """The truth as the depot's rows have it."""
    return added_up(seen, lambda source, _, principal, session, place: (source, principal, session, container(place)))


def observed(depot):
    """What was imported, from the rows."""
    rows = depot.ask(
        """SELECT source, principal, session, resource, action, outcome = 'ok' AS ok, at_us // 1000000 AS at, bytes
           FROM observation"""
    )
    found = {}
    for source, principal, session, resource, action, ok, at, length in zip(*(c.to_pylist() for c in rows.columns), strict=True):
        key = (source, principal, session, place_of(resource))
        found.setdefault(key, Seen()).add(at, action, resource, length, ok=ok)
    return found


def test_the_observations_are_what_the_logs_still_hold(walk):
    assert observed(walk.depot) == told_by(walk.lab.truth.seen)


def test_that_comparison_sees_one_read_too_many(walk):
    bent = copy.deepcopy(dict(walk.lab.truth.seen))
    next(what for what in bent.values() if what.reads).reads += 1
    assert observed(walk.depot) != told_by(bent)


def covering(coverage, event):
    return [span for span in coverage.get((event.source, event.scope), ()) if span[0] <= event.at * 1_000_000 < span[1]]


def test_nothing_that_was_lost_is_said_to_be_covered(walk):
    coverage = walk.depot.coverage()
    assert {event.source for event in walk.lab.truth.lost} == {"trail-eu", "intake-log"}
    assert [event for event in walk.lab.truth.lost if covering(coverage, event)] == []


def test_that_check_sees_a_coverage_that_claims_too_much(walk):
    claimed = {key: ((spans[0][0], spans[-1][1]),) for key, spans in ((k, list(v)) for k, v in walk.depot.coverage().items())}
    assert any(covering(claimed, event) for event in walk.lab.truth.lost)


# --- exposure


VENDORS = ("quillwork", "tessel", "marlow")


def figures(row):
    """One row of a report as the truth has it."""
    return Seen(
        set(row["resources"]),
        *(row[name] for name in ("reads", "bytes", "bytes_untold", "looks", "writes", "denied")),
        row["first_us"] // 1_000_000,
        row["last_us"] // 1_000_000,
    )


def label(row):
    return "|".join(row["people"]) or f"vendor:{row['vendors'][0]}"


def exposed(walk, vendor, *window):
    """What `limen exposure` says was observed of a vendor: its own rows, and those of principals that nobody has mapped."""
    report = walk.ask("exposure", f"vendor/{vendor}", "--objects", *window)["observed"]
    own = {(label(row), row["asset"] or row["place"]): figures(row) for row in report["rows"]}
    strange = {(row["principal"], row["asset"] or row["place"]): figures(row) for row in report["unknown_principals"]}
    assert {row["grade"] for row in [*report["rows"], *report["unknown_principals"]]} == {"observed"}
    return own, strange


def of_vendor(seen, vendor):
    """The truth of one vendor: whoever is its person, one of its people, or somebody there."""

    def row(_source, who, _principal, _session, place):
        theirs = who.startswith((f"{vendor}/", f"vendor:{vendor}"))
        return (who, container(place)) if theirs else None

    return added_up(seen, row)


def unknown(seen):
    return added_up(seen, lambda _s, who, principal, _session, place: (principal, container(place)) if who == "?" else None)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_exposure_of_a_vendor_is_what_happened(walk, vendor):
    own, strange = exposed(walk, vendor)
    assert own == of_vendor(walk.lab.truth.seen, vendor)
    assert strange == unknown(walk.lab.truth.seen)
    assert strange


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_window_bears_each_clocks_skew(walk, vendor):
    own, strange = exposed(walk, vendor, *walk.window)
    assert own == of_vendor(walk.lab.truth.windowed, vendor)
    assert strange == unknown(walk.lab.truth.windowed)


def test_who_did_nothing_is_in_no_exposure(walk):
    rows = {who for vendor in VENDORS for who, _ in exposed(walk, vendor)[0]}
    assert not rows & walk.lab.past.idle
    assert len(rows) > len(walk.lab.past.idle)


def test_that_comparison_sees_a_mapping_that_lacks_one_rule(walk, tmp_path):
    rules = (walk.lab.root / "who.toml").read_text().split("[[who]]")
    without = [rule for rule in rules if "tessel-batch" not in rule]
    assert len(without) == len(rules) - 1
    (tmp_path / "who.toml").write_text("[[who]]".join(without))
    walk.limen("who", "set", str(tmp_path / "who.toml"))
    try:
        own, strange = exposed(walk, "tessel")
        assert own != of_vendor(walk.lab.truth.seen, "tessel")
        assert strange.keys() > unknown(walk.lab.truth.seen).keys()
    finally:
        walk.limen("who", "set", str(walk.lab.root / "who.toml"))


def test_that_comparison_sees_a_log_that_was_dropped(walk, tmp_path):
    [entry] = {each.entry for each in walk.depot.imports() if each.source == "vault"}
    copied = Walk(walk.lab, walk.shell, walk.printed, tmp_path / "data")
    shutil.copytree(walk.data, copied.data, ignore=shutil.ignore_patterns("control.sock"))
    shutil.rmtree(copied.data / "observed" / f"entry={entry}")
    assert exposed(copied, "tessel")[0] != of_vendor(walk.lab.truth.seen, "tessel")


def test_every_report_names_the_times_that_no_log_covers(walk):
    report = walk.ask("exposure", "vendor/quillwork")["observed"]
    uncovered = {
        (source["source"], scope["scope"]): scope["uncovered"] for source in report["sources"] for scope in source["scopes"]
    }
    for key, spans in walk.lab.truth.dark.items():
        for start, end in spans:
            assert any(low <= start * 1_000_000 and end * 1_000_000 <= high for low, high in uncovered[key]), key


# --- scopes


def proposed(walk, vendor):
    """By principal, the scope that `limen access audit` proposes; those that no paper is about have none."""
    papers = ["--iam-policies", str(walk.lab.root / "iam"), "--github-collaborators", str(walk.lab.root / "collaborators")]
    report = walk.ask("access", "audit", vendor, *papers)
    assert report["holds"]
    assert not any(row["check"]["lost"] for row in report["principals"])
    return {row["principal"]: scope_of(row) for row in report["principals"] if row["proposal"] is not None}


def scope_of(row):
    match row["system"]:
        case "aws":
            statements = row["proposal"]["document"]["Statement"]
            return {(action, resource) for s in statements for action in s["Action"] for resource in s["Resource"]}
        case "github":
            return {(each["repository"], each["role"]) for each in row["proposal"]["repositories"] if each["role"]}
    return {(asset, action) for grant in row["proposal"]["grants"] for asset in grant["assets"] for action in grant["actions"]}


def narrowest(walk, vendor):
    """The truth of it. Of limen's own grants nothing was used yet."""
    lab, people = walk.lab, walk.lab.past.people
    short = {"quillwork": "quill-"}.get(vendor, f"{vendor}-")
    theirs = {p: scope for p, scope in lab.truth.narrow.items() if p.rpartition("/")[2].removeprefix("github:").startswith(short)}
    theirs |= {p: scope for p, scope in lab.truth.narrow.items() if p.startswith(f"github:{vendor}-")}
    return theirs | ({person: set() for person in people[vendor]} if vendor == "quillwork" else {})


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_scope_proposals_are_the_narrowest_that_lose_nothing(walk, vendor):
    truth = narrowest(walk, vendor)
    assert truth
    assert proposed(walk, vendor) == truth


def test_that_comparison_sees_a_scope_that_is_too_narrow_and_one_too_wide(walk):
    found = proposed(walk, "quillwork")
    for bend in (lambda scope: scope.pop(), lambda scope: scope.add(("s3:GetObject", "arn:aws:s3:::aurelia-core/weights/*"))):
        bent = copy.deepcopy(narrowest(walk, "quillwork"))
        bend(next(scope for principal, scope in bent.items() if principal.endswith("quill-annotator")))
        assert found != bent


# --- keys


def keys_of(walk, vendor):
    """Every key on a vendor's list: (repository, path) of one that was found in a history, ("", name) of one that a log names."""
    found = set()
    for row in walk.ask("keys", "list", vendor)["keys"]:
        assert row["touched"], row
        assert {touch["grade"] for touch in row["touched"]} == {"observed"}
        places = {(place["repo"].rpartition("/")[2], commit["path"]) for place in row["places"] for commit in place["commits"]}
        found |= places or {("", row["name"])}
    return found


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_key_list_is_every_key_that_touched_the_vendors_path_and_no_other(walk, vendor):
    found = keys_of(walk, vendor)
    assert found == walk.lab.truth.keys[vendor]
    assert not found & walk.lab.truth.never_touched


def test_that_comparison_sees_a_key_too_many_and_one_that_is_missing(walk):
    found = keys_of(walk, "quillwork")
    for bent in (found - {next(iter(found))}, found | {next(iter(walk.lab.truth.never_touched))}):
        assert bent != walk.lab.truth.keys["quillwork"]


# --- the rest of the page


def test_the_review_has_every_vendor_with_what_it_touched(walk):
    report = walk.ask("review")
    told = {row["vendor"]: row["sums"]["observed"] for row in report["vendors"]}
    truth = {vendor: sum(len(what.objects) for what in of_vendor(walk.lab.truth.seen, vendor).values()) for vendor in VENDORS}
    assert told == truth
    assert all(told.values())


def test_the_adopted_bucket_is_what_lies_in_it(walk):
    place = PLACES["sft"]
    lengths = [len(raw) for (bucket, key), raw in walk.lab.contents.items() if (bucket, key[:4]) == (place.bucket, place.prefix)]
    [printed] = [text for command, text in walk.printed.items() if "asset adopt" in command]
    assert f"{len(lengths)} objects, {sum(lengths)} bytes" in printed


def test_the_doctor_reaches_the_buckets_that_init_was_told_of(walk, monkeypatch):
    for name, value in walk.shell.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    answer = json.loads(walk.limen("doctor", "--json"))
    found = {line["says"]: line["state"] for line in answer["checks"] if line["part"] == "upstreams"}
    assert found["s3://orchid-data/sft/ may be listed and read"] == "ok"
    assert set(found.values()) == {"ok"}
