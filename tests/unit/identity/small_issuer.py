"""A small issuer made of one key: signs whatever a test bends, and answers as its own web server."""

import base64
import json

from joserfc import jwk
from joserfc.jws import JWSRegistry

from limen.identity.oidc import IssuerConfig, RelyingParty

NOW = 1_775_120_400
URL = "https://id.quillwork.example"
AUDIENCE = "limen"


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64json(value):
    return b64(json.dumps(value).encode())


class SmallIssuer:
    """One signing key, one key set, one discovery document; each part can be replaced by a test."""

    def __init__(self, url=URL, *, algorithm="ES256", kid="k1"):
        self.url = url
        self.algorithm = algorithm
        self.kid = kid
        self.key = make_key(algorithm)
        self.asked = []
        self.documents = {
            f"{url}/.well-known/openid-configuration": json.dumps({"issuer": url, "jwks_uri": f"{url}/keys"}).encode(),
            f"{url}/keys": json.dumps(self.jwks()).encode(),
        }

    def jwks(self):
        return {"keys": [{**self.key.as_dict(private=False), "kid": self.kid, "use": "sig"}]}

    def publish(self, document):
        self.documents[f"{self.url}/keys"] = json.dumps(document).encode()

    def claims(self, **changes):
        claims = {"iss": self.url, "sub": "0a7f", "aud": AUDIENCE, "iat": NOW - 10, "exp": NOW + 3590, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def header(self, **changes):
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **changes}
        return {name: value for name, value in header.items() if value is not ...}

    def sign(self, header=None, claims=None, *, key=None, algorithm=None, payload=None):
        head = b64json(header or self.header())
        body = payload if payload is not None else b64json(claims or self.claims())
        model = JWSRegistry.algorithms[algorithm or self.algorithm]
        return f"{head}.{body}." + b64(model.sign(f"{head}.{body}".encode(), key or self.key))

    async def fetch(self, url):
        self.asked.append(url)
        answer = self.documents[url]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def relying_party(self, **changes):
        config = {"url": self.url, "audiences": (AUDIENCE, "limen-ci"), **changes}
        return RelyingParty([IssuerConfig(**config)], fetch=self.fetch)


def make_key(algorithm):
    if algorithm.startswith(("RS", "PS")):
        return jwk.RSAKey.generate_key(2048)
    if algorithm == "EdDSA":
        return jwk.OKPKey.generate_key("Ed25519")
    return jwk.ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
