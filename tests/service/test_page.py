"""How the page is served: its policy, its files, and pictures that browsers cannot decode. No browser needed."""

import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service import page
from tests.service.conftest import EYE, draw_eye, encode

POLICY = "content-security-policy"


def addresses(text: str) -> Iterator[str]:
    """What a file of the page loads: attributes of HTML, imports of modules, urls of styles."""
    for found in re.finditer(r"""(?:src|href)="([^"#]+)|(?:from|import) "([^"]+)"|url\(([^)]+)\)""", text):
        yield next(group for group in found.groups() if group)


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/page.css", "/page/icons.svg", "/sample.jpg"])
def test_everything_comes_with_a_policy_that_allows_this_host_alone(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers[POLICY]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*|data:", policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.head(path).status_code == 200


def test_every_file_that_the_page_names_is_there(client: TestClient) -> None:
    for file in sorted(page.FOLDER.iterdir()):
        for address in addresses(file.read_text(encoding="utf-8")):
            if address.startswith(("https://doi.org", "http://www.w3.org")):
                continue
            path = f"/{address}" if file.suffix == ".html" else f"/page/{address.removeprefix('./')}"
            assert client.get(path).status_code == 200, f"{file.name}: {address}"


def test_no_file_of_the_page_loads_from_another_host() -> None:
    for file in page.FOLDER.iterdir():
        others = set(re.findall(r"https?://[\w.]+", file.read_text(encoding="utf-8")))
        assert others <= {"http://www.w3.org", "https://doi.org"}, file.name  # a namespace, and a link to a paper


def test_the_example_is_the_one_of_the_repository(client: TestClient) -> None:
    with Image.open(io.BytesIO(client.get("/sample.jpg").content)) as picture:
        assert picture.size == (1411, 1411)


def test_a_picture_is_upright_and_exact(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    data = encode(draw_eye(width=320), "TIFF", exif=exif)
    answer = client.post("/page/picture", content=data, headers={"content-type": "application/octet-stream"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), np.rot90(draw_eye(width=320), -1))


def test_a_picture_that_cannot_be_decoded_is_a_problem(client: TestClient) -> None:
    answer = client.post("/page/picture", content=EYE[:100], headers={"content-type": "application/octet-stream"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_photograph")


def test_the_page_is_no_part_of_the_api(client: TestClient) -> None:
    assert not {"/", "/sample.jpg", "/page/picture"} & client.get("/openapi.json").json()["paths"].keys()


def test_nothing_outside_the_pages_folder_is_served(client: TestClient) -> None:
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py"):
        assert client.get(path).status_code == 404
