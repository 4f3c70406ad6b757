"""Keep one stack's prediction as the graph's only output, `heatmaps`.

    outs.0, outs.1, ... -> Concat -> (N, S, K, h, w)      becomes      outs.S -> heatmaps (N, K, h, w)

Every stack predicts, so the first N stacks are a network of their own. The prediction of a stack is found by the name
of its convolution's weight, `outs.S.weight`, or `outs.S.conv.weight` where a BatchNormalization and a ReLU follow; what
only later stacks need falls dead.
"""

from __future__ import annotations

import re

import onnx
from onnx import helper

from hgedge.errors import ExportError
from hgedge.export.rewrites.graph import Graph

HEAD = re.compile(r"outs\.(\d+)\.(conv\.)?weight")
BEHIND = ("BatchNormalization", "Relu")
OUTPUT = "heatmaps"


def keep_stacks(model: onnx.ModelProto, num_stacks: int | None = None) -> None:
    """Make the prediction of the last kept stack the only output, in place.

    Args:
        model: Straight from the exporter, with one output (N, S, K, h, w).
        num_stacks: Stacks to keep, from the first on; None keeps all.

    Raises:
        ExportError: There is no such stack.
    """
    graph = Graph(model)
    heads = _heads(graph)
    wanted = len(heads) if num_stacks is None else num_stacks
    if wanted - 1 not in heads:
        raise ExportError(f"the graph has {len(heads)} stacks (convolutions with weight outs.N.weight), not {wanted}")
    _rename(graph, heads[wanted - 1], OUTPUT)
    dims = [dim.dim_param or dim.dim_value for dim in graph.proto.output[0].type.tensor_type.shape.dim]
    del graph.proto.output[:]
    del graph.proto.value_info[:]
    graph.proto.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [dims[0], *dims[2:]]))
    graph.outputs = {OUTPUT}
    graph.remove_dead()


def _heads(graph: Graph) -> dict[int, str]:
    """What each stack predicts."""
    convs = [node for node in graph.proto.node if node.op_type == "Conv"]
    matches = [(HEAD.fullmatch(node.input[1]), node) for node in convs]
    return {int(match[1]): _behind(graph, node.output[0]) for match, node in matches if match}


def _behind(graph: Graph, tensor: str) -> str:
    """A tensor after the BatchNormalization and the ReLU that read it, if any do."""
    node = next((node for node in graph.readers[tensor] if node.op_type in BEHIND), None)
    return tensor if node is None else _behind(graph, node.output[0])


def _rename(graph: Graph, old: str, new: str) -> None:
    for node in graph.proto.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
