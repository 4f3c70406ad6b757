"""Time the kernels of a TensorRT engine, as its IProfiler is told.

An execution context that has a profiler waits in `execute_async_v3` until its work is done, and then reports every
kernel, by the names that the engine inspector has. Kernels run one by one for it, as they do not in a CUDA graph.

Source: NVIDIA's pages on IProfiler and on IExecutionContext's `enqueue_emits_profile`, which is true by default.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.backends.base import PROFILE_WARMUP, TimedLayer
from hgedge.backends.tensorrt.inspector import UNKNOWN, Kernel
from hgedge.backends.tensorrt.library import library
from hgedge.backends.tensorrt.session import TensorRTSession
from hgedge.bundle import engine_of
from hgedge.errors import BackendUnavailable
from hgedge.progress import Progress, no_progress
from hgedge.spec import Manifest


def profile(
    folder: Path, manifest: Manifest, crops: np.ndarray, runs: int, progress: Progress = no_progress
) -> list[TimedLayer]:
    """Time every kernel of an engine; see `hgedge.backends.base`.

    Raises:
        BackendUnavailable: The library reports no times.
    """
    backend = engine_of(folder, manifest)[0].name
    session = ProfiledSession(folder, manifest, backend)
    try:
        samples = session.times(crops, runs, progress)
        known = {kernel.name: kernel for kernel in session.kernels()}
    finally:
        session.close()
    if not samples:
        raise BackendUnavailable(f"{backend} reports no times of this engine's kernels; nothing can be told of them")
    return [_layer(known.get(name, Kernel(name, UNKNOWN, UNKNOWN)), taken) for name, taken in samples.items()]


class ProfiledSession(TensorRTSession):
    """A session whose first batch size can be profiled."""

    def __init__(self, folder: Path, manifest: Manifest, backend: str) -> None:
        super().__init__(folder, manifest, backend)
        self._backend = backend

    def times(self, crops: np.ndarray, runs: int, progress: Progress) -> dict[str, list[float]]:
        """Kernel, in order -> milliseconds, one a run, cold ones too; as many crops as the first batch size has."""
        with self.context:
            self._profiler = _profiler(library(self._backend))  # must outlive the execution context
            self._engine.execution(self.sizes[0]).profiler = self._profiler
        for done in range(PROFILE_WARMUP + runs):
            self.run(crops)
            progress("profile", done + 1, PROFILE_WARMUP + runs)
        return dict(self._profiler.samples)


def _profiler(trt: Any) -> Any:
    """A profiler of a library, which tells it what every kernel took; its `samples` are all that it was told."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.samples: defaultdict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.samples[layer_name].append(ms)

    return Profiler()


def _layer(kernel: Kernel, samples: list[float]) -> TimedLayer:
    """Reformats are named after the nodes whose tensors they copy, but compute none of them."""
    nodes = () if kernel.is_reformat else kernel.nodes
    return TimedLayer(kernel.name, kernel.kind, kernel.precision, tuple(samples[PROFILE_WARMUP:]), nodes)
