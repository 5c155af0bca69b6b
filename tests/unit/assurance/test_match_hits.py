"""The join of advisories and bills of material, held against going through every pair by hand, as known at any time."""

from __future__ import annotations

import random

import pytest

from boms import Log as BomLog
from boms import bom, component
from feeds import DAY, on, raw
from feeds import Log as FeedLog
from limen.assurance.bom.values import Presence
from limen.assurance.match import hits
from limen.assurance.match.hits import Matching
from limen.formats.osv import Advisory

START = 1_774_000_000_000_000
KINDS = {"pypi": "PyPI", "npm": "npm", "deb": "Debian:12", "cargo": "crates.io"}


class World:
    """A few vendors, packages and records, drawn at random; every record has one revision and comes on a day of its own."""

    def __init__(self, tmp_path, seed):
        draw = random.Random(seed)
        self.boms, self.feeds = BomLog(), FeedLog(tmp_path)
        names = [f"p{n}" for n in range(8)]
        for day in range(6):
            for vendor in ("brightfold", "quillwork", "tessel"):
                parts = {}
                for _ in range(draw.randint(2, 10)):
                    scope = {"scope": draw.choice(["required", "optional", "excluded"])}
                    kind, name = draw.choice([*KINDS]), draw.choice(names)
                    one = component(name, f"1.{draw.randint(0, 4)}.{draw.choice(['0', '1', 'x y'])}", kind, **scope)
                    parts[one["purl"]] = one
                self.boms.file(vendor, bom(parts.values(), on(START + day * DAY)), at=START + day * DAY)
        self.records = []
        for number in range(40):
            at = START + (number % 7) * DAY + 1
            kind = draw.choice([*KINDS])
            name = f"@scope/{draw.choice(names)}" if kind == "npm" else draw.choice(names)
            low, high = sorted((draw.randint(0, 4), draw.randint(0, 5)))
            said = draw.choice([
                {"versions": [f"1.{low}.0", f"1.{high}.1"]},
                {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": f"1.{low}.0"}, {"fixed": f"1.{high}.0"}]}]},
                {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]},
            ])  # fmt: skip
            ecosystem = draw.choice(["Debian", "Debian:12", "Debian:11"]) if kind == "deb" else KINDS[kind]
            record = {
                "id": draw.choice([f"MAL-{number}", f"GHSA-{number}"]),
                "modified": on(at),
                "affected": [{"package": {"ecosystem": ecosystem, "name": name}, **said}],
            }
            if not draw.randint(0, 5):
                record["withdrawn"] = on(at)
            entry = self.feeds.feed(raw(record), at=at)
            self.records.append((at, entry, Advisory.read(raw(record))))
        self.known = self.boms.boms(tmp_path)
        self.matching = Matching(self.known, self.feeds.advisories())

    def by_hand(self, as_of, *, malicious):
        """Every presence against every record."""
        found = set()
        for presence in self.known.presences(as_of_us=as_of):
            for at, entry, advisory in self.records:
                known = (as_of is None or at <= as_of) and advisory.withdrawn_us is None
                if known and presence.package and (advisory.malicious or not malicious):
                    said = advisory.affects(presence.package, presence.version)
                    if said is not False:
                        found.add((presence.vendor, presence.purl, presence.scope, presence.start_us, advisory.id, entry, said))
        return found

    def joined(self, as_of, *, malicious):
        """What the join says."""
        told = self.matching.told(self.matching.all(malicious=malicious, as_of_us=as_of))
        return {(t.met.vendor, t.purl, t.met.scope, t.met.start_us, t.id, t.feed, t.met.said) for t in told}


@pytest.mark.parametrize("seed", range(4))
def test_the_join_finds_what_going_through_every_pair_finds_at_any_time(tmp_path, seed):
    world = World(tmp_path, seed)
    assert len(world.by_hand(None, malicious=False)) > 20

    for as_of in (None, START, START + 2 * DAY + 5, START + 4 * DAY):
        for malicious in (True, False):
            assert world.joined(as_of, malicious=malicious) == world.by_hand(as_of, malicious=malicious)


def test_that_check_fails_for_a_join_that_does_not_look_at_what_stood_when(tmp_path, monkeypatch):
    world = World(tmp_path, 0)
    monkeypatch.setattr(hits, "_ADVISED", hits._ADVISED.replace("s.from_us <= :k", "1"))

    assert world.joined(START, malicious=False) != world.by_hand(START, malicious=False)


def test_a_new_record_alone_finds_what_it_finds_among_all(tmp_path):
    world = World(tmp_path, 1)
    everything = world.matching.all()

    for revision in {met.revision for met in everything}:
        assert sorted(world.matching.of([revision])) == sorted(met for met in everything if met.revision == revision)


def test_strikes_are_of_what_was_installed_and_named_for_sure(tmp_path):
    world = World(tmp_path, 2)
    hand = world.by_hand(None, malicious=True)

    strikes = {(s.vendor, s.id) for s in world.matching.strikes()}

    assert strikes == {(vendor, id_) for vendor, _, scope, _, id_, _, said in hand if said and scope == "required"}
    assert not any(strike.trusted for strike in world.matching.strikes())  # nobody signed


def test_components_of_some_packages_come_by_vendor_as_they_were_known(tmp_path):
    world = World(tmp_path, 3)
    wanted = {presence.package for presence in world.known.presences() if presence.package and presence.package.name == "p1"}

    for as_of in (None, START + DAY):
        found = {p for presences in world.matching.listed(wanted, as_of_us=as_of).values() for p in presences}
        assert found == {p for p in world.known.presences(as_of_us=as_of) if p.package in wanted}
        assert all(isinstance(p, Presence) for p in found)
