from __future__ import annotations

import copy
import random as randomness

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hgedge.errors import ExportError
from hgedge.export.rewrites import RULES, collapse_reinjection, name_tensors, rewrite

ONLY = (name_tensors,)


def all_names(model):
    """Every name in the graph, node by node; inputs of a sum in alphabetical order, as their order means nothing."""
    rows = []
    for node in model.graph.node:
        inputs = sorted(node.input) if node.op_type == "Add" else list(node.input)
        rows.append((node.op_type, node.name, inputs, list(node.output)))
    return sorted(rows), sorted(item.name for item in model.graph.initializer)


def scrambled(model, seed):
    """The same graph: other tensor and node names (of all but weights, input and output), sums the other way round."""
    model = copy.deepcopy(model)
    source = randomness.Random(seed)
    keep = {"", *(node.input[1] for node in model.graph.node if node.op_type in ("Conv", "BatchNormalization"))}
    keep |= {item.name for item in (*model.graph.input, *model.graph.output)}
    names = {name for node in model.graph.node for name in (*node.input, *node.output)} - keep
    fresh = source.sample(range(10**6), len(names))
    new = {name: f"{source.choice('abz')}{number}.relu" for name, number in zip(sorted(names), fresh, strict=True)}
    for node in model.graph.node:
        node.name = f"node_{source.randrange(10**9)}"
        inputs = [new.get(name, name) for name in node.input]
        node.input[:] = inputs[::-1] if node.op_type == "Add" and source.random() < 0.7 else inputs
        node.output[:] = [new.get(name, name) for name in node.output]
    for item in model.graph.initializer:
        item.name = new.get(item.name, item.name)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_names_do_not_depend_on_what_tensors_were_called_or_on_order(hg2_model, seed):
    model = scrambled(hg2_model, seed)
    assert all_names(model) != all_names(hg2_model)
    assert rewrite(model, ONLY)[0].count == 1
    assert all_names(model) == all_names(hg2_model)


def test_names_do_not_depend_on_the_order_of_nodes(hg2_model):
    model = copy.deepcopy(hg2_model)
    waiting, made = list(hg2_model.graph.node), {"", "image", *(item.name for item in model.graph.initializer)}
    source, ordered = randomness.Random(3), []
    while waiting:
        node = source.choice([node for node in waiting if made.issuperset(node.input)])
        waiting = [other for other in waiting if other.name != node.name]
        made.update(node.output)
        ordered.append(node)
    assert [node.name for node in ordered] != [node.name for node in hg2_model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    model = scrambled(model, 4)
    rewrite(model, ONLY)
    assert all_names(model) == all_names(hg2_model)


def test_names_are_unique_and_every_one_is_canonical(hg2, hg2_model):
    nodes = hg2_model.graph.node
    made = [name for node in nodes for name in node.output]
    constants = [item.name for item in hg2_model.graph.initializer]
    assert len({*made, *constants, "image"}) == len(made) + len(constants) + 1
    assert len({node.name for node in nodes}) == len(nodes)
    assert [node.output[0] for node in nodes if node.output[0] != node.name] == ["heatmaps"]
    modules = {name for name, _ in hg2.named_modules()}
    for node in nodes:
        words = node.name.split(".")
        while words[-1] in ("relu", "pool", "up", "add") and ".".join(words) not in modules:
            words.pop()
        assert ".".join(words) in modules
    noted = {item.key: item.value for item in hg2_model.metadata_props}
    assert noted == {"naming_version": str(name_tensors.NAMING_VERSION)} == {"naming_version": "1"}


def test_naming_twice_changes_nothing(hg2_model):
    model = copy.deepcopy(hg2_model)
    rewrite(model, RULES)
    assert all_names(model) == all_names(hg2_model)


@pytest.fixture
def joint(build, random):
    """A re-injection as the network has it: x is also read further on."""
    nodes = [
        ("Conv", ["x", "stem.weight"], "s", {}),
        ("Conv", ["s", "features.0.1.weight"], "f", {}),
        ("Conv", ["f", "merge_features.0.weight", "b"], "p", {}),
        ("Conv", ["f", "outs.0.weight"], "h", {}),
        ("Conv", ["h", "merge_preds.0.weight"], "q", {}),
        ("Add", ["s", "p"], "t", {}),
        ("Add", ["t", "q"], "y", {}),
        ("Relu", ["y"], "z", {}),
    ]
    square = ["stem", "features.0.1", "merge_features.0", "outs.0", "merge_preds.0"]
    return build(nodes, {f"{name}.weight": random(4, 4, 1, 1) for name in square} | {"b": random(4)}, ("z",))


def test_joint_is_named_alike_collapsed_or_not(joint, run):
    collapsed = copy.deepcopy(joint)
    (before,) = run(joint)
    rewrite(joint, ONLY)
    sums = ["merge_features.0.add", "merge_preds.0.add"]
    assert [node.name for node in joint.graph.node if node.op_type == "Add"] == sums
    assert joint.graph.node[2].input[2] == "merge_features.0.bias"
    np.testing.assert_array_equal(run(joint)[0], before)
    rewrite(collapsed, (collapse_reinjection, name_tensors))
    assert [node.name for node in collapsed.graph.node if node.op_type == "Add"] == sums[:1]


def test_ends_keep_their_names_and_other_types_add_their_own(build, random):
    nodes = [("Sigmoid", ["x"], "s", {}), ("Conv", ["s", "a.weight"], "c", {}), ("Mul", ["c", "k"], "y", {})]
    model = build(nodes, {"a.weight": random(4, 4, 1, 1), "k": random(1)})
    rewrite(model, ONLY)
    assert all_names(model) == (
        [
            ("Conv", "a", ["x.sigmoid", "a.weight"], ["a"]),
            ("Mul", "a.mul", ["a", "a.mul.1"], ["y"]),
            ("Sigmoid", "x.sigmoid", ["x"], ["x.sigmoid"]),
        ],
        ["a.mul.1", "a.weight"],
    )


def test_a_weight_used_twice_gives_no_unique_names(build, random, caplog):
    nodes = [("Conv", ["x", "a.weight"], "c", {}), ("Conv", ["c", "a.weight"], "y", {})]
    model = build(nodes, {"a.weight": random(4, 4, 1, 1)})
    before = all_names(model)
    with caplog.at_level("DEBUG"):
        (outcome,) = rewrite(model, ONLY)
    assert outcome.skipped == ("the graph: several nodes would be called a",)
    assert "name_tensors skipped the graph: several nodes would be called a" in caplog.text
    assert all_names(model) == before


def test_nested_graphs_are_refused(build):
    model = build([("Relu", ["x"], "y", {})], {})
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["i"])],
        "inner",
        [],
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, None)],
    )
    model.graph.node.append(helper.make_node("If", ["flag"], ["z"], name="n_z", then_branch=inner, else_branch=inner))
    with pytest.raises(ExportError, match="rewrites need a graph without branches or loops, but n_z holds one"):
        rewrite(model)
