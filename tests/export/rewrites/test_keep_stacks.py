from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest

from hgedge.errors import ExportError
from hgedge.export.rewrites.keep_stacks import keep_stacks


@pytest.fixture
def two_stacks(build, random):
    """Two heads, the second one behind the first, stacked as the exporter does it."""
    nodes = [
        ("Conv", ["x", "outs.0.weight", "outs.0.bias"], "a", {}),
        ("Conv", ["a", "merge_preds.0.weight"], "b", {}),
        ("Conv", ["b", "outs.1.weight", "outs.1.bias"], "c", {}),
        ("Unsqueeze", ["a", "axis"], "a1", {}),
        ("Unsqueeze", ["c", "axis"], "c1", {}),
        ("Concat", ["a1", "c1"], "all_heatmaps", {"axis": 1}),
    ]
    constants = {"outs.0.weight": random(3, 4, 1, 1), "outs.0.bias": random(3), "outs.1.bias": random(3)}
    constants |= {"merge_preds.0.weight": random(4, 3, 1, 1), "outs.1.weight": random(3, 4, 1, 1)}
    axis = ("Constant", [], "axis", {"value_ints": [1]})
    model = build([axis, *nodes], constants, ("all_heatmaps",))
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize(("num_stacks", "stack"), [(None, 1), (2, 1), (1, 0)])
def test_output_is_the_prediction_of_the_last_kept_stack(two_stacks, run, num_stacks, stack):
    (every,) = run(two_stacks)
    model = copy.deepcopy(two_stacks)
    keep_stacks(model, num_stacks)
    (heatmaps,) = run(model)
    np.testing.assert_array_equal(heatmaps, every[:, stack])
    (output,) = model.graph.output
    dims = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    assert (output.name, dims) == ("heatmaps", ["N", 3, 8, 8])
    assert len(model.graph.node) == 1 + 2 * stack
    assert all(node.op_type == "Conv" for node in model.graph.node)
    used = {name for node in model.graph.node for name in node.input}
    assert {item.name for item in model.graph.initializer} == used - {"x", "heatmaps", "a", "b"}


def test_a_prediction_ends_behind_its_batchnorm_and_relu(build, random, run):
    nodes = [
        ("Conv", ["x", "outs.0.conv.weight"], "a", {}),
        ("BatchNormalization", ["a", "one", "zero", "zero", "one"], "b", {}),
        ("Relu", ["b"], "c", {}),
        ("Unsqueeze", ["c", "axis"], "all_heatmaps", {}),
    ]
    constants = {"outs.0.conv.weight": random(3, 4, 1, 1), "one": np.ones(3), "zero": np.zeros(3)}
    model = build([("Constant", [], "axis", {"value_ints": [1]}), *nodes], constants, ("all_heatmaps",))
    (every,) = run(model)
    keep_stacks(model)
    (heatmaps,) = run(model)
    np.testing.assert_array_equal(heatmaps, every[:, 0])
    assert [node.op_type for node in model.graph.node] == ["Conv", "BatchNormalization", "Relu"]


def test_a_stack_that_is_not_there(two_stacks):
    for number in (0, 3):
        with pytest.raises(ExportError, match=rf"the graph has 2 stacks .*outs\.N\.weight.*, not {number}"):
            keep_stacks(two_stacks, number)


def test_a_graph_without_heads(build):
    with pytest.raises(ExportError, match="the graph has 0 stacks"):
        keep_stacks(build([("Relu", ["x"], "y", {})], {}))
