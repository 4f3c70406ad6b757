"""Render a graph in FP16: weights, activations and the scales of Q/DQ pairs; the graph's ends stay FP32.

    image (FP32) -> Cast -> everything in FP16, or INT8 between Q and DQ -> Cast -> heatmaps (FP32)

Layers that FP16 has no room for (`half_range`) may stay FP32: a tensor is cast once where it enters such a region, once
where it leaves it, and never within. Of a Q/DQ pair, Q goes with what makes the tensor and DQ with what reads it, so
that INT8 crosses the border without a Cast. BF16 needs none of this: its range is FP32's, only mantissa is lost.

Only the `scales` of a Resize stay FP32, as ONNX asks for. A float graph needs opset 17. Scales in FP16 need opset 19;
the operators that are known here mean the same there as in opset 13: Q/DQ gained FP8 and its `saturate`, Resize gained
`antialias`, `axes` and `keep_aspect_ratio_policy` and a repaired `half_pixel_symmetric`, Pad `axes` and `wrap`,
AveragePool `dilations`, Reshape `allowzero`, the rest types. Bounds (of Clip, what Pad fills in) end at FP16's range.
A strongly typed builder computes what is not INT8 in the type that is written here. ONNX Runtime does not, and
with Q/DQ it must run without optimisations: WeightBiasQuantization (a basic one) makes biases INT32 by the product
of two scales, which FP16 has no room for. `simulated_half` is the reference.

Source: the ONNX operator changelog; TensorRT's documentation of strongly typed networks.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import QuantizationError

KNOWN_OPS = frozenset(
    {"Add", "BatchNormalization", "Conv", "DequantizeLinear", "MaxPool", "QuantizeLinear", "Relu", "Resize"}
    | {"AveragePool", "Clip", "Concat", "ConvTranspose", "DepthToSpace", "Div", "Flatten", "Gemm", "GlobalAveragePool"}
    | {"HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul", "Mul", "PRelu", "Pad", "Reshape", "Sigmoid"}
    | {"Slice", "Sub", "Tanh", "Transpose"}
)
BOUNDED_OPS = ("Clip", "Pad")
KNOWN_SINCE_18 = frozenset({"ReduceMean", "Split"})  # they meant another thing before
FLOAT_OPSET, SCALED_OPSET = 17, 19
OPSETS = range(13, SCALED_OPSET + 1)  # in these KNOWN_OPS mean the same
SCALED_IR_VERSION = 9  # of opset 19
MAX_HALF = float(np.finfo(np.float16).max)
MIN_SCALE = np.finfo(np.float16).smallest_subnormal  # engines refuse a scale of 0
INT8_MAX = 127


def to_half(model: onnx.ModelProto, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """An FP16 copy of an FP32 graph, with or without Q/DQ pairs.

    Args:
        model: Graph of `KNOWN_OPS` with one input and one output; its parameters are FP32 initializers.
        keep_fp32: Layers that stay FP32, each by the tensor that it makes; Q/DQ pairs follow them.

    Raises:
        QuantizationError: A weight of another layer is beyond FP16's range, there is no such layer, or the graph is
            not of this kind.
    """
    _check(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = _kept(graph, keep_fp32)
    quantised = any(node.op_type == "DequantizeLinear" for node in graph.node)
    _share_constants(graph, kept)
    _halve_constants(graph, kept)
    _cast_between(graph, kept)
    del graph.value_info[:]  # tells the types of before
    _set_opset(result, SCALED_OPSET if quantised else FLOAT_OPSET)
    onnx.checker.check_model(result, full_check=True)
    return result


def halved_constants(graph: onnx.GraphProto) -> set[str]:
    """Names of the FP32 initializers that become FP16 and must fit it; bounds and the sizes of a Resize need not."""
    others = {name for node in graph.node if node.op_type in ("Resize", *BOUNDED_OPS) for name in node.input[1:]}
    return {item.name for item in graph.initializer if item.data_type == TensorProto.FLOAT} - others


def _check(model: onnx.ModelProto) -> None:
    graph = model.graph
    known = KNOWN_OPS if _opset(model).version < 18 else KNOWN_OPS | KNOWN_SINCE_18
    unknown = sorted({node.op_type for node in graph.node} - known)
    if unknown:
        raise QuantizationError(
            f"FP16 is known to work for {', '.join(sorted(known))}, but the graph has {', '.join(unknown)}; "
            "give the FP32 graph that hgedge export writes"
        )
    if _opset(model).version not in OPSETS:
        raise QuantizationError(
            f"FP16 needs a graph of opset {OPSETS[0]} to {OPSETS[-1]}, but this one has {_opset(model).version}; "
            "export it again"
        )
    ends = (*graph.input, *graph.output)
    if len(ends) != 2 or any(end.type.tensor_type.elem_type != TensorProto.FLOAT for end in ends):
        raise QuantizationError(
            "FP16 needs a graph with one FP32 input and one FP32 output, but this one has "
            + ", ".join(f"{end.name} ({_type_name(end.type.tensor_type.elem_type)})" for end in ends)
        )
    wrong = next(
        (item for item in graph.initializer if item.data_type in (TensorProto.FLOAT16, TensorProto.DOUBLE)), None
    )
    if wrong is not None:
        raise QuantizationError(
            f"{wrong.name!r} is {_type_name(wrong.data_type)}, but FP16 is rendered from FP32; give the FP32 graph"
        )


def _kept(graph: onnx.GraphProto, asked: Collection[str]) -> set[str]:
    """What the nodes that stay FP32 make: the layers asked for, and the halves of Q/DQ pairs that go with them."""
    unknown = set(asked).difference(node.output[0] for node in graph.node)
    if unknown:
        raise QuantizationError(
            f"{', '.join(sorted(unknown))} should stay FP32, but no layer of the graph makes that; name its own tensors"
        )
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.output[0])
    kept = set(asked)
    for operation in ("DequantizeLinear", "QuantizeLinear"):
        for node in (node for node in graph.node if node.op_type == operation):
            by_readers = operation == "DequantizeLinear" or node.input[0] == graph.input[0].name
            if node.input[0] in kept or (by_readers and kept >= readers.get(node.output[0], set())):
                kept.add(node.output[0])
    return kept


def _share_constants(graph: onnx.GraphProto, kept: AbstractSet[str]) -> None:
    """Give the layers that stay FP32 a copy of those constants that others read too."""
    floats = {item.name: item for item in graph.initializer if item.data_type == TensorProto.FLOAT}
    others = {name for node in graph.node if node.output[0] not in kept for name in node.input}
    copies = {}
    for node in (node for node in graph.node if node.output[0] in kept):
        for index, name in enumerate(node.input):
            if name in floats and name in others:
                node.input[index] = _in_float(name)
                copies[_in_float(name)] = numpy_helper.to_array(floats[name])
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in copies.items())


def _halve_constants(graph: onnx.GraphProto, kept: AbstractSet[str]) -> None:
    """Set every FP32 initializer to FP16, but the sizes of a Resize and what the layers that stay FP32 read."""
    constants = {item.name: item for item in graph.initializer}
    whole = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    whole.update(name for node in graph.node if node.output[0] in kept for name in node.input)
    scales = {node.input[1]: node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    fitting = halved_constants(graph)
    stored = {  # weights in INT8
        node.input[1]: node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    for name, item in constants.items():
        if item.data_type != TensorProto.FLOAT or name in whole:
            continue
        values = numpy_helper.to_array(item)
        values = values if name in fitting else values.clip(-MAX_HALF, MAX_HALF)
        half = _scale(name, values) if name in scales else _half(name, values)
        if name in stored:
            _restore(constants[stored[name].input[0]], values, half)
        item.CopyFrom(numpy_helper.from_array(half, name))


def _half(name: str, values: np.ndarray) -> np.ndarray:
    peak = float(np.abs(values).max(initial=0))
    if not peak <= MAX_HALF:
        raise QuantizationError(
            f"{name!r} must lie within ±{MAX_HALF:.0f} to become FP16, but reaches {peak:g}; "
            "build with --precision fp32"
        )
    return values.astype(np.float16)


def _scale(name: str, values: np.ndarray) -> np.ndarray:
    """Scales as FP16, above 0."""
    return np.maximum(_half(name, values), MIN_SCALE)


def _restore(weight: TensorProto, scale: np.ndarray, half: np.ndarray) -> None:
    """Round an INT8 weight again where its scale could not be told in FP16: that of a channel of nearly zeros."""
    steps = numpy_helper.to_array(weight)
    ratio = (scale / half.astype(np.float32)).reshape(-1, *[1] * (steps.ndim - 1))
    again = np.clip(np.rint(steps * ratio), -INT8_MAX, INT8_MAX).astype(np.int8)
    weight.CopyFrom(numpy_helper.from_array(again, weight.name))


def _cast_between(graph: onnx.GraphProto, kept: AbstractSet[str]) -> None:
    """Put one Cast behind what makes a tensor that is read in the other type; the graph's ends are FP32."""
    (image,), (heatmaps,) = graph.input, graph.output
    made_in_float = {image.name: True}
    for node in graph.node:
        if node.op_type != "QuantizeLinear":  # makes INT8
            made_in_float.update(dict.fromkeys(node.output, node.output[0] in kept))
    names = {  # of a tensor in FP32 and in FP16
        name: (name, _in_half(name)) if in_float or name == heatmaps.name else (_in_float(name), name)
        for name, in_float in made_in_float.items()
    }
    for node in graph.node:
        node.input[:] = [names[name][node.output[0] not in kept] if name in names else name for name in node.input]
        node.output[:] = [names[name][not made_in_float[name]] if name in names else name for name in node.output]
    read = {name for node in graph.node for name in node.input} | {heatmaps.name}
    casts = {}
    for name, in_float in made_in_float.items():
        own, other = names[name] if in_float else names[name][::-1]
        label, to = (_in_half(name), TensorProto.FLOAT16) if in_float else (_in_float(name), TensorProto.FLOAT)
        if other in read:
            casts[own] = helper.make_node("Cast", [own], [other], name=label, to=to)
    ordered = [casts[image.name]] if image.name in casts else []
    for node in graph.node:
        ordered += [node, *(casts[name] for name in node.output if name in casts)]
    del graph.node[:]
    graph.node.extend(ordered)


def _in_half(name: str) -> str:
    return f"{name}.half"


def _in_float(name: str) -> str:
    return f"{name}.float"


def _set_opset(model: onnx.ModelProto, at_least: int) -> None:
    opset = _opset(model)
    opset.version = max(opset.version, at_least)
    if opset.version >= SCALED_OPSET:
        model.ir_version = max(model.ir_version, SCALED_IR_VERSION)


def _opset(model: onnx.ModelProto) -> onnx.OperatorSetIdProto:
    found = next((item for item in model.opset_import if item.domain in ("", "ai.onnx")), None)
    if found is None:
        raise QuantizationError("the graph names no opset of ONNX, so it is not one that hgedge export wrote")
    return found


def _type_name(data_type: int) -> str:
    return str(TensorProto.DataType.Name(data_type))
