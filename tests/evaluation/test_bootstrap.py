"""Intervals against known spreads, and how often they hold what they should."""

import numpy as np
import pytest

from hgedge.evaluation.bootstrap import COVERAGE, difference_intervals, draw_weights, intervals
from hgedge.evaluation.measure import Average, Measure

POOLED = (Average("pooled", (0, 1, 2, 3), pooled=True),)
PEOPLE, JOINTS = 120, 4
SETS = 400
COVERAGE_ERROR = 0.035  # three standard errors of a share of 95 % in 400 sets, which is 0.033


def people(rng, count=PEOPLE):
    """Right or wrong joints whose chance goes with the person; right in half of all cases."""
    chance = rng.random((count, 1))
    return rng.random((count, JOINTS)) < chance


def measure(right):
    return Measure("M", 100.0 * right, np.ones(right.shape, bool), POOLED)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    weights = draw_weights(PEOPLE, draws=500)
    held = 0
    for seed in range(SETS):
        found = intervals([measure(people(np.random.default_rng(seed)))], weights)["M pooled"]
        held += found["low"] <= 50 <= found["high"]
    assert held / SETS == pytest.approx(COVERAGE, abs=COVERAGE_ERROR)


def test_the_width_is_that_of_people_not_of_joints():
    right = people(np.random.default_rng(0), 3000)
    found = intervals([measure(right)], draw_weights(3000))["M pooled"]
    deviation = 100 * right.mean(axis=1).std() / np.sqrt(3000)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_a_difference_on_the_same_people_is_narrower():
    rng = np.random.default_rng(1)
    one = people(rng, 500)
    two = one & (rng.random(one.shape) < 0.98)  # the same, but for a few
    weights = draw_weights(500)
    found = difference_intervals([measure(one)], [measure(two)], weights)["M pooled"]
    assert found["points"] == pytest.approx(100 * (one.mean() - two.mean()), abs=1e-3)
    assert 0 < found["low"] < found["points"] < found["high"]
    alone = intervals([measure(one)], weights)["M pooled"]
    assert found["high"] - found["low"] < (alone["high"] - alone["low"]) / 3


def test_the_paired_interval_holds_the_true_difference_as_often_as_it_says():
    weights = draw_weights(PEOPLE, draws=500)
    held = 0
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        one = people(rng)
        two = one & (rng.random(one.shape) < 0.9)  # worse by 5 points
        found = difference_intervals([measure(one)], [measure(two)], weights)["M pooled"]
        held += found["low"] <= 5 <= found["high"]
    assert held / SETS == pytest.approx(COVERAGE, abs=COVERAGE_ERROR)


def test_predictions_against_themselves_differ_by_nothing():
    one = measure(people(np.random.default_rng(2)))
    found = difference_intervals([one], [one], draw_weights(PEOPLE))["M pooled"]
    assert found == {"points": 0, "low": 0, "high": 0}


def test_draws_are_seeded_and_as_many_people_as_there_are():
    one = draw_weights(50, draws=20)
    np.testing.assert_array_equal(one, draw_weights(50, draws=20))
    assert (one != draw_weights(50, draws=20, seed=1)).any()
    assert (one.sum(axis=1) == 50).all() and one.shape == (20, 50)


def test_what_is_infinite_has_no_interval():
    values = np.full((PEOPLE, 4), 1.0)
    values[3] = np.inf
    assert intervals([Measure("M", values, np.ones(values.shape, bool), POOLED)], draw_weights(PEOPLE)) == {}
