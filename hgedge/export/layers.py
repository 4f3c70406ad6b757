"""What every layer of a graph costs for one crop, and the precision that the graph has it compute in.

A convolution computes in INT8 if both its image and its weight are dequantised from 8 bits; every other layer computes
in the type of what it makes. That is what the graph asks for; what an engine makes of it, only the engine can tell.

    multiply-accumulates of Conv           elements of the weight (O, I / groups, h, w) x pixels of the output
                         of ConvTranspose  elements of the weight (I, O / groups, h, w) x pixels of the input
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import ExportError

CONVOLUTIONS = ("Conv", "ConvTranspose")
SILENT_OPS = ("Constant", "DequantizeLinear", "QuantizeLinear")  # values and types of the layers around them
SIZED_OPS = ("Resize", "Upsample")  # their float constants are sizes
ACTIVATIONS: dict[int, str] = {TensorProto.UINT8: "u8", TensorProto.INT8: "s8"}
PRECISIONS: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}

Shape = tuple[int | str, ...]  # sizes; a name or "?" where one is not fixed


@dataclass(frozen=True)
class Layer:
    """A layer of a graph.

    Attributes:
        name: Of its node, or of what that makes.
        op: ONNX operator.
        shape: Of its first output for one crop: without the batch; a name or "?" for a size that is not fixed.
        precision: "int8", "fp16", "bf16", "fp32", or ONNX's name of another type.
        activation: "u8" or "s8" for a convolution in INT8, else None.
        scales: Steps of the quantised activations that it reads, in its order; one scale each.
        macs: Multiply-accumulates for one crop; 0 but for convolutions.
        parameters: Numbers in its weights, biases and statistics; what two layers share counts for both.
        weight_bytes: That these take in the file, their scales and zero points with them.
    """

    name: str
    op: str
    shape: Shape
    precision: str
    activation: str | None
    scales: tuple[float, ...]
    macs: int
    parameters: int
    weight_bytes: int


def layers(model: onnx.ModelProto) -> list[Layer]:
    """Every layer in the order of the graph; Q/DQ pairs and constants are part of those that read them.

    Args:
        model: A graph, float or with Q/DQ pairs, in which height and width are static.

    Raises:
        ExportError: The size of what a convolution reads or makes cannot be told.
    """
    tensors = _Tensors(model)
    return [_layer(node, tensors) for node in model.graph.node if node.op_type not in SILENT_OPS]


class _Tensors:
    """Types, shapes, constants and dequantisations of a graph, by name of tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.constants = {item.name: item for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.types: dict[str, int] = {name: item.data_type for name, item in self.constants.items()}
        self.shapes: dict[str, Shape] = {name: tuple(item.dims) for name, item in self.constants.items()}
        for item in (*graph.input, *graph.value_info, *graph.output):
            self.types[item.name] = item.type.tensor_type.elem_type
            if item.type.tensor_type.HasField("shape"):
                self.shapes[item.name] = tuple(
                    dim.dim_value or dim.dim_param or "?" for dim in item.type.tensor_type.shape.dim
                )
        self.dequantised = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}

    def stored_type(self, name: str) -> int:
        """Type of a tensor before it is dequantised, where it is."""
        return self.types.get(self.dequantised[name].input[0] if name in self.dequantised else name, 0)

    def elements(self, name: str, start: int, node: onnx.NodeProto) -> int:
        """Product of a tensor's sizes from one axis on."""
        shape = self.shapes.get(name, ("?",))
        fixed = [size for size in shape[start:] if isinstance(size, int)]
        if not fixed or len(fixed) < len(shape[start:]):
            raise ExportError(
                f"{node.op_type} {node.name or node.output[0]!r} needs static sizes to be counted, but {name!r} is "
                f"({', '.join(map(str, shape))}); give the graph a fixed input height and width"
            )
        return math.prod(fixed)


def _layer(node: onnx.NodeProto, tensors: _Tensors) -> Layer:
    eight_bits = [tensors.stored_type(name) for name in node.input[:2] if name in tensors.dequantised]
    in_int8 = node.op_type in CONVOLUTIONS and len(eight_bits) == 2 and set(eight_bits) <= ACTIVATIONS.keys()
    made = tensors.types.get(node.output[0], TensorProto.UNDEFINED)
    parameters, weight_bytes = _weights(node, tensors)
    return Layer(
        name=node.name or node.output[0],
        op=node.op_type,
        shape=tensors.shapes.get(node.output[0], ("N", "?"))[1:],
        precision="int8" if in_int8 else PRECISIONS.get(made, _type_name(made)),
        activation=ACTIVATIONS[eight_bits[0]] if in_int8 else None,
        scales=_scales(node, tensors),
        macs=_macs(node, tensors),
        parameters=parameters,
        weight_bytes=weight_bytes,
    )


def _type_name(data_type: int) -> str:
    return str(TensorProto.DataType.Name(data_type)).lower()


def _macs(node: onnx.NodeProto, tensors: _Tensors) -> int:
    if node.op_type not in CONVOLUTIONS:
        return 0
    pixels = node.output[0] if node.op_type == "Conv" else node.input[0]
    return tensors.elements(node.input[1], 0, node) * tensors.elements(pixels, 2, node)


def _weights(node: onnx.NodeProto, tensors: _Tensors) -> tuple[int, int]:
    """Numbers and bytes of what a layer holds: constants of floats, and those that are dequantised."""
    if node.op_type in SIZED_OPS:
        return 0, 0
    numbers = size = 0
    for name in node.input:
        stored = tensors.dequantised[name].input if name in tensors.dequantised else [name]
        values = tensors.constants.get(stored[0])
        if values is not None and values.dims and (len(stored) > 1 or values.data_type in PRECISIONS):
            numbers += math.prod(values.dims)
            size += sum(_bytes(tensors.constants[part]) for part in stored if part in tensors.constants)
    return numbers, size


def _bytes(tensor: TensorProto) -> int:
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _scales(node: onnx.NodeProto, tensors: _Tensors) -> tuple[float, ...]:
    pairs = [tensors.dequantised[name] for name in node.input if name in tensors.dequantised]
    scales = [tensors.constants.get(pair.input[1]) for pair in pairs if pair.input[0] not in tensors.constants]
    return tuple(float(numpy_helper.to_array(scale)) for scale in scales if scale is not None and not scale.dims)
