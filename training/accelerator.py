"""Where the networks train: all cores of a TPU, all GPUs, or the CPU, under Keras on JAX or on TensorFlow.

Several devices split every batch evenly. Each holds a copy of the network, and gradients are summed before the step, so
that the step is that of one device with the whole batch.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from model import engines
from model.cores import usable_cores
from model.errors import InvalidConfiguration

DEVICES = ("auto", "tpu", "gpu", "cpu")
BACKENDS = ("jax", "tensorflow")
KINDS = ("tpu", "gpu", "cpu")  # in the order in which "auto" takes them
BF16_CAPABILITY = (8, 0)  # NVIDIA: Ampere and later compute in bf16


@dataclass(frozen=True)
class Accelerator:
    """The devices of one kind that a run uses. Made once by `choose`.

    Under TensorFlow on several devices, `global_clipnorm` of a Keras optimizer looks at each device's own gradients,
    before they are summed; on JAX it looks at the sum, as on one device.
    """

    kind: str  # of KINDS
    count: int  # devices
    backend: str  # of BACKENDS
    name: str  # the hardware's, for the record
    bf16: bool  # whether it computes in bf16
    _strategy: Any = field(default=None, repr=False)  # DataParallel, tf.distribute.Strategy, tf.device, or None

    def __str__(self) -> str:
        return f"{self.count} × {self.name} ({self.kind}, {self.backend})"

    @property
    def jit_compile(self) -> bool:
        """What `keras.Model.compile` is told. Without it Keras runs JAX operation by operation; TPUStrategy compiles by
        itself; on CPUs and across GPUs TensorFlow is left as it is."""
        return self.backend == "jax"

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Networks are built, compiled, given weights and read out inside."""
        with contextlib.nullcontext() if self._strategy is None else _scope_of(self._strategy):
            yield

    def adapt(self, model: keras.Model) -> None:
        """Make a compiled network ready for these devices: call once, inside `scope`, before its first step.

        Batch normalisation sees the whole batch, not one device's share. JAX does so by itself: its step is written for
        the whole batch.
        """
        model.optimizer.build(model.trainable_variables)
        if self.backend != "tensorflow":
            return
        if self._shares:
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        # Keras makes the variables of loss and metrics at their first use. It must not be inside a device's share; and
        # wherever it is inside the step, TensorFlow traces the step twice, for seconds more
        nothing = np.zeros((1, *model.output_shape[1:]), np.float32)
        model.compute_loss(nothing, nothing, nothing)
        model.compute_metrics(nothing, nothing, nothing)
        model.reset_metrics()

    def step(self, model: keras.Model, inputs: np.ndarray | list[np.ndarray], targets: np.ndarray) -> dict[str, float]:
        """One training step; loss and metrics of this batch. `inputs` is one array, or one for each input.

        Raises:
            InvalidConfiguration: the batch cannot be split evenly.
        """
        self.check_batch(len(targets))
        with self.scope():
            values: dict[str, float] = model.train_on_batch(*self._shared(inputs, targets), return_dict=True)
        return values

    def predict(self, model: keras.Model, inputs: np.ndarray | list[np.ndarray], batch: int) -> np.ndarray:
        """(N, S, S, C) float32 of N ≥ 1 images, always `batch` at a time, the last ones filled up, so in one shape.

        Args:
            inputs: (N, S, S, 3), or a list of one array for each input of the network, N rows in all of them.
        """
        batch += -batch % self.count
        count = len(inputs[0]) if isinstance(inputs, list) else len(inputs)
        answers = []
        for first in range(0, count, batch):
            some = min(batch, count - first)
            if isinstance(inputs, list):
                filled: Any = [_filled(each[first : first + batch], batch) for each in inputs]
            else:
                filled = _filled(inputs[first : first + batch], batch)
            with self.scope():
                answers.append(model.predict_on_batch(*self._shared(filled))[:some])
        return np.concatenate(answers)

    def check_batch(self, size: int) -> None:
        """Every device must get as many photographs as the next. Raises InvalidConfiguration."""
        if size % self.count:
            raise InvalidConfiguration(f"batch_size={size}: must be a multiple of the {self.count} devices")

    @property
    def _shares(self) -> bool:
        """Whether batches are split here; Keras on JAX splits them by itself."""
        return self.backend == "tensorflow" and self.count > 1

    def _shared(self, *inputs: Any) -> tuple[Any, ...]:
        if not self._shares:
            return inputs
        return tuple([*map(self._split, each)] if isinstance(each, list) else self._split(each) for each in inputs)

    def _split(self, array: np.ndarray) -> Any:
        tensorflow = engines.import_tensorflow()
        parts = np.split(array, self.count)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tensorflow.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows: those given, then zeros."""
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


def choose(device: str = "auto", deterministic: bool = False) -> Accelerator:
    """The devices to train on. Call once, before anything else computes.

    Args:
        device: of DEVICES; "auto" takes a TPU where Keras' backend sees one, else GPUs, else the CPU.
        deterministic: the same bits in every run on the same hardware; slower.
    Raises:
        InvalidConfiguration: an unknown device, one that is not there, or a backend other than BACKENDS.
    """
    backend = keras.backend.backend()
    if device not in DEVICES:
        raise InvalidConfiguration(f"device={device!r}: must be one of {', '.join(DEVICES)}")
    if backend not in BACKENDS:
        raise InvalidConfiguration(f"KERAS_BACKEND={backend}: must be jax or tensorflow")
    if deterministic:
        _make_deterministic(backend)
    find: Callable[[str], Accelerator | None] = _find_jax if backend == "jax" else _find_tensorflow
    for kind in KINDS if device == "auto" else (device,):
        if (found := find(kind)) is not None:
            return found
    hint = {"tpu": "; it needs requirements/tpu.txt, or jax[tpu]", "gpu": "; it needs a build with CUDA"}
    raise InvalidConfiguration(f"device={device!r}: {backend} sees none here{hint.get(device, '')}")


def _make_deterministic(backend: str) -> None:
    if backend == "jax":  # CPUs and TPUs are so anyway
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    else:
        engines.import_tensorflow().config.experimental.enable_op_determinism()


def _find_jax(kind: str) -> Accelerator | None:
    import jax

    try:
        devices = jax.devices(kind)
    except RuntimeError:
        return None
    if jax.process_count() > 1:
        raise InvalidConfiguration("training runs on one machine; this JAX is spread over several")
    bf16 = kind == "tpu"  # not on CPUs, where XLA's bf16 is no faster
    if kind == "gpu":
        bf16 = _capability(devices[0].compute_capability) >= BF16_CAPABILITY
    strategy = None
    if len(devices) > 1 or kind != jax.default_backend():
        strategy = keras.distribution.DataParallel(devices=keras.distribution.list_devices(kind))
    name = devices[0].device_kind if kind != "cpu" else _cpu_name()
    return Accelerator(kind, len(devices), "jax", name, bf16, strategy)


def _find_tensorflow(kind: str) -> Accelerator | None:
    tf = engines.import_tensorflow()
    if kind == "tpu":
        return _tpu_of_tensorflow(tf)
    devices = tf.config.list_logical_devices(kind.upper())
    if not devices:
        return None
    if len(devices) > 1:
        # addressed by name, since a machine's one CPU may stand for several devices
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    else:
        default = kind == "gpu" or not tf.config.list_logical_devices("GPU")
        strategy = None if default else tf.device(devices[0].name)
    if kind == "gpu":
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        bf16 = tuple(details.get("compute_capability", (0, 0))) >= BF16_CAPABILITY
        return Accelerator(kind, len(devices), "tensorflow", details.get("device_name", "GPU"), bf16, strategy)
    bf16 = engines.is_installed("openvino") and "bf16" in engines.precisions("openvino")
    return Accelerator(kind, len(devices), "tensorflow", _cpu_name(), bf16, strategy)


def _tpu_of_tensorflow(tf: Any) -> Accelerator | None:
    """All cores of the TPU that `TPU_NAME` names, or of the one in this machine."""
    address = os.environ.get("TPU_NAME", "local")
    if address == "local" and not tf.config.list_physical_devices("TPU"):
        return None
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise InvalidConfiguration(f"TPU_NAME={address}: no such TPU: {error}") from error
    strategy = tf.distribute.TPUStrategy(resolver)
    return Accelerator("tpu", strategy.num_replicas_in_sync, "tensorflow", "TPU", True, strategy)


def _scope_of(strategy: Any) -> Any:
    """DataParallel and tf.distribute open a scope; tf.device is one."""
    return strategy.scope() if hasattr(strategy, "scope") else strategy


def _capability(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _cpu_name() -> str:
    import platform

    return f"{platform.machine()} with {usable_cores()} cores"
