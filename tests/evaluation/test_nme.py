"""NME against a plain loop, against published figures of a published network, and on cases whose answer is known."""

import math

import numpy as np
import pytest

import hgedge.datasets
from hgedge.errors import ConfigError
from hgedge.evaluation.labels import labels_of
from hgedge.evaluation.nme import nme_family
from hgedge.evaluation.predictions import Predictions
from hgedge.evaluation.report import report
from hgedge.pose import KeypointSet

FACE15 = KeypointSet("points", tuple(f"point{i}" for i in range(15)), (), tuple(range(15)))
STATED = 0.05  # percent; the figures are stated with one decimal


def test_a_published_network_gives_its_published_figures(shared_data, labels):
    with np.load(shared_data / "faces" / "faces96.npz") as file:
        points = file["points15"].astype(np.float64)
    with np.load(shared_data / "faces" / "face15_epoch1049_fp32.npz") as file:
        predicted = file["peak_xy"].astype(np.float64)
    eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
    document = report(Predictions(predicted, np.ones(1000)), labels(FACE15, points, units=eyes))
    assert document["metrics"]["NME"] == pytest.approx(10.0, abs=STATED)
    assert document["metrics"]["within@0.1 pooled"] == pytest.approx(61.1, abs=STATED)
    corners = [document["per_keypoint"][f"point{i}"]["within@0.1"] for i in (0, 1, 2, 3, 4, 5, 11, 12)]
    assert np.mean(corners) == pytest.approx(83.1, abs=STATED)
    assert document["num_people"] == 1000 and document["num_keypoints"] == 15_000


def test_equals_a_plain_loop(labels):
    rng = np.random.default_rng(1)
    points, labelled = rng.random((30, 15, 2)) * 96, rng.random((30, 15)) < 0.8
    units = rng.uniform(20, 40, 30)
    predicted = points + rng.normal(0, 2, points.shape)
    faces = []
    for p in range(30):
        each = [math.dist(predicted[p, k], points[p, k]) / units[p] for k in range(15) if labelled[p, k]]
        faces.append(sum(each) / len(each))
    family = nme_family(predicted, labels(FACE15, points, labelled, units))
    metrics = {name: value[0] for measure in family.measures for name, value in measure.metrics().items()}
    assert metrics["NME"] == pytest.approx(100 * sum(faces) / 30)
    for limit in (0.08, 0.1):
        assert metrics[f"FR@{limit}"] == pytest.approx(100 * sum(face > limit for face in faces) / 30)
        fine = np.linspace(0, limit, 100_001)
        within = np.searchsorted(np.sort(faces), fine, side="right").mean() / 30
        assert metrics[f"AUC@{limit}"] == pytest.approx(100 * within, abs=0.01)


def test_a_face_with_a_point_that_is_no_number_has_failed(labels):
    points = np.zeros((4, 15, 2))
    predicted = points.copy()
    predicted[0, 3] = np.nan
    document = report(Predictions(predicted, np.ones(4)), labels(FACE15, points, units=[30.0] * 4))
    assert document["metrics"]["FR@0.1"] == 25 and document["metrics"]["AUC@0.1"] == 75
    assert document["metrics"]["NME"] == math.inf and "NME" not in document["intervals"]
    assert document["per_keypoint"]["point3"]["within@0.5"] == 75


def test_faces_without_a_size_are_left_out(labels):
    points = np.zeros((2, 15, 2))
    document = report(Predictions(points, np.ones(2)), labels(FACE15, points, units=[30.0, None]))
    assert (document["num_people"], document["num_left_out"]) == (1, 1)
    with pytest.raises(ConfigError, match="none of the 2 faces has a size to measure by, so NME is not defined"):
        nme_family(points, labels(FACE15, points))


@pytest.mark.parametrize("name", ["300w", "wflw", "aflw", "cofw"])
def test_face_sets_get_nme(shared_data, name):
    dataset = hgedge.datasets.open(shared_data / "fixtures" / name)
    truth = labels_of(dataset, np.arange(len(dataset)))
    document = report(Predictions(truth.keypoints + np.array([3.0, 4.0]), np.ones(len(truth))), truth)
    assert document["metrics"]["NME"] == pytest.approx(100 * np.mean(5 / truth.unit_px), abs=1e-3)
    assert not any(metric.startswith(("PCK", "AP")) for metric in document["metrics"])
