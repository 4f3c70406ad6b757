"""Which layers FP16 has no room for, from pictures run through the FP32 graph.

    |value| <= 65504 / HEADROOM        of every tensor that a layer makes or reads, sums before an addition among them
    |weight| <= 65504                  of every weight, bias and statistic

Ranges of INT8 do not do: the mean over pictures of their extremes is not the extreme. Headroom is 4 for pictures that
excite the network more than those that were shown (measured on trained networks: 2.3), and 2 for sums on their way,
which a convolution with FP16 accumulators may take higher than where they end (measured, channel by channel: 1.9). A
layer stays FP32 if a tensor or weight of its own is beyond; so does one that would be FP16 between such, for two Casts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hgedge.errors import QuantizationError
from hgedge.quantization.half import MAX_HALF, halved_constants
from hgedge.quantization.measuring import measuring_session

HEADROOM = 4.0 * 2.0
LIMIT = MAX_HALF / HEADROOM
QDQ = ("QuantizeLinear", "DequantizeLinear")


def peaks(model: onnx.ModelProto, pictures: Iterable[np.ndarray]) -> dict[str, float]:
    """The largest |value| that each tensor takes on any of the pictures.

    Args:
        model: Float graph, input `image` (N, C, H, W).
        pictures: Each (C, H, W) float32, normalised; read once, one at a time.

    Returns:
        Name of tensor -> its peak, the input among them.

    Raises:
        BackendUnavailable: ONNX Runtime is not installed.
        QuantizationError: A tensor is not finite, or there is no picture.
    """
    image = model.graph.input[0].name
    names = (image, *(name for node in model.graph.node for name in node.output))
    measure = _measuring(model, names)
    found = np.zeros(len(names))
    count = 0
    for picture in pictures:
        largest, total = measure({image: picture[None]})
        if not np.isfinite(total).all():  # a maximum may overlook NaN
            raise QuantizationError(
                f"tensor {names[int(np.isfinite(total).argmin())]!r} holds NaN or infinite values in FP32, for picture "
                f"{count} of the FP16 range probe; check the checkpoint's weights, and how pictures are normalised"
            )
        found = np.maximum(found, largest)
        count += 1
    if count == 0:
        raise QuantizationError("the FP16 range probe needs pictures, but got none; give a folder with pictures in it")
    return dict(zip(names, found.tolist(), strict=True))


def layers_beyond_half(model: onnx.ModelProto, peaks: Mapping[str, float]) -> dict[str, float]:
    """The layers to keep in FP32 where the rest becomes FP16.

    Args:
        model: The graph that `to_half` gets, with or without Q/DQ pairs.
        peaks: From its float graph; none: weights alone decide.

    Returns:
        The tensor that a layer makes -> the largest |value| that it makes or reads, in the order of the graph.

    Raises:
        QuantizationError: A weight is not finite.
    """
    weights = _weight_peaks(model.graph)
    beyond = {name for name, value in peaks.items() if value > LIMIT}
    beyond |= {name for name, value in weights.items() if value > MAX_HALF}
    origin: dict[str, str] = {}  # of what a Q/DQ pair gives
    reads: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.op_type in QDQ:
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
        else:
            reads[node.output[0]] = {origin.get(name, name) for name in node.input}
    kept = {layer for layer, names in reads.items() if beyond & {layer, *names}}
    _close_gaps(reads, kept)
    values = {**peaks, **weights}
    return {layer: max(values.get(name, 0) for name in (layer, *reads[layer])) for layer in reads if layer in kept}


def _close_gaps(reads: Mapping[str, set[str]], kept: set[str]) -> None:
    """Add each layer that reads from kept ones alone, and is read by kept ones alone."""
    for layer, names in reads.items():
        makers = names & reads.keys()
        readers = {other for other, read in reads.items() if layer in read}
        if makers and makers <= kept and readers and readers <= kept:
            kept.add(layer)


def _weight_peaks(graph: onnx.GraphProto) -> dict[str, float]:
    """The largest |value| of each constant that is to become FP16."""
    found = {}
    fitting = halved_constants(graph)
    for item in graph.initializer:
        if item.name in fitting:
            found[item.name] = float(np.abs(numpy_helper.to_array(item)).max(initial=0))
            if not np.isfinite(found[item.name]):
                raise QuantizationError(f"{item.name!r} holds NaN or infinite values; give a sound checkpoint")
    return found


def _measuring(
    model: onnx.ModelProto, names: tuple[str, ...]
) -> Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """What runs one picture, and gives the largest |value| and the sum of all |values| of each tensor."""
    nodes = [helper.make_node("Abs", [name], [f"{name}.abs"]) for name in names]
    outputs = []
    for operation in ("ReduceMax", "ReduceSum"):
        for name in names:
            outputs.append(f"{name}.{operation}")
            nodes.append(helper.make_node(operation, [f"{name}.abs"], [outputs[-1]], keepdims=0))
    session = measuring_session(model, nodes, outputs, "the FP16 range probe")

    def measure(inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        largest, total = np.array(session.run(None, inputs), np.float64).reshape(2, len(names))
        return largest, total

    return measure
