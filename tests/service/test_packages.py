"""What the service is built from: every package is pinned by hash, and its licence lets anybody use the service."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.photographs import REPOSITORY

LOCKS = ("service", "image", "image-tensorflow", "training")  # what is installed, and what the images ship
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|FreeBSD|0BSD|Apache|ISC|PSF|Zlib|CC0|Unlicense|Python Software Foundation)\b", re.IGNORECASE
)
WEAK_COPYLEFT = {"certifi": "MPL"}  # a list of authorities, used as it is


def locked(lock: str) -> list[tuple[str, list[str]]]:
    """Each requirement as it stands, and its hashes."""
    text = (REPOSITORY / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    entries = re.findall(
        r"^([A-Za-z0-9].*?)(?=^[A-Za-z0-9]|\Z)", re.sub(r"^ *#.*\n", "", text, flags=re.M), re.M | re.S
    )
    return [(one.split("\\")[0].strip(), re.findall(r"--hash=(sha256:[0-9a-f]{64})", one)) for one in entries]


def licence(name: str) -> str:
    """As the package states it: an SPDX expression, the classifiers, the first line of the old field, or its file's."""
    found = metadata.metadata(name)
    classified = [
        one.rpartition(" :: ")[2] for one in found.get_all("Classifier") or () if one.startswith("License ::")
    ]
    stated = found.get("License-Expression") or "; ".join(classified) or (found.get("License") or "").partition("\n")[0]
    texts = [file.read_text()[:200] for file in metadata.files(name) or () if file.name.startswith("LICENSE")]
    return "; ".join(texts) if stated in ("", "UNKNOWN") else stated  # old packages say so where they state nothing


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_by_hash(lock: str) -> None:
    assert len(locked(lock)) > 50
    for requirement, hashes in locked(lock):
        assert re.match(r"[A-Za-z0-9._\[\],-]+==[^ ]+", requirement), requirement
        assert hashes, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_under_a_permissive_licence(lock: str) -> None:
    wanted = [Requirement(requirement) for requirement, _ in locked(lock)]
    here = [one.name for one in wanted if one.marker is None or one.marker.evaluate()]
    assert len(here) > 50
    for name in here:
        found = licence(name)
        assert PERMISSIVE.search(found) or WEAK_COPYLEFT.get(name, "-") in found, f"{name}: {found}"
        assert not re.search(r"\bA?GPL|\bGNU (Affero )?General", found), f"{name}: {found}"
