"""Constant node -> initializer.

    Constant(value)  ->  x        becomes        initializer x

Backends take constants in either form, but rules and quantisation look for values among the initializers alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from hgedge.export.rewrites.graph import Graph, attribute, label

NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def pattern(graph: Graph) -> Iterator[NodeProto]:
    """Every Constant node."""
    yield from (node for node in graph.proto.node if node.op_type == "Constant")


def check(graph: Graph, node: NodeProto) -> str | None:
    """Only a tensor or numbers, and no output of the graph."""
    if _value(node) is None:
        return f"{label(node)}: its value is neither a tensor nor numbers"
    if node.output[0] in graph.outputs:
        return f"{label(node)}: it is an output of the graph"
    return None


def rewrite(graph: Graph, node: NodeProto) -> None:
    """Store the value; the node gives its name up and falls dead."""
    name, value = node.output[0], _value(node)
    initializer = graph.proto.initializer.add()
    if value is not None:
        initializer.CopyFrom(value)
    initializer.name = name
    node.output[0] = f"{name}.lifted"


def _value(node: NodeProto) -> TensorProto | None:
    for name, kind in NUMBERS.items():
        numbers = attribute(node, name, None)
        if numbers is not None:
            return numpy_helper.from_array(np.array(numbers, kind))
    tensor: TensorProto | None = attribute(node, "value", None)
    return tensor
