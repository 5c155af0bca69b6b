import asyncio
import hashlib
import hmac
import json

import pytest
from joserfc import jwk
from small_issuer import AUDIENCE, NOW, SmallIssuer, b64, b64json, make_key

from limen.core.errors import BadCredential, ClaimRejected, IdentityExpired, Invalid
from limen.identity import oidc
from limen.identity.oidc import IssuerConfig, RelyingParty


def verify(party, token, now=NOW):
    return asyncio.run(party.verify(token, now=now))


def refused(party, token, now=NOW):
    with pytest.raises(BadCredential) as refusal:
        verify(party, token, now)
    return type(refusal.value), refusal.value.step


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_proper_token_of_each_algorithm_is_believed(algorithm):
    issuer = SmallIssuer(algorithm=algorithm)
    claims = verify(issuer.relying_party(algorithms=(algorithm,)), issuer.sign())
    assert (claims.issuer, claims.subject, claims.strength, claims.audience) == (issuer.url, "0a7f", "single", AUDIENCE)


@pytest.mark.parametrize(
    ("claims", "strength"),
    [
        ({}, "single"),
        ({"amr": ["pwd", "otp"]}, "single"),
        ({"amr": ["hwk", "pin"]}, "hardware"),
        ({"amr": "hwk"}, "single"),
        ({"amr": {"hwk": 1}}, "single"),
        ({"acr": "phr"}, "hardware"),
        ({"acr": "phrh"}, "hardware"),
        ({"acr": "urn:loa:1"}, "single"),
        ({"acr": ["phr"]}, "single"),
    ],
)
def test_strength_is_hardware_only_when_the_issuer_says_so_properly(issuer, claims, strength):
    assert verify(issuer.relying_party(), issuer.sign(claims=issuer.claims(**claims))).strength == strength


def test_an_issuer_whose_hardware_words_are_not_believed_gives_single(issuer):
    party = issuer.relying_party(hardware_acr=frozenset())
    assert verify(party, issuer.sign(claims=issuer.claims(acr="phr"))).strength == "single"


def test_the_e_mail_address_is_carried_for_display_and_is_not_the_identity(issuer):
    claims = verify(issuer.relying_party(), issuer.sign(claims=issuer.claims(email="q03@quillwork.example")))
    assert (claims.email, claims.subject) == ("q03@quillwork.example", "0a7f")


def test_the_issuers_limit_to_vendors_travels_with_the_claims(issuer):
    assert verify(issuer.relying_party(vendors=frozenset({"quillwork"})), issuer.sign()).vendors == {"quillwork"}


# Each row: how the token is bent, the class of the refusal, and the step that it names.
BENT = {
    # 1-3 size, shape, JSON
    "too large": (lambda i: i.sign(claims=i.claims(pad="x" * 20_000)), BadCredential, "size"),
    "a large header": (lambda i: i.sign(header=i.header(x5c=["x" * 5000])), BadCredential, "size"),
    "empty": (lambda i: "", BadCredential, "shape"),
    "two parts": (lambda i: i.sign().rpartition(".")[0], BadCredential, "shape"),
    "four parts": (lambda i: i.sign() + ".x", BadCredential, "shape"),
    "encrypted form": (lambda i: "a.b.c.d.e", BadCredential, "shape"),
    "padded base64": (lambda i: i.sign() + "=", BadCredential, "shape"),
    "standard base64 alphabet": (lambda i: "+/" + i.sign()[2:], BadCredential, "shape"),
    "a space inside": (lambda i: i.sign().replace(".", " .", 1), BadCredential, "shape"),
    "not ASCII": (lambda i: "é" + i.sign(), BadCredential, "shape"),
    "a lone surrogate": (lambda i: "\udc80" + i.sign(), BadCredential, "shape"),
    "header is a list": (lambda i: i.sign(header=["alg"]), BadCredential, "header"),
    "header is not UTF-8": (lambda i: b64(b"\xff{}") + "." + i.sign().partition(".")[2], BadCredential, "header"),
    "claims are a string": (lambda i: i.sign(payload=b64json("iss")), BadCredential, "claims"),
    "claims hold NaN": (lambda i: i.sign(payload=b64(b'{"exp":NaN}')), BadCredential, "claims"),
    "a claim stands twice": (
        lambda i: i.sign(payload=b64(json.dumps(i.claims())[:-1].encode() + b',"sub":"root"}')),
        BadCredential,
        "claims",
    ),
    "deep nesting": (lambda i: i.sign(payload=b64(b'{"a":' + b"[" * 20 + b"]" * 20 + b"}")), BadCredential, "depth"),
    "very deep nesting": (lambda i: i.sign(payload=b64(b"[" * 11_000)), BadCredential, "claims"),
    "a number of 5000 digits": (lambda i: i.sign(payload=b64(b'{"exp":' + b"9" * 5000 + b"}")), BadCredential, "claims"),
    # 4 issuer
    "another issuer": (lambda i: i.sign(claims=i.claims(iss="https://evil.example")), BadCredential, "issuer"),
    "issuer with a slash more": (lambda i: i.sign(claims=i.claims(iss=i.url + "/")), BadCredential, "issuer"),
    "issuer in capitals": (lambda i: i.sign(claims=i.claims(iss=i.url.upper())), BadCredential, "issuer"),
    "issuer is a list": (lambda i: i.sign(claims=i.claims(iss=[i.url])), BadCredential, "issuer"),
    "no issuer": (lambda i: i.sign(claims=i.claims(iss=...)), BadCredential, "issuer"),
    # 5 algorithm and header
    "none": (lambda i: f"{b64json(i.header(alg='none'))}.{b64json(i.claims())}.", BadCredential, "algorithm"),
    "NONE": (lambda i: f"{b64json(i.header(alg='NONE'))}.{b64json(i.claims())}.", BadCredential, "algorithm"),
    "no algorithm": (lambda i: i.sign(header=i.header(alg=...)), BadCredential, "algorithm"),
    "algorithm is a list": (lambda i: i.sign(header=i.header(alg=["ES256"])), BadCredential, "algorithm"),
    "not on the list": (lambda i: i.sign(header=i.header(alg="ES384")), BadCredential, "algorithm"),
    "HS256 with the public key": (lambda i: hmac_signed(i, "HS256"), BadCredential, "algorithm"),
    "HS512 with the public key": (lambda i: hmac_signed(i, "HS512"), BadCredential, "algorithm"),
    "a critical extension": (lambda i: i.sign(header=i.header(crit=["b64"], b64=True)), BadCredential, "critical"),
    "an empty crit": (lambda i: i.sign(header=i.header(crit=[])), BadCredential, "critical"),
    "an access token": (lambda i: i.sign(header=i.header(typ="at+jwt")), BadCredential, "type"),
    "a logout token": (lambda i: i.sign(header=i.header(typ="logout+jwt")), BadCredential, "type"),
    "a type that is no text": (lambda i: i.sign(header=i.header(typ=7)), BadCredential, "type"),
    # 6-7 key and signature
    "no key id": (lambda i: i.sign(header=i.header(kid=...)), BadCredential, "key-id"),
    "key id is a number": (lambda i: i.sign(header=i.header(kid=1)), BadCredential, "key-id"),
    "unknown key id": (lambda i: i.sign(header=i.header(kid="k2")), BadCredential, "key-id"),
    "key of another kind": (lambda i: i.sign(header=i.header(alg="RS256")), BadCredential, "key-kind"),
    "signed by another key": (lambda i: i.sign(key=make_key("ES256")), BadCredential, "signature"),
    "own key in jwk": (lambda i: with_own_key(i, jku=...), BadCredential, "signature"),
    "own key behind jku": (lambda i: with_own_key(i, jku="https://evil.example/keys"), BadCredential, "signature"),
    "own key behind x5u": (lambda i: with_own_key(i, x5u="https://evil.example/cert"), BadCredential, "signature"),
    "no signature": (lambda i: i.sign().rpartition(".")[0] + ".", BadCredential, "signature"),
    "a short signature": (lambda i: i.sign().rpartition(".")[0] + ".AAAA", BadCredential, "signature"),
    "a zero signature": (lambda i: i.sign().rpartition(".")[0] + "." + b64(bytes(64)), BadCredential, "signature"),
    "claims changed after signing": (lambda i: swap_claims(i, sub="root"), BadCredential, "signature"),
    "header changed after signing": (lambda i: swap_header(i, extra=1), BadCredential, "signature"),
    # 8 audience
    "another audience": (lambda i: i.sign(claims=i.claims(aud="payroll")), ClaimRejected, "audience"),
    "no audience": (lambda i: i.sign(claims=i.claims(aud=...)), ClaimRejected, "audience"),
    "an empty audience": (lambda i: i.sign(claims=i.claims(aud=[])), ClaimRejected, "audience"),
    "audience is an object": (lambda i: i.sign(claims=i.claims(aud={"limen": 1})), ClaimRejected, "audience"),
    "audience holds a number": (lambda i: i.sign(claims=i.claims(aud=["limen", 7])), ClaimRejected, "audience"),
    "audience begins like ours": (lambda i: i.sign(claims=i.claims(aud="limen-x")), ClaimRejected, "audience"),
    "a hundred audiences": (lambda i: i.sign(claims=i.claims(aud=["limen"] * 100)), ClaimRejected, "audience"),
    "several and no azp": (lambda i: i.sign(claims=i.claims(aud=["limen", "payroll"])), ClaimRejected, "authorized-party"),
    "several and azp another": (
        lambda i: i.sign(claims=i.claims(aud=["limen", "payroll"], azp="payroll")),
        ClaimRejected,
        "authorized-party",
    ),
    "several and azp a list": (
        lambda i: i.sign(claims=i.claims(aud=["limen", "payroll"], azp=["limen"])),
        ClaimRejected,
        "authorized-party",
    ),
    # 9-11 times
    "expired": (lambda i: i.sign(claims=i.claims(iat=NOW - 4000, exp=NOW - 61)), IdentityExpired, "expiry"),
    "expired to the second": (lambda i: i.sign(claims=i.claims(iat=NOW - 4000, exp=NOW - 60)), IdentityExpired, "expiry"),
    "no expiry": (lambda i: i.sign(claims=i.claims(exp=...)), ClaimRejected, "exp-missing"),
    "expiry is text": (lambda i: i.sign(claims=i.claims(exp=str(NOW + 60))), ClaimRejected, "exp-missing"),
    "expiry is true": (lambda i: i.sign(claims=i.claims(exp=True)), ClaimRejected, "exp-missing"),
    "expiry is infinite": (lambda i: i.sign(payload=endless(i)), ClaimRejected, "exp-missing"),
    "no issue time": (lambda i: i.sign(claims=i.claims(iat=...)), ClaimRejected, "iat-missing"),
    "issued in the future": (lambda i: i.sign(claims=i.claims(iat=NOW + 61)), ClaimRejected, "issued-at"),
    "not valid yet": (lambda i: i.sign(claims=i.claims(nbf=NOW + 61)), ClaimRejected, "not-before"),
    "not-before is text": (lambda i: i.sign(claims=i.claims(nbf="now")), ClaimRejected, "nbf-missing"),
    "lives over a day": (lambda i: i.sign(claims=i.claims(iat=NOW, exp=NOW + 86_401)), ClaimRejected, "lifetime"),
    "ends before it begins": (lambda i: i.sign(claims=i.claims(iat=NOW + 50, exp=NOW + 10)), ClaimRejected, "lifetime"),
    # 12 subject
    "no subject": (lambda i: i.sign(claims=i.claims(sub=...)), ClaimRejected, "subject"),
    "an empty subject": (lambda i: i.sign(claims=i.claims(sub="")), ClaimRejected, "subject"),
    "a numeric subject": (lambda i: i.sign(claims=i.claims(sub=7)), ClaimRejected, "subject"),
    "a long subject": (lambda i: i.sign(claims=i.claims(sub="x" * 256)), ClaimRejected, "subject"),
    "a subject with a line break": (lambda i: i.sign(claims=i.claims(sub="a\nb")), ClaimRejected, "subject"),
    "a subject beyond ASCII": (lambda i: i.sign(claims=i.claims(sub="\u0430dmin")), ClaimRejected, "subject"),
}


def hmac_signed(issuer, algorithm):
    """The classic confusion: the public key, as everybody knows it, used as a shared secret."""
    head, body = b64json(issuer.header(alg=algorithm)), b64json(issuer.claims())
    secret = issuer.key.as_pem(private=False)
    return f"{head}.{body}." + b64(hmac.digest(secret, f"{head}.{body}".encode(), getattr(hashlib, f"sha{algorithm[2:]}")))


def with_own_key(issuer, **extra):
    mine = make_key("ES256")
    return issuer.sign(header=issuer.header(jwk=mine.as_dict(private=False), **extra), key=mine)


def swap_claims(issuer, **changes):
    head, _, signature = issuer.sign().split(".")
    return f"{head}.{b64json(issuer.claims(**changes))}.{signature}"


def swap_header(issuer, **changes):
    _, body, signature = issuer.sign().split(".")
    return f"{b64json(issuer.header(**changes))}.{body}.{signature}"


def endless(issuer):
    return b64(json.dumps(issuer.claims(exp=...))[:-1].encode() + b',"exp":1e999}')


@pytest.mark.parametrize("name", BENT)
def test_a_bent_token_is_refused_at_its_own_step(issuer, name):
    bend, kind, step = BENT[name]
    assert refused(issuer.relying_party(), bend(issuer)) == (kind, step)


def test_headers_that_carry_keys_are_ignored_when_the_signature_is_the_issuers_own(issuer):
    header = issuer.header(jku="https://evil.example/keys", x5u="https://evil.example/c", jwk={"kty": "oct", "k": "AA"})
    assert verify(issuer.relying_party(), issuer.sign(header=header)).subject == "0a7f"
    assert all(url.startswith(issuer.url) for url in issuer.asked)


def test_the_leeway_is_sixty_seconds_on_both_sides(issuer):
    party = issuer.relying_party()
    assert verify(party, issuer.sign(claims=issuer.claims(iat=NOW - 4000, exp=NOW - 59))).subject
    assert verify(party, issuer.sign(claims=issuer.claims(iat=NOW + 60, nbf=NOW + 60))).subject
    assert verify(party, issuer.sign(claims=issuer.claims(iat=NOW, exp=NOW + 86_400))).subject
    assert verify(party, issuer.sign(claims=issuer.claims(iat=NOW - 0.5, exp=NOW + 60.25))).expires_at == NOW + 60


def test_several_audiences_are_fine_when_the_authorized_party_is_ours(issuer):
    claims = issuer.claims(aud=["payroll", "limen-ci"], azp="limen")
    assert verify(issuer.relying_party(), issuer.sign(claims=claims)).audience == "limen-ci"


def test_one_issuers_key_never_speaks_for_another():
    first, second = SmallIssuer("https://one.example"), SmallIssuer("https://two.example")

    async def fetch(url):
        return await (first if url.startswith(first.url) else second).fetch(url)

    party = RelyingParty([IssuerConfig(i.url, (AUDIENCE,)) for i in (first, second)], fetch=fetch)
    assert verify(party, first.sign()).issuer == first.url
    forged = second.sign(claims=second.claims(iss=first.url))
    assert refused(party, forged) == (BadCredential, "signature")


def test_each_issuer_has_its_own_list_of_algorithms():
    rsa = SmallIssuer(algorithm="RS256")
    assert refused(rsa.relying_party(algorithms=("ES256",)), rsa.sign()) == (BadCredential, "algorithm")


def test_a_key_that_its_issuer_keeps_for_another_algorithm_does_not_sign_this_one():
    issuer = SmallIssuer(algorithm="RS256")
    issuer.publish({"keys": [{**issuer.jwks()["keys"][0], "alg": "PS256"}]})
    assert refused(issuer.relying_party(), issuer.sign()) == (BadCredential, "key-kind")


@pytest.mark.parametrize("check", ["_check_audience", "_check_times"])
def test_without_the_check_the_bent_token_would_pass(issuer, monkeypatch, check):
    """Negative control: the table above fails when a check is gone."""
    monkeypatch.setattr(oidc, check, lambda claims, *_, **__: NOW if check == "_check_times" else AUDIENCE)
    for name in ("another audience",) if check == "_check_audience" else ("expired", "lives over a day"):
        assert verify(issuer.relying_party(), BENT[name][0](issuer)).subject == "0a7f"


def test_a_verifier_that_reads_the_tokens_own_key_would_be_fooled(issuer, monkeypatch):
    """Negative control: trust `jwk` from the header, and a forger's own signature passes."""

    def gullible(token, key, *, algorithm):
        return real(token, jwk.import_key(token.header["jwk"]), algorithm=algorithm)

    real = oidc.signed_by
    monkeypatch.setattr(oidc, "signed_by", gullible)
    assert verify(issuer.relying_party(), with_own_key(issuer)).subject == "0a7f"


@pytest.mark.parametrize("algorithms", [("none",), ("HS256",), ("ES256", "HS512"), ("es256",), ()])
def test_configuration_can_not_allow_an_algorithm_that_proves_nothing(algorithms):
    with pytest.raises(Invalid) as refusal:
        IssuerConfig("https://id.example", ("limen",), algorithms=algorithms)
    assert refusal.value.field == "issuer.algorithms"


@pytest.mark.parametrize("audiences", [(), ("",)])
def test_configuration_must_name_an_audience(audiences):
    with pytest.raises(Invalid):
        IssuerConfig("https://id.example", audiences)


@pytest.mark.parametrize(
    ("url", "development", "fits"),
    [
        ("https://id.example", False, True),
        ("https://id.example/realm", False, True),
        ("http://id.example", True, False),
        ("http://127.0.0.1:9000", True, True),
        ("http://localhost:9000", True, True),
        ("http://127.0.0.1:9000", False, False),
        ("http://127.0.0.1.evil.example", True, False),
        ("file:///etc/passwd", True, False),
        ("https://me:pw@id.example", False, False),
        ("https://id.example?x=1", False, False),
        ("https://[", False, False),
        ("https://id.example:x", False, False),
        ("", False, False),
    ],
)
def test_an_issuer_is_asked_over_https_or_on_this_machine_in_development(url, development, fits):
    if fits:
        assert RelyingParty([IssuerConfig(url, ("limen",))], development=development)
        return
    with pytest.raises(Invalid):
        RelyingParty([IssuerConfig(url, ("limen",))], development=development)


def test_the_same_issuer_twice_is_a_mistake():
    with pytest.raises(Invalid):
        RelyingParty([IssuerConfig("https://id.example", ("a",)), IssuerConfig("https://id.example", ("b",))])


def test_keys_given_with_the_configuration_are_never_fetched(issuer):
    party = issuer.relying_party(jwks=issuer.jwks())
    assert verify(party, issuer.sign()).subject == "0a7f"
    assert refused(party, issuer.sign(header=issuer.header(kid="k9"))) == (BadCredential, "key-id")
    assert issuer.asked == []
