"""Pictures of the web page for these documents, with the CC0 example: `.venv/bin/python docs/screenshots.py [FOLDER]`.

They show the version that ships. A test takes them anew, so that the page cannot change under them unseen.
"""

import contextlib
import io
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from service.app import create_app
from service.settings import Settings

PICTURES = Path(__file__).parent / "pictures"
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def take(out: Path, chromium: str) -> list[Path]:
    """Write every picture into `out`."""
    written = []
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, viewport, scheme in (
            ("page", DESKTOP, "light"),
            ("page-dark", DESKTOP, "dark"),
            ("page-phone", PHONE, "light"),
        ):
            with answered(browser, address, viewport, scheme) as page:
                written.append(save(page, out / f"{name}.png"))
        with answered(browser, address, DESKTOP, "light") as page:
            page.click("#correct")
            page.focus("#canvas")
            for _ in range(2):
                page.keyboard.press("Shift+ArrowUp")
            expect(page.locator("#vertical-corrected")).not_to_have_text("–")
            expect(page.locator("[aria-busy=true]")).to_have_count(0)
            written.append(save(page, out / "page-correcting.png"))
        browser.close()
    return written


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The service with the version that ships; its address."""
    server = uvicorn.Server(uvicorn.Config(create_app(Settings()), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def answered(browser: Browser, address: str, viewport: dict[str, int], scheme: str) -> Iterator[Page]:
    """The page with the answer for the example."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    page.click("#sample")
    expect(page.locator("#vertical")).to_be_visible(timeout=60_000)
    yield page
    context.close()


def save(page: Page, path: Path) -> Path:
    """What is on the screen, as a PNG with a palette."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)  # milliseconds, for the last drawing
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=2).save(path, optimize=True)  # a third of the bytes
    return path


if __name__ == "__main__":
    found = shutil.which("chromium") or sys.exit("chromium is not installed")
    for path in take(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES, found):
        sys.stdout.write(f"{path}: {path.stat().st_size // 1024} KiB\n")
