"""PCKh of published predictions against published numbers, and on cases whose answer is known."""

import json

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.pckh import AVERAGES, THRESHOLDS, pckh_family
from hgedge.evaluation.predictions import Predictions, read_predictions
from hgedge.evaluation.report import report

ROUNDING = 6e-4  # points; ours have three decimals, the expected ones four
SHORT = "rank rkne rhip lhip lkne lank pelv thor neck head rwri relb rsho lsho lelb lwri".split()
MEANS = {
    "mean of 14": "mean_over_14_joints",
    "pooled 14": "pooled_over_14_joints",
    "mean of 16": "mean_over_16_joints",
    "pooled 16": "pooled_over_16_joints",
}


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("valid-example.h5", "valid-example.h5"),
        ("detections_our_format.mat", "tompson2015 (pred_tompson2015)"),
    ],
)
def test_published_predictions_give_the_published_numbers(mpii_labels, shared_data, file, key):
    folder = shared_data / "mpii_val"
    document = report(read_predictions(folder / file, mpii_labels), mpii_labels)
    expected = json.loads((folder / "expected_pckh.json").read_text())[key]
    assert [row["threshold"] for row in expected["pckh"]] == list(THRESHOLDS)
    assert document["num_people"] == expected["persons"] == 2958 and document["num_left_out"] == 0
    for row in expected["pckh"]:
        name = f"PCKh@{row['threshold']}"
        joints = {joint: document["per_keypoint"][joint][name] for joint in MPII16.names}
        assert list(joints.values()) == pytest.approx([row["per_joint"][short] for short in SHORT], abs=ROUNDING)
        named = {ours: row[theirs] for ours, theirs in MEANS.items() if theirs in row} | row["groups"]
        assert len(named) >= 10
        for average, value in named.items():
            assert document["metrics"][f"{name} {average}"] == pytest.approx(value, abs=ROUNDING), average
        counts = document["counts"][f"{name} pooled 14"]
        assert counts == {"right": row["correct"], "labelled": row["labelled"]}


def made_up(labels):
    keypoints = np.zeros((2, 16, 2))
    return keypoints, labels(MPII16, keypoints, units=[10.0, 20.0])


def test_the_threshold_itself_is_wrong(labels):
    keypoints, truth = made_up(labels)
    moved = keypoints + np.array([[[5.0, 0]], [[9.999, 0]]])  # half of the first's unit, less than that of the second
    measure = next(m for m in pckh_family(moved, truth).measures if m.name == "PCKh@0.5")
    assert measure.values[:, 0].tolist() == [0, 100]
    assert measure.metrics()["PCKh@0.5 pooled 16"] == 50


def test_groups_and_means_take_the_joints_that_they_name(labels):
    keypoints, truth = made_up(labels)
    for joint, name in enumerate(MPII16.names):
        moved = keypoints.copy()
        moved[:, joint] += 1e3
        metrics = next(m for m in pckh_family(moved, truth).measures if m.name == "PCKh@0.5").metrics()
        for average in AVERAGES:
            hit = metrics[f"PCKh@0.5 {average.name}"][0] < 100
            if average.name.endswith("16"):
                assert hit
            elif average.name.endswith("14"):
                assert hit == (name not in ("pelvis", "thorax"))
            else:
                assert hit == (average.name in name)


def test_nan_is_wrong_and_told(labels, caplog):
    keypoints, truth = made_up(labels)
    keypoints = keypoints.copy()
    keypoints[0, 3, 0] = np.nan
    keypoints[1, 3, 1] = np.inf
    document = report(Predictions(keypoints, np.ones(2)), truth)
    assert document["per_keypoint"]["left_hip"]["PCKh@0.5"] == 0 and document["num_not_finite"] == 2
    assert document["metrics"]["PCKh@0.5 pooled 16"] == pytest.approx(100 * 15 / 16)
    assert "2 predicted keypoints are not finite numbers; they count as wrong" in caplog.text


def test_people_without_a_head_are_left_out_and_nobody_with_one_is_refused(labels):
    keypoints = np.zeros((2, 16, 2))
    family = pckh_family(keypoints + np.array([[[0.0, 0]], [[9.0, 0]]]), labels(MPII16, keypoints, units=[10.0, None]))
    assert family.counted.any(axis=1).tolist() == [True, False]
    assert set(np.concatenate([*family.measures[0].metrics().values()])) == {100.0}
    with pytest.raises(ConfigError, match="none of the 2 people has a head box, so PCKh is not defined"):
        pckh_family(keypoints, labels(MPII16, keypoints))
