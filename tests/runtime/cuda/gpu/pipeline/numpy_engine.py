"""A small network in NumPy: as a session for the CPU, and as one that a CUDA stream drives.

Heatmap k is a mixture of the channels, as the mean over each cell, that rises slowly to the lower right so that no two
cells are equal in flat parts of a picture.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from hgedge.errors import KernelError
from hgedge.pose import KeypointSet
from hgedge.runtime.cuda.context import CudaContext, driver
from hgedge.runtime.cuda.libcuda import call
from hgedge.runtime.pipeline import Pipeline
from hgedge.runtime.preprocess import normalise, reference_crop
from hgedge.spec import InputSpec

STRIDE = 4
SPEC = InputSpec((48, 32), "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = InputSpec((48, 32), "gray", (0.45,), (0.25,))
POINTS = KeypointSet("five", ("a", "b", "c", "d", "e"), (), (0, 1, 2, 3, 4))


def network(image: np.ndarray) -> np.ndarray:
    """(N, C, H, W) normalised to (N, 5, H / 4, W / 4), float32."""
    count, channels, height, width = image.shape
    cells = image.reshape(count, channels, height // STRIDE, STRIDE, width // STRIDE, STRIDE).mean(axis=(3, 5))
    mixture = np.random.default_rng(3).normal(size=(len(POINTS), channels)).astype(np.float32)
    y, x = np.mgrid[: cells.shape[2], : cells.shape[3]].astype(np.float32)
    return np.einsum("kc,nchw->nkhw", mixture, cells, dtype=np.float32) + 0.011 * x + 0.007 * y


class HostSession:
    """The network on the CPU; takes crops of floats too."""

    def __init__(self, spec: InputSpec = SPEC) -> None:
        self.spec = spec

    def run(self, crops: np.ndarray) -> np.ndarray:
        return network(normalise(crops, self.spec))

    def close(self) -> None: ...


class ExactPipeline(Pipeline):
    """The CPU pipeline with exact crops, as the kernels cut them, instead of OpenCV's."""

    def crops(self, frame: np.ndarray, affines: list[np.ndarray]) -> np.ndarray:
        import cv2

        picture = frame if self.input.channels == 3 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None]
        return np.stack([reference_crop(picture, affine, self.input.hw) for affine in affines]).astype(np.float32)


class StreamSession(HostSession):
    """The network as work on a CUDA stream: image to pinned memory, a function of the host, heatmaps back."""

    def __init__(
        self,
        spec: InputSpec = SPEC,
        sizes: tuple[int, ...] = (1, 2, 4, 16),
        half_image: bool = False,
        half_heatmaps: bool = False,
        capturable: bool = True,
    ) -> None:
        super().__init__(spec)
        self.sizes = sizes
        self.half_image, self.half_heatmaps, self.capturable = half_image, half_heatmaps, capturable
        self.fails_in = 0  # calls of enqueue until one fails; 0: none does
        self.closed = 0
        self.context: Any = CudaContext()
        with self.context:
            self.image = self._pinned((sizes[-1], spec.channels, *spec.hw), half_image)
            self.heatmaps = self._pinned(self.heatmaps_shape(sizes[-1]), half_heatmaps)
        self.function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._on_host)  # must live as long as its address

    @staticmethod
    def _pinned(shape: tuple[int, ...], half: bool) -> np.ndarray:
        return driver().pagelocked_empty(shape, np.float16 if half else np.float32)

    def heatmaps_shape(self, size: int) -> tuple[int, int, int, int]:
        return size, len(POINTS), self.spec.hw[0] // STRIDE, self.spec.hw[1] // STRIDE

    def _on_host(self, size: int) -> None:
        self.heatmaps[:size] = network(self.image[:size].astype(np.float32))

    def enqueue(self, size: int, image: int, heatmaps: int, stream: int) -> None:
        assert size in self.sizes
        self.fails_in -= 1
        if self.fails_in == 0:
            raise KernelError("the engine fails")
        handle = ctypes.c_void_p(stream)
        given, made = self.image[:size], self.heatmaps[:size]
        call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(given.ctypes.data),
            ctypes.c_uint64(image),
            ctypes.c_size_t(given.nbytes),
            handle,
        )
        call("cuLaunchHostFunc", handle, self.function, ctypes.c_void_p(size))
        call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(heatmaps),
            ctypes.c_void_p(made.ctypes.data),
            ctypes.c_size_t(made.nbytes),
            handle,
        )

    def close(self) -> None:
        self.closed += 1
        if self.closed == 1:
            with self.context:
                self.image.base.free()
                self.heatmaps.base.free()
            self.context.close()
