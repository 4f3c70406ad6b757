"""Which accuracies a data set gets, and what the document says of them."""

import json

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import report
from hgedge.pose import KeypointSet

HAND = KeypointSet("hand", tuple(f"knuckle{i}" for i in range(5)), (), tuple(range(5)))


def perfect(truth):
    return Predictions(truth.keypoints, np.ones(len(truth)))


def points(count):
    return np.random.default_rng(0).uniform(0, 100, (6, count, 2))


@pytest.mark.parametrize(
    ("keypoint_set", "units", "families"),
    [
        (LSP14, None, ["PCK"]),
        (LSP14, [9.0] * 6, ["PCK"]),  # a head is MPII's measure alone
        (MPII16, None, ["PCK"]),
        (MPII16, [9.0] * 6, ["PCKh", "PCK"]),
        (HAND, [9.0] * 6, ["NME"]),
    ],
)
def test_the_labels_decide_what_is_measured(labels, keypoint_set, units, families):
    truth = labels(keypoint_set, points(len(keypoint_set)), units=units)
    document = report(perfect(truth), truth, with_curves=True)
    assert list(document["families"]) == families and set(document["curves"]) == set(families)
    assert {name.partition("@")[0].partition("-")[0] for name in document["metrics"]} >= set(families)


def test_labels_that_allow_nothing_say_what_is_missing(labels):
    with pytest.raises(ConfigError, match="PCK needs right_shoulder and left_hip, which 'hand' lacks"):
        truth = labels(HAND, points(5))
        report(perfect(truth), truth)
    with pytest.raises(ConfigError, match="none of the 6 people has a labelled torso"):
        truth = labels(LSP14, points(14), np.arange(14) < np.full((6, 1), 3))
        report(perfect(truth), truth)


def test_torsos_may_lack_where_heads_are_known(labels):
    truth = labels(MPII16, points(16), np.arange(16) < np.full((6, 1), 2), units=[9.0] * 6)
    assert list(report(perfect(truth), truth)["families"]) == ["PCKh"]


def test_people_left_out_are_counted_for_each_kind(labels):
    labelled = np.ones((6, 16), bool)
    labelled[:2, [2, 3]] = False  # two without hips
    truth = labels(MPII16, points(16), labelled, units=[9.0, 9.0, 9.0, None, 9.0, 9.0])
    document = report(perfect(truth), truth)
    assert document["families"] == {
        "PCKh": {"num_people": 5, "num_left_out": 1, "num_keypoints": 5 * 16 - 4},
        "PCK": {"num_people": 4, "num_left_out": 2, "num_keypoints": 4 * 16},
    }
    assert [document[key] for key in ("num_people", "num_left_out", "num_keypoints")] == [5, 1, 76]


def test_intervals_hold_the_metric_and_the_difference(lspet_labels):
    rng = np.random.default_rng(0)
    one, two = (
        Predictions(lspet_labels.keypoints + rng.normal(0, scale, lspet_labels.keypoints.shape), np.ones(597))
        for scale in (10, 11)
    )
    document = report(one, lspet_labels, two)
    other = report(two, lspet_labels)
    assert set(document["intervals"]) == set(document["metrics"])
    for name, value in document["metrics"].items():
        found = document["intervals"][name]
        assert found["low"] <= value <= found["high"]
        assert found["difference"]["points"] == pytest.approx(value - other["metrics"][name], abs=2e-3)
    sure = document["intervals"]["PCK@0.2 pooled"]["difference"]
    assert sure["low"] > 0  # a tenth more noise, on the same 597 people
    assert all("difference" not in found for found in other["intervals"].values())
    assert report(one, lspet_labels, two) == document  # seeded
    json.dumps(document, allow_nan=False)
