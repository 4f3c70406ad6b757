"""PCK against a plain loop, and on cases whose answer is known."""

import math

import numpy as np
import pytest

import hgedge.datasets
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ConfigError, ShapeError
from hgedge.evaluation.pck import THRESHOLDS, pck, torso_lengths
from hgedge.pose import KeypointSet


def plain_pck(predicted, keypoints, labelled, threshold):
    right = total = 0
    for p in range(len(keypoints)):
        lengths = [
            math.dist(keypoints[p, a], keypoints[p, b])
            for a, b in ((8, 3), (9, 2))
            if labelled[p, a] and labelled[p, b]
        ]
        if not lengths:
            continue
        torso = sum(lengths) / len(lengths)
        for k in range(14):
            if labelled[p, k]:
                total += 1
                right += math.dist(predicted[p, k], keypoints[p, k]) <= threshold * torso
    return 100 * right / total, total


def test_equals_a_plain_loop_on_real_labels(shared_data):
    people = hgedge.datasets.open(shared_data / "lspet", "val").people
    keypoints = np.stack([person.keypoints for person in people])
    labelled = np.stack([person.labelled for person in people])
    predicted = keypoints + np.random.default_rng(0).normal(0, 10, keypoints.shape)
    result = pck(predicted, keypoints, labelled, LSP14)
    for threshold, pooled in zip(THRESHOLDS, result.pooled):
        expected, total = plain_pck(predicted, keypoints, labelled, threshold)
        assert pooled == pytest.approx(expected) and total == result.num_keypoints
    assert result.num_people + result.num_left_out == len(people)
    assert result.num_left_out > 0  # some people of this split have no labelled torso


def person():
    keypoints = np.zeros((1, 14, 2))
    keypoints[0, [8, 9]], keypoints[0, [3, 2]] = (0, 0), (0, 100)
    return keypoints, np.ones((1, 14), bool)


def test_the_threshold_itself_counts():
    keypoints, labelled = person()
    predicted = keypoints + np.array([20, 0])
    assert pck(predicted, keypoints, labelled, LSP14, (0.2, 0.1999)).pooled.tolist() == [100, 0]


def test_unlabelled_joints_do_not_count():
    keypoints, labelled = person()
    labelled[0, 0] = False
    predicted = keypoints.copy()
    predicted[0, 0] = 1e6
    result = pck(predicted, keypoints, labelled, LSP14)
    assert result.pooled.tolist() == [100] * 4 and result.num_keypoints == 13
    assert np.isnan(result.per_keypoint[:, 0]).all() and result.mean.tolist() == [100] * 4


def test_one_labelled_diagonal_is_the_torso():
    keypoints, labelled = person()
    keypoints[0, 8] = (0, -100)
    assert torso_lengths(keypoints, labelled, LSP14) == [150]
    labelled[0, 3] = False
    assert torso_lengths(keypoints, labelled, LSP14) == [100]


def test_nan_predictions_are_wrong():
    keypoints, labelled = person()
    assert pck(np.full_like(keypoints, np.nan), keypoints, labelled, LSP14).pooled.tolist() == [0] * 4


def test_nobody_with_a_torso_is_refused():
    keypoints, labelled = person()
    labelled[0, [2, 3]] = False
    with pytest.raises(ConfigError, match="none of the 1 people has a labelled torso"):
        pck(keypoints, keypoints, labelled, LSP14)


def test_a_set_without_a_torso_is_refused():
    keypoints, labelled = person()
    nose = KeypointSet("noses", tuple(f"nose{i}" for i in range(14)), (), tuple(range(14)))
    with pytest.raises(ConfigError, match="PCK needs right_shoulder and left_hip, which 'noses' lacks"):
        pck(keypoints, keypoints, labelled, nose)


def test_arrays_that_do_not_fit_are_refused():
    keypoints, labelled = person()
    with pytest.raises(ShapeError, match=r"\(1, 13, 2\)"):
        pck(keypoints[:, :13], keypoints, labelled, LSP14)
