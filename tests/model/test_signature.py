"""Only what the owner of the trusted key signed passes."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model import artefact
from model.artefact import Artefact
from model.errors import InvalidConfiguration, UntrustedVersion
from model.local_registry import LocalRegistry
from model.signature import sign, verify
from tests.versions import stage


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Private and public key as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    encoding = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def version(tmp_path: Path) -> Artefact:
    return stage(tmp_path / "2026.1.1")


def test_what_was_signed_passes_wherever_it_lies(version: Artefact, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "own")
    sign(version, private, tmp_path / "signature")
    verify(version, tmp_path / "signature", public)
    registry = LocalRegistry(tmp_path / "registry")
    published = registry.publish(version.folder, signature=tmp_path / "signature")
    verify(published, registry.signature("2026.1.1"), public)


def test_everything_else_is_refused(version: Artefact, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "own")
    _, foreign = write_keys(tmp_path, "foreign")
    signature = tmp_path / "signature"
    sign(version, private, signature)
    with pytest.raises(UntrustedVersion, match="not signed"):
        verify(version, None, public)
    with pytest.raises(UntrustedVersion, match=r"foreign\.pub"):
        verify(version, signature, foreign)
    other = artefact.read(shutil.copytree(version.folder, tmp_path / "other" / "2026.1.1"))
    (other.folder / "card.md").write_text("# Another", encoding="utf-8")
    with pytest.raises(UntrustedVersion, match=r"2026\.1\.1"):
        verify(artefact.write(other.folder, other.manifest), signature, public)
    signature.write_bytes(b"{}")
    with pytest.raises(UntrustedVersion):
        verify(version, signature, public)


def test_a_key_that_is_none_is_named(version: Artefact, tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, "own")
    sign(version, private, tmp_path / "signature")
    (tmp_path / "no.key").write_text("no key", encoding="utf-8")
    for path in (tmp_path / "no.key", tmp_path / "nowhere.key"):
        with pytest.raises(InvalidConfiguration, match=path.name):
            sign(version, path, tmp_path / "again")
        with pytest.raises(InvalidConfiguration, match=path.name):
            verify(version, tmp_path / "signature", path)
