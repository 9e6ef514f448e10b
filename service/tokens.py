"""OpenID Connect bearer tokens: signed by the issuer that the settings name, for this service, and still valid."""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.exceptions import PyJWKClientConnectionError, PyJWKClientError

from model.errors import InvalidConfiguration
from service.problems import IssuerUnreachable, KeyExpired, KeyInvalid

ALGORITHMS = ("RS256", "ES256", "EdDSA")  # none that a public key could forge, as HS256 would
LEEWAY_S = 30.0  # by which clocks may differ
FETCH_TIMEOUT_S = 5.0
LARGEST_DISCOVERY = 2**20  # bytes
PAUSE_AFTER_FAILURE_S = 10.0  # an issuer that does not answer is not asked by every request
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Claims:
    """What is read of a valid token."""

    subject: str
    email: str | None  # None where there is none, or the issuer has not verified it


class Tokens:
    """Tokens of one issuer for one audience. Safe to call from several threads; may wait for the issuer.

    Args:
        issuer: its address, for instance https://accounts.google.com; the keys are found from there.
        audience: what tokens must be made out to.
    Raises:
        InvalidConfiguration: no https address (http is taken on this machine alone), or no audience.
    """

    def __init__(self, issuer: str, audience: str) -> None:
        if not _is_safe(issuer):
            raise InvalidConfiguration("issuer: an address that begins with https:// is needed")
        if not audience:
            raise InvalidConfiguration("audience: must be given where there is an issuer")
        self._issuer, self._audience = issuer, audience
        self._keys: jwt.PyJWKClient | None = None
        self._not_before = 0.0  # by time.monotonic: when the issuer may be asked again
        self._lock = threading.Lock()

    def verify(self, token: str) -> Claims:
        """The token's claims.

        Raises:
            KeyInvalid, KeyExpired, IssuerUnreachable.
        """
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise KeyInvalid("the token is signed in a way that is not accepted")
            key = self._signing_key(str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise KeyExpired("the token has expired") from None
        except PyJWKClientError:
            raise KeyInvalid("the token is signed by an unknown key") from None
        except (jwt.PyJWTError, RecursionError):  # the reason is not told: it helps only those who make tokens up
            raise KeyInvalid("the token is not valid here") from None
        email = claims.get("email") if claims.get("email_verified") is True else None
        return Claims(str(claims["sub"]), email if isinstance(email, str) else None)

    def _signing_key(self, name: str) -> jwt.PyJWK:
        with self._lock:
            if time.monotonic() < self._not_before:
                raise IssuerUnreachable("the issuer of the tokens does not answer")
            try:
                if self._keys is None:
                    self._keys = jwt.PyJWKClient(self._address_of_keys(), timeout=FETCH_TIMEOUT_S)
                return self._keys.get_signing_key(name)
            except (PyJWKClientConnectionError, OSError, ValueError, KeyError, TypeError) as error:
                self._not_before = time.monotonic() + PAUSE_AFTER_FAILURE_S
                raise IssuerUnreachable("the issuer of the tokens does not answer") from error

    def _address_of_keys(self) -> str:
        """From the issuer's own description (OpenID Connect Discovery 1.0, section 4)."""
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        with urllib.request.build_opener(_NoRedirects).open(address, timeout=FETCH_TIMEOUT_S) as answer:
            described: dict[str, Any] = json.loads(answer.read(LARGEST_DISCOVERY))
        if described["issuer"] != self._issuer or not _is_safe(described["jwks_uri"]):
            raise ValueError("the issuer describes another one")
        return str(described["jwks_uri"])


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nobody sends us elsewhere, to http or into a network of ours. What PyJWT fetches follows none either."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _is_safe(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
