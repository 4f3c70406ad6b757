"""Curves and areas against steps, and averages against plain loops."""

import numpy as np
import pytest

from hgedge.evaluation.curve import Curve, relative_errors
from hgedge.evaluation.measure import Average, Measure

BOTH = (Average("mean", (0, 1, 2), pooled=False), Average("pooled", (0, 1, 2), pooled=True))
FINE = 20_001
STEP_ERROR = 0.01  # percent; a step is 1 / 20,000 of the curve


@pytest.fixture
def curve():
    rng = np.random.default_rng(3)
    errors = rng.gamma(2, 0.1, (50, 3))
    errors[4, 1] = np.inf
    return Curve("X", "unit", errors, rng.random((50, 3)) < 0.8, BOTH)


def test_the_area_is_the_mean_height_of_the_curve(curve):
    fine = np.linspace(0, curve.limit, FINE)
    heights = [curve.at(threshold).metrics() for threshold in fine]
    for name, value in curve.area("AUC").metrics().items():
        stepped = np.mean([height[name.replace("AUC@0.5", f"X@{t}")][0] for t, height in zip(fine, heights)])
        assert value[0] == pytest.approx(stepped, abs=STEP_ERROR)


def test_the_curve_goes_through_its_measures(curve):
    points = curve.points()
    assert (
        points["threshold"][:2] == [0.0, 0.005] and points["threshold"][-1] == 0.5 and len(points["threshold"]) == 101
    )
    place = points["threshold"].index(0.2)
    for average in BOTH:
        assert points["percent"][average.name][place] == pytest.approx(
            curve.at(0.2).metrics()[f"X@0.2 {average.name}"][0], abs=5e-4
        )
        assert (np.diff(points["percent"][average.name]) >= 0).all()


def test_strict_or_not():
    errors = np.array([[0.2, 0.1]])
    counted = np.ones((1, 2), bool)
    joints = (Average("pooled", (0, 1), pooled=True),)
    assert Curve("X", "", errors, counted, joints).at(0.2).metrics()["X@0.2 pooled"] == 100
    assert Curve("X", "", errors, counted, joints, strict=True).at(0.2).metrics()["X@0.2 pooled"] == 50


def test_averages_equal_plain_loops_under_any_weights():
    rng = np.random.default_rng(0)
    values, counted = rng.random((20, 3)), rng.random((20, 3)) < 0.6
    weights = rng.integers(0, 4, (5, 20))
    metrics = Measure("M", values, counted, BOTH).metrics(weights.astype(float))
    for row, weight in enumerate(weights):
        people = np.repeat(np.arange(20), weight)
        each = [[values[p, j] for p in people if counted[p, j]] for j in range(3)]
        assert metrics["M pooled"][row] == pytest.approx(np.mean(np.concatenate(each)))
        assert metrics["M mean"][row] == pytest.approx(np.mean([np.mean(joint) for joint in each]))


def test_a_joint_that_nobody_has_is_in_no_mean():
    measure = Measure("M", np.array([[1.0, 2, 3]]), np.array([[True, True, False]]), BOTH)
    assert measure.metrics()["M mean"] == 1.5 and np.isnan(measure.per_keypoint()[2])
    nobody = Measure("M", np.ones((1, 3)), np.zeros((1, 3), bool), BOTH)
    assert all(np.isnan(value).all() for value in nobody.metrics().values())


def test_errors_that_are_no_numbers_are_infinite():
    predicted = np.array([[[3.0, 4], [np.nan, 0], [np.inf, 0], [1e200, 0]]])
    errors = relative_errors(predicted, np.zeros((1, 4, 2)), np.array([10.0]))
    assert errors[0].tolist() == [0.5, np.inf, np.inf, pytest.approx(1e199)]
