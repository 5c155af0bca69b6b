"""From a file in the watched directory to the doors, over a real gateway: who is refused, who is told, and what is not done."""

from __future__ import annotations

import json
import time

import pytest

from advising import FORGER, INTEL, malicious
from boms import bom, component
from limen.assurance.advisories.entering import NAMESPACE
from limen.cli.link import call
from limen.formats import sshsig
from limen.store.blobs import Blobs
from receivers import SECRET, Webhook
from simulator import World

DEADLINE_S = 60
DROP = "orchid/quill-assessments"


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A gateway that watches a directory, trusts one signer, and tells a webhook; two vendors have sent what they run."""
    tmp_path = tmp_path_factory.mktemp("watched")
    with Webhook() as webhook:
        world = World.make(tmp_path, blob=bytes(5000))
        world.environment["LIMEN_ALERT_SOC_SECRET"] = SECRET
        with (world.data / "limen.toml").open("a") as config:
            config.write(f'[[alert]]\nname = "soc"\nkind = "webhook"\nurl = "{webhook.url}"\n')
            config.write('[assurance]\nadvisories = "inbox"\n')
            config.write(f'[[advisory_source]]\nname = "intel"\nkey = "{INTEL.key.line}"\nmay = "restrict"\n')
        world.serve()
        for vendor, version in (("quillwork", "1.82.8"), ("tessel", "1.82.6")):
            document = json.dumps(bom([component("litellm", version)], "2026-11-20T09:00:00Z")).encode()
            digest, _ = Blobs(world.data / "blobs").put([document])
            asked(world, "bom.add", vendor=vendor, digest=digest)
        yield world, webhook
        world.stop()


def put(world, name, record, signer):
    """A feed in the watched directory, its signature first."""
    raw = json.dumps(record).encode()
    if signer is not None:
        (world.data / "inbox" / f"{name}.sig").write_bytes(sshsig.sign(raw, signer, namespace=NAMESPACE))
    (world.data / "inbox" / name).write_bytes(raw)


def until(look, what):
    """The first answer that is one, and how long it took; waits for it as long as a test may."""
    began = time.monotonic()
    while time.monotonic() - began < DEADLINE_S:
        if found := look():
            return found, time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {DEADLINE_S} s")


def asked(world, verb, **args):
    """What the gateway answers, over its socket: a process for each look would take longer than what is looked for."""
    return call(world.data, verb, args)


def test_forged_and_unsigned_feeds_are_refused_or_wait_and_a_signed_one_restricts_the_vendor_at_its_doors(
    watched, record_property
):
    world, webhook = watched
    quill, tess = world.login("q03"), world.login("t01")
    assert quill.ask("PUT", f"{DROP}/before.txt", body=b"work").status == 200

    # Forged: signed, and not by whom limen.toml names. Unsigned: taken in, and it waits for somebody.
    put(world, "forged.json", malicious(), FORGER)
    refused, _ = until(lambda: asked(world, "advisory.list")["refused"], "the forged feed")
    assert "none of the keys that are trusted here" in refused["forged.json"]
    put(world, "unsigned.json", malicious(), None)
    [waiting], _ = until(lambda: asked(world, "advisory.actions")["actions"], "the unsigned feed's action")
    assert (waiting["state"], waiting["needs"]) == ("waiting", 1)
    assert quill.ask("PUT", f"{DROP}/still.txt", body=b"work").status == 200

    put(world, "signed.json", malicious(), INTEL)
    answer, took = until(lambda: _refused(quill), "the restriction")

    record_property("file_to_doors_s", round(took, 2))
    print(f"from the file in the directory to the doors: {took:.2f} s")
    assert answer.status == 403
    assert "a malicious component was found among what quillwork runs (MAL-2026-2144" in answer.message
    assert quill.get("orchid-blob/blob.bin").status == 200  # read-only: reading goes on
    assert tess.get("orchid-blob/blob.bin").status == 200  # another vendor is untouched

    rows = {row["vendor"]: row for row in asked(world, "advisory.affected", id="MAL-2026-2144")["vendors"]}
    assert (rows["quillwork"]["verdict"], rows["tessel"]["verdict"]) == ("yes", "cannot say")
    assert {each["holder"] for each in rows["quillwork"]["sessions"]} == {"quillwork/q03"}
    assert [each["asset"] for each in rows["quillwork"]["served"]["assets"]] == ["orchid-blob"]

    told = {event["data"]["finding_info"]["analytic"]["uid"] for event in (json.loads(webhook.wait()[2]) for _ in range(3))}
    assert told == {"malicious-component", "consequence-waits"}
    assert asked(world, "findings.replay")["agrees"]


def _refused(person):
    try:
        answer = person.ask("PUT", f"{DROP}/after.txt", body=b"work")
    except ConnectionResetError:
        return None  # the very upload that ran when the order came: it was cut
    return answer if answer.status == 403 else None


def test_the_report_is_for_somebody_who_was_asleep(watched):
    world, _ = watched

    text = world.limen("advisory", "affected", "MAL-2026-2144").stdout

    lines = text.splitlines()
    assert lines[0].startswith("MAL-2026-2144: MALICIOUS package. Malicious code in litellm")
    assert any(line.startswith("YES         quillwork: pkg:pypi/litellm@1.82.8 at its top level since") for line in lines)
    assert any(line.startswith("CANNOT SAY  tessel: ") and "not covered" in line for line in lines)
    assert "  1 sessions live now" in text
    assert "served up to now: orchid-blob: " in text
    assert "(measured)" in text


def test_people_approve_and_decline_from_the_command_line(watched):
    world, _ = watched
    [waiting] = asked(world, "advisory.actions", waiting=True)["actions"]
    number = str(waiting["action"])

    nobody = world.limen("advisory", "approve", number, check=False)
    assert (nobody.returncode, "nobody in particular" in nobody.stderr) == (3, True)
    shown = world.limen("advisory", "actions", "--waiting").stdout
    assert "not done by itself: no signed source" in shown
    assert "nobody's access was changed" in shown
    done = world.limen("advisory", "decline", number, "--reason", "the signed one came", "--as", "lab/mira").stdout
    assert "DECLINED" in done
    world.limen("advisory", "policy", "tessel", "notify", "--as", "lab/mira")
    policies = world.limen("advisory", "policy")
    assert "tessel     notify" in policies.stdout
    assert "only what signed advisories of intel say" in policies.stderr
    assert "pkg:pypi/litellm@1.82.8" in world.limen("advisory", "rematch").stdout
    strange = world.limen("advisory", "affected", "MAL-2026-2144", "--vendor", "nobody", check=False)
    assert (strange.returncode, "is no vendor" in strange.stderr) == (2, True)
