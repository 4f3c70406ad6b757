from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from hgedge.export.rewrites import fold_batchnorm, rewrite

ROUNDING = 1e-5  # of outputs near 1 in float32
RULES = (fold_batchnorm,)


@pytest.fixture
def norm(random):
    """Constants of a normalisation of six channels, called `n.*`."""
    return {
        "n.weight": random(6),
        "n.bias": random(6),
        "n.running_mean": random(6),
        "n.running_var": np.abs(random(6)) + 0.1,
    }


CONV = ("Conv", ["x", "c.weight", "c.bias"], "c", {"pads": [1, 1, 1, 1]})
NORM = ("BatchNormalization", ["c", "n.weight", "n.bias", "n.running_mean", "n.running_var"], "y", {"epsilon": 0.01})


def test_conv_then_norm_is_one_conv_with_the_names_of_its_parameters(build, run, count, random, norm):
    constants = {"c.weight": random(6, 4, 3, 3), "c.bias": random(6)}
    model = build([CONV, NORM], constants | norm)
    (before,) = run(model)
    (outcome,) = rewrite(model, RULES)
    assert (outcome.rule, outcome.count, outcome.skipped) == ("fold_batchnorm", 1, ())
    assert count(model) == {"Conv": 1}
    assert list(model.graph.node[0].input) == ["x", "c.weight", "c.bias"]
    np.testing.assert_allclose(run(model)[0], before, atol=ROUNDING)
    scale = norm["n.weight"] / np.sqrt(norm["n.running_var"] + 0.01)
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert set(values) == {"c.weight", "c.bias"}
    np.testing.assert_allclose(values["c.weight"], constants["c.weight"] * scale[:, None, None, None], rtol=1e-5)


def test_conv_without_bias_gets_one(build, run, count, random, norm):
    model = build([("Conv", ["x", "c.weight"], "c", {}), NORM], {"c.weight": random(6, 4, 1, 1)} | norm)
    (before,) = run(model)
    rewrite(model, RULES)
    assert count(model) == {"Conv": 1}
    assert list(model.graph.node[0].input) == ["x", "c.weight", "c.bias"]
    np.testing.assert_allclose(run(model)[0], before, atol=ROUNDING)


def test_groups(build, run, random, norm):
    conv = ("Conv", ["x", "c.weight", "c.bias"], "c", {"group": 2})
    model = build([conv, NORM], {"c.weight": random(6, 2, 3, 3), "c.bias": random(6)} | norm)
    (before,) = run(model)
    assert rewrite(model, RULES)[0].count == 1
    np.testing.assert_allclose(run(model)[0], before, atol=ROUNDING)


def test_norm_of_something_else_stays(build, count, random, norm):
    nodes = [CONV, ("Relu", ["c"], "r", {}), ("BatchNormalization", ["r", *NORM[1][1:]], "y", {})]
    model = build(nodes, {"c.weight": random(6, 4, 3, 3), "c.bias": random(6)} | norm)
    assert rewrite(model, RULES)[0].count == 0
    assert count(model) == {"Conv": 1, "Relu": 1, "BatchNormalization": 1}


@pytest.mark.parametrize(
    ("more", "outputs", "reason"),
    [
        ([], ("c", "y"), "n_y: n_c has other readers than it"),
        ([("Relu", ["c"], "z", {})], ("y", "z"), "n_y: n_c has other readers than it"),
        (
            [("Conv", ["x", "c.weight", "other"], "z", {})],
            ("y", "z"),
            "n_c: its parameter c.weight is also used by n_z",
        ),
        (
            [("Conv", ["y", "square.weight", "n.bias"], "z", {})],
            ("z",),
            "n_y: its parameter n.bias is also used by n_z",
        ),
    ],
)
def test_skips_say_why_and_change_nothing(build, run, random, norm, caplog, more, outputs, reason):
    constants = {"c.weight": random(6, 4, 3, 3), "c.bias": random(6), "other": random(6)}
    constants["square.weight"] = random(6, 6, 1, 1)
    model = build([CONV, NORM, *more], constants | norm, outputs)
    before = run(model)
    with caplog.at_level("DEBUG"):
        (outcome,) = rewrite(model, RULES)
    assert (outcome.count, outcome.skipped) == (0, (reason,))
    assert f"fold_batchnorm skipped {reason}" in caplog.text
    for old, new in zip(before, run(model), strict=True):
        np.testing.assert_array_equal(new, old)


def test_parameter_that_is_made_in_the_graph_is_left_alone(build, random, norm):
    del norm["n.bias"]
    shape = {"c.weight": random(6, 4, 3, 3), "c.bias": random(6), "half": random(6)}
    nodes = [CONV, ("Relu", ["half"], "n.bias", {}), NORM]
    (outcome,) = rewrite(build(nodes, shape | norm), RULES)
    assert outcome.skipped == ("n_y: its parameter n.bias is not a constant",)


def test_training_mode_is_left_alone(build, random, norm):
    model = build([CONV, NORM], {"c.weight": random(6, 4, 3, 3), "c.bias": random(6)} | norm)
    flag = model.graph.node[1].attribute.add()
    flag.name, flag.type, flag.i = "training_mode", 2, 1
    (outcome,) = rewrite(model, RULES)
    assert outcome.skipped == ("n_y: it is in training mode",)
