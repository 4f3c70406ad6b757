"""How big a float graph is: convolutions, and multiply-accumulates a crop."""

from __future__ import annotations

import math

import onnx


def num_convs(model: onnx.ModelProto) -> int:
    """Convolutions in the graph."""
    return sum(node.op_type == "Conv" for node in model.graph.node)


def gmacs(model: onnx.ModelProto) -> float:
    """Multiply-accumulates of all convolutions for one crop, in 1e9.

    Args:
        model: A float graph with static height and width, whose weights are initializers.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    weights = {item.name: math.prod(item.dims) for item in graph.initializer}
    pixels = {item.name: _pixels(item) for item in (*graph.value_info, *graph.output)}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    return float(sum(weights[conv.input[1]] * pixels[conv.output[0]] for conv in convs)) / 1e9


def _pixels(item: onnx.ValueInfoProto) -> int:
    return math.prod(dim.dim_value for dim in item.type.tensor_type.shape.dim[2:])
