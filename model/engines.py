"""Run a SavedModel: by OpenVINO, the default where installed, or by TensorFlow, the reference. Both answer the same."""

import contextlib
import importlib.util
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from model import conventions, openvino_network
from model.conventions import Biases
from model.cores import usable_cores
from model.errors import CorruptVersion, EngineUnavailable, InvalidConfiguration

ENGINES = ("openvino", "tensorflow")
PRECISIONS = ("f32", "bf16")
SIGNATURE = "serving_default"  # what `artefact.export_network` writes and TensorFlow Serving expects
INPUT, OUTPUT = "image", "probabilities"


class Engine(Protocol):
    """One loaded network. Safe to call from several threads."""

    name: str  # of ENGINES
    precision: str  # of PRECISIONS: what really runs, not what was asked for

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(batch, S, S, 3) float32 → (batch, S, S, C) float32 in [0, 1], a new array; batch at least 1.

        Raises:
            ValueError: another shape.
        """
        ...


def load(
    saved_model: Path,
    engine: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    streams: int = 1,
    compiled: Path | None = None,
) -> Engine:
    """A network that is ready to run.

    Args:
        saved_model: folder of a SavedModel with the signature `image` → `probabilities`; only load what you trust.
        engine: "openvino", "tensorflow", or "auto": OpenVINO where it is installed, else TensorFlow.
        precision: "f32", "bf16" (OpenVINO on a CPU that computes in it), or "auto": bf16 where the CPU can, else f32.
            A network in bf16 keeps its first convolutions in f32.
        threads: for one call; 0 means as many as there are cores that this process may use. TensorFlow has one pool per
            process, sized before its first operation; a later number is ignored.
        streams: calls that OpenVINO runs at the same time, sharing the threads; more calls wait for each other.
        compiled: a folder where OpenVINO keeps what it made of a network, so that the next start is quicker. What lies
            there is run: nobody else may write to it.
    Raises:
        InvalidConfiguration: an unknown engine or precision, or one that the engine or the CPU does not have.
        EngineUnavailable: the engine is not installed.
        CorruptVersion: not a SavedModel, or one with another signature.
    """
    if engine not in ("auto", *ENGINES):
        raise InvalidConfiguration(f"engine={engine!r}: must be auto, {' or '.join(ENGINES)}")
    if precision not in ("auto", *PRECISIONS):
        raise InvalidConfiguration(f"precision={precision!r}: must be auto, {' or '.join(PRECISIONS)}")
    if threads < 0:
        raise InvalidConfiguration(f"threads={threads}: must be 0 or more")
    if streams < 1:
        raise InvalidConfiguration(f"streams={streams}: must be 1 or more")
    if engine == "auto":
        engine = "openvino" if is_installed("openvino") else "tensorflow"
    if not is_installed(engine):
        raise EngineUnavailable(f"the engine {engine} is not installed")
    if not (saved_model / "saved_model.pb").is_file():
        raise CorruptVersion(f"{saved_model.name}/saved_model.pb is missing")
    if engine == "openvino":
        return _OpenVINOEngine.load(saved_model, precision, threads or usable_cores(), streams, compiled)
    return _TensorFlowEngine(saved_model, precision, threads)


def load_each(
    saved_models: Sequence[Path],
    engine: str,
    precisions: Sequence[str],
    threads: int = 0,
    streams: int = 1,
    compiled: Path | None = None,
) -> list[Engine]:
    """Several networks as `load` gives them, each in a precision of its own; OpenVINO makes them ready beside each
    other, in half the time."""
    others = 0 if engine == "tensorflow" or not is_installed("openvino") else len(saved_models) - 1
    if others:
        import_openvino()  # which two threads must not do at the same time

    def loaded(wanted: tuple[Path, str]) -> Engine:
        return load(wanted[0], engine, wanted[1], threads, streams, compiled)

    with ThreadPoolExecutor(1 + others) as pool:
        return list(pool.map(loaded, zip(saved_models, precisions, strict=True)))


def for_many(engine: Engine, calls: int) -> Engine | None:
    """A loaded network once more, ready for as many calls at a time, which divide the threads between them.

    It answers more in a second than calls that take turns with all threads, and each of them later. None where there
    are no threads to divide, or where the engine cannot: TensorFlow's calls share the one pool of the process.
    """
    if not isinstance(engine, _OpenVINOEngine) or min(calls, engine.threads) < 2:
        return None
    return engine.with_streams(min(calls, engine.threads))


def with_biases(engine: Engine, standing: Biases, wanted: Biases) -> Engine:
    """A loaded network once more, with other biases.

    Args:
        engine: from `load`.
        standing: biases of the network as it is, (channels,) float32 each, by which they are found in it.
        wanted: in their places.
    Raises:
        CorruptVersion: the network has not each of them exactly once.
    """
    if not isinstance(engine, _OpenVINOEngine | _TensorFlowEngine):
        raise TypeError(f"{engine.name} is not an engine that was loaded")
    return engine.with_biases(standing, wanted)


def is_installed(engine: str) -> bool:
    """Whether the package of that name can be imported; does not import it."""
    try:
        return importlib.util.find_spec(engine) is not None
    except ValueError:  # a module without a spec, or one barred from being imported
        return False


def precisions(engine: str) -> tuple[str, ...]:
    """What an installed engine of ENGINES can compute in on this machine; the last is what "auto" takes."""
    return ("f32", "bf16") if engine == "openvino" and _has_bf16(import_openvino().Core()) else ("f32",)


def import_openvino() -> ModuleType:
    """OpenVINO without its converter, which imports TensorFlow's helpers and reports every import to its maker.

    `openvino/__init__.py` leaves the converter out where it cannot be imported; reading a SavedModel needs none of it.
    Nothing can be undone where somebody else imported OpenVINO before.
    """
    converter = "openvino.tools.ovc"
    bar = "openvino" not in sys.modules and converter not in sys.modules
    if bar:
        sys.modules[converter] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        import openvino
    finally:
        if bar:
            del sys.modules[converter]
    module: ModuleType = openvino
    return module


def import_tensorflow() -> ModuleType:
    """TensorFlow without the notes on instruction sets and GPUs that it prints; an operator's own level is kept."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    module: ModuleType = tensorflow
    return module


FIRST_CALL = threading.Lock()
NOTHING = np.empty(0, np.float32)


class _OpenVINOEngine:
    """One compiled network with a free batch.

    A request holds the tensors of one run, so every call takes one that no other call is using. Calls that overlap wait
    for each other inside OpenVINO beyond the number of streams, which divide the threads between them.
    """

    name = "openvino"

    def __init__(self, core: Any, network: Any, options: dict[str, Any]) -> None:
        self._core, self._network, self._options = core, network, options
        self._compiled = core.compile_model(network, "CPU", options)
        runs_in = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision = "bf16" if runs_in == import_openvino().Type.bf16 else "f32"
        self._shape = _sides(self._compiled.input(0).partial_shape)
        self._free: deque[Any] = deque()  # requests that no thread is using; append and pop are atomic

    @classmethod
    def load(
        cls, saved_model: Path, precision: str, threads: int, streams: int, compiled: Path | None
    ) -> "_OpenVINOEngine":
        openvino = import_openvino()
        core = openvino.Core()
        if precision == "bf16" and not _has_bf16(core):
            raise InvalidConfiguration("precision='bf16': this CPU has no bf16 instructions")
        try:
            network = core.read_model(saved_model)
            if (_names(network.inputs), _names(network.outputs)) != ([INPUT], [OUTPUT]):
                raise CorruptVersion(f"{saved_model.name}: the signature is not {INPUT} → {OUTPUT}")
            openvino_network.enlarge_by_products(openvino, network)
            options = {
                # else OpenVINO picks by the CPU and says nothing
                "INFERENCE_PRECISION_HINT": "bf16" if precision != "f32" and _has_bf16(core) else "f32",
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads,
            }
            if compiled is not None:
                options["CACHE_DIR"] = str(compiled)
            loaded = cls._where_bf16_holds(core, network, options)
        except RuntimeError as error:
            raise CorruptVersion(f"{saved_model.name}: OpenVINO cannot load it: {error}") from error
        if precision not in ("auto", loaded.precision):
            raise InvalidConfiguration(f"precision={precision!r}: OpenVINO computes in {loaded.precision} here")
        return loaded._warmed_up()

    @classmethod
    def _where_bf16_holds(cls, core: Any, network: Any, options: dict[str, Any]) -> "_OpenVINOEngine":
        """All in f32 where bf16 is wanted and those convolutions that need f32 cannot be kept in it."""
        if options["INFERENCE_PRECISION_HINT"] == "bf16":
            with contextlib.suppress(OSError, RuntimeError):  # no folder for temporary files
                openvino_network.keep_first_in_f32(import_openvino(), core, network)
        loaded = cls(core, network, options)
        if loaded.precision == "f32" or openvino_network.are_first_in_f32(loaded._compiled):
            return loaded
        return cls(core, network, {**options, "INFERENCE_PRECISION_HINT": "f32"})

    def __call__(self, images: np.ndarray) -> np.ndarray:
        images = _checked(images, self._shape)
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # shared input: no copy; the output is a copy, as the next run overwrites the request's own
        result: np.ndarray = request.infer([images], share_inputs=True, share_outputs=False)[0]
        self._free.append(request)
        return result

    def with_streams(self, streams: int) -> "_OpenVINOEngine":
        """From the network as it was read, whose digest was checked: the files may be others by now."""
        return _OpenVINOEngine(self._core, self._network, {**self._options, "NUM_STREAMS": streams})

    def with_biases(self, standing: Biases, wanted: Biases) -> "_OpenVINOEngine":
        """Likewise from the network as it was read; constants that do not change are shared with it."""
        openvino = import_openvino()
        network = self._network.clone()
        constants = [node for node in network.get_ops() if node.get_type_name() == "Constant"]
        values = [node.data if node.get_element_type() == openvino.Type.f32 else NOTHING for node in constants]
        for number, new in zip(conventions.found(values, standing), wanted, strict=True):
            old = constants[number]
            shaped = np.ascontiguousarray(new, np.float32).reshape(list(old.shape))
            old.output(0).replace(openvino.op.Constant(shaped).output(0))
        return _OpenVINOEngine(self._core, network, self._options)._warmed_up()

    def _warmed_up(self) -> "_OpenVINOEngine":
        with FIRST_CALL:  # threads that made a process's very first call together have waited for each other for ever
            self(np.zeros((1, *self._shape), np.float32))
        return self

    @property
    def threads(self) -> int:
        return int(self._options["INFERENCE_NUM_THREADS"])


class _TensorFlowEngine:
    """The SavedModel's own graph."""

    name = "tensorflow"
    precision = "f32"

    def __init__(self, saved_model: Path, precision: str, threads: int) -> None:
        if precision == "bf16":
            raise InvalidConfiguration("precision='bf16': the engine tensorflow computes in f32 alone")
        tensorflow = import_tensorflow()
        if threads:
            with contextlib.suppress(RuntimeError):  # TensorFlow is at work already
                tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        self._saved_model, self._constant = saved_model, tensorflow.constant
        try:
            # kept, because the signature does not own its variables
            self._loaded = tensorflow.saved_model.load(str(saved_model))
            self._run = self._loaded.signatures[SIGNATURE]
            inputs, outputs = self._run.structured_input_signature[1], self._run.structured_outputs
            self._shape = tuple(inputs[INPUT].shape[1:])
            fits = (list(inputs), list(outputs)) == ([INPUT], [OUTPUT])
        except (OSError, KeyError, ValueError, tensorflow.errors.OpError) as error:
            raise CorruptVersion(f"{saved_model.name}: TensorFlow cannot load it: {error}") from error
        if not fits:
            raise CorruptVersion(f"{saved_model.name}: the signature is not {INPUT} → {OUTPUT}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        images = _checked(images, self._shape)
        result: np.ndarray = self._run(**{INPUT: self._constant(images)})[OUTPUT].numpy()
        return result

    def with_biases(self, standing: Biases, wanted: Biases) -> "_TensorFlowEngine":
        """Read anew: the variables of a loaded graph are its own."""
        changed = _TensorFlowEngine(self._saved_model, "f32", 0)
        variables = list(changed._run.variables)
        for number, new in zip(conventions.found([each.numpy() for each in variables], standing), wanted, strict=True):
            variables[number].assign(new)
        return changed


def _has_bf16(core: Any) -> bool:
    """Whether the CPU computes in it, not whether it could be emulated."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _names(ports: list[Any]) -> list[str]:
    return [port.any_name if port.names else "" for port in ports]


def _sides(shape: Any) -> tuple[int, ...]:
    """(S, S, 3) of a shape whose first axis is free."""
    return tuple(shape[axis].get_length() for axis in range(1, len(shape)))


def _checked(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if images.shape[1:] != shape or len(images) == 0:
        raise ValueError(f"images have the shape {images.shape}, not (batch, {', '.join(map(str, shape))})")
    return np.ascontiguousarray(images, np.float32)
