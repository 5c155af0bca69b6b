"""Bundles out of an open gateway: what is in them, for whom, and that nobody's name leaves."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

import feeds
from evidenced import ADDRESS, PEOPLE, ask, bom, exported, read, settled
from inprocess import a_session
from limen.assurance.evidence.bundle import compose
from limen.assurance.evidence.collect import collect
from limen.assurance.evidence.persons import Persons
from limen.core.errors import Conflict, Denied, Invalid, NotFound
from limen.core.events import decode
from limen.privacy.naming import Actor, approve, disclose, request
from limen.verbs import evidence as verbs
from limen.verify import evidence, offline
from limen.verify.evidence import NONE, YES, Asked


def files_of(path):
    return {name.partition("/")[2]: raw for name, raw in offline.unzipped(Path(path).read_bytes()).items()}


def trusted(gateway):
    return Asked(log=offline.vkey(gateway.verifier.vkey))


def answers(gateway, path, **more):
    return [each.answer for each in evidence.verify(Path(path).read_bytes(), trusted(gateway)._replace(**more))]


def texts(files):
    """Everything that can be read in a bundle, the bytes of entries too."""
    lines = [line.decode().split(" ") for line in files["data/ledger/entries.txt"].splitlines()]
    shown = [offline.canonical_base64(raw) for _, _, *rest in lines for raw in rest]
    return b"\n".join([*files.values(), *shown]).decode(errors="replace").lower()


def entries(gateway, kind):
    return [(index, decode(raw)) for index, raw in gateway.custody.ledger.entries(0) if decode(raw)["kind"] == kind]


def test_a_bundle_verifies_and_its_export_is_an_entry(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway, named=False)
        found = await exported(gateway, tmp_path / "b.zip")

        assert answers(gateway, tmp_path / "b.zip") == [YES, YES, YES, NONE, YES, YES]
        [(index, entry)] = entries(gateway, "evidence.export")
        assert (index, entry["digest"]) == (found["entry"], hashlib.sha256((tmp_path / "b.zip").read_bytes()).hexdigest())
        assert (entry["vendor"], entry["for"], entry["size"]) == ("quillwork", "auditor", found["size"])
        files = files_of(tmp_path / "b.zip")
        kinds = sorted(each["what"] for each in json.loads(files["data/bundle.json"])["documents"])
        of_runs = ["contract of a run", "facts of a run"]
        assert kinds == sorted(["bom", "contract", "run", "run", *of_runs, *of_runs])
        said = evidence.verify((tmp_path / "b.zip").read_bytes(), trusted(gateway))[4].words
        assert said.endswith("so do 2 runs of the gate")
        assert next(raw for path, raw in files.items() if path.startswith("data/documents/boms/")) == bom(named=False)
        verdict = json.loads(files["data/verdict.json"])
        assert verdict["facts"]["digest"] == hashlib.sha256(files["data/facts.json"]).hexdigest()
        assert verdict["contract"]["digest"] == hashlib.sha256(files["data/contract.json"]).hexdigest()
        assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600

    in_gateway(body)


def test_the_next_bundle_continues_the_last_one(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        await exported(gateway, tmp_path / "1.zip")
        await read(gateway, await a_session(gateway, "q05"))
        await exported(gateway, tmp_path / "2.zip")
        await exported(gateway, tmp_path / "other.zip", audience="insurer")

        held = (tmp_path / "1.zip").read_bytes()
        assert answers(gateway, tmp_path / "2.zip", previous=held)[3] == YES
        assert answers(gateway, tmp_path / "other.zip")[3] == NONE  # the insurer's first

    in_gateway(body)


def test_the_same_state_gives_the_same_bytes(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        await ask(gateway, "evidence.key")
        await gateway.custody.ledger.flush()
        note = (gateway.published / "checkpoint").read_text()
        await exported(gateway, tmp_path / "1.zip", checkpoint=note)
        await read(gateway, await a_session(gateway, "q05"))  # the log goes on
        await exported(gateway, tmp_path / "2.zip", checkpoint=note)
        await exported(gateway, tmp_path / "3.zip")

        assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
        assert (tmp_path / "1.zip").read_bytes() != (tmp_path / "3.zip").read_bytes()

    in_gateway(body)


@pytest.mark.parametrize("audience", ["auditor", "insurer", "regulator"])
def test_no_name_mail_or_address_of_the_world_is_in_a_bundle(in_gateway, tmp_path, audience):
    async def body(gateway):
        await settled(gateway, named=True, owner=PEOPLE["lab/oskar"][0])
        found = await exported(gateway, tmp_path / "b.zip", audience=audience)
        whole = texts(files_of(tmp_path / "b.zip"))

        for id_, (name, mail) in PEOPLE.items():
            assert name.lower() not in whole
            assert mail not in whole
            assert id_ not in whole
        for holder in gateway.custody.catalog.snapshot.holders():
            assert f'"{holder.id}"' not in whole
            assert f"person {holder.id}" not in whole  # what the simulator calls them
        assert "ops@quillwork.example" not in whole  # the vendor's contact
        assert ADDRESS not in whole
        assert found["withheld"] >= 1
        assert answers(gateway, tmp_path / "b.zip") == [YES, YES, YES, NONE, YES, YES]

    in_gateway(body)


def test_a_collector_that_looks_for_nobody_lets_names_out(in_gateway, tmp_path, monkeypatch):
    """The negative control of the test above: without the nets the same search finds them."""

    async def body(gateway):
        await settled(gateway, named=True, owner=PEOPLE["lab/oskar"][0])
        monkeypatch.setattr(Persons, "named_in", lambda self, text: "")
        monkeypatch.setattr(Persons, "stands_in", lambda self, value: False)
        await exported(gateway, tmp_path / "b.zip")
        whole = texts(files_of(tmp_path / "b.zip"))

        assert PEOPLE["lab/oskar"][0].lower() in whole
        assert PEOPLE["quillwork/anouk"][1] in whole

    in_gateway(body)


def test_a_document_that_names_people_is_read_without_them_and_named_by_its_digest(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway, named=True)
        await exported(gateway, tmp_path / "b.zip")
        files = files_of(tmp_path / "b.zip")
        [told] = [each for each in json.loads(files["data/bundle.json"])["documents"] if each["what"] == "bom"]

        assert told["withheld"].startswith("it names people")
        assert told["digest"] == hashlib.sha256(bom(named=True)).hexdigest()
        reading = json.loads(files[f"data/{told['path']}.redacted.json"])
        assert reading["components"] == json.loads(bom(named=True))["components"]
        assert "authors" not in reading["metadata"]

    in_gateway(body)


def test_a_vendor_gets_its_own_bom_as_it_gave_it(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway, named=True)
        await exported(gateway, tmp_path / "b.zip", audience="vendor")
        files = files_of(tmp_path / "b.zip")

        assert bom(named=True) in files.values()
        assert answers(gateway, tmp_path / "b.zip")[:3] == [YES, YES, YES]

    in_gateway(body)


def test_an_insurer_sees_proofs_and_not_the_entries_of_accesses(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        await exported(gateway, tmp_path / "b.zip", audience="insurer")
        whole = texts(files_of(tmp_path / "b.zip"))

        assert '"kind":"access.intent"' not in whole
        assert '"kind":"session.start"' not in whole
        assert '"kind":"evidence.key"' in whole

    in_gateway(body)


def test_another_vendors_entries_are_never_shown(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        await read(gateway, await a_session(gateway, "t01"))
        await exported(gateway, tmp_path / "b.zip")

        assert "tessel" not in texts({path: raw for path, raw in files_of(tmp_path / "b.zip").items() if "ledger/" in path})

    in_gateway(body)


def test_detail_of_people_is_given_only_as_what_an_entry_committed_to_and_only_where_it_may(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        index = next(i for i, e in entries(gateway, "access.intent") if e["vendor"] == "quillwork" and "network" in e["commit"])
        who, project = decode(next(raw for i, raw in gateway.custody.ledger.entries(index, index + 1)))["who"], "orchid"
        asked = await request(gateway.custody, who, project=project, reason="court order 7", actor=Actor("uid:1"))
        await approve(gateway.custody, asked["request"], actor=Actor("uid:2"))
        about = {
            "number": asked["request"],
            "actor": Actor("uid:1"),
            "published": gateway.published,
            "verifier": gateway.verifier,
        }
        opened = (await disclose(gateway.custody, index, "network", **about))["disclosure"]
        await exported(gateway, tmp_path / "b.zip", openings=[opened])
        files = files_of(tmp_path / "b.zip")

        assert json.loads(files[f"data/openings/{index}-network.json"])["value"]["address"] == ADDRESS
        assert ADDRESS not in texts({path: raw for path, raw in files.items() if "/openings/" not in path})
        assert answers(gateway, tmp_path / "b.zip")[:3] == [YES, YES, YES]
        assert entries(gateway, "evidence.export")[0][1]["openings"] == [[index, "network"]]
        with pytest.raises(Denied, match="no person's detail"):
            await exported(gateway, tmp_path / "v.zip", audience="vendor", openings=[opened])
        assert not (tmp_path / "v.zip").exists()

    in_gateway(body)


def test_a_key_is_entered_before_it_signs_and_a_lost_one_is_not_replaced_in_silence(in_gateway, tmp_path):
    async def body(gateway):
        first = await ask(gateway, "evidence.key")
        again = await ask(gateway, "evidence.key")
        assert (first["entry"], first["key"]) == (again["entry"], again["key"])
        place = gateway.config.data / "keys" / "evidence.key"
        assert place.stat().st_mode & 0o777 == 0o600
        kept = place.read_bytes()
        place.unlink()
        with pytest.raises(Invalid, match="is missing; the log holds"):
            await ask(gateway, "evidence.key")
        other = await ask(gateway, "evidence.key", new=True)
        assert other["key"] != first["key"]
        assert [each["key"] for each in other["all"]] == [first["key"], other["key"]]
        place.write_bytes(kept)  # put back after all: the log is told which one signs from now on
        assert (await ask(gateway, "evidence.key"))["key"] == first["key"]
        assert len(entries(gateway, "evidence.key")) == 3

    in_gateway(body)


def test_an_order_that_can_not_be_is_refused_and_nothing_is_written(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway)
        with pytest.raises(NotFound):
            await exported(gateway, tmp_path / "b.zip", vendor="nobody")
        with pytest.raises(Invalid, match="ends before it begins"):
            await exported(gateway, tmp_path / "b.zip", from_us=2, to_us=1)
        with pytest.raises(Invalid, match="is none of"):
            await exported(gateway, tmp_path / "b.zip", audience="press")
        (tmp_path / "there").write_text("x")
        with pytest.raises(Conflict, match="exists; nothing was exported"):
            await exported(gateway, tmp_path / "there")
        assert not entries(gateway, "evidence.export")
        assert not (tmp_path / "b.zip").exists()

    in_gateway(body)


def test_without_a_contract_the_bundle_says_so(in_gateway, tmp_path):
    async def body(gateway):
        await exported(gateway, tmp_path / "b.zip", vendor="tessel")

        assert answers(gateway, tmp_path / "b.zip")[4] == NONE
        assert "no contract of tessel was in force" in json.loads(files_of(tmp_path / "b.zip")["data/bundle.json"])["no_verdict"]

    in_gateway(body)


def test_every_known_revision_of_an_advisory_that_was_met_is_in_the_bundle(in_gateway, tmp_path):
    first = feeds.record("MAL-2026-2144", feeds.affected("litellm", "1.82.8"))
    second = feeds.record("MAL-2026-2144", feeds.affected("litellm", "1.82.6", "1.82.8"), modified=60_000_000)
    second["credits"] = [{"name": "Somebody Outside", "contact": ["finder@elsewhere.example"]}]
    other = feeds.record("MAL-2026-9", feeds.affected("another", "1"))

    async def body(gateway):
        await settled(gateway, named=False)
        for record in (first, second, other):
            digest, _ = gateway.custody.blobs.put([feeds.raw(record)])
            await ask(gateway, "advisory.feed", digest=digest, source="osv")
        found = await exported(gateway, tmp_path / "b.zip")
        files = files_of(tmp_path / "b.zip")
        told = [each for each in json.loads(files["data/bundle.json"])["documents"] if "advisory" in each["what"]]

        assert [each["what"] for each in told] == [f"advisory MAL-2026-2144, revision {number}" for number in (1, 2)]
        assert json.loads(files[f"data/{told[0]['path']}"]) == first
        assert told[1]["withheld"].startswith("it names people")
        reading = json.loads(files[f"data/{told[1]['path']}.redacted.json"])
        assert reading["affected"] == second["affected"]
        assert "elsewhere.example" not in texts(files)
        assert found["withheld"] == 1
        assert answers(gateway, tmp_path / "b.zip")[:3] == [YES, YES, YES]

    in_gateway(body)


def test_a_verdict_that_was_made_better_does_not_come_out_again(in_gateway, tmp_path):
    async def body(gateway):
        await settled(gateway, named=False)
        signer, key_entry = await gateway.evidence_keys.current(by="test")
        await gateway.custody.ledger.flush()
        sources = verbs._sources(gateway)
        period = {"from_us": 0, "to_us": 2**52, "period": ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]}
        order = verbs._order(gateway, {"vendor": "quillwork", "for": "auditor", **period})
        parts = collect(sources, order, verbs._checkpoint(gateway, None), key_entry=key_entry)
        better = parts.verdict.replace(b'"outcome":"', b'"outcome":"x')
        assert better != parts.verdict

        raw = compose(dataclasses.replace(parts, verdict=better), signer)
        found = evidence.verify(raw, trusted(gateway))
        assert [each.answer for each in found] == [YES, YES, YES, NONE, evidence.NO, YES]
        assert "another verdict" in found[4].words
        good = evidence.verify(compose(parts, signer), trusted(gateway))
        assert good[4].answer == YES

    in_gateway(body)
