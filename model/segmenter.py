"""The whole way of a photograph: field of view, locator, region of interest, segmenter, masks, numbers, verdict."""

import copy
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model import biomarkers, conventions, engines, masks, normalisation, retina
from model.artefact import Artefact
from model.artefact import read as read_version
from model.engines import Engine
from model.errors import ConventionNotFound, CorruptVersion
from model.images import Decoded
from model.masks import Patch
from model.normalisation import Distribution
from model.retina import FieldOfView, Frame
from model.segmentation import REASONS, Interval, Segmentation

FAINT_PEAK = 0.1  # a locator that is nowhere surer than this has seen no disc
SHIFT_TO_REFINE = 0.1  # of the disc's diameter; a region cut so far off the disc is cut anew
SCALE_TO_REFINE = 1.2  # ratio of the diameters
SMALLEST_DISC = 4.0  # pixels of the segmenter's grid
HALVED_SIDES = 2  # network inputs that the longer side of the picture keeps in which the locator looks
DETAIL = 1.5  # pixels of a reduced photograph's region, at least, for each that the segmenter sees
SMALLEST_REGION = 0.28  # of the shorter side; 152 whole photographs of three clinics had regions of 0.28 to 0.9 of it


@dataclass(frozen=True)
class Preprocessing:
    """How regions are cut; `preprocessing` of the manifest."""

    roi_diameters: float
    refinements: int  # how often a badly centred region is cut anew

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """KeyError, TypeError or ValueError when fields are missing or of another kind."""
        return cls(float(values["roi_diameters"]), int(values["refinements"]))


@dataclass(frozen=True)
class Thresholds:
    """What counts as disc and cup, and what is still gradable; `thresholds` of the manifest. No units."""

    disc: float  # probability from which a pixel is disc
    cup: float
    disc_confidence: float  # below: disc_not_found
    cup_confidence: float  # below: cup_uncertain
    distance: float  # above: outside_training_distribution
    sharpness: float  # below: too_blurred; 1 is the training photographs' median
    locator_confidence: float = 0.0  # below: disc_not_found; 0 in versions from before there was such a limit

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Thresholds":
        """KeyError, TypeError or ValueError when fields are missing or of another kind."""
        known = {"locator_confidence": 0.0, **values}
        return cls(**{name: float(known[name]) for name in cls.__dataclass_fields__})


@dataclass
class _Work:
    """One photograph on its way. Field and region are in pixels of the photograph as sent."""

    photograph: Decoded
    field: FieldOfView
    distance: float
    confidence: float = 0.0  # the locator's
    roi: Frame | None = None
    sharpness: float | None = None
    probabilities: np.ndarray | None = None


class Segmenter:
    """One version, loaded. Safe to call from several threads.

    `convention` is the name of those whose annotation it draws, of `conventions`; None where it goes by a photograph's
    looks or draws a mean of several.

    Args:
        artefact: a version whose digests were checked.
        engine, precision, threads, streams, compiled: as `Artefact.load_networks`.
    Raises:
        CorruptVersion: the manifest lacks numbers that this code needs.
        EngineUnavailable, InvalidConfiguration: as `engines.load`.
    """

    def __init__(
        self,
        artefact: Artefact,
        engine: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        streams: int = 1,
        compiled: Path | None = None,
    ) -> None:
        self.manifest = manifest = artefact.manifest
        self.name, self.version, self.digest = manifest.name, manifest.version, artefact.digest
        try:
            self._preprocessing = Preprocessing.from_dict(manifest.preprocessing)
            self._distribution = Distribution.from_dict(manifest.normalisation)
            self._thresholds = Thresholds.from_dict(manifest.thresholds)
            calibration = manifest.calibration
            self._half_width = float(calibration["vertical_half_width"]) if calibration else None
            self._coverage = float(calibration["coverage"]) if calibration else 0.0
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptVersion(f"manifest.json of {manifest.version}: {error!r}") from error
        self._artefact, self._conventions = artefact, artefact.conventions
        self.convention = self._conventions.drawn
        self._loading, self._in_convention = threading.Lock(), dict[str, Segmenter]()
        self._locator, self._segmenter = artefact.load_networks(engine, precision, threads, streams, compiled)
        self._locator_size = manifest.locator.input_size
        self._segmenter_size = manifest.segmenter.input_size
        self._channels = [manifest.segmenter.outputs.index(name) for name in ("disc", "cup")]
        self.engine, self.precision = self._segmenter.name, self._segmenter.precision

    def sharing(self, share: Callable[[str, Engine], Engine]) -> "Segmenter":
        """The same version with other engines, made from "locator" and "segmenter" and the present ones of each."""
        other = self._copied()
        other._locator = share("locator", self._locator)
        other._segmenter = share("segmenter", self._segmenter)
        return other

    def with_thresholds(self, thresholds: Thresholds) -> "Segmenter":
        """The same version on the same engines with other thresholds than its manifest's: what choosing them tries."""
        other = self._copied()
        other._thresholds = thresholds
        return other

    @property
    def conventions(self) -> tuple[str, ...]:
        """Whose annotation it can draw, by name; empty where it learnt none apart."""
        return tuple(self._conventions.each)

    def in_convention(self, name: str | None) -> "Segmenter":
        """The same version, drawing as the annotators of one source, or group of sources, do.

        Made ready when it is first asked for, which takes as long as loading the segmenter did; afterwards always the
        same object.

        Args:
            name: of `conventions`; None for the version as it was published.
        Raises:
            ConventionNotFound
        """
        if name is None or name == self.convention:
            return self
        if (ready := self._in_convention.get(name)) is not None:
            return ready  # without waiting for another one that is being made ready
        if not self.can_draw(name):
            known = ", ".join(self.conventions) or "none"
            raise ConventionNotFound(f"version {self.version} learnt no convention {name[:100]!r}; there is {known}")
        with self._loading:
            if name not in self._in_convention:
                self._in_convention[name] = self._drawing(name)
            return self._in_convention[name]

    def can_draw(self, name: str | None) -> bool:
        """Whether `in_convention` knows the name."""
        return name in (None, self.convention) or name in self._conventions.each

    @property
    def as_published(self) -> bool:
        """Whether it draws as the version does unasked."""
        return self._conventions is self._artefact.conventions

    def is_ready(self, name: str | None) -> bool:
        """Whether `in_convention` takes no time."""
        return name in (None, self.convention) or name in self._in_convention

    @property
    def ready_conventions(self) -> tuple[str, ...]:
        """Those of `conventions` for which `in_convention` takes no time."""
        return tuple(name for name in self.conventions if self.is_ready(name))

    def _drawing(self, name: str) -> "Segmenter":
        if self._segmenter.name == "tensorflow" and read_version(self._artefact.folder).digest != self.digest:
            raise CorruptVersion(f"version {self.version} has changed since it was loaded")  # that engine reads it anew
        wanted, other = self._conventions.each[name], self._copied()
        other.convention, other._conventions = name, conventions.NONE
        other._segmenter = engines.with_biases(self._segmenter, self._conventions.standing, wanted.biases)
        other._thresholds = replace(self._thresholds, disc=wanted.disc, cup=wanted.cup)
        return other

    def _copied(self) -> "Segmenter":
        """Another, with the same engines; conventions that were made ready with this one are not shared."""
        other = copy.copy(self)
        other._loading, other._in_convention = threading.Lock(), {}
        return other

    def input_size(self, network: Literal["locator", "segmenter"]) -> int:
        """Pixels of the side that a network sees."""
        return self._locator_size if network == "locator" else self._segmenter_size

    def probabilities(self, network: Literal["locator", "segmenter"], images: np.ndarray) -> np.ndarray:
        """What one of the networks makes of regions that are prepared already: as `Engine`."""
        return (self._locator if network == "locator" else self._segmenter)(images)

    @property
    def smallest_side(self) -> int:
        """Pixels of the shorter side that a reduced photograph keeps: enough for both networks if its disc is usual."""
        return max(HALVED_SIDES * self._locator_size, round(self._segmenter_size * DETAIL / SMALLEST_REGION))

    def segment(
        self, photographs: Sequence[np.ndarray | Decoded], between: Callable[[], None] = lambda: None
    ) -> list[Segmentation]:
        """Disc, cup and ratios of each photograph.

        Args:
            photographs: decoded, perhaps reduced, or (H, W, 3) uint8 upright RGB; of any sizes. All of them go through
                each network in one call.
            between: called before each network's call and before measuring; what it raises ends the work.
        """
        if not photographs:
            return []
        started = time.perf_counter()
        works = self._locate(photographs, between)
        located = time.perf_counter()
        self._outline([work for work in works if work.roi is not None], between)
        outlined = time.perf_counter()
        shared = {
            "locate": (located - started) * 1000 / len(works),
            "segment": (outlined - located) * 1000 / len(works),
        }
        between()
        return [self._answer(work, shared) for work in works]

    def _locate(
        self, photographs: Sequence[np.ndarray | Decoded], between: Callable[[], None] = lambda: None
    ) -> list[_Work]:
        works, inputs, frames = [], [], []
        size = self._locator_size
        for each in photographs:
            photograph = each if isinstance(each, Decoded) else Decoded(each, "")
            # the disc is looked for on a smaller picture, in whose pixels frames are until they are enlarged
            height, width = (length // photograph.reduction for length in photograph.shape)
            small, times = retina.halved(photograph.pixels[:height, :width], HALVED_SIDES * size)
            times *= photograph.reduction
            field = retina.field_of_view(small)
            height, width = small.shape[:2]
            frame = field.frame() if field.found else retina.square_around(width / 2, height / 2, max(height, width))
            image, inside = frame.cut_finely(small, size), field.cut(frame, size)
            works.append(
                _Work(photograph, field.enlarged(times), normalisation.distance(image, inside, self._distribution))
            )
            inputs.append(normalisation.normalise(image, inside, self._distribution))
            frames.append(frame.enlarged(times))
        between()
        for work, frame, probabilities in zip(works, frames, self._locator(_stacked(inputs)), strict=True):
            peak = float(probabilities[..., 0].max())
            if work.field.found and peak >= FAINT_PEAK:
                component = masks.largest_component(probabilities[..., 0] >= min(0.5, peak / 2))
                found = _circle(component)
                if found is not None:
                    work.roi = self._region(frame, size, found)
                    work.confidence = _confidence(probabilities[..., 0], component)
        return works

    def _outline(self, works: list[_Work], between: Callable[[], None] = lambda: None) -> None:
        """Run the segmenter; where its disc is off the region's middle or of another size, cut the region anew."""
        pending = works
        for attempt in range(self._preprocessing.refinements + 1):
            if not pending:
                return
            inputs = []
            for work in pending:
                assert work.roi is not None  # noqa: S101
                image, inside = self._cut(work)
                work.sharpness = normalisation.sharpness(image, inside) / self._distribution.sharpness
                inputs.append(normalisation.normalise(image, inside, self._distribution))
            again = []
            between()
            for work, probabilities in zip(pending, self._segmenter(_stacked(inputs)), strict=True):
                work.probabilities = probabilities[..., self._channels]
                better = self._better_region(work) if attempt < self._preprocessing.refinements else None
                if better is not None:
                    work.roi = better
                    again.append(work)
            pending = again

    def _cut(self, work: _Work) -> tuple[np.ndarray, np.ndarray]:
        assert work.roi is not None  # noqa: S101
        size, photograph = self._segmenter_size, work.photograph
        image = work.roi.cut_finely(photograph.pixels, size, photograph.reduction, photograph.shape)
        return image, work.field.cut(work.roi, size)

    def _region(self, frame: Frame, size: int, circle: tuple[float, float, float]) -> Frame:
        x, y, diameter = circle
        ((x, y),) = frame.to_photograph(np.array([[x, y]]), size)
        return retina.roi(x, y, diameter * frame.side / size, self._preprocessing.roi_diameters)

    def _better_region(self, work: _Work) -> Frame | None:
        assert work.roi is not None  # noqa: S101
        assert work.probabilities is not None  # noqa: S101
        size = self._segmenter_size
        circle = _circle(masks.largest_component(work.probabilities[..., 0] >= self._thresholds.disc))
        if circle is None or circle[2] < SMALLEST_DISC:
            return None
        x, y, diameter = circle
        shift = np.hypot(x - size / 2, y - size / 2) / diameter
        scale = diameter * self._preprocessing.roi_diameters / size
        if shift <= SHIFT_TO_REFINE and 1 / SCALE_TO_REFINE <= scale <= SCALE_TO_REFINE:
            return None
        return self._region(work.roi, size, circle)

    def _is_coarse(self, work: _Work) -> bool:
        reduction = work.photograph.reduction
        fewest = DETAIL * self._segmenter_size
        return reduction > 1 and work.roi is not None and work.roi.side / reduction < fewest

    def _answer(self, work: _Work, shared: dict[str, float]) -> Segmentation:
        started = time.perf_counter()
        limits = self._thresholds
        disc_confidence = cup_confidence = cup_outside = 0.0
        patch = Patch(np.zeros((1, 1), np.uint8), 0, 0, work.photograph.shape)
        if work.roi is not None and work.probabilities is not None:
            patch, cup_outside = masks.restore_patch(
                work.probabilities, work.roi, work.photograph.shape, (limits.disc, limits.cup)
            )
            disc, cup = work.probabilities[..., 0], work.probabilities[..., 1]
            disc_confidence = _confidence(disc, disc >= limits.disc)
            cup_confidence = _confidence(cup, cup >= limits.cup)
        measured = biomarkers.measure(patch.values, patch.left, patch.top)
        located = work.confidence >= limits.locator_confidence
        found = measured.disc is not None and located and disc_confidence >= limits.disc_confidence
        failures = {
            "disc_not_found": not found,
            "too_blurred": found and (work.sharpness or 0.0) < limits.sharpness,
            "outside_training_distribution": work.distance > limits.distance,
            "cup_uncertain": found and (measured.cup is None or cup_confidence < limits.cup_confidence),
        }
        reasons = tuple(reason for reason in REASONS if failures[reason])
        gradable = not reasons
        interval = None
        if gradable and measured.ratios is not None and self._half_width is not None:
            vertical = measured.ratios.vertical
            low, high = max(0.0, vertical - self._half_width), min(1.0, vertical + self._half_width)
            interval = Interval(low, high, self._coverage)
        return Segmentation(
            patch=patch,
            gradable=gradable,
            reasons=reasons,
            disc=measured.disc if found else None,
            cup=measured.cup if gradable else None,
            ratios=measured.ratios if gradable else None,
            drawn_ratios=measured.ratios,
            vertical_interval=interval,
            disc_confidence=disc_confidence if found else None,
            cup_confidence=cup_confidence if gradable else None,
            raw_disc_confidence=disc_confidence,
            raw_cup_confidence=cup_confidence,
            cup_outside=cup_outside,
            locator_confidence=work.confidence,
            distance_from_training=work.distance,
            sharpness=work.sharpness,
            timings_ms={**shared, "measure": (time.perf_counter() - started) * 1000},
            roi=work.roi,
            probabilities=work.probabilities,
            coarse=self._is_coarse(work),
        )


def _stacked(inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0][None] if len(inputs) == 1 else np.stack(inputs)


def _circle(component: np.ndarray) -> tuple[float, float, float] | None:
    """Centre x, y and diameter of a (S, S) bool mask, in pixels of the grid; None for an empty one."""
    x, y, area = masks.centre_of(component)
    return (x, y, 2 * float(np.sqrt(area / np.pi))) if area else None


def _confidence(probabilities: np.ndarray, drawn: np.ndarray) -> float:
    """How decided the network is: soft Dice between its probabilities and what is drawn by them, in [0, 1]."""
    return float(2 * probabilities[drawn].sum() / max(1.0, probabilities.sum() + drawn.sum()))
