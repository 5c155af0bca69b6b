"""100,000 bent identity tokens: each is refused with one of our own errors, and none is believed."""

import asyncio
import base64
import json
import random

import pytest

from limen.core.errors import BadCredential
from limen.core.types import Session
from limen.identity.devissuer import DevIssuer
from limen.identity.jws import parse
from limen.identity.oidc import RelyingParty
from limen.identity.sessions import Sessions

NOW = 1_775_120_400
INPUTS = 100_000
# The fuzz is worth its name only if it reaches every one of these checks.
STEPS = {"shape", "header", "claims", "issuer", "algorithm", "critical", "type", "key-id", "key-kind", "signature"}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def make():
    issuer = DevIssuer(url="http://127.0.0.1:8460/_dev/issuer", mode="development", now=lambda: NOW)
    party = RelyingParty([issuer.config()], development=True)
    tokens = [
        issuer.mint("q03", algorithm=name, aud=aud, azp="limen-dev")
        for name in ("ES256", "RS256")
        for aud in ("limen-dev", ["limen-dev", "x"])
    ]
    return party, tokens


VALUES = [
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    "",
    "x",
    "\u0000",
    "\ud800",
    [],
    {},
    [[]],
    ["limen-dev"],
    {"a": {}},
    "none",
    "HS256",
    "RS256",
    "ES256",
    "dev-rs256",
    NOW,
    str(NOW),
]


def bend_text(rng, token):
    """Characters replaced, removed, repeated or cut."""
    chars = list(token)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(chars) or 1)
        match rng.randrange(5):
            case 0:
                chars[at : at + 1] = rng.choice(ALPHABET)
            case 1:
                chars[at : at + 1] = chr(rng.choice([0, 10, 46, 61, 127, 233, 0x1F600, 0xDC80]))
            case 2:
                del chars[at : at + 1]
            case 3:
                chars[at:at] = chars[at : at + rng.randint(1, 9)]
            case 4:
                chars = chars[: max(1, at)]
    return "".join(chars)


def bend_json(rng, token):
    """A field of the header or the claims replaced, added or dropped, and put back as proper base64url."""
    parts = token.split(".")
    which = rng.randrange(2)
    fields = json.loads(base64.urlsafe_b64decode(parts[which] + "=="))
    name = rng.choice([*fields, "crit", "jwk", "jku", "x5u", "b64", "nbf", "acr", "amr", "email"])
    if rng.random() < 0.2:
        fields.pop(name, None)
    else:
        fields[name] = rng.choice(VALUES)
    text = json.dumps(fields)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text))]
    parts[which] = b64(text.encode())
    return ".".join(parts)


def bend_bytes(rng, token):
    """Random bytes as a part, or as the whole."""
    parts = token.split(".")
    parts[rng.randrange(3)] = b64(rng.randbytes(rng.randrange(80)))
    return ".".join(parts) if rng.random() < 0.8 else rng.randbytes(rng.randrange(200)).decode("latin-1")


def outcomes(party, tokens, count):
    """How many inputs were refused at each step; a token that is believed must say exactly what was signed."""
    rng = random.Random(20260402)
    steps, signed = {}, {token.rpartition(".")[0] for token in tokens}

    async def run():
        for _ in range(count):
            bent = rng.choice((bend_text, bend_json, bend_bytes))(rng, rng.choice(tokens))
            try:
                await party.verify(bent, now=NOW)
            except BadCredential as refusal:  # anything else ends the test
                steps[refusal.step] = steps.get(refusal.step, 0) + 1
            else:
                steps["believed"] = steps.get("believed", 0) + 1
                assert bent.rpartition(".")[0] in signed

    asyncio.run(run())
    return steps


def test_no_bent_token_is_believed_and_every_refusal_is_our_own():
    party, tokens = make()
    steps = outcomes(party, tokens, INPUTS)
    assert sum(steps.values()) == INPUTS
    assert steps.keys() >= STEPS


def test_a_verifier_that_lets_every_signature_pass_fails_this_fuzz(monkeypatch):
    """Negative control: with the signature check broken, bent tokens are believed at once."""
    monkeypatch.setattr("limen.identity.oidc.signed_by", lambda *_, **__: True)
    party, tokens = make()
    with pytest.raises(AssertionError):
        outcomes(party, tokens, 2000)


def test_session_tokens_survive_the_same():
    sessions, rng = Sessions(bytes(range(32))), random.Random(7)
    key = "LMN" + "A" * 17
    session = Session("s1", "q/a", "q", None, "orchid", "p", key, "single", NOW, NOW + 900)
    token = sessions.issue(session).session_token
    for _ in range(INPUTS):
        bent = bend_text(rng, token)
        if bent != token:
            with pytest.raises(BadCredential):
                sessions.resolve(key, bent, now=NOW)


def test_the_parser_alone_names_a_step_for_whatever_it_refuses():
    rng = random.Random(3)
    for _ in range(5000):
        raw = rng.randbytes(rng.randrange(60)).decode("latin-1")
        with pytest.raises(BadCredential) as refusal:
            parse(raw)
        assert refusal.value.step
