"""Pairs of Transposes that undo each other: what stays, and the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hgedge.export.rewrites import cancel_transposes, rewrite

LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
READ = ("Relu", "b", "y", None)


def network(*nodes, outputs=("y",)) -> onnx.ModelProto:
    """Nodes as (type, input, output, permutation)."""
    made = [
        helper.make_node(kind, [read], [name], **({"perm": order} if order else {}))
        for kind, read, name, order in nodes
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 5])
    return helper.make_model(helper.make_graph(made, "g", [image], ends), opset_imports=[helper.make_opsetid("", 17)])


def run(model):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    return ReferenceEvaluator(model).run(None, {"x": x})


@pytest.mark.parametrize(
    ("nodes", "outputs", "left"),
    [
        ([("Transpose", "x", "a", LAST), ("Transpose", "a", "b", FIRST), ("Relu", "b", "y", None)], ("y",), ["Relu"]),
        ([("Relu", "x", "a", None), ("Transpose", "a", "b", LAST), ("Transpose", "b", "y", FIRST)], ("y",), ["Relu"]),
        ([("Transpose", "x", "a", [0, 1, 2, 3]), ("Relu", "a", "y", None)], ("y",), ["Relu"]),
        (
            [("Transpose", "x", "a", LAST), ("Relu", "a", "z", None), ("Transpose", "a", "b", FIRST), READ],
            ("y", "z"),
            ["Transpose", "Relu", "Relu"],
        ),
        ([("Transpose", "x", "a", LAST), ("Transpose", "a", "y", LAST)], ("y",), ["Transpose", "Transpose"]),
        ([("Transpose", "x", "a", LAST), ("Transpose", "a", "y", FIRST)], ("y",), ["Transpose", "Transpose"]),
        (
            [("Relu", "x", "z", None), ("Transpose", "z", "a", LAST), ("Transpose", "a", "y", FIRST)],
            ("y", "z"),
            ["Relu", "Transpose", "Transpose"],
        ),
    ],
    ids=["inside", "output", "moves nothing", "first is read elsewhere", "no pair", "of the input", "of an output"],
)  # fmt: skip
def test_what_stays(nodes, outputs, left):
    model = network(*nodes, outputs=outputs)
    before = run(model)
    rewrite(model, (cancel_transposes,))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == left
    for ours, theirs in zip(run(model), before):
        np.testing.assert_array_equal(ours, theirs)
