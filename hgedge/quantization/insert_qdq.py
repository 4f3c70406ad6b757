"""Write INT8 into a float graph: a QuantizeLinear and DequantizeLinear pair where a placement puts one.

    q = clip(round(x / scale), -128, 127)        x' = q * scale        (zero point 0, round half to even)

Activations have one scale a tensor, max(|low|, |high|) / 127, and one pair, shared by all that read the tensor as INT8.
Convolution weights have one scale an output channel, max |w| / 127, are clipped to [-127, 127], and are stored as INT8
before a DequantizeLinear of axis 0. Biases stay float. That is what TensorRT takes. OpenVINO takes it too, and is
faster where what a ReLU made is unsigned: clip to 0..255, scale max / 255.

Source: TensorRT's documentation of explicit quantisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hgedge.errors import QuantizationError
from hgedge.quantization.groups import nodes_of
from hgedge.quantization.placement import head_indices, quantized_reads
from hgedge.quantization.ranges import Range, RangeTable, needed

INT8_MAX, UINT8_MAX = 127, 255
UNUSED_SCALE = 1 / INT8_MAX  # where all that was seen is 0: as if the range were [-1, 1]
KEEPING_OPS = ("AveragePool", "GlobalAveragePool", "MaxPool", "Resize", "Transpose")  # nothing below 0 from above 0
MIN_OPSET = 13  # the first with a scale a channel


def quantize(
    model: onnx.ModelProto,
    ranges: RangeTable | Mapping[str, Range],
    placement: str,
    unsigned: bool = False,
    float_groups: Iterable[str] = (),
) -> onnx.ModelProto:
    """A copy of a float graph with Q/DQ pairs and INT8 weights; its head stays float.

    Args:
        model: Float graph with the output `heatmaps`; convolution weights are initializers.
        ranges: (low, high) of every tensor that the placement quantises; more do no harm.
        placement: "conv" or "stream".
        unsigned: Store what a ReLU made as UINT8, at half the step. OpenVINO computes in that type after a ReLU anyway
            and is spared a reorder before each convolution; TensorRT takes signed graphs only.
        float_groups: Groups (`hgedge.quantization.groups`) that stay float: their weights, and all that their nodes
            read. What they make is INT8 for others that read it so.

    Raises:
        ConfigError: No placement or group has this name.
        QuantizationError: The graph is quantised already or cannot be, a range is missing or wrong, or a weight is not
            finite.
    """
    kept = nodes_of(model, float_groups) | head_indices(model)
    reads = quantized_reads(model, placement, kept)
    limits = needed(ranges.ranges if isinstance(ranges, RangeTable) else ranges, reads)
    _check_opset(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = [_copied(node) for node in model.graph.node]
    weights = {item.name: item for item in model.graph.initializer}
    constants: list[TensorProto] = []
    stored = _quantize_weights(
        [node for index, node in enumerate(nodes) if node.op_type == "Conv" and index not in kept], weights, constants
    )
    positive = after_relu(model) if unsigned else frozenset()
    pairs = {name: _pair(name, limits[name], name in positive, constants) for name in reads}
    for name, readers in reads.items():
        for index, position in readers:
            nodes[index].input[position] = pairs[name][1].output[0]
    ordered = stored + [node for item in model.graph.input for node in pairs.get(item.name, ())]
    for node in nodes:
        ordered += [node, *(extra for name in node.output for extra in pairs.get(name, ()))]
    read = {name for node in ordered for name in node.input}
    constants = [item for item in weights.values() if item.name in read] + constants
    del result.graph.node[:], result.graph.initializer[:]
    result.graph.node.extend(ordered)
    result.graph.initializer.extend(constants)
    onnx.checker.check_model(result, full_check=True)
    return result


def num_int8_convs(model: onnx.ModelProto) -> int:
    """How many convolutions read both activation and weight from INT8."""
    eight_bits = (TensorProto.INT8, TensorProto.UINT8)
    integers = {item.name for item in model.graph.initializer if item.data_type in eight_bits}
    nodes = model.graph.node
    made = {node.output[0] for node in nodes if node.op_type == "QuantizeLinear" and node.input[2] in integers}
    ready = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear" and n.input[0] in integers | made}
    return sum(node.op_type == "Conv" and ready.issuperset(node.input[:2]) for node in nodes)


def activation_scale(low: float, high: float, unsigned: bool = False) -> np.ndarray:
    """Step of an INT8 tensor that reaches both ends of a range, of a UINT8 one that reaches the upper: () float32."""
    if unsigned:
        return _scales(np.float32(max(high, 0)), UINT8_MAX)
    return _scales(np.float32(max(abs(low), abs(high))))


def after_relu(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the tensors that a ReLU or its like made, or that are copied or averaged from such: never below 0."""
    constants = {item.name: item for item in model.graph.initializer}
    names: set[str] = set()
    for node in model.graph.node:  # in topological order
        bound = constants.get(node.input[1]) if node.op_type == "Clip" and len(node.input) > 1 else None
        clipped = bound is not None and bool(numpy_helper.to_array(bound).min() >= 0)
        cubic = any(item.name == "mode" and item.s == b"cubic" for item in node.attribute)
        kept = node.op_type in KEEPING_OPS and node.input[0] in names and not cubic
        if node.op_type in ("Relu", "Sigmoid") or clipped or kept:
            names.update(node.output)
    return frozenset(names)


def quantized_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """INT8 values, and the scale of each output channel.

    Args:
        weight: (O, I, H, W) float32, finite.

    Returns:
        quantized: (O, I, H, W) int8 in [-127, 127].
        scale: (O,) float32, never 0.
    """
    scale = _scales(np.abs(weight).reshape(len(weight), -1).max(axis=1))
    steps = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(steps, -INT8_MAX, INT8_MAX).astype(np.int8), scale


def _scales(limit: np.ndarray | np.float32, steps: int = INT8_MAX) -> np.ndarray:
    scale = np.asarray(limit, np.float32) / np.float32(steps)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(UNUSED_SCALE), scale).astype(np.float32)


def _pair(name: str, limits: Range, unsigned: bool, constants: list[TensorProto]) -> tuple[NodeProto, NodeProto]:
    """The Q and DQ node of an activation; what they read joins `constants`."""
    scale = _constant(f"{name}.scale", activation_scale(*limits, unsigned), constants)
    zero = _constant(f"{name}.zero_point", np.zeros((), np.uint8 if unsigned else np.int8), constants)
    quantized, dequantized = f"{name}.quantized", f"{name}.dequantized"
    return (
        helper.make_node("QuantizeLinear", [name, scale, zero], [quantized], name=quantized),
        helper.make_node("DequantizeLinear", [quantized, scale, zero], [dequantized], name=dequantized),
    )


def _quantize_weights(
    convolutions: list[NodeProto], weights: Mapping[str, TensorProto], constants: list[TensorProto]
) -> list[NodeProto]:
    """Make convolutions read INT8 weights: their DQ nodes; what those read joins `constants`."""
    made: dict[str, NodeProto] = {}
    for node in convolutions:
        name = node.input[1]
        if name not in weights:
            raise QuantizationError(
                f"the weight {name!r} of {node.output[0]!r} must be an initializer to become INT8, but the graph "
                "computes it; export the model with: hgedge export"
            )
        if name not in made:
            made[name] = _dequantized_weight(name, numpy_helper.to_array(weights[name]), constants)
        node.input[1] = made[name].output[0]
    return list(made.values())


def _dequantized_weight(name: str, weight: np.ndarray, constants: list[TensorProto]) -> NodeProto:
    if weight.dtype != np.float32 or not np.isfinite(weight).all():
        raise QuantizationError(
            f"the weight {name!r} must hold finite float32 numbers, but holds {weight.dtype}"
            f"{'' if np.isfinite(weight).all() else ' with NaN or infinity'}; give the FP32 graph of a sound checkpoint"
        )
    values, scale = quantized_weight(weight)
    inputs = [
        _constant(f"{name}.quantized", values, constants),
        _constant(f"{name}.scale", scale, constants),
        _constant(f"{name}.zero_point", np.zeros(scale.shape, np.int8), constants),
    ]
    output = f"{name}.dequantized"
    return helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=0)


def _constant(name: str, value: np.ndarray, constants: list[TensorProto]) -> str:
    constants.append(numpy_helper.from_array(value, name))
    return name


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise QuantizationError(
            f"INT8 with a scale a channel needs opset {MIN_OPSET} or newer, but the graph has {opset}; export it again"
        )
