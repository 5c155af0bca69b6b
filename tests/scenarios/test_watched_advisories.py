"""A feed signed by OpenSSH is moved into the directory that a serving gateway watches; a forged one is not entered."""

from __future__ import annotations

import subprocess
import time

import pytest

import feeds
from limen.cli.link import ask
from simulator import World

REVISION = feeds.raw(feeds.record("MAL-1", feeds.affected("litellm", "1.82.8")))
FORGED = feeds.raw(feeds.record("MAL-1", feeds.affected("litellm", "0.0.1"), modified=feeds.DAY))


def keygen(*words):
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A gateway that serves, the directory that it watches, and the private key of the source that it believes."""
    tmp_path = tmp_path_factory.mktemp("watched")
    key = tmp_path / "lab-intel"
    keygen("-t", "ed25519", "-N", "", "-C", "lab-intel", "-f", key)
    world = World.make(tmp_path)
    folder = tmp_path / "feeds"
    with (world.data / "limen.toml").open("a") as config:
        config.write(f'[assurance]\nadvisories = "{folder}"\nlook_s = 0.05\n')
        config.write(f'[[advisory_source]]\nname = "lab-intel"\nkey = "{key.with_suffix(".pub").read_text().strip()}"\n')
    world.serve()
    yield world, folder, key
    world.stop()


def until(world, done):
    """What the gateway lists, as soon as it is what is waited for."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = ask(world.data, "advisory.list", {})
        if done(listed):
            return listed
    raise AssertionError(f"not within 30 s: {listed}")


def test_a_signed_feed_is_entered_and_a_forged_one_is_named_and_not_entered(watched, tmp_path):
    world, folder, key = watched
    signed, forged = tmp_path / "signed.json", tmp_path / "forged.json"
    signed.write_bytes(REVISION)
    keygen("-Y", "sign", "-f", key, "-n", "limen-advisory", signed)
    forged.write_bytes(FORGED)
    for source in (signed, forged):  # both with the signature of the first: it is there before its feed
        (folder / f"{source.name}.sig").write_bytes(signed.with_name("signed.json.sig").read_bytes())
        source.rename(folder / source.name)

    listed = until(world, lambda found: found["feeds"] and found["refused"])

    assert [(each["source"], each["signed"], each["records"]) for each in listed["feeds"]] == [("lab-intel", True, 1)]
    assert "does not verify" in listed["refused"]["forged.json"]
    shown = world.ask_json("advisory", "show", "MAL-1")
    assert [each["affected"][0]["versions"] for each in shown["revisions"]] == [["1.82.8"]]

    (folder / "forged.json.sig").unlink()  # now it claims nothing, and says what it says as nobody

    listed = until(world, lambda found: len(found["feeds"]) > 1 and not found["refused"])

    assert (listed["feeds"][1]["source"], listed["feeds"][1]["signed"]) == ("watched", False)
    standing = [each["standing"] for each in world.ask_json("advisory", "show", "MAL-1")["revisions"]]
    assert standing == [True, True]  # the unsigned one adds, and takes nothing
