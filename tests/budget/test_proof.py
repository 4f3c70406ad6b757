"""What so many people can prove, against formulas of others."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.budget.lab import Drop
from hgedge.budget.metric import measures_of, metric_names
from hgedge.budget.people import everybody
from hgedge.budget.proof import check_provable, smallest_provable, smallest_unmoved
from hgedge.datasets import Dataset, Person
from hgedge.datasets.keypoint_sets import COCO17, LSP14, MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.bootstrap import difference_intervals, draw_weights
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.predictions import Predictions
from hgedge.pose import KeypointSet

ONE = KeypointSet("one", ("point",), (), (0,))
BOOTSTRAP_TOLERANCE = 0.06  # of a half-width from 2000 draws


def crowd(count, keypoint_set=ONE, unit=10.0):
    keypoints = np.random.default_rng(3).uniform(0, 100, (count, len(keypoint_set), 2))
    people = tuple(
        Person(f"{i}.jpg", points, np.ones(len(points), bool), np.array([0.0, 0, 100, 100]), unit_px=unit, name=str(i))
        for i, points in enumerate(keypoints)
    )
    dataset = Dataset("made", "val", keypoint_set, people)
    return everybody(dataset, labels_of(dataset, np.arange(count)))


def test_the_half_width_is_that_of_paired_shares():
    """Of one joint a person, 1.96 sqrt(b + c - (b - c)^2 / n) / n (McNemar)."""
    half, n, lost, found = crowd(400), 400, 24, 16
    right = half.labels.keypoints
    fp32, int8 = right.copy(), right.copy()
    fp32[:found] += 50  # wrong in FP32, right in INT8
    int8[found : found + lost] += 50
    measures = [measures_of(Predictions(points, np.ones(n)), half.labels) for points in (fp32, int8)]
    drop = Drop({}, difference_intervals(*measures, draw_weights(n)), 0.0)
    smallest = smallest_provable(drop, half, half)
    expected = 100 * 1.96 * np.sqrt(lost + found - (lost - found) ** 2 / n) / n
    assert smallest == pytest.approx(expected, rel=BOOTSTRAP_TOLERANCE)
    assert drop.drop["within@0.1 pooled"]["points"] == pytest.approx(100 * (lost - found) / n)
    assert smallest_provable(drop, half, crowd(100)) == pytest.approx(2 * smallest)


def test_where_nothing_moves_the_rule_of_three_holds():
    half = crowd(300)
    still = Drop({}, {"within@0.1 pooled": {"points": 0.0, "low": 0.0, "high": 0.0}}, 0.0)
    assert smallest_unmoved(half) == smallest_provable(still, half, half) == 1.0
    # the exact bound of Clopper and Pearson for 0 of n is 1 - 0.05 ** (1 / n)
    assert 1.0 == pytest.approx(100 * (1 - 0.05 ** (1 / 300)), rel=0.01)


def test_a_budget_below_is_refused_with_what_to_give():
    half = crowd(300)
    check_provable(0.73, 0.7212, half)
    with pytest.raises(
        ConfigError, match=r"at least 0\.73 points .* on 300 people .* but got 0\.72; .* --max-drop 0\.73"
    ):
        check_provable(0.72, 0.7212, half)


@pytest.mark.parametrize(
    ("keypoint_set", "unit", "names"),
    [
        (LSP14, None, ("PCK@0.2 pooled", "PCK@0.05 pooled")),
        (MPII16, 10.0, ("PCKh@0.5 pooled 14", "PCKh@0.1 pooled 14")),
        (ONE, 10.0, ("within@0.1 pooled", "within@0.03 pooled")),
        (COCO17, None, ("PCK@0.2 pooled", "PCK@0.05 pooled")),
    ],
)
def test_thresholds_follow_the_keypoints(keypoint_set, unit, names):
    half = crowd(5, keypoint_set, unit)
    assert metric_names(half.labels) == names
    loose, tight = measures_of(Predictions(half.labels.keypoints, np.ones(5)), half.labels)
    assert [float(value[0]) for measure in (loose, tight) for value in measure.metrics().values()] == [100.0, 100.0]


def test_points_are_those_of_an_evaluation():
    from hgedge.evaluation.report import report

    for keypoint_set, unit in ((LSP14, None), (MPII16, 10.0)):
        half = crowd(30, keypoint_set, unit)
        noisy = Predictions(
            half.labels.keypoints + np.random.default_rng(4).normal(0, 6, half.labels.keypoints.shape), np.ones(30)
        )
        metrics = report(noisy, half.labels)["metrics"]
        for measure in measures_of(noisy, half.labels):
            for name, value in measure.metrics().items():
                assert 0 < metrics[name] < 100 and value[0] == pytest.approx(metrics[name], abs=1e-3)
