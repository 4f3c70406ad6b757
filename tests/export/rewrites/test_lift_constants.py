from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hgedge.export.rewrites import lift_constants, rewrite


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"value": numpy_helper.from_array(np.float32([[2.0]]))}, np.float32([[2.0]])),
        ({"value_float": 2.5}, np.float32(2.5)),
        ({"value_floats": [1.0, 2, 3, 4, 5, 6, 7, 8]}, np.float32([1, 2, 3, 4, 5, 6, 7, 8])),
    ],
)
def test_value_becomes_an_initializer(build, run, count, how, expected):
    model = build([("Constant", [], "c", how), ("Mul", ["x", "c"], "y", {})], {})
    (before,) = run(model)
    (outcome,) = rewrite(model, (lift_constants,))
    assert (outcome.rule, outcome.count) == ("lift_constants", 1)
    assert count(model) == {"Mul": 1}
    (constant,) = model.graph.initializer
    assert constant.name == "c"
    found = numpy_helper.to_array(constant)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(run(model)[0], before)


def test_integers_keep_their_type(build, run, count):
    model = build([("Constant", [], "axes", {"value_ints": [1]}), ("Unsqueeze", ["x", "axes"], "y", {})], {})
    (before,) = run(model)
    rewrite(model, (lift_constants,))
    assert model.graph.initializer[0].data_type == onnx.TensorProto.INT64
    np.testing.assert_array_equal(run(model)[0], before)


def test_skips_say_why(build, count):
    words = helper.make_node("Constant", [], ["c"], name="n_c", value_strings=["a"])
    model = build([("Relu", ["x"], "y", {}), ("Constant", [], "z", {"value_float": 1.0})], {}, ("y", "z"))
    model.graph.node.append(words)
    model.graph.output.append(helper.make_tensor_value_info("c", onnx.TensorProto.STRING, [1]))
    (outcome,) = rewrite(model, (lift_constants,))
    assert outcome.skipped == (
        "n_z: it is an output of the graph",
        "n_c: its value is neither a tensor nor numbers",
    )
    assert count(model) == {"Relu": 1, "Constant": 2}
