"""Who gets in: a key or token before anything of a body is read, then rates; and headers that browsers obey."""

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio.to_thread
import structlog
from limits import RateLimitItem, parse
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import CupDiscError, InvalidConfiguration
from service import keys, problems
from service.keys import Caller, Callers
from service.observability import Metrics
from service.problems import (
    AmbiguousLength,
    HeadTooLarge,
    IssuerUnreachable,
    KeyExpired,
    KeyInvalid,
    KeyMissing,
    RateExceeded,
    RateTooSmall,
    ScopeMissing,
    TooManyAtOnce,
)
from service.protocol import LARGEST_HEAD, counted_as
from service.rates import Allowance, Rates
from service.settings import Settings

if TYPE_CHECKING:
    from service.tokens import Tokens

# Method and path → the scope that a caller needs, None for nobody's business; the first that fits. What is not listed
# needs `admin`, so that a new path is closed until somebody decides; a test asks that every path be decided.
ACCESS: tuple[tuple[str, re.Pattern[str], keys.Scope | None], ...] = (
    ("GET", re.compile(r"/(page/.*|sample\.jpg|docs(/.*)?|openapi\.json)?"), None),
    ("GET", re.compile(r"/health/(live|ready)"), None),
    ("POST", re.compile(r"/v1/(segmentations|measurements)|/page/picture"), "segment"),
    ("GET", re.compile(r"/v1/versions(/[^/]*)?"), "segment"),
    ("GET", re.compile(r"/v2(/health/(live|ready))?"), None),
    ("GET", re.compile(r"/v2/models/[^/]*(/versions/[^/]*)?(/ready)?"), "segment"),
    ("POST", re.compile(r"/v2/models/[^/]*(/versions/[^/]*)?/infer"), "segment"),
    ("GET", re.compile(r"/v1/models/[^/]*(/(versions|labels)/[^/]*)?"), "segment"),
    ("POST", re.compile(r"/v1/models/[^/]*(/(versions|labels)/[^/]*)?:predict"), "segment"),
    ("POST", re.compile(r"/v1/admin/refresh"), "admin"),
    ("GET", re.compile(r"/metrics"), "admin"),
)
BUSY_RETRY_S = 1
ISSUER_RETRY_S = 10
TOKEN_CHECKS = 4  # at the same time; one may wait for the issuer
LONGEST_TOKEN = 8192  # characters
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
SHOWN_TO_PAGES = (
    "CupDisc-Version",
    "CupDisc-Convention",
    "CupDisc-Gradable",
    "CupDisc-Reasons",
    "CupDisc-Ratio-Vertical",
    "Retry-After",
)
SHOWN_LIMITS = ("RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Request-ID")

logger = structlog.get_logger("cupdisc")


def needed_scope(method: str, path: str) -> keys.Scope | None:
    """What a caller must be allowed for this; None where everybody is."""
    for listed, pattern, scope in ACCESS:
        if method == listed and pattern.fullmatch(path):
            return scope
    return "admin"


def caller_of(request: Request) -> str:
    """Whose turn in the queue a request takes: a caller's by name where keys are asked for, or else an address's."""
    return getattr(request.state, "caller", None) or address_of(request.scope)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, host: str) -> None:
    """Nobody opens the service to other machines by accident.

    Raises:
        InvalidConfiguration: it would listen beyond this machine, without keys, and nobody has said that this is meant.
    """
    if not (is_loopback(host) or settings.keys or settings.open):
        raise InvalidConfiguration(
            f"on {host} other machines could reach the service, and it asks for no key: set CUPDISC_KEYS to a file that"
            " `cupdisc keys add` made, or CUPDISC_OPEN=true where something in front keeps strangers out"
        )


@dataclass(frozen=True)
class _Refusal:
    """Why a request goes no further."""

    error: CupDiscError
    reason: str  # for logs and metrics
    headers: dict[str, str] = field(default_factory=dict)


class Admission:
    """Who calls, and whether they may now.

    Raises:
        InvalidConfiguration: settings or a file of callers that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._callers = Callers(settings.keys) if settings.keys else None
        if settings.issuer and not self._callers:
            raise InvalidConfiguration("issuer: needs keys, the file that names the tokens' holders and their scopes")
        self._tokens = _tokens(settings) if settings.issuer else None
        self._token_checks = anyio.CapacityLimiter(TOKEN_CHECKS)
        self._rate, self._concurrent = _rate("rate", settings.rate), settings.concurrent
        self._wrong_keys = _rate("wrong_keys", settings.wrong_keys)
        self._rates = Rates()
        self._under_way: Counter[str] = Counter()

    @property
    def asks_for_keys(self) -> bool:
        """Whether strangers are turned away."""
        return self._callers is not None

    async def identify(self, scope: Scope, needed: keys.Scope) -> Caller | _Refusal | None:
        """The caller, None where no keys are asked for; or why not."""
        if self._callers is None:
            return None
        try:
            caller = await self._caller(Headers(scope=scope), self._callers)
        except (KeyMissing, KeyInvalid, KeyExpired) as error:
            return self._wrong_key(error, address_of(scope))
        except IssuerUnreachable as error:
            return _Refusal(error, error.code, {"Retry-After": str(ISSUER_RETRY_S)})
        if needed not in caller.scopes:
            return _Refusal(ScopeMissing(f"this needs the scope '{needed}'"), "scope_missing")
        return caller

    def take_turn(self, name: str, caller: Caller | None) -> Allowance | _Refusal:
        """What the caller has of its rate, or why this is too much. To be followed by `leave`."""
        most = (caller.concurrent if caller else None) or self._concurrent
        allowance = self._rates.of(parse(caller.rate) if caller and caller.rate else self._rate, name)
        try:
            allowance.begin()
        except RateExceeded as error:
            return _Refusal(error, error.code, allowance.headers)
        if most and self._under_way[name] >= most:
            busy = TooManyAtOnce(f"{most} requests are under way already")
            return _Refusal(busy, busy.code, {**allowance.headers, "Retry-After": str(BUSY_RETRY_S)})
        self._under_way[name] += 1
        return allowance

    def leave(self, name: str) -> None:
        """The request is answered."""
        self._under_way[name] -= 1
        if not self._under_way[name]:
            del self._under_way[name]

    async def _caller(self, headers: Headers, callers: Callers) -> Caller:
        """Who shows this key or token.

        Raises:
            KeyMissing, KeyInvalid, KeyExpired, IssuerUnreachable.
        """
        secret = _shown_secret(headers)
        if self._tokens is not None and secret.count(".") == 2 and len(secret) <= LONGEST_TOKEN:
            claims = await anyio.to_thread.run_sync(self._tokens.verify, secret, limiter=self._token_checks)
            caller = callers.by_token(claims.subject, claims.email)
        else:
            caller = callers.by_key(secret.encode())
        if caller is None:
            raise KeyInvalid("the key is nobody's")
        if keys.is_expired(caller):
            raise KeyExpired("the key has expired")
        return caller

    def _wrong_key(self, error: CupDiscError, address: str) -> _Refusal:
        tries = self._rates.of(None if isinstance(error, KeyMissing) else self._wrong_keys, "wrong keys", address)
        try:
            tries.begin("too many wrong keys from this address")
        except RateExceeded as too_many:
            return _Refusal(too_many, "wrong_keys", tries.headers)
        bearer = 'Bearer realm="cupdisc"' + ("" if isinstance(error, KeyMissing) else ', error="invalid_token"')
        return _Refusal(error, error.code, {"WWW-Authenticate": bearer})


class Guard:
    """ASGI middleware: key or token, scope, rate and concurrency, all before the body is touched."""

    def __init__(self, app: ASGIApp, admission: Admission, metrics: Metrics) -> None:
        self.app, self._admission, self._metrics = app, admission, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = None
        if scope["type"] == "http":
            if _head_bytes(scope) > LARGEST_HEAD:  # h11 lets one pass that has arrived at once
                error = HeadTooLarge(f"path, query and headers are longer than {LARGEST_HEAD} bytes")
                await self._refuse(_Refusal(error, error.code), scope, receive, send)
                return
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
                ambiguous = AmbiguousLength("send Content-Length or Transfer-Encoding, not both")
                await self._refuse(_Refusal(ambiguous, ambiguous.code), scope, receive, send)
                return
            needed = needed_scope(scope["method"], scope["path"].removeprefix(scope.get("root_path", "")))
        if needed is None:
            await self.app(scope, receive, send)
            return
        caller = await self._admission.identify(scope, needed)
        if isinstance(caller, _Refusal):
            await self._refuse(caller, scope, receive, send)
            return
        name = caller.name if caller else address_of(scope)
        if caller:
            scope.setdefault("state", {})["caller"] = name
        allowance = self._admission.take_turn(name, caller)
        if isinstance(allowance, _Refusal):
            await self._refuse(allowance, scope, receive, send)
            return
        scope.setdefault("state", {})["allowance"] = allowance

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowance.headers)
            await send(message)

        try:
            await self.app(scope, receive, send_with_limits)
        finally:
            self._admission.leave(name)

    async def _refuse(self, refusal: _Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.refused(refusal.reason)
        logger.warning("refused", reason=refusal.reason, address=address_of(scope))
        status = problems.ANSWERS[type(refusal.error)][0]
        answer = problems.problem(status, refusal.error.code, str(refusal.error), refusal.headers)
        await answer(scope, receive, send)


def count(request: Request, photographs: int) -> None:
    """Count a request as so many of its caller's. As one it was counted before its body was read.

    Raises:
        RateExceeded, RateTooSmall: as `Allowance.grow`.
    """
    allowance: Allowance = request.state.allowance
    try:
        allowance.grow(photographs)
    except (RateExceeded, RateTooSmall) as error:
        request.app.state.metrics.refused(error.code)
        raise


class BrowserHeaders:
    """ASGI middleware: what tells browsers to be careful, where an answer does not say it itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _tokens(settings: Settings) -> "Tokens":
    from service.tokens import Tokens  # with packages that a service without an issuer need not wait for

    return Tokens(settings.issuer, settings.audience)


def sites(origins: str) -> list[str]:
    """The sites of a list with commas, such as `https://clinic.example`; `*` is every site.

    Raises:
        InvalidConfiguration: one is no origin.
    """
    found = [site.strip() for site in origins.split(",") if site.strip()]
    wrong = [site for site in found if not re.fullmatch(r"https?://[\w.-]+(:\d+)?|\*", site)]
    if wrong:
        raise InvalidConfiguration(f"cors_origins: no origin of a site: {', '.join(wrong)}")
    return found


def cors(app: ASGIApp, allowed: list[str]) -> ASGIApp:
    """The application, callable by pages of these sites too. No cookies are used, so none are let through."""
    return CORSMiddleware(
        app,
        allow_origins=allowed,
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "X-API-Key", "Content-Type", "X-Request-ID"),
        expose_headers=(*SHOWN_TO_PAGES, *SHOWN_LIMITS),
    )


def address_of(scope: Scope) -> str:
    """The caller's address; of IPv6 the first 64 bits, which one household or machine has to itself."""
    return counted_as((scope.get("client") or ("unknown",))[0])


def _head_bytes(scope: Scope) -> int:
    pairs = sum(len(name) + len(value) for name, value in scope["headers"])
    return pairs + len(scope["path"]) + len(scope["query_string"])


def _rate(name: str, text: str) -> RateLimitItem | None:
    try:
        return parse(text) if text else None
    except ValueError as error:
        raise InvalidConfiguration(f"{name}: {error}") from None


def _shown_secret(headers: Headers) -> str:
    """The key or token of a request.

    Raises:
        KeyMissing: there is none.
    """
    kind, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "").strip()
    if not secret:
        raise KeyMissing("show a key: Authorization: Bearer …, or X-API-Key: …")
    return secret
