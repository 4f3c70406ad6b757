"""What every backend offers.

A backend is a folder with two modules: `build` makes an engine's files, `session` runs them. `device`, `render` and
`why_not_here` are for those that need them. A third, `profile`, times each layer, where the library can tell.

    build.UNSIGNED_AFTER_RELU                                   whether its INT8 graphs are rendered so
    build.version() -> str                                      of the library; BackendUnavailable where it is absent
    build.check(precision, device)                              BackendUnavailable where this machine lacks it
    build.check_options(options, precision)                     ConfigError, BackendUnavailable; by default it has none
    build.build(folder, manifest, checkpoint, progress) -> None writes the engine's files; tells `progress` if it can
    build.device(options) -> DeviceInfo                         that engines are for; by default this machine's CPU
    build.render(graph, precision, keep_fp32) -> graph          that the engine is built from; by default as it is
    build.HALF                                                  precisions that are rendered with FP16; by default none
    build.FOR_OTHER_GPUS                                        whether this machine's GPU may refuse its engines
    build.why_not_here() -> str | None                          what is missing to run engines on this machine
    build.check_fits(folder, manifest)                          EngineMismatch; by default the same device and version
    session.load(folder, manifest) -> Session                   from a folder whose hashes hold
    profile.profile(folder, manifest, crops, runs, progress) -> list[TimedLayer]    in order; crops: a batch
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hgedge.spec import InputSpec

PROFILE_WARMUP = 10  # runs before those that a profile counts


class Session(Protocol):
    """An engine, loaded and runnable; one caller at a time."""

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps.

        Args:
            crops: (N, H, W, C) uint8, BGR or grey; N of any size. Normalisation is the engine's part.

        Returns:
            (N, K, h, w) float32 of the last stack; may be overwritten by the next call.
        """
        ...

    def close(self) -> None:
        """Free the engine."""
        ...


class DeviceSession(Session, Protocol):
    """A session whose engine runs on a CUDA device, on addresses and a stream of the caller's.

    Attributes:
        context: The CUDA context (`hgedge.runtime.cuda.context.CudaContext`) that everything of it was made in.
    """

    context: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that it takes, ascending."""
        ...

    @property
    def half_image(self) -> bool:
        """Whether the image is float16, not float32."""
        ...

    @property
    def half_heatmaps(self) -> bool:
        """Whether the heatmaps are float16, not float32."""
        ...

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be captured into a CUDA graph, after one call with the same arguments."""
        ...

    def heatmaps_shape(self, size: int) -> tuple[int, int, int, int]:
        """(N, K, h, w) of a batch of this size."""
        ...

    def enqueue(self, size: int, image: int, heatmaps: int, stream: int) -> None:
        """Enqueue a batch; `context` must be current.

        Args:
            size: One of `sizes`.
            image: Address of (size, C, H, W), normalised, contiguous.
            heatmaps: Address to write (size, K, h, w) to.
            stream: Its handle; not the default stream.
        """
        ...


@dataclass(frozen=True)
class TimedLayer:
    """What an engine executes as one, and how long it took.

    Attributes:
        name: The engine's own.
        kind: The engine's word for what it does, such as "Convolution" or "Reorder".
        precision: Type that it computes in, such as "i8", "u8", "f32"; "?" where nobody tells.
        samples_ms: Milliseconds, one a run, or means of several runs where the engine tells no more.
        nodes: Nodes of the graph that it computes, in order; others that the engine made may be among them.
    """

    name: str
    kind: str
    precision: str
    samples_ms: tuple[float, ...]
    nodes: tuple[str, ...] = ()


def normalised(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Crops as a network takes them.

    Args:
        crops: (N, H, W, C) uint8, BGR or grey.
        spec: How they are normalised.

    Returns:
        (N, C, H, W) float32, contiguous.
    """
    ordered = crops[..., ::-1] if spec.color == "rgb" else crops
    mean, std = (255 * np.asarray(values, np.float32) for values in (spec.mean, spec.std))
    return np.ascontiguousarray(((ordered - mean) * (1 / std)).transpose(0, 3, 1, 2))
