"""Is this installation fit to work? One check after the other, each with what it found."""

import importlib.metadata
import platform
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fastapi_offline

from model import engines, images
from model.artefact import Artefact
from model.cloud_registry import CloudRegistry
from model.cores import usable_cores
from model.errors import CupDiscError
from model.images import Limits
from model.registry import Registry
from model.segmenter import Segmenter
from service.page import FOLDER, SAMPLES
from service.settings import Settings
from service.versions import registry_of

ROUNDS = 5  # of the speed's median, after one that warms up
ASSETS = (FOLDER / "index.html", Path(fastapi_offline.__file__).parent / "static" / "swagger-ui-bundle.js")


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, and what was found: numbers, or what is wrong."""

    name: str
    state: Literal["good", "absent", "broken"]  # absent: may be missing
    found: str


def examine(settings: Settings) -> Iterator[Check]:
    """Every check in turn; a later one that needs what an earlier one found broken is left out."""
    yield _installation()
    yield _page()
    for engine in engines.ENGINES:
        yield _engine(engine, settings)
    yield (registry := _registry(settings))
    if registry.state == "broken":
        return
    opened = registry_of(settings)
    artefact, served = None, opened.resolve(settings.version)
    for version in [served] if isinstance(opened, CloudRegistry) else opened.versions():  # the others stay there
        check, found = _version(opened, version)
        yield check
        if version == served:
            artefact = found
    if artefact:
        yield _speed(artefact, settings)


def _installation() -> Check:
    missing = []
    for line in importlib.metadata.requires("cupdisc") or []:
        name = re.match(r"[\w.-]+", line)
        if name and "extra ==" not in line:
            try:
                importlib.metadata.version(name[0])
            except importlib.metadata.PackageNotFoundError:
                missing.append(name[0])
    if missing:
        return Check("installation", "broken", f"not installed: {', '.join(missing)}")
    own = importlib.metadata.version("cupdisc")
    cores = usable_cores()
    return Check("installation", "good", f"cupdisc {own}, Python {platform.python_version()}, {cores} cores to use")


def _page() -> Check:
    missing = [path.name for path in ASSETS if not path.is_file()]
    if not any(path.is_file() for path in SAMPLES):
        missing.append(SAMPLES[0].name)
    if missing:
        return Check("web page", "broken", f"files are missing: {', '.join(missing)}")
    return Check("web page", "good", "page, documentation and example photograph are there")


def _engine(engine: str, settings: Settings) -> Check:
    wanted = settings.engine == engine
    if not engines.is_installed(engine):
        state: Literal["absent", "broken"] = "broken" if wanted else "absent"
        return Check(engine, state, "not installed" + ("" if wanted else ", not needed"))
    try:
        able = engines.precisions(engine)
        version = _distribution_version(engine)
    except Exception as error:  # a package that is there and does not work fails in ways of its own
        return Check(engine, "broken", f"cannot be used: {error}")
    if wanted and settings.precision not in ("auto", *able):
        return Check(engine, "broken", f"cannot compute in {settings.precision} on this machine")
    return Check(engine, "good", f"{version}, computes in {' or '.join(able)}")


def _distribution_version(package: str) -> str:
    """A package may come from a distribution of another name, as TensorFlow does."""
    (name, *_) = importlib.metadata.packages_distributions()[package]
    return importlib.metadata.version(name)


def _registry(settings: Settings) -> Check:
    try:
        registry = registry_of(settings)
        versions, aliases = registry.versions(), registry.aliases()
        if not versions:
            return Check("registry", "broken", f"no version in {settings.registry}")
        served = registry.resolve(settings.version)
    except (CupDiscError, OSError) as error:
        return Check("registry", "broken", f"{settings.registry}: {error}")
    names = ", ".join(f"{alias} is {version}" for alias, version in sorted(aliases.items()))
    count = f"{len(versions)} version{'s' * (len(versions) > 1)}"
    return Check("registry", "good", f"{settings.registry}: {count}, {names or 'no alias'}, served is {served}")


def _version(registry: Registry, version: str) -> tuple[Check, Artefact | None]:
    try:
        artefact = registry.open(version)
    except (CupDiscError, OSError) as error:
        return Check(f"version {version}", "broken", str(error)), None
    files = artefact.manifest.files
    found = f"{len(files)} files as published, sha256 {artefact.digest[:12]}..."
    return Check(f"version {version}", "good", found), artefact


def _speed(artefact: Artefact, settings: Settings) -> Check:
    sample = next((path for path in SAMPLES if path.is_file()), None)
    if sample is None:
        return Check("speed", "broken", "there is no example photograph to measure with")
    data, limits = sample.read_bytes(), Limits(settings.max_photograph_bytes, settings.max_photograph_pixels)
    try:
        segmenter = Segmenter(artefact, settings.engine, settings.precision, settings.threads)
        times_ms = []
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            photograph = images.decode(data, limits).pixels
            (segmentation,) = segmenter.segment([photograph])
            times_ms.append((time.perf_counter() - started) * 1000)
    except CupDiscError as error:
        return Check("speed", "broken", str(error))
    height, width = photograph.shape[:2]
    ratio = f"vertical ratio {segmentation.ratios.vertical:.2f}" if segmentation.ratios else "not gradable"
    median = statistics.median(times_ms[1:])
    found = f"{median:.0f} ms for {width} x {height} pixels by {segmenter.engine} {segmenter.precision}, {ratio}"
    return Check("speed", "good", found)
