from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as runtime
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def build():
    """Make a checked float graph from nodes (type, inputs, output, attributes), input `x` (N, 4, 8, 8)."""

    def make(nodes, constants, outputs=("y",)):
        made = [
            helper.make_node(kind, inputs, [output], name=f"n_{output}", **more) for kind, inputs, output, more in nodes
        ]
        graph = helper.make_graph(
            made,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model, full_check=True)
        return model

    return make


@pytest.fixture(scope="session")
def run():
    """Run a graph in ONNX Runtime without its own optimisations: all outputs for a seeded x of two pictures."""
    x = np.random.default_rng(5).standard_normal((2, 4, 8, 8)).astype(np.float32)

    def outputs(model):
        onnx.checker.check_model(model, full_check=True)
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )

    return outputs


@pytest.fixture(scope="session")
def count():
    """Nodes by type."""
    return lambda model: dict(Counter(node.op_type for node in model.graph.node))


@pytest.fixture
def random():
    """Seeded standard normal arrays: call it with a shape."""
    generator = np.random.default_rng(7)
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)
