"""The story's nights, as known at every point in time: which vendors ran it, since when, by whose word; and the near misses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from advising import a_night, malicious, us
from boms import component

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "osv"
YES, NO, CANNOT_SAY = "yes", "no", "cannot say"
NIGHT = "2026-03-24"


async def weekly(night, vendor, versions):
    """A vendor that sends a bill of material each week, from the day it came on."""
    for day in ("02-01", "02-08", "02-15", "02-22", "03-01", "03-08", "03-15", "03-22"):
        night.at(f"2026-{day}T09:00:30Z")
        await night.bom(vendor, versions, f"2026-{day}T09:00:00Z")


async def onboarded(night):
    """Day -60: everybody sends bills of material, but oakline."""
    await weekly(night, "quillwork", {"litellm": "1.82.6"})
    await weekly(night, "lexara", {"litellm": "1.82.6"})
    await weekly(night, "brightfold", {"litellm": "1.82.6"})
    await weekly(night, "tessel", {"requests": "2.32.0"})


@pytest.mark.skipif(not VECTORS.exists(), reason="the record lies in ../shared/vectors")
def test_the_records_revisions_give_each_vendor_its_answer_at_every_point_in_time(tmp_path):
    record = {path.stem: path.read_bytes() for path in VECTORS.glob("*.json")}

    async def body():
        async with a_night(tmp_path / "data") as night:
            await onboarded(night)
            night.at(f"{NIGHT}T11:10:00Z")
            where = {"occurrences": [{"location": "q11-host:/srv/agent/.venv"}]}
            parts = [component("litellm", "1.82.8", evidence=where)]
            ran = await night.bom("quillwork", {}, f"{NIGHT}T11:02:00Z", components=parts)
            await night.bom("brightfold", {"litellm": "1.82.7"}, f"{NIGHT}T11:05:00Z")
            night.at(f"{NIGHT}T11:15:20Z")
            first = await night.feed(record["MAL-2026-2144.rev1"].replace(b"\n", b" "))
            night.at(f"{NIGHT}T22:11:40Z")
            second = await night.feed(record["MAL-2026-2144.rev2"].replace(b"\n", b" "))
            night.at("2026-03-26T09:55:00Z")
            merged = await night.feed(*(record[name].replace(b"\n", b" ") for name in ("MAL-2026-2144", "PYSEC-2026-2")))
            for source, until in (("litellm", "11:19"), ("pypi", "13:11"), ("advice", "16:00")):
                window = {"channel": "pypi", "source": source, "from": us(f"{NIGHT}T10:39:00Z"), "to": us(f"{NIGHT}T{until}:00Z")}
                await night.verb("advisory.window.add", id="MAL-2026-2144", **window)

            always = {"lexara": NO, "tessel": NO, "oakline": CANNOT_SAY, "quillwork": YES}
            with pytest.raises(Exception, match="MAL-2026-2144"):  # nothing can be known yet
                await night.verdicts(as_of=f"{NIGHT}T11:15:00Z")
            for as_of, brightfold in (
                (f"{NIGHT}T11:15:30Z", NO),
                (f"{NIGHT}T22:11:39Z", NO),
                (f"{NIGHT}T22:11:41Z", YES),
                ("2026-03-26T09:54:00Z", YES),
                (None, YES),
            ):
                assert await night.verdicts(as_of=as_of) == {**always, "brightfold": brightfold}, as_of
            assert await night.verdicts("GHSA-5mg7-485q-xm76") == {**always, "brightfold": YES}

            early = await night.affected(as_of=f"{NIGHT}T11:15:30Z", exposure=False)
            [ran_it] = early["vendors"]["quillwork"]["components"]
            assert (ran_it["from"], ran_it["to"], ran_it["bom"]) == (f"{NIGHT}T11:02:00Z", None, ran)
            assert ran_it["path"].endswith("@ q11-host:/srv/agent/.venv")
            assert [(r["id"], r["revision"], r["entry"]) for r in ran_it["records"]] == [("MAL-2026-2144", 1, first["entry"])]
            assert early["vendors"]["lexara"]["near"]
            assert "no bill of material was received" in early["vendors"]["oakline"]["why"]

            late = await night.affected(exposure=False)
            assert (late["finding"], set(late["ids"])) == (
                "MAL-2026-2144",
                {"MAL-2026-2144", "PYSEC-2026-2", "GHSA-5mg7-485q-xm76"},
            )
            assert late["widest"] == {"from": f"{NIGHT}T10:39:00Z", "to": f"{NIGHT}T16:00:00Z"}
            [seven] = late["vendors"]["brightfold"]["components"]
            assert {(r["id"], r["revision"]) for r in seven["records"]} == {("MAL-2026-2144", 3), ("PYSEC-2026-2", 1)}
            assert {d["about"] for d in late["vendors"]["brightfold"]["disagreements"]} >= {
                "when it could be had from pypi",
                "when it was published",
            }
            assert late["vendors"]["oakline"]["not_covered"][0]["days"] == NIGHT

            # One finding from three ids: what was acted upon by the first is not acted upon by the others again.
            assert (len(first["actions"]), len(second["actions"]), merged["actions"]) == (1, 1, [])
            assert [[v["vendor"] for v in a["vendors"]] for a in await night.actions()] == [["quillwork"], ["brightfold"]]

    asyncio.run(body())


def test_a_vendor_whose_bill_of_material_went_stale_is_cannot_say_for_the_days_that_nothing_covers(tmp_path):
    async def body():
        async with a_night(tmp_path / "data") as night:
            night.at("2026-03-17T09:00:00Z")
            await night.bom("lexara", {"litellm": "1.82.6"}, "2026-03-17T09:00:00Z")
            night.at(f"{NIGHT}T11:15:20Z")
            await night.feed(malicious())
            await night.verb(
                "advisory.window.add", id="MAL-2026-2144", channel="pypi", source="advice",
                **{"from": us("2026-03-23T10:39:00Z"), "to": us("2026-03-24T16:00:00Z")},
            )  # fmt: skip

            row = (await night.affected(exposure=False))["vendors"]["lexara"]

            assert row["verdict"] == CANNOT_SAY
            assert [(gap["days"], gap["from"]) for gap in row["not_covered"]] == [("2026-03-24", "2026-03-24T09:00:00Z")]
            asked = await night.affected(exposure=False, since_us=us("2026-03-23T10:39:00Z"), until_us=us("2026-03-24T00:00:00Z"))
            assert asked["vendors"]["lexara"]["verdict"] == NO

    asyncio.run(body())


def test_a_bill_of_material_that_came_late_changes_what_is_known_and_not_what_was(tmp_path):
    """On the 25th quillwork says what it ran on the 24th: from then on it is known, before it was not."""

    async def body():
        async with a_night(tmp_path / "data") as night:
            night.at(f"{NIGHT}T11:15:20Z")
            await night.feed(malicious())
            night.at("2026-03-25T08:00:00Z")
            await night.bom("quillwork", {"litellm": "1.82.8"}, f"{NIGHT}T11:02:00Z")

            assert (await night.verdicts(as_of="2026-03-25T07:59:00Z"))["quillwork"] == CANNOT_SAY
            assert (await night.verdicts())["quillwork"] == YES

    asyncio.run(body())


# --- near misses, through the real readers

WINDOW = {"from": us(f"{NIGHT}T10:39:00Z"), "to": us(f"{NIGHT}T16:00:00Z")}
RANGED = [{"package": {"ecosystem": "PyPI", "name": "litellm"},
           "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.82.7"}, {"last_affected": "1.82.8"}]}]}]  # fmt: skip


NEAR = {
    "older": ([component("litellm", "1.82.6")], {}, NO),
    "another-spelling": ([component("LiteLLM", "1.82.8")], {}, YES),
    "another-project": ([component("lite_llm", "1.82.8")], {}, NO),
    "in-a-lock-file": ([component("litellm", "1.82.8", scope="optional")], {}, NO),
    "excluded": ([component("litellm", "1.82.8", scope="excluded")], {}, CANNOT_SAY),
    "withdrawn": ([component("litellm", "1.82.8")], {"withdrawn": f"{NIGHT}T12:00:00Z"}, NO),
    "a-local-build": ([component("litellm", "1.82.8+local.3")], {}, YES),
    "unparseable": ([component("litellm", "nightly-dirty")], {"affected": RANGED}, CANNOT_SAY),
    "no-purl": ([{"type": "library", "name": "litellm", "version": "1.82.8"}], {}, CANNOT_SAY),
    "another-registry": ([component("litellm", "1.82.8", "npm")], {}, NO),
}


def test_near_misses_are_each_right(tmp_path):
    """Each vendor is a near miss of its own record."""

    async def body():
        async with a_night(tmp_path / "data", more_vendors=NEAR) as night:
            night.at(f"{NIGHT}T16:10:00Z")
            for vendor, (parts, _, _) in NEAR.items():
                await night.bom(vendor, {}, f"{NIGHT}T09:00:00Z", components=parts)
            await night.feed(*(malicious(id_=f"MAL-{vendor}", **record) for vendor, (_, record, _) in NEAR.items()))
            said = {}
            for vendor in NEAR:
                await night.verb("advisory.window.add", id=f"MAL-{vendor}", channel="pypi", source="advice", **WINDOW)
                said[vendor] = (await night.verdicts(f"MAL-{vendor}"))[vendor]

            assert said == {vendor: verdict for vendor, (_, _, verdict) in NEAR.items()}

    asyncio.run(body())


def test_upgraded_away_after_ten_minutes_is_yes_for_those_ten_minutes(tmp_path):
    async def body():
        async with a_night(tmp_path / "data") as night:
            night.at(f"{NIGHT}T11:02:00Z")
            await night.bom("tessel", {"litellm": "1.82.8"}, f"{NIGHT}T11:02:00Z")
            night.at(f"{NIGHT}T11:12:00Z")
            await night.bom("tessel", {"litellm": "1.82.9"}, f"{NIGHT}T11:12:00Z")
            await night.feed(malicious())

            [ran] = (await night.affected(exposure=False))["vendors"]["tessel"]["components"]

            assert (ran["from"], ran["to"]) == (f"{NIGHT}T11:02:00Z", f"{NIGHT}T11:12:00Z")

    asyncio.run(body())


def test_what_the_vendor_says_of_itself_is_shown_and_clears_nothing(tmp_path):
    vex = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://tessel.example/vex/1",
        "author": "Tessel",
        "timestamp": f"{NIGHT}T12:00:00Z",
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": "MAL-2026-2144"},
                "products": [{"@id": "pkg:pypi/litellm@1.82.8"}],
                "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path",
            }
        ],
    }

    async def body():
        async with a_night(tmp_path / "data") as night:
            night.at(f"{NIGHT}T11:02:00Z")
            await night.bom("tessel", {"litellm": "1.82.8"}, f"{NIGHT}T11:02:00Z")
            night.at(f"{NIGHT}T12:30:00Z")
            digest, _ = night.gateway.custody.blobs.put([json.dumps(vex).encode()])
            await night.verb("advisory.vex.add", vendor="tessel", digest=digest)
            await night.feed(malicious())

            row = (await night.affected(exposure=False))["vendors"]["tessel"]

            assert row["verdict"] == YES
            assert [(said["status"], said["grade"]) for said in row["vex"]] == [("not_affected", "declared")]
            assert "vendor/tessel" in night.restricted

    asyncio.run(body())


def test_an_image_is_found_by_its_digest_and_by_a_tag_that_floated(tmp_path):
    bad = "sha256:" + "ba" * 32
    images = {
        "quillwork": "pkg:generic/an-image-without-a-name",
        "lexara": f"pkg:oci/litellm@{bad.replace(':', '%3A')}?repository_url=ghcr.io/berriai/litellm&tag=main-latest",
        "tessel": "pkg:docker/berriai/litellm@main-latest?repository_url=ghcr.io",
        "brightfold": "pkg:docker/berriai/litellm@v1.70.0?repository_url=ghcr.io",
    }
    affected = [
        {
            "package": {"ecosystem": "PyPI", "name": "litellm", "purl": "pkg:pypi/litellm"},
            "versions": ["1.82.8"],
            "ecosystem_specific": {"digests": [bad]},
        }
    ]

    async def body():
        async with a_night(tmp_path / "data") as night:
            for vendor, start in (("quillwork", "11:02"), ("lexara", "11:02"), ("tessel", "11:02"), ("brightfold", "11:02")):
                night.at(f"{NIGHT}T{start}:30Z")
                hashes = [{"alg": "SHA-256", "content": "ba" * 32}] if vendor == "quillwork" else []
                part = {"type": "container", "name": "litellm", "version": "x", "purl": images[vendor], "hashes": hashes}
                await night.bom(vendor, {}, f"{NIGHT}T09:00:00Z", components=[])
                await night.bom(vendor, {}, f"{NIGHT}T{start}:00Z", components=[part])
            night.at(f"{NIGHT}T16:10:00Z")
            await night.feed(malicious(affected=affected))
            stated = {"channel": "ghcr", "source": "berriai", "image": "ghcr.io/BerriAI/litellm", "tag": "main-latest", **WINDOW}
            await night.verb("advisory.window.add", id="MAL-2026-2144", ecosystem="container", **stated)

            rows = (await night.affected(exposure=False))["vendors"]

            said = {vendor: (row["verdict"], [c["by"] for c in row["components"]]) for vendor, row in rows.items()}
            assert said["lexara"] == said["quillwork"] == (YES, ["digest"])
            assert said["tessel"] == (YES, ["tag"])
            assert said["brightfold"] == (CANNOT_SAY, [])  # it is none of those, and nobody lists what is in it
            assert "what is in 1 container images is not listed" in rows["brightfold"]["why"]

            await night.gateway.advised.look()  # as the gateway does once a second
            followed = {vendor["vendor"]: action for action in await night.actions() for vendor in action["vendors"]}
            assert followed["lexara"]["state"] == "taken"
            # A window is anybody's word: what rests on one alone waits for a person.
            assert (followed["tessel"]["state"], followed["tessel"]["needs"]) == ("waiting", 1)
            assert set(night.restricted) == {"vendor/lexara", "vendor/quillwork"}

    asyncio.run(body())
