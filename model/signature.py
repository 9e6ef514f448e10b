"""Sign a version with a key of one's own, and check that somebody one trusts did. Works offline (`model-signing`)."""

from pathlib import Path
from types import ModuleType

from model.artefact import Artefact
from model.errors import InvalidConfiguration, UntrustedVersion


def sign(version: Artefact, private_key: Path, signature: Path) -> None:
    """Write the signature of every file of a version, its manifest included.

    Args:
        version: whose digests were checked.
        private_key: PEM file of an elliptic-curve key, as `openssl ecparam -name prime256v1 -genkey -noout` makes one.
        signature: the file to write, a Sigstore bundle.
    Raises:
        InvalidConfiguration: no such key, or the extra `signing` is not installed.
    """
    signing = _library("signing")
    try:
        signing.Config().use_elliptic_key_signer(private_key=private_key).sign(version.folder, signature)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidConfiguration(f"{private_key}: not a private key that can sign: {error}") from error


def verify(version: Artefact, signature: Path | None, public_key: Path) -> None:
    """Check that a version is exactly what the owner of a key signed.

    Args:
        signature: None where the version has none.
        public_key: PEM file.
    Raises:
        UntrustedVersion: no signature, by another key, or of other files.
        InvalidConfiguration: no such key, or the extra `signing` is not installed.
    """
    name = version.manifest.version
    if signature is None:
        raise UntrustedVersion(f"version {name} is not signed, and {public_key.name} is required")
    verifying = _library("verifying")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidConfiguration(f"{public_key}: not a public key: {error}") from error
    try:
        config.verify(version.folder, signature)
    except Exception as error:  # the library tells bad files, bad keys and bad signatures by errors of many kinds
        raise UntrustedVersion(f"version {name} is not what the owner of {public_key.name} signed: {error}") from error


def _library(part: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{part}")
    except ImportError as error:
        raise InvalidConfiguration(f"signatures need the extra 'signing': {error}") from error
