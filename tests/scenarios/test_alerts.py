"""From an access to an alert that has arrived, over a real gateway: signed, by id, and again the same from the log."""

from __future__ import annotations

import json

import pytest

from limen.formats import webhooks
from receivers import SECRET, Webhook
from simulator import World, records

HONEY = "orchid-answers"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A gateway that watches, with a canary in its catalog, and the webhook that it tells."""
    tmp_path = tmp_path_factory.mktemp("told")
    with Webhook() as webhook:
        world = World.make(tmp_path, sft=records(200))
        world.environment["LIMEN_ALERT_SOC_SECRET"] = SECRET
        with (world.data / "limen.toml").open("a") as config:
            config.write(f'[[alert]]\nname = "soc"\nkind = "webhook"\nurl = "{webhook.url}"\n')
        honey = {"id": HONEY, "project": "orchid", "class": "training", "tier": "internal", "canary": True}
        grant = {"holder": "quillwork/q03", "project": "orchid", "assets": [HONEY], "actions": ["read", "head"]}
        grant |= {"granted_by": "lab/mira", "expires": "2036-01-01"}
        (tmp_path / "more.json").write_text(json.dumps({"asset": [honey], "grant": [grant]}))
        (tmp_path / "answers.jsonl").write_bytes(records(20))
        world.limen("import", str(tmp_path / "more.json"))
        world.limen("asset", "register", HONEY, str(tmp_path / "answers.jsonl"), "--unmarked")
        world.serve()
        yield world, webhook
        world.stop()


def test_a_canary_is_told_by_signed_webhook_and_found_again_byte_for_byte(told):
    world, webhook = told
    person = world.login("q03")
    assert person.get("orchid-sft-v3/sft.jsonl").status == 200
    assert person.get(f"{HONEY}/answers.jsonl").status == 200
    at, headers, body = webhook.wait()
    event = json.loads(body)
    assert webhooks.verifies(webhooks.key_of(SECRET), headers, body, now=int(at))
    assert headers["webhook-id"] == event["id"]
    assert (event["specversion"], event["type"], event["limenattempt"]) == ("1.0", "limen.finding.v1", 1)
    assert "limenagain" not in event
    finding = event["data"]
    assert (finding["class_uid"], finding["finding_info"]["analytic"]["uid"]) == (2004, "canary-read")
    text = body.decode()
    for secret in ("quillwork/q03", "Person", "127.0.0.1", "answers.jsonl", "q03"):
        assert secret not in text

    [row] = [f for f in world.ask_json("findings", "list")["findings"] if f["rule"] == "canary-read"]
    assert (row["uid"], row["asset"], row["vendor"], row["grade"]) == (event["id"], HONEY, "quillwork", "measured")
    shown = world.ask_json("findings", "show", event["id"][:10])
    assert shown["event"] == finding
    assert [(d["target"], d["attempts"], d["arrived_us"] > 0) for d in shown["deliveries"]] == [("soc", 1, True)]
    lines = world.limen("findings", "replay", "--lines").stdout
    assert lines == world.limen("findings", "replay", "--lines").stdout
    assert finding in [json.loads(line) for line in lines.splitlines()]
    replayed = world.ask_json("findings", "replay")
    assert (replayed["agrees"], replayed["same"]) == (True, 1)
    assert webhook.events() == []


def test_a_restart_and_a_lost_book_repeat_nothing_unmarked(told):
    world, webhook = told
    world.login("q03").ask("HEAD", f"orchid/{HONEY}/answers.jsonl")
    _, _, body = webhook.wait()
    first = json.loads(body)
    world.stop(kill=True)
    world.serve()
    world.login("q03").get("orchid-sft-v3/sft.jsonl")
    world.stop()
    repeats = webhook.events()  # the kill may have come between the receiver's answer and the book
    assert all((event["id"], event["limenattempt"] > 1) == (first["id"], True) for event in repeats)
    for path in world.data.glob("watch.db*"):
        path.unlink()
    assert world.ask_json("findings", "replay")["same"] == 0, "without a gateway, and without a book"
    world.serve()
    again = [json.loads(webhook.wait()[2]) for _ in range(2)]
    assert all(event["limenagain"] for event in again)
    assert (first["id"], first["data"]) in [(event["id"], event["data"]) for event in again]


def test_a_test_is_marked_as_one_and_a_missing_secret_stops_the_start(told):
    world, webhook = told
    answer = world.ask_json("alert", "test", "soc")
    _, headers, body = webhook.wait()
    event = json.loads(body)
    assert (event["id"], event["type"], event["limentest"]) == (answer["id"], "limen.test.v1", True)
    assert world.ask_json("alert", "list")["alerts"][0]["waiting"] == 0
    assert world.limen("alert", "test", "nobody", check=False).returncode == 4
    webhook.status = 500
    refused = world.limen("alert", "test", "soc", check=False)
    assert (refused.returncode, "status 500" in refused.stderr) == (1, True)
    world.stop()
    del world.environment["LIMEN_ALERT_SOC_SECRET"]
    refused = world.limen("serve", check=False)
    assert refused.returncode == 2
    assert "LIMEN_ALERT_SOC_SECRET" in refused.stderr
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
