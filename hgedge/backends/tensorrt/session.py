"""Run a TensorRT engine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.backends.base import DeviceSession, normalised
from hgedge.backends.tensorrt.build import BACKEND, ENGINE
from hgedge.backends.tensorrt.cache import cache_path
from hgedge.backends.tensorrt.engine import HEATMAPS, IMAGE, Engine
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.backends.tensorrt.inspector import Kernel, kernels
from hgedge.backends.tensorrt.library import library
from hgedge.bundle import file_of, rebuild
from hgedge.errors import EngineMismatch
from hgedge.runtime.cuda.buffers import DeviceBuffer
from hgedge.runtime.cuda.context import CudaContext, driver
from hgedge.spec import Manifest


class TensorRTSession:
    """An engine on GPU 0; see `hgedge.backends.base.DeviceSession`. `close` lets go of its CUDA context too."""

    def __init__(self, folder: Path, manifest: Manifest, backend: str = BACKEND) -> None:
        trt = library(backend)
        plan = _trusted_plan(folder, manifest)
        self._input = manifest.input
        self._buffers: tuple[DeviceBuffer, ...] = ()
        self._layer_format = trt.LayerInformationFormat.JSON
        self._on_dla = manifest.engine_options.dla is not None
        self.context = CudaContext()
        try:
            with self.context:
                cache = cache_path(trt, gpu(), "kernels")
                self._engine = Engine(plan, trt, self.context, manifest.engine_options, cache)
        except EngineMismatch as error:
            self.context.close()
            raise EngineMismatch(f"{folder / ENGINE}: {error}; {rebuild(manifest, folder)}") from error
        except BaseException:
            self.context.close()
            raise

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that it takes, ascending."""
        return self._engine.sizes

    @property
    def half_image(self) -> bool:
        """Whether `image` is float16."""
        return self._engine.dtypes[0] is np.float16

    @property
    def half_heatmaps(self) -> bool:
        """Whether `heatmaps` are float16."""
        return self._engine.dtypes[1] is np.float16

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be captured into a CUDA graph; a DLA core's work may not."""
        with self.context:
            return not self._on_dla and self._engine.capturable()

    def heatmaps_shape(self, size: int) -> tuple[int, int, int, int]:
        """(N, K, h, w) at a batch size."""
        batch, keypoints, height, width = self._engine.shape(HEATMAPS, size)
        return batch, keypoints, height, width

    def enqueue(self, size: int, image: int, heatmaps: int, stream: int) -> None:
        """Enqueue a batch; see `hgedge.backends.base.DeviceSession`."""
        self._engine.enqueue(size, image, heatmaps, stream)

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`. Runs on any thread."""
        images = normalised(crops, self._input).astype(self._engine.dtypes[0], copy=False)
        with self.context:
            driver().Context.synchronize()  # whatever else is under way uses the same activations
            parts, start = [], 0
            while start < len(images):
                size = max((size for size in self.sizes if size <= len(images) - start), default=self.sizes[0])
                parts.append(self._run(size, images[start : start + size]))
                start += size
        return np.concatenate(parts).astype(np.float32, copy=False)

    def kernels(self) -> tuple[Kernel, ...]:
        """What the engine executes at its first batch size, in order."""
        with self.context:
            inspector = self._engine.engine.create_engine_inspector()
            return kernels(inspector.get_engine_information(self._layer_format))

    def close(self) -> None:
        """Free the engine, then let go of the CUDA context; twice is fine."""
        if self._engine.engine is None:
            return
        with self.context:
            for buffer in self._buffers:
                buffer.close()
            self._engine.close()
        self.context.close()

    def _run(self, size: int, images: np.ndarray) -> np.ndarray:
        """Heatmaps of up to `size` images; what lies in the rest of the buffer is computed too, and dropped."""
        image, heatmaps = self._host_buffers()
        stream: Any = self._engine.stream
        found = np.empty((len(images), *self.heatmaps_shape(size)[1:]), self._engine.dtypes[1])
        with self.context.told(f"a batch of {size}"):
            try:
                driver().memcpy_htod_async(image.address, images, stream)
                self.enqueue(size, image.address, heatmaps.address, stream.handle)
                driver().memcpy_dtoh_async(found, heatmaps.address, stream)
            finally:
                stream.synchronize()  # what is under way uses these arrays
        return found

    def _host_buffers(self) -> tuple[DeviceBuffer, ...]:
        """Device memory for the largest batch that `run` is given, allocated the first time."""
        if not self._buffers:
            for name, dtype in zip((IMAGE, HEATMAPS), self._engine.dtypes):
                size_bytes = int(np.prod(self._engine.shape(name, self.sizes[-1]))) * np.dtype(dtype).itemsize
                self._buffers += (DeviceBuffer(self.context, size_bytes, f"the {name} of a batch"),)
        return self._buffers


def load(folder: Path, manifest: Manifest) -> DeviceSession:
    """Load the engine of a bundle whose hashes hold."""
    return TensorRTSession(folder, manifest)


def _trusted_plan(folder: Path, manifest: Manifest) -> bytes:
    """The engine's file, if it is, as it is read now, the one that was built: a plan is code.

    Raises:
        EngineMismatch: It is another one.
    """
    path = file_of(folder, manifest, ENGINE)
    plan = path.read_bytes()
    if hashlib.sha256(plan).hexdigest() != manifest.files[ENGINE]:
        raise EngineMismatch(f"{path} is not the file that was built: its sha256 differs; {rebuild(manifest)}")
    return plan
