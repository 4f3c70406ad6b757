"""A float graph that tells what its tensors hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import onnx

from hgedge.errors import BackendUnavailable


def measuring_session(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], outputs: Iterable[str], purpose: str
) -> Any:
    """An ONNX Runtime session of a graph for one picture, with nodes added and other outputs.

    Args:
        model: Float graph.
        nodes: To add behind its own.
        outputs: Names of the tensors that it gives instead of its own.
        purpose: What needs it, as an error message says.

    Raises:
        BackendUnavailable: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            f"{purpose} needs ONNX Runtime, which is not installed: pip install 'hgedge[onnxruntime]'"
        ) from error
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = measuring.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del graph.value_info[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(measuring.SerializeToString(), options, providers=["CPUExecutionProvider"])
