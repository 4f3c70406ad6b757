"""Which tensors of a float graph become INT8, and who reads them as INT8.

`conv`: the input of every quantised convolution. `stream`: the residual stream as well, so that additions,
BatchNormalization, pooling and upsampling read INT8 too: the output of each Add, the input of each Resize, and the
skip operand of each Add, which is what lets an engine fuse a convolution with the Add behind it. The convolution
operand of an Add stays float. Where both operands come from convolutions, the skip is the one nearer to the input.
An Add of a constant is no part of the stream. MaxPool and nearest Resize only copy values: what they make from an INT8
tensor is INT8 already and gets no pair of its own, unless a convolution reads it. The head always stays float: the
convolution that makes `heatmaps`, or those whose sum they are, with what lies between (a ReLU, a BatchNormalization,
a Transpose, a Resize).

Source: the placement of NVIDIA modelopt, which `stream` follows; TensorRT's documentation of explicit quantisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import onnx

from hgedge.errors import ConfigError, QuantizationError

HEATMAPS = "heatmaps"
QUANTIZING_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger", "FakeQuantize"}
)
CONVOLUTIONS = ("Conv", "ConvTranspose")
BEHIND_HEAD = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "DepthToSpace", "Identity", "LeakyRelu", "Mul", "PRelu", "Relu"}
    | {"Reshape", "Resize", "Sigmoid", "Sub", "Tanh", "Transpose"}
)

Read = tuple[int, int]  # index of a node in the graph, index among its inputs


class Placement(str, Enum):
    """Where Q/DQ pairs go: see the top of this module."""

    CONV = "conv"
    STREAM = "stream"


def placement_named(name: str) -> Placement:
    """The placement of this name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return Placement(name)
    except ValueError:
        known = ", ".join(placement.value for placement in Placement)
        raise ConfigError(f"no placement is called {name!r}; choose one of: {known}") from None


def quantized_tensors(model: onnx.ModelProto, placement: str) -> tuple[str, ...]:
    """Names of the activations that a placement quantises, each once, in the order in which the graph makes them.

    Args:
        model: A float graph with the output `heatmaps`.
        placement: A `Placement` or its name.

    Raises:
        ConfigError: No placement has this name.
        QuantizationError: The graph is quantised already, or no convolution makes `heatmaps`.
    """
    return tuple(quantized_reads(model, placement))


def quantized_reads(
    model: onnx.ModelProto, placement: str, kept: frozenset[int] = frozenset()
) -> dict[str, list[Read]]:
    """Each tensor that a placement quantises, with the reads that take it as INT8; the other reads stay float.

    Args:
        model: A float graph with the output `heatmaps`.
        placement: A `Placement` or its name.
        kept: Indices of nodes that read float, beside those of the head.

    Raises:
        ConfigError: No placement has this name.
        QuantizationError: The graph is quantised already, or no convolution makes `heatmaps`.
    """
    graph = _Graph(model, placement_named(placement), kept)
    wanted = {tensor for tensor, (node, position) in graph.reads() if graph.wants_int8(tensor, node, position)}
    reads: dict[str, list[Read]] = {name: [] for name in graph.depth if name in wanted}
    for tensor, (node, position) in graph.reads():
        if tensor in wanted and graph.takes_int8(tensor, node, position):
            reads[tensor].append((node, position))
    return reads


def head_indices(model: onnx.ModelProto) -> frozenset[int]:
    """Indices of the nodes from which on everything goes straight into `heatmaps`: convolutions, and what follows.

    Raises:
        QuantizationError: No convolution is among them.
    """
    nodes = model.graph.node
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    found: set[int] = set()
    waiting = [HEATMAPS]
    while waiting:
        index = makers.get(waiting.pop())
        if index is not None and index not in found and nodes[index].op_type in (*BEHIND_HEAD, *CONVOLUTIONS):
            found.add(index)
            waiting += nodes[index].input if nodes[index].op_type in BEHIND_HEAD else ()
    if not any(nodes[index].op_type in CONVOLUTIONS for index in found):
        raise QuantizationError(
            f"quantisation needs a graph whose output {HEATMAPS!r} is made by a Conv, but this one's outputs are "
            f"{', '.join(output.name for output in model.graph.output)}, and no Conv leads straight there; "
            "build with --precision fp32"
        )
    return frozenset(found)


def copies(node: onnx.NodeProto) -> bool:
    """Whether a node's output holds only values of its input."""
    mode = next((item.s for item in node.attribute if item.name == "mode"), b"nearest")
    return node.op_type == "MaxPool" or (node.op_type == "Resize" and mode == b"nearest")


class _Graph:
    """A float graph, indexed for the questions that a placement asks."""

    def __init__(self, model: onnx.ModelProto, placement: Placement, kept: frozenset[int]) -> None:
        _check_float(model)
        self.placement = placement
        self.kept = head_indices(model) | kept
        self.nodes = list(model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        constants = {initializer.name for initializer in model.graph.initializer}
        typed = (*model.graph.input, *model.graph.value_info)
        self.others = {item.name for item in typed if item.type.tensor_type.elem_type != onnx.TensorProto.FLOAT}
        self.depth = {item.name: 0 for item in model.graph.input if item.name not in constants}
        for node in self.nodes:  # in topological order
            level = 1 + max((self.depth.get(name, 0) for name in node.input), default=0)
            self.depth.update(dict.fromkeys(node.output, level))

    def reads(self) -> Iterator[tuple[str, Read]]:
        """Every read of an activation, graph order."""
        for index, node in enumerate(self.nodes):
            yield from ((name, (index, position)) for position, name in enumerate(node.input) if name in self.depth)

    def wants_int8(self, tensor: str, index: int, position: int) -> bool:
        """Whether this read is a reason to quantise the tensor."""
        operation, maker = self.nodes[index].op_type, self.maker.get(tensor)
        if index in self.kept or tensor in self.others or (position > 0 and operation != "Add"):
            return False
        if operation == "Conv" or self.placement is Placement.CONV:
            return bool(operation == "Conv")
        if operation == "Add":
            return tensor in self._skips(self.nodes[index]) and not (maker is not None and copies(maker))
        added = maker is not None and maker.op_type == "Add"
        return operation == "Resize" or (operation in ("BatchNormalization", "MaxPool") and added)

    def takes_int8(self, tensor: str, index: int, position: int) -> bool:
        """Whether this read takes the tensor as INT8, once something has it quantised."""
        node = self.nodes[index]
        if index in self.kept or (self.placement is Placement.CONV and (node.op_type != "Conv" or position > 0)):
            return False
        return node.op_type != "Add" or tensor in self._skips(node)

    def _skips(self, add: onnx.NodeProto) -> list[str]:
        """The operands of an Add that are not the convolution it is fused with."""
        operands = sorted(add.input, key=lambda name: self.depth.get(name, 0))
        if any(name not in self.depth for name in operands):
            return []
        convolutions = [name for name in operands if name in self.maker and self.maker[name].op_type == "Conv"]
        return [name for name in operands if name not in convolutions[-1:]]


def _check_float(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in QUANTIZING_OPS:
            raise QuantizationError(
                f"quantisation starts from a float graph, but this one holds {node.op_type} ({node.output[0]}); "
                "give the FP32 graph, in a bundle source.onnx"
            )
