"""One version on disk: write it, read it, check every digest. Only the exporting function imports Keras."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from model import conventions, engines
from model.conventions import Conventions
from model.errors import CorruptVersion, InvalidConfiguration, NoRoom, UnknownSchema

if TYPE_CHECKING:
    import keras

SCHEMA = 1  # of manifest.json; raised whenever a field is added, removed or changes its meaning
MANIFEST = "manifest.json"
NETWORKS = ("locator", "segmenter")
VERSION_NAME = re.compile(r"\d{4}\.(?:[1-9]|1[0-2])\.[1-9]\d*", re.ASCII)  # CalVer with a counter: 2026.11.1
EXPORT_TOLERANCE = 1e-4  # of probabilities, between the Keras network and what was written

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_UNFINISHED = ".manifest.json.unfinished"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class NetworkEntry:
    """One of the two networks."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    config: dict[str, Any]  # `UNetConfig.as_dict()`
    input_size: int  # pixels, square
    outputs: tuple[str, ...]  # meaning of the output channels, in order
    parameters: int


@dataclass(frozen=True)
class Manifest:
    """Everything about a version but its weights; JSON types only."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    schema: int
    name: str  # "disc-cup"
    version: str  # as VERSION_NAME
    created: str  # ISO 8601, UTC: 2026-11-23T09:30:00Z
    code_version: str
    locator: NetworkEntry
    segmenter: NetworkEntry
    preprocessing: dict[str, Any]  # owned by `model.segmenter`
    normalisation: dict[str, Any]  # the training distribution; owned by `model.normalisation`
    thresholds: dict[str, float]  # owned by `model.segmenter`
    calibration: dict[str, Any]  # owned by `model.segmenter`; empty where there is none
    sources: list[dict[str, Any]]  # what it was trained on: counts, digests, terms, citations
    metrics: list[dict[str, Any]]  # per source, and how measured
    training: dict[str, Any]  # presets, seeds, seconds, device
    files: dict[str, str]  # path inside the folder, with /, → sha256; every file but manifest.json


@dataclass(frozen=True)
class Artefact:
    """A version whose files were checked."""

    folder: Path
    manifest: Manifest
    digest: str  # sha256 of manifest.json, and through it of every file

    @functools.cached_property
    def conventions(self) -> Conventions:
        """Ways of annotating that its segmenter can draw by; read once. Raises CorruptVersion."""
        return conventions.read(self.folder)

    @property
    def locator(self) -> Path:
        """Folder of the SavedModel that finds the disc."""
        return self.folder / "locator"

    @property
    def segmenter(self) -> Path:
        """Folder of the SavedModel that outlines disc and cup."""
        return self.folder / "segmenter"

    def load_networks(
        self,
        engine: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        streams: int = 1,
        compiled: Path | None = None,
    ) -> list[engines.Engine]:
        """Locator and segmenter, ready to run; as `engines.load`, but by "auto" the locator computes in f32.

        A region that is cut a pixel aside changes an answer more than all of the segmenter's rounding does.
        """
        precisions = ("f32" if precision == "auto" else precision, precision)
        return engines.load_each((self.locator, self.segmenter), engine, precisions, threads, streams, compiled)


_MANIFEST_TYPE = TypeAdapter(Manifest)


def write(folder: Path, manifest: Manifest) -> Artefact:
    """Complete a version: digests of the files that lie in `folder`, then the manifest, last and at once.

    An earlier manifest is replaced. When this returns, everything has reached the disk.

    Args:
        folder: holds locator/, segmenter/ and whatever else belongs to the version.
        manifest: its `files` are ignored and computed.
    Raises:
        InvalidConfiguration: the manifest is not what this schema allows.
        CorruptVersion: a network is missing, or there is something that is not a plain file.
    """
    found, wrong = _scan(folder)
    found.discard(_UNFINISHED)
    wrong += [f"{path}: missing" for path in _needed() if path not in found]
    if wrong:
        raise CorruptVersion(_listed(folder, wrong))
    files = {path: _sha256(folder / path) for path in sorted(found)}
    manifest = dataclasses.replace(manifest, files=files)
    try:
        text = json.dumps(dataclasses.asdict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
        encoded = f"{text}\n".encode()
        manifest = parse_manifest(encoded)
    except (TypeError, ValueError, CorruptVersion, UnknownSchema) as error:
        raise InvalidConfiguration(f"the manifest: {error}") from error
    unfinished = folder / _UNFINISHED
    unfinished.write_bytes(encoded)
    flush_tree(folder)
    unfinished.replace(folder / MANIFEST)
    flush(folder)
    return Artefact(folder, manifest, hashlib.sha256(encoded).hexdigest())


def read(folder: Path) -> Artefact:
    """A version, after checking that its files are exactly those of its manifest.

    Empty folders do not count: neither Git nor a bucket keeps them.

    Raises:
        UnknownSchema: written by newer code.
        CorruptVersion: the manifest is missing or malformed, or files are missing, changed, too many, or not plain
            files; the message names every one of them.
    """
    try:
        encoded = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CorruptVersion(_listed(folder, [f"{MANIFEST}: {error.strerror}"])) from error
    try:
        manifest = parse_manifest(encoded)
    except CorruptVersion as error:
        raise CorruptVersion(_listed(folder, [f"{MANIFEST}: {error}"])) from error
    found, wrong = _scan(folder)
    unsafe = {path for path in manifest.files if not is_safe(path)}
    wrong += [f"{path!r}: not a path inside the version" for path in unsafe]
    wrong += [f"{path}: not in the manifest" for path in _needed() if path not in manifest.files]
    expected = manifest.files.keys() - unsafe
    wrong += [f"{path}: missing" for path in expected - found]
    wrong += [f"{path}: not in the manifest" for path in found - expected - set(_needed())]
    for path in expected & found:
        try:
            if _sha256(folder / path) != manifest.files[path]:
                wrong.append(f"{path}: changed")
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
    if wrong:
        raise CorruptVersion(_listed(folder, wrong))
    return Artefact(folder, manifest, hashlib.sha256(encoded).hexdigest())


def export_network(model: "keras.Model", folder: Path) -> None:
    """Write a trained network as a SavedModel that every engine runs, and prove it by running it.

    The signature `serving_default` takes `image` float32 (batch, S, S, 3) and gives `probabilities` float32
    (batch, S, S, C); the batch is free.

    Args:
        model: one input (S, S, 3), one output in [0, 1].
        folder: new or empty.
    Raises:
        InvalidConfiguration: Keras runs on another backend than TensorFlow, whose SavedModels OpenVINO cannot read; or
            the folder holds something.
        CorruptVersion: an engine cannot run what was written, or answers otherwise than `model`.
    """
    engines.import_tensorflow()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InvalidConfiguration(f"exporting needs Keras on TensorFlow, not on {keras.backend.backend()}")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidConfiguration(f"{folder} is not empty")
    side = model.input_shape[1]
    archive = keras.export.ExportArchive()  # without `track`, which would store every weight twice
    archive.add_endpoint(
        engines.SIGNATURE,
        lambda image: {engines.OUTPUT: model(image, training=False)},
        input_signature=[keras.InputSpec(shape=(None, side, side, 3), dtype="float32", name=engines.INPUT)],
    )
    archive.write_out(str(folder), verbose=False)
    if (folder / "assets").is_dir() and not any((folder / "assets").iterdir()):
        (folder / "assets").rmdir()
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    expected = np.asarray(model(images, training=False))
    for name in filter(engines.is_installed, engines.ENGINES):
        difference = float(np.abs(engines.load(folder, name, "f32")(images) - expected).max())
        if not difference <= EXPORT_TOLERANCE:
            raise CorruptVersion(f"{folder.name}: {name} answers {difference:.1e} off the network that was exported")


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """`flush` everything below and including a folder."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


@contextlib.contextmanager
def writing_to(place: str) -> Iterator[None]:
    """Raises NoRoom where the disk is full or does not let us; other errors of the system pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise NoRoom(f"{place}: {error.strerror}") from error
        raise


def parse_manifest(encoded: bytes) -> Manifest:
    """What manifest.json says. Raises UnknownSchema, or CorruptVersion naming the fields."""
    try:
        raw = json.loads(encoded, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptVersion(f"not JSON: {error}") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise UnknownSchema(f"the version is written in schema {schema}; this code reads up to {SCHEMA}")
    try:
        manifest = _MANIFEST_TYPE.validate_json(encoded)
    except ValidationError as error:
        fields = (f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}" for item in error.errors())
        raise CorruptVersion("; ".join(fields)) from error
    wrong = []
    if manifest.schema != SCHEMA:
        wrong.append(f"schema: {manifest.schema} was never in use")
    if not VERSION_NAME.fullmatch(manifest.version):
        wrong.append(f"version: {manifest.version!r} is not year.month.counter")
    if not _is_utc(manifest.created):
        wrong.append(f"created: {manifest.created!r} is no ISO 8601 time in UTC")
    wrong += [
        f"files: {path!r} has no sha256" for path, value in manifest.files.items() if not _SHA256.fullmatch(value)
    ]
    if wrong:
        raise CorruptVersion("; ".join(wrong))
    return manifest


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_utc(text: str) -> bool:
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        return False
    return offset is not None and not offset


def _needed() -> list[str]:
    return [f"{network}/saved_model.pb" for network in NETWORKS]


def is_safe(path: str) -> bool:
    """Whether a manifest's path stays inside the folder and means the same on every system."""
    parts = path.split("/")
    return path != MANIFEST and not any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)


def _scan(folder: Path) -> tuple[set[str], list[str]]:
    """All files but the manifest as paths with /, and complaints about what is neither file nor folder."""
    found: set[str] = set()
    wrong: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *names):
            entry = Path(parent, name)
            path = entry.relative_to(folder).as_posix()
            mode = entry.lstat().st_mode
            if stat.S_ISREG(mode):
                found.add(path)
            elif not stat.S_ISDIR(mode):
                wrong.append(f"{path}: {'a link' if stat.S_ISLNK(mode) else 'not a plain file'}")
    return found - {MANIFEST}, wrong


def _raise(error: OSError) -> None:
    raise CorruptVersion(f"{error.filename}: {error.strerror}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(folder: Path, wrong: list[str]) -> str:
    return f"version {folder.name} is corrupt: {'; '.join(sorted(wrong))}"
