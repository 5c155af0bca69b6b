"""docs/day-one.md on the invented lab: every report is the truth, no more and no less, and what is not known is said.

The page's own commands are run. The small lab in every test run; the full one (1,000 people, 2 million events) with
`tools/walk`. Beside each comparison stands one with a bent truth, or a bent lab, which must fail.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages import Shell, blocks

from lab.build import FULL, SMALL, build
from lab.cast import PLACES
from lab.storage import Storage
from lab.truth import Seen
from limen.observe.depot import Depot

PAGE = Path(__file__).parents[2] / "docs" / "day-one.md"
SOURCES = {"trail-eu"}


@dataclass
class Walk:
    """A lab, and the data directory that the page's commands made of it; `printed` is what each command printed."""

    lab: object
    shell: Shell
    printed: dict[str, str]

    @property
    def depot(self):
        return Depot.open(self.shell.directory / "data" / "observed")


@pytest.fixture(scope="module", params=[pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.slow)])
def walk(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("walk")
    lab = build(directory / "lab", request.param)
    with Storage(directory / "moto.log") as storage, Shell(directory, (), patience_s=1800) as shell:
        storage.fill(lab)
        shell.environment |= storage.environment
        printed = {command: shell.run(command) for command, _ in blocks(PAGE.read_text())}
        yield Walk(lab, shell, printed)


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
    return added_up(
        seen, lambda s, _, principal, session, place: (s, principal, session, container(place)) if s in SOURCES else None
    )


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
    lost = [event for event in walk.lab.truth.lost if event.source == "trail-eu"]
    assert lost
    assert [event for event in lost if covering(coverage, event)] == []


def test_that_check_sees_a_coverage_that_claims_too_much(walk):
    claimed = {key: ((spans[0][0], spans[-1][1]),) for key, spans in ((k, list(v)) for k, v in walk.depot.coverage().items())}
    assert any(covering(claimed, event) for event in walk.lab.truth.lost)
