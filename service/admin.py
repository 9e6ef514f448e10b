"""What an operator asks of a running service. With keys, the guard in front lets only the scope `admin` come here."""

import dataclasses

import anyio.to_thread
from fastapi import APIRouter, Request

from service import openapi, security
from service.problems import OnlyFromHere
from service.schemas import Serving, VersionEvent
from service.settings import Settings
from service.versions import LiveVersions

EVENTS_SHOWN = 20
PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")  # then the address is not the caller's

router = APIRouter()


@router.post("/v1/admin/refresh", **openapi.REFRESH)
async def refresh(request: Request) -> Serving:
    """Look now at what the registry's aliases stand for, also at versions that were refused, and tell what serves.

    All replicas that share this address on this machine look; the one that answers has done so already.

    Without keys this is answered on the service's own machine alone, and never with `CUPDISC_OPEN`.
    """
    check_caller(request)
    live: LiveVersions = request.app.state.live
    if group := request.app.state.group:
        group.look_again()
    await anyio.to_thread.run_sync(live.refresh, True, limiter=request.app.state.fetching)
    return serving(live)


def serving(live: LiveVersions) -> Serving:
    """What answers, what does not and why, and what happened lately."""
    return Serving(
        default=live.default,
        candidate=live.candidate,
        degraded=dict(live.troubles),
        refused=dict(live.refused),
        events=[VersionEvent(**dataclasses.asdict(event)) for event in list(live.events)[-EVENTS_SHOWN:]],
    )


def check_caller(request: Request) -> None:
    """Raises OnlyFromHere where there are no keys and the caller may be anybody."""
    settings: Settings = request.app.state.settings
    if settings.keys:
        return
    address = request.client.host if request.client else ""
    # a page in a browser of this machine is not its operator
    foreign = "origin" in request.headers or any(name in request.headers for name in PROXIED)
    if settings.open or foreign or not security.is_loopback(address):
        raise OnlyFromHere("without keys this is answered on the service's own machine alone")
