"""An ONNX graph with the questions that rules ask of it: who makes a tensor, who reads it, what a constant holds."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from hgedge.errors import ExportError

NESTED = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


class Graph:
    """A model's graph, indexed once; a rule that rewires it leaves the index of what other matches need as it was.

    Attributes:
        model: The model.
        proto: Its graph.
        makers: Tensor name to the node that makes it.
        readers: Tensor name to the nodes that read it, one entry a read.
        constants: Initializer name to initializer.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.proto = model, model.graph
        self.makers: dict[str, NodeProto] = {}
        self.readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self.proto.node:
            if any(item.type in NESTED for item in node.attribute):
                raise ExportError(f"rewrites need a graph without branches or loops, but {label(node)} holds one")
            self.makers.update(dict.fromkeys(node.output, node))
            for name in filter(None, node.input):
                self.readers[name].append(node)
        self.constants = {item.name: item for item in self.proto.initializer}
        self.outputs = {item.name for item in self.proto.output}

    def maker(self, tensor: str, op_type: str) -> NodeProto | None:
        """The node that makes a tensor, if it is of this type."""
        node = self.makers.get(tensor)
        return node if node is not None and node.op_type == op_type else None

    def read_once(self, tensor: str) -> bool:
        """Whether exactly one input of one node takes the tensor, and it is no output of the graph."""
        return tensor not in self.outputs and len(self.readers[tensor]) == 1

    def obstacle(self, node: NodeProto) -> str | None:
        """Why a node's parameters (all inputs but the first) cannot be changed; None: they are constants of its own."""
        for name in filter(None, node.input[1:]):
            if name not in self.constants:
                return f"{label(node)}: its parameter {name} is not a constant"
            other = next((reader for reader in self.readers[name] if reader.output[0] != node.output[0]), None)
            if other is not None:
                return f"{label(node)}: its parameter {name} is also used by {label(other)}"
        return None

    def array(self, name: str) -> np.ndarray:
        """A constant's values as float64."""
        return numpy_helper.to_array(self.constants[name]).astype(np.float64)

    def store(self, name: str, values: np.ndarray) -> None:
        """Set a constant, new or old, to these values, as float32."""
        if name not in self.constants:
            self.constants[name] = self.proto.initializer.add()
        self.constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))

    def conv(self, node: NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a Conv as float64; a bias that is absent is zero."""
        weight = self.array(node.input[1])
        return weight, self.array(node.input[2]) if has_bias(node) else np.zeros(len(weight))

    def set_conv(self, node: NodeProto, weight: np.ndarray, bias: np.ndarray) -> None:
        """Set weight and bias of a Conv under the names that they have; a new bias is called after the weight."""
        if not has_bias(node):
            node.input[2:] = [node.input[1].removesuffix(".weight") + ".bias"]
        self.store(node.input[1], weight)
        self.store(node.input[2], bias)

    def remove_dead(self) -> None:
        """Remove the nodes and constants that no output depends on."""
        needed = set(self.outputs)
        for index in reversed(range(len(self.proto.node))):
            node = self.proto.node[index]
            if needed.isdisjoint(node.output):
                del self.proto.node[index]
            else:
                needed.update(node.input)
        for index in reversed(range(len(self.proto.initializer))):
            if self.proto.initializer[index].name not in needed:
                del self.proto.initializer[index]


def has_bias(conv: NodeProto) -> bool:
    """Whether a Conv has a bias."""
    return len(conv.input) > 2 and bool(conv.input[2])


def label(node: NodeProto) -> str:
    """What messages call a node."""
    return node.name or f"{node.op_type} of {node.output[0]}"


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Value of a node's attribute, or the default where it is absent."""
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)
