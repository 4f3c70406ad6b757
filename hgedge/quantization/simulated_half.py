"""FP16 arithmetic simulated where there is none: an FP32 graph that rounds every tensor to FP16.

    y' = float(half(op(x', w')))        (round half to even; beyond 65504 infinite, subnormal below 6.1e-5)

Inside a layer it computes in FP32, as GPUs accumulate; what they fuse they round less often, so an engine is as near to
FP32 or nearer. An FP16 graph itself would not do: ONNX Runtime computes it in FP32 on most CPUs, and takes away the
Casts between two layers whatever its level of optimisation, so that only weights are rounded.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def simulated_half(half: onnx.ModelProto) -> onnx.ModelProto:
    """The FP32 graph that gives what an FP16 graph would.

    Args:
        half: From `to_half`, with or without Q/DQ pairs and layers kept in FP32.
    """
    result = onnx.ModelProto()
    result.CopyFrom(half)
    graph = result.graph
    inferred = onnx.shape_inference.infer_shapes(half, strict_mode=True).graph
    halves = {item.name for item in inferred.value_info if item.type.tensor_type.elem_type == TensorProto.FLOAT16}
    for item in graph.initializer:
        if item.data_type == TensorProto.FLOAT16:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float32), item.name))
    ordered = []
    for node in graph.node:
        ordered.append(node)
        for index, name in enumerate(node.output):
            if name in halves:
                exact, rounded = f"{name}.exact", f"{name}.rounded"
                node.output[index] = exact
                ordered.append(helper.make_node("Cast", [exact], [rounded], name=rounded, to=TensorProto.FLOAT16))
                ordered.append(helper.make_node("Cast", [rounded], [name], name=exact, to=TensorProto.FLOAT))
        if node.op_type == "Cast":
            node.attribute[0].i = TensorProto.FLOAT
    del graph.node[:]
    graph.node.extend(ordered)
    onnx.checker.check_model(result, full_check=True)
    return result
