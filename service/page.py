"""The web page at `/`: static files, one example photograph, and pictures that a browser cannot decode by itself."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service import rendering, security, uploads
from service.cost import cost_of

FOLDER = Path(__file__).with_name("page")
SAMPLES = (FOLDER / "sample.jpg", FOLDER.parents[1] / "examples" / "normal_left_eye.jpg")  # a wheel's, a checkout's
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # a browser asks each time whether there is a newer one
}

router = APIRouter(include_in_schema=False)


class _Files(StaticFiles):
    """The page's scripts and styles, with its headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serve the page at `/`, its files below `/page` and the example photograph at `/sample.jpg`."""
    app.include_router(router)
    app.mount("/page", _Files(directory=FOLDER))


@router.get("/")
async def page() -> Response:
    """The page. All its addresses are relative, so that it also works behind a prefix."""
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


@router.get("/sample.jpg")
async def sample() -> Response:
    """A normal left eye, CC0; see examples/README.md."""
    found = next(path for path in SAMPLES if path.is_file())
    return FileResponse(found, headers=HEADERS)


@router.post("/page/picture")
async def picture(request: Request) -> Response:
    """The photograph in the body as a PNG, upright and 8 bits deep: no browser shows TIFF.

    Raises:
        PhotographError: as `Decoders.decode`.
        Overloaded, DeadlineExceeded, ClientDisconnect: as of a segmentation.
    """
    state = request.app.state
    state.queue.check_room()
    data = await uploads.photograph_bytes(request)

    def drawn(check: Callable[[], None]) -> bytes:
        photograph = state.decode(data, None)
        check()
        return _png(photograph.pixels)

    content = await state.queue.run(drawn, security.caller_of(request), request.receive, cost_of(data).is_heavy)
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="image/png")


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), rendering.PHOTOGRAPH_PNG)[1].tobytes()
