"""Ranges of activations, from pictures run through the FP32 graph.

For `mean-minmax` and `minmax` ONNX Runtime reduces every tensor to three scalars in the graph itself, so nothing large
comes back: the smallest and the largest value, and the sum, which is finite only if all values are (minimum and maximum
may overlook a NaN). The other methods count values: tensors come out whole, as many at a time as fill `PART_BYTES`, or
one. Memory does not grow with the number of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper

from hgedge.errors import QuantizationError, ShapeError
from hgedge.quantization.histogram import Histograms
from hgedge.quantization.measuring import measuring_session
from hgedge.quantization.methods import DEFAULT_METHOD, method_named
from hgedge.quantization.placement import Placement, quantized_tensors
from hgedge.quantization.ranges import Range
from hgedge.quantization.statistics import Statistics

REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")
PART_BYTES = 512 << 20


def collect_ranges(
    model: onnx.ModelProto,
    inputs: Iterable[np.ndarray],
    progress: Callable[[int], None] | None = None,
    method: str = DEFAULT_METHOD,
) -> dict[str, Range]:
    """Run pictures through a float graph and note the range of every tensor that any placement quantises.

    Args:
        model: Float graph, input `image` (N, C, H, W), output `heatmaps`.
        inputs: Pictures, each (C, H, W) float32, normalised; read once, one at a time.
        progress: Called with the number of pictures done.
        method: One of `hgedge.quantization.methods`.

    Returns:
        Name of tensor -> (low, high), in the order of the graph; values are float32 numbers.

    Raises:
        ConfigError: The method is unknown.
        BackendUnavailable: ONNX Runtime is not installed.
        QuantizationError: The graph is quantised already, there is no picture, or a tensor is not finite.
        ShapeError: A picture does not fit the graph's input.
    """
    method = method_named(method)
    observer = Observer(model, method)
    for picture in inputs:
        observer.add(picture)
        if progress is not None:
            progress(observer.statistics.count)
    return observer.statistics.ranges(method)


def tensors_to_measure(model: onnx.ModelProto) -> tuple[str, ...]:
    """All tensors that any placement quantises, so that one table serves every placement.

    Raises:
        QuantizationError: The graph is quantised already, or no convolution makes `heatmaps`.
    """
    return tuple(dict.fromkeys(name for placement in Placement for name in quantized_tensors(model, placement)))


class Observer:
    """Runs pictures through a float graph, one at a time, and notes what its tensors hold.

    Attributes:
        statistics: Of the pictures so far.
    """

    def __init__(self, model: onnx.ModelProto, method: str) -> None:
        """Prepare; raises what `tensors_to_measure` does. The method is given by its full name."""
        self.statistics = Statistics(tensors_to_measure(model), method)
        self._model = model
        self._parts: list[tuple[Any, list[int]]] = []

    def add(self, picture: np.ndarray) -> None:
        """Run one more picture, (C, H, W) float32; errors as of `collect_ranges`."""
        statistics = self.statistics
        _check_picture(picture, _picture_shape(self._model), statistics.count)
        feed = {self._model.graph.input[0].name: picture[None]}
        if statistics.histograms is None:
            values = np.array(self._reducing.run(None, feed), np.float64).reshape(len(REDUCTIONS), -1)
        else:
            values = self._counted(feed, statistics.histograms)
        _check_finite(statistics.names, values, statistics.count)
        statistics.add(values[:2])

    def _counted(self, feed: dict[str, np.ndarray], histograms: Histograms) -> np.ndarray:
        """Count a picture's values; returns their (2, T) extremes, of which both are NaN where a value is."""
        extremes = np.empty((2, len(self.statistics.names)))
        for session, part in self._fetching(feed):
            for tensor, values in zip(part, session.run(None, feed), strict=True):
                extremes[:, tensor] = values.min(), values.max()
                largest = float(np.abs(extremes[:, tensor]).max())
                if np.isfinite(largest):
                    histograms.add(tensor, values, largest)
        return extremes

    @cached_property
    def _reducing(self) -> Any:
        """A session whose only outputs are the reductions of all tensors."""
        return _session(self._model, [(operation, name) for operation in REDUCTIONS for name in self.statistics.names])

    def _fetching(self, feed: dict[str, np.ndarray]) -> list[tuple[Any, list[int]]]:
        """Sessions which between them give all tensors, and the indices of those that each gives."""
        if not self._parts:
            names = self.statistics.names
            sizes = _session(self._model, [("Size", name) for name in names]).run(None, feed)
            for part in _parts([4 * int(size) for size in sizes]):
                self._parts.append((_session(self._model, [("", names[tensor]) for tensor in part]), part))
        return self._parts


def _parts(sizes: list[int]) -> list[list[int]]:
    """Indices of neighbours whose sizes come to no more than `PART_BYTES`, or of single ones."""
    parts: list[list[int]] = []
    filled = PART_BYTES
    for index, size in enumerate(sizes):
        if filled + size > PART_BYTES:
            parts.append([])
            filled = 0
        parts[-1].append(index)
        filled += size
    return parts


def _session(model: onnx.ModelProto, outputs: list[tuple[str, str]]) -> Any:
    """The graph for one picture; its only outputs are what operations make of tensors, "" the tensor itself."""
    made = {(operation, name): f"{name}.{operation}" if operation else name for operation, name in outputs}
    nodes = [helper.make_node(operation, [name], [made[operation, name]]) for operation, name in outputs if operation]
    for node in nodes:
        if node.op_type in REDUCTIONS:
            node.attribute.append(helper.make_attribute("keepdims", 0))
    return measuring_session(model, nodes, made.values(), "calibration")


def _picture_shape(model: onnx.ModelProto) -> tuple[int | None, ...]:
    """(C, H, W) of the graph's input; None where it is free."""
    return tuple(dim.dim_value or None for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])


def _check_picture(picture: np.ndarray, shape: tuple[int | None, ...], index: int) -> None:
    fits = picture.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, picture.shape, strict=True)
    )
    if not fits or picture.dtype != np.float32:
        raise ShapeError(
            f"a calibration picture must be (C, H, W) = {shape} float32, but picture {index} is {picture.shape} "
            f"{picture.dtype}; crop and normalise it as the network's input asks"
        )


def _check_finite(names: tuple[str, ...], outputs: np.ndarray, index: int) -> None:
    for name, finite in zip(names, np.isfinite(outputs).all(axis=0), strict=True):
        if not finite:
            raise QuantizationError(
                f"tensor {name!r} holds NaN or infinite values for calibration picture {index}; "
                "check the checkpoint's weights, and how pictures are normalised"
            )
