"""What the service is built from: every package is pinned by hash, and its licence lets anybody use the service."""

import re
from importlib import metadata

from packaging.requirements import Requirement

from tests.photographs import REPOSITORY

LOCK = (REPOSITORY / "requirements" / "service.txt").read_text(encoding="utf-8")
PERMISSIVE = re.compile(r"\b(MIT|BSD|FreeBSD|0BSD|Apache|ISC|PSF|Zlib|CC0|Python Software Foundation)\b", re.IGNORECASE)
WEAK_COPYLEFT = {"certifi": "MPL"}  # a list of authorities, used as it is


def locked() -> list[tuple[str, list[str]]]:
    """Each requirement as it stands, and its hashes."""
    entries = re.findall(
        r"^([A-Za-z0-9].*?)(?=^[A-Za-z0-9]|\Z)", re.sub(r"^ *#.*\n", "", LOCK, flags=re.M), re.M | re.S
    )
    return [(one.split("\\")[0].strip(), re.findall(r"--hash=(sha256:[0-9a-f]{64})", one)) for one in entries]


def licence(name: str) -> str:
    """As the package states it: an SPDX expression, the classifiers, or the first line of the old field."""
    found = metadata.metadata(name)
    classified = [
        one.rpartition(" :: ")[2] for one in found.get_all("Classifier") or () if one.startswith("License ::")
    ]
    return found.get("License-Expression") or "; ".join(classified) or (found.get("License") or "").partition("\n")[0]


def test_every_package_is_pinned_by_hash() -> None:
    assert len(locked()) > 50
    for requirement, hashes in locked():
        assert re.match(r"[A-Za-z0-9._\[\],-]+==[^ ]+", requirement), requirement
        assert hashes, requirement


def test_every_package_is_under_a_permissive_licence() -> None:
    wanted = [Requirement(requirement) for requirement, _ in locked()]
    here = [one.name for one in wanted if one.marker is None or one.marker.evaluate()]
    assert len(here) > 50
    for name in here:
        found = licence(name)
        assert PERMISSIVE.search(found) or WEAK_COPYLEFT.get(name, "-") in found, f"{name}: {found}"
        assert not re.search(r"\bA?GPL|\bGNU (Affero )?General", found), f"{name}: {found}"
