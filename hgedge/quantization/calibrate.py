"""Ranges of activations, from pictures run through the FP32 graph.

ONNX Runtime reduces every tensor to three scalars in the graph itself, so nothing large comes back, and memory does not
grow with the number of pictures: the smallest and the largest value, and the sum, which is finite only if all values
are (minimum and maximum may overlook a NaN).

`minmax` takes the extremes over all pictures. `mean-minmax` takes the mean over pictures of each picture's extremes:
one odd picture then costs no resolution in all the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from hgedge.errors import BackendUnavailable, ConfigError, QuantizationError, ShapeError
from hgedge.quantization.placement import Placement, quantized_tensors
from hgedge.quantization.ranges import METHODS, Range

REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")


def collect_ranges(
    model: onnx.ModelProto,
    inputs: Iterable[np.ndarray],
    progress: Callable[[int], None] | None = None,
    method: str = "mean-minmax",
) -> dict[str, Range]:
    """Run pictures through a float graph and note the range of every tensor that any placement quantises.

    Args:
        model: Float graph, input `image` (N, C, H, W), output `heatmaps`.
        inputs: Pictures, each (C, H, W) float32, normalised; read once, one at a time.
        progress: Called with the number of pictures done.
        method: "mean-minmax" or "minmax".

    Returns:
        Name of tensor -> (low, high), in the order of the graph; values are float32 numbers.

    Raises:
        ConfigError: The method is unknown.
        BackendUnavailable: ONNX Runtime is not installed.
        QuantizationError: The graph is quantised already, there is no picture, or a tensor is not finite.
        ShapeError: A picture does not fit the graph's input.
    """
    if method not in METHODS:
        raise ConfigError(f"no calibration method is called {method!r}; choose one of: {', '.join(METHODS)}")
    names = tensors_to_measure(model)
    session = _measuring_session(model, names)
    name, shape = model.graph.input[0].name, _picture_shape(model)
    total = np.zeros((2, len(names)))
    widest = np.array([[np.inf], [-np.inf]]).repeat(len(names), axis=1)
    count = 0
    for picture in inputs:
        _check_picture(picture, shape, count)
        outputs = np.array(session.run(None, {name: picture[None]}), np.float64).reshape(len(REDUCTIONS), -1)
        _check_finite(names, outputs, count)
        total += outputs[:2]
        widest = np.stack([np.minimum(widest[0], outputs[0]), np.maximum(widest[1], outputs[1])])
        count += 1
        if progress is not None:
            progress(count)
    if count == 0:
        raise QuantizationError("calibration needs pictures, but got none; give a folder with pictures in it")
    lows, highs = (total / count if method == "mean-minmax" else widest).astype(np.float32).tolist()
    return {name: (low, high) for name, low, high in zip(names, lows, highs, strict=True)}


def tensors_to_measure(model: onnx.ModelProto) -> tuple[str, ...]:
    """All tensors that any placement quantises, so that one table serves every placement.

    Raises:
        QuantizationError: The graph is quantised already, or no convolution makes `heatmaps`.
    """
    return tuple(dict.fromkeys(name for placement in Placement for name in quantized_tensors(model, placement)))


def _measuring_session(model: onnx.ModelProto, names: tuple[str, ...]) -> Any:
    """The graph for one picture, with the reductions of the named tensors as its only outputs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            "calibration needs ONNX Runtime, which is not installed: pip install 'hgedge[onnxruntime]'"
        ) from error
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = measuring.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del graph.value_info[:], graph.output[:]
    for operation in REDUCTIONS:
        for name in names:
            scalar = f"{name}.{operation}"
            graph.node.append(helper.make_node(operation, [name], [scalar], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(scalar, TensorProto.FLOAT, ()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(measuring.SerializeToString(), options, providers=["CPUExecutionProvider"])


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
