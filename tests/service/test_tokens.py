"""OpenID Connect tokens, checked against an issuer that is made here: a real server with real keys."""

import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from model.errors import InvalidConfiguration
from service.problems import IssuerUnreachable, KeyExpired, KeyInvalid
from service.tokens import Tokens

AUDIENCE = "https://cupdisc.example"


class Issuer:
    """Says who somebody is, as Google's does: a description, public keys, signed tokens."""

    def __init__(self) -> None:
        self.keys = {"first": rsa.generate_private_key(65537, 2048)}
        self.asked: list[str] = []
        self.moved: dict[str, str] = {}  # path → where it sends who asks for it
        issuer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if self.path in issuer.moved:
                    self.send_response(302)
                    self.send_header("Location", issuer.moved[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                known = {"/.well-known/openid-configuration": issuer.described, "/keys": issuer.public}
                body = json.dumps(known[self.path]()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def described(self) -> dict[str, str]:
        return {"issuer": self.address, "jwks_uri": f"{self.address}/keys"}

    def public(self) -> dict[str, Any]:
        made = jwt.algorithms.RSAAlgorithm.to_jwk
        return {
            "keys": [
                {**json.loads(made(key.public_key())), "kid": name, "use": "sig"} for name, key in self.keys.items()
            ]
        }

    def token(self, signed_by: str = "first", algorithm: str = "RS256", **changes: Any) -> str:
        now = int(time.time())
        claims = {
            **{"iss": self.address, "aud": AUDIENCE, "sub": "1234", "iat": now, "exp": now + 600},
            **{"email": "robot@example.org", "email_verified": True},
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[signed_by], algorithm, headers={"kid": signed_by})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


def test_a_good_token_tells_who_holds_it(issuer: Issuer) -> None:
    claims = Tokens(issuer.address, AUDIENCE).verify(issuer.token())
    assert (claims.subject, claims.email) == ("1234", "robot@example.org")


def test_the_issuer_is_asked_once_for_many_tokens(issuer: Issuer) -> None:
    tokens = Tokens(issuer.address, AUDIENCE)
    for _ in range(20):
        tokens.verify(issuer.token())
    for _ in range(20):
        with pytest.raises(KeyInvalid):  # keys that nobody knows do not make us ask each time
            tokens.verify(jwt.encode({"sub": "1"}, issuer.keys["first"], "RS256", headers={"kid": "unknown"}))
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize("verified", [False, "true", None])
def test_an_address_that_the_issuer_has_not_verified_does_not_count(issuer: Issuer, verified: object) -> None:
    claims = Tokens(issuer.address, AUDIENCE).verify(issuer.token(email_verified=verified))
    assert claims.email is None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://another.example"},
        {"aud": None},
        {"iss": "https://accounts.google.com"},
        {"sub": None},
        {"exp": None},
        {"iat": None},
        {"nbf": time.time() + 3600},
    ],
)
def test_a_token_for_another_purpose_is_refused(issuer: Issuer, changes: dict[str, Any]) -> None:
    with pytest.raises(KeyInvalid):
        Tokens(issuer.address, AUDIENCE).verify(issuer.token(**changes))


def test_an_old_token_is_refused(issuer: Issuer) -> None:
    with pytest.raises(KeyExpired):
        Tokens(issuer.address, AUDIENCE).verify(issuer.token(exp=int(time.time()) - 3600))


def test_a_token_that_somebody_else_signed_is_refused(issuer: Issuer) -> None:
    tokens = Tokens(issuer.address, AUDIENCE)
    good = issuer.token()
    genuine = issuer.keys["first"]
    issuer.keys["first"] = rsa.generate_private_key(65537, 2048)
    forged = issuer.token()
    issuer.keys["first"] = genuine
    tokens.verify(good)
    with pytest.raises(KeyInvalid):
        tokens.verify(forged)


def signed_by_a_secret(claims: dict[str, Any], secret: bytes) -> str:
    """With HS256 and what everybody knows, the public key, as the secret: PyJWT itself refuses to make such a token."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": "first"}, claims)]
    told = b".".join(jwt.utils.base64url_encode(part) for part in parts)
    return (told + b"." + jwt.utils.base64url_encode(hmac.digest(secret, told, "sha256"))).decode()


def test_a_new_key_of_the_issuer_is_taken_and_one_that_it_withdrew_is_not(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(issuer.address, AUDIENCE)
    old = issuer.token()
    tokens.verify(old)
    issuer.keys = {"second": rsa.generate_private_key(65537, 2048)}
    new = issuer.token("second")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600)  # PyJWT keeps keys for five minutes
    assert tokens.verify(new).subject
    with pytest.raises(KeyInvalid):
        tokens.verify(old)


def test_a_token_that_is_not_signed_or_by_a_shared_secret_is_refused(issuer: Issuer) -> None:
    tokens = Tokens(issuer.address, AUDIENCE)
    head, body, signature = issuer.token().split(".")
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})  # all that is asked for, and right
    public = issuer.keys["first"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (
        jwt.encode(claims, None, "none", headers={"kid": "first"}),
        jwt.encode(claims, "s" * 32, "HS256", headers={"kid": "first"}),
        signed_by_a_secret(claims, pem),
        signed_by_a_secret(claims, jwt.algorithms.RSAAlgorithm.to_jwk(public).encode()),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "first"}),
        f"{head}.{body}.",
        f"{head}.{body[:-4]}.{signature}",
        "a.b.c",
        "..",
        jwt.utils.base64url_encode(b"[" * 6000).decode() + ".e30.AA",
    ):
        with pytest.raises(KeyInvalid):
            tokens.verify(wrong)


def test_an_issuer_that_is_away_is_told_apart_from_a_wrong_token(issuer: Issuer) -> None:
    token = issuer.token()
    tokens = Tokens(issuer.address, AUDIENCE)
    issuer.close()
    for _ in range(2):
        with pytest.raises(IssuerUnreachable):
            tokens.verify(token)


def test_an_issuer_that_describes_another_is_not_believed(issuer: Issuer) -> None:
    described = issuer.described()
    issuer.described = lambda: {**described, "issuer": "https://accounts.google.com"}  # type: ignore[method-assign]
    with pytest.raises(IssuerUnreachable):
        Tokens(issuer.address, AUDIENCE).verify(issuer.token())


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
def test_an_issuer_sends_us_nowhere_else(issuer: Issuer, path: str) -> None:
    elsewhere = Issuer()
    issuer.moved[path] = elsewhere.address + path
    with pytest.raises(IssuerUnreachable):
        Tokens(issuer.address, AUDIENCE).verify(issuer.token())
    elsewhere.close()
    assert elsewhere.asked == []
    assert issuer.asked[-1] == path


@pytest.mark.parametrize(
    ("address", "audience"),
    [
        ("http://accounts.example", AUDIENCE),
        ("ftp://x", AUDIENCE),
        ("x", AUDIENCE),
        ("https://accounts.google.com", ""),
    ],
)
def test_settings_that_are_not_safe_stop_the_start(address: str, audience: str) -> None:
    with pytest.raises(InvalidConfiguration):
        Tokens(address, audience)
