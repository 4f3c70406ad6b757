"""Render a graph in FP16: weights, activations and the scales of Q/DQ pairs; the graph's ends stay FP32.

    image (FP32) -> Cast -> everything in FP16, or INT8 between Q and DQ -> Cast -> heatmaps (FP32)

Only the `scales` of a Resize stay FP32, as ONNX asks for. A float graph needs opset 17. Scales in FP16 need opset 19;
the operators that are known here mean the same there as in opset 13: Q/DQ gained FP8 and its `saturate`, Resize gained
`antialias`, `axes` and `keep_aspect_ratio_policy` and a repaired `half_pixel_symmetric`, Pad `axes` and `wrap`,
AveragePool `dilations`, Reshape `allowzero`, the rest types. Bounds (of Clip, what Pad fills in) end at FP16's range.
A strongly typed builder computes what is not INT8 in the type that is written here.

Source: the ONNX operator changelog; TensorRT's documentation of strongly typed networks.
"""

from __future__ import annotations

from collections.abc import Iterable

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
KNOWN_SINCE_18 = frozenset({"ReduceMean", "Split"})  # they meant another thing before
FLOAT_OPSET, SCALED_OPSET = 17, 19
OPSETS = range(13, SCALED_OPSET + 1)  # in these KNOWN_OPS mean the same
SCALED_IR_VERSION = 9  # of opset 19
MAX_HALF = float(np.finfo(np.float16).max)
MIN_SCALE = np.finfo(np.float16).smallest_subnormal  # engines refuse a scale of 0
INT8_MAX = 127


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """An FP16 copy of an FP32 graph, with or without Q/DQ pairs.

    Args:
        model: Graph of `KNOWN_OPS` with one input and one output; its parameters are FP32 initializers.

    Raises:
        QuantizationError: A weight is beyond FP16's range, or the graph is not of this kind.
    """
    _check(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    quantised = any(node.op_type == "DequantizeLinear" for node in graph.node)
    _halve_constants(graph)
    _cast_ends(graph)
    del graph.value_info[:]  # tells the types of before
    _set_opset(result, SCALED_OPSET if quantised else FLOAT_OPSET)
    onnx.checker.check_model(result, full_check=True)
    return result


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


def _halve_constants(graph: onnx.GraphProto) -> None:
    """Set every FP32 initializer to FP16, but the sizes of a Resize."""
    constants = {item.name: item for item in graph.initializer}
    kept = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    scales = {node.input[1]: node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    bounds = {name for node in graph.node if node.op_type in ("Clip", "Pad") for name in node.input[1:]}
    stored = {  # weights in INT8
        node.input[1]: node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    for name, item in constants.items():
        if item.data_type != TensorProto.FLOAT or name in kept:
            continue
        values = numpy_helper.to_array(item)
        values = values.clip(-MAX_HALF, MAX_HALF) if name in bounds else values
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


def _cast_ends(graph: onnx.GraphProto) -> None:
    """Put a Cast after the input and one before the output."""
    (image,), (heatmaps,) = graph.input, graph.output
    for node in graph.node:
        for end in (image.name, heatmaps.name):
            _rename(node.input, end)
        _rename(node.output, heatmaps.name)
    nodes = [
        helper.make_node(
            "Cast", [image.name], [_in_half(image.name)], name=_in_half(image.name), to=TensorProto.FLOAT16
        ),
        *graph.node,
        helper.make_node(
            "Cast", [_in_half(heatmaps.name)], [heatmaps.name], name=f"{heatmaps.name}.float", to=TensorProto.FLOAT
        ),
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(names: Iterable[str], end: str) -> None:
    for index, name in enumerate(list(names)):
        if name == end:
            names[index] = _in_half(end)  # type: ignore[index]


def _in_half(name: str) -> str:
    return f"{name}.half"


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
