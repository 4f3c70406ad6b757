from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import numpy_helper

from hgedge.export.rewrites import collapse_reinjection, rewrite

ROUNDING = 1e-5  # of outputs near 10 in float32
RULES = (collapse_reinjection,)

FEATURES = ("Conv", ["x", "f.weight", "f.bias"], "f", {})
MERGE = ("Conv", ["f", "mf.weight", "mf.bias"], "mf", {})
HEAD = ("Conv", ["f", "h.weight", "h.bias"], "h", {})
BACK = ("Conv", ["h", "mo.weight", "mo.bias"], "mo", {})


@pytest.fixture
def constants(random):
    """Four channels in the stream, six features, three heatmaps."""
    shapes = {"f": (6, 4, 3, 3), "mf": (4, 6, 1, 1), "h": (3, 6, 1, 1), "mo": (4, 3, 1, 1), "k": (4, 4, 3, 3)}
    weights = {f"{name}.weight": random(*shape) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": random(shape[0]) for name, shape in shapes.items()}


@pytest.fixture
def pad():
    return {"pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("terms", list(itertools.permutations(["x", "mf", "mo"])))
@pytest.mark.parametrize("inner_first", [True, False])
def test_any_order_of_the_sum_becomes_one_convolution(build, run, count, constants, pad, terms, inner_first):
    outer = ["part", terms[2]] if inner_first else [terms[2], "part"]
    nodes = [(*FEATURES[:3], pad), MERGE, HEAD, BACK, ("Add", terms[:2], "part", {}), ("Add", outer, "y", {})]
    model = build(nodes, constants)
    (before,) = run(model)
    (outcome,) = rewrite(model, RULES)
    assert (outcome.rule, outcome.count, outcome.skipped) == ("collapse_reinjection", 1, ())
    assert count(model) == {"Conv": 2, "Add": 1}
    np.testing.assert_allclose(run(model)[0], before, atol=ROUNDING)
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert set(values) == {"f.weight", "f.bias", "mf.weight", "mf.bias"}
    through = np.einsum("okij,kcij->ocij", constants["mo.weight"], constants["h.weight"])
    np.testing.assert_allclose(values["mf.weight"], constants["mf.weight"] + through, rtol=1e-5, atol=1e-6)
    bias = constants["mf.bias"] + constants["mo.bias"] + constants["mo.weight"][:, :, 0, 0] @ constants["h.bias"]
    np.testing.assert_allclose(values["mf.bias"], bias, rtol=1e-5, atol=1e-6)


SUM = [("Add", ["x", "mf"], "part", {}), ("Add", ["part", "mo"], "y", {})]
TWICE = {"strides": [2, 2]}


@pytest.mark.parametrize(
    ("changes", "more", "outputs", "reason"),
    [
        ({}, [], ("y", "h"), "n_y: the heatmaps of n_h are an output of the graph"),
        ({}, [], ("y", "mf"), "n_y: n_mf has other readers"),
        ({}, [("Relu", ["h"], "z", {})], ("y", "z"), "n_y: n_h has other readers"),
        ({}, [("Relu", ["part"], "z", {})], ("y", "z"), "n_y: n_part has other readers"),
        ({}, [("Relu", ["mo"], "z", {})], ("y", "z"), "n_y: n_mo has other readers"),
        ({}, [("Conv", ["f", "mf.weight"], "z", {})], ("y", "z"), "n_mf: its parameter mf.weight is also used by n_z"),
        ({"mo": (4, 3, 3, 3)}, [], ("y",), "n_y: n_mo is not a plain 1x1 convolution"),
    ],
)
def test_skips_say_why_and_change_nothing(build, run, random, constants, pad, changes, more, outputs, reason):
    constants |= {f"{name}.weight": random(*shape) for name, shape in changes.items()}
    back = (*BACK[:3], pad) if "mo" in changes else BACK
    model = build([(*FEATURES[:3], pad), MERGE, HEAD, back, *SUM, *more], constants, outputs)
    before = run(model)
    (outcome,) = rewrite(model, RULES)
    assert (outcome.count, outcome.skipped) == (0, (reason,))
    for old, new in zip(before, run(model), strict=True):
        np.testing.assert_array_equal(new, old)


def test_strides_are_no_plain_convolution(build, run, count, constants):
    nodes = [
        (*FEATURES[:3], {"pads": [1, 1, 1, 1]}),
        ("Conv", ["f", "mf.weight", "mf.bias"], "mf", TWICE),
        ("Conv", ["f", "h.weight", "h.bias"], "h", TWICE),
        BACK,
        ("MaxPool", ["x"], "small", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Add", ["small", "mf"], "part", {}),
        SUM[1],
    ]
    model = build(nodes, constants)
    (outcome,) = rewrite(model, RULES)
    assert outcome.skipped == ("n_y: n_mf is not a plain 1x1 convolution",)


def test_other_sums_of_three_do_not_match(build, constants, pad):
    elsewhere = ("Conv", ["x", "k.weight", "k.bias"], "mf", pad)  # reads the stream, not the features of the head
    model = build([(*FEATURES[:3], pad), elsewhere, HEAD, BACK, *SUM], constants)
    (outcome,) = rewrite(model, RULES)
    assert (outcome.count, outcome.skipped) == (0, ())


def test_a_chain_of_stacks_collapses_at_every_joint(build, run, count, random, constants, pad):
    again = {"f2": (6, 4, 3, 3), "mf2": (4, 6, 1, 1), "h2": (3, 6, 1, 1), "mo2": (4, 3, 1, 1)}
    constants |= {f"{name}.weight": random(*shape) / 4 for name, shape in again.items()}
    constants |= {f"{name}.bias": random(shape[0]) for name, shape in again.items()}
    first = [(*FEATURES[:3], pad), MERGE, HEAD, BACK, SUM[0], ("Add", ["part", "mo"], "x2", {})]
    second = [
        ("Conv", ["x2", "f2.weight", "f2.bias"], "f2", pad),
        ("Conv", ["f2", "mf2.weight", "mf2.bias"], "mf2", {}),
        ("Conv", ["f2", "h2.weight", "h2.bias"], "h2", {}),
        ("Conv", ["h2", "mo2.weight", "mo2.bias"], "mo2", {}),
        ("Add", ["mf2", "x2"], "part2", {}),
        ("Add", ["mo2", "part2"], "y", {}),
    ]
    model = build(first + second, constants)
    (before,) = run(model)
    assert rewrite(model, RULES)[0].count == 2
    assert count(model) == {"Conv": 4, "Add": 2}
    np.testing.assert_allclose(run(model)[0], before, atol=1e-6 * np.ptp(before) + ROUNDING)
