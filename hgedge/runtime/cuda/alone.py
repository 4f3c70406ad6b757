"""The kernels by themselves, host to host: for `hgedge verify` and for crops that another session takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hgedge.runtime.cuda.affines import fixed_point, frame_from_cells
from hgedge.runtime.cuda.buffers import SharedBuffer
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.kernels import DeviceFrame, Kernels
from hgedge.spec import DecodeSpec, InputSpec


def crops_alone(
    context: CudaContext, kernels: Kernels, stream: Any, frame: np.ndarray, affines: np.ndarray, spec: InputSpec
) -> np.ndarray:
    """Cut crops out of a frame, without normalisation.

    Args:
        context: Of the kernels and the stream.
        kernels: Whose `preprocess` is run.
        stream: Of pycuda.
        frame: (H, W, 3) uint8, BGR.
        affines: (N, 2, 3) float64, frame pixels from input pixels; at least one.
        spec: Size of the crops, and whether they are grey.

    Returns:
        (N, h, w, C) uint8, BGR or grey.
    """
    channels, shape = spec.channels, (len(affines), spec.channels, *spec.hw)
    raw = InputSpec(spec.hw, "gray" if channels == 1 else "bgr", (0.0,) * channels, (1 / 255,) * channels)
    with _buffers(context) as buffer:
        picture, maps = buffer(np.ascontiguousarray(frame), stream), buffer(fixed_point(affines), stream)
        out = buffer(np.empty(shape, np.float32), stream)
        where = DeviceFrame(picture.address, (frame.shape[0], frame.shape[1]), frame.shape[1] * 3, "bgr")
        kernels.preprocess(where, maps.address, len(affines), out.address, False, raw, stream)
        crops = np.rint(_result(out, shape, stream)).astype(np.uint8)
        return np.ascontiguousarray(crops.transpose(0, 2, 3, 1))


def decoded_alone(
    context: CudaContext, kernels: Kernels, stream: Any, heatmaps: np.ndarray, affines: np.ndarray, spec: DecodeSpec
) -> np.ndarray:
    """Locate keypoints in heatmaps.

    Args:
        context: Of the kernels and the stream.
        kernels: Whose `decode` is run.
        stream: Of pycuda.
        heatmaps: (N, K, h, w) float32; N at least 1.
        affines: (N, 2, 3) float64, frame pixels from input pixels.
        spec: How to decode.

    Returns:
        (N, K, 3) float32: x and y in frame pixels, score.
    """
    count, num_keypoints, height, width = heatmaps.shape
    with _buffers(context) as buffer:
        given = buffer(np.ascontiguousarray(heatmaps, np.float32), stream)
        maps = buffer(frame_from_cells(affines, spec.stride), stream)
        found = buffer(np.empty((count, num_keypoints, 3), np.float32), stream)
        sizes = (count, num_keypoints, height, width)
        kernels.decode(given.address, False, sizes, maps.address, spec, found.address, stream)
        return _result(found, (count, num_keypoints, 3), stream)


@contextlib.contextmanager
def _buffers(context: CudaContext) -> Iterator[Callable[[np.ndarray, Any], SharedBuffer]]:
    """Within the block, a function that puts an array on the device."""

    def buffer(array: np.ndarray, stream: Any) -> SharedBuffer:
        made = SharedBuffer(context, "a kernel by itself", array.nbytes)
        held.callback(made.close)
        made.view(0, array.shape, array.dtype.type)[...] = array
        made.upload(stream, array.nbytes)
        return made

    with context, context.told("a kernel by itself"), contextlib.ExitStack() as held:
        yield buffer


def _result(buffer: SharedBuffer, shape: tuple[int, ...], stream: Any) -> np.ndarray:
    buffer.download(stream, 0, buffer.size_bytes)
    stream.synchronize()
    return buffer.view(0, shape, np.float32).copy()
