"""Bent STS forms, key sets and discovery documents: only our own errors come out of their readers."""

import asyncio
import contextlib
import json
import random

import pytest

from limen.core.errors import BadCredential, LimenError
from limen.doors.sts.form import WebIdentity, read_form, read_web_identity
from limen.identity.devissuer import DevIssuer
from limen.identity.jwks import discover, read_key_set

INPUTS = 100_000
FORM = (
    b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Forchid"
    b"&RoleSessionName=q03%40laptop&DurationSeconds=900&WebIdentityToken=a.b.c"
)
PIECES = [
    b"&",
    b"=",
    b"%",
    b"%FF",
    b"%00",
    b"+",
    b"Policy=",
    b"&&",
    b"\xff",
    b"\n",
    b"DurationSeconds=9e9",
    b"RoleArn=x",
    b"0",
    b"-",
]
ODD = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "AA",
    "A" * 400,
    "A" * 3000,
    "\ud800",
    "é",
    "!",
    [],
    {},
    ["verify"],
    "sig",
    "enc",
    "RSA",
    "EC",
    "OKP",
    "oct",
    "P-256",
    "P-384",
    "Ed25519",
    "X25519",
    "Ed448",
    "secp256k1",
]


def bend(rng, raw):
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randrange(len(raw) + 1) for _ in "ab")
        match rng.randrange(3):
            case 0:
                raw = raw[:at] + rng.choice(PIECES) + raw[at + rng.randrange(8) :]
            case 1:
                raw = raw[:at] + rng.randbytes(rng.randrange(4)) + raw[at:]
            case 2:
                raw = raw[:at] + raw[to:] if to - at < 20 else raw + raw[at:to]
    return raw


def read_bent(rng, count, read):
    """How many of `count` bent forms `read` took; only our own errors may come out of it."""
    taken = 0
    for _ in range(count):
        with contextlib.suppress(LimenError):
            asked = read_web_identity(read(bend(rng, FORM)))
            taken += 1
            assert isinstance(asked, WebIdentity)
            assert 900 <= asked.duration_s <= 43_200
            assert asked.unverified_token
    return taken


def test_bent_forms_are_read_or_refused_with_our_own_error():
    assert 0 < read_bent(random.Random(1), INPUTS, read_form) < INPUTS


def bend_key(rng, key):
    bent = dict(key)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice([*key, "use", "key_ops", "d", "k", "x5c", "kty", "crv"])
        if rng.random() < 0.2:
            bent.pop(name, None)
        else:
            bent[name] = rng.choice(ODD) if rng.random() < 0.7 else str(bent.get(name, ""))[::-1]
    return bent


def test_bent_keys_are_passed_over_and_never_break_the_set():
    rng = random.Random(2)
    keys = DevIssuer(url="http://127.0.0.1:1", mode="development").jwks()["keys"]
    for _ in range(INPUTS // 5):
        listed = [bend_key(rng, rng.choice(keys)) for _ in range(5)]
        assert [key.kid for key in read_key_set({"keys": [*listed, {**keys[0], "kid": "good"}]})][-1] == "good"


def test_bent_discovery_documents_are_refused_with_our_own_error():
    rng = random.Random(3)
    good = {"issuer": "https://id.example", "jwks_uri": "https://id.example/keys"}

    async def run():
        for _ in range(20_000):
            document = {**good, rng.choice([*good]): rng.choice(ODD)}
            raw = json.dumps(document).encode()
            raw = bend(rng, raw) if rng.random() < 0.5 else raw

            async def fetch(_url, raw=raw):
                return raw

            with contextlib.suppress(BadCredential):
                assert (await discover("https://id.example", fetch=fetch, development=False)).startswith("https://")

    asyncio.run(run())


def test_a_reader_that_lets_pythons_own_errors_out_fails_this_fuzz():
    """Negative control: a form reader that does not catch decoding errors is found out."""

    def careless(raw):
        return dict(part.split("=", 1) for part in raw.decode().split("&"))

    with pytest.raises(ValueError, match=r".+"):
        read_bent(random.Random(1), 1000, careless)
