"""Plots of real documents: files that a picture reader takes, with what was drawn in them."""

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import ConfigError
from hgedge.evaluation.outputs import plot_file, predictions_file
from hgedge.evaluation.predictions import Predictions, read_predictions
from hgedge.evaluation.report import report
from hgedge.pose import KeypointSet

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'hgedge[bench]'")
FACE98 = KeypointSet("f98", tuple(f"point{i}" for i in range(98)), (), tuple(range(98)))


def predictions_for(labels, keypoint_set, units=None):
    keypoints = np.random.default_rng(0).uniform(0, 100, (6, len(keypoint_set), 2))
    truth = labels(keypoint_set, keypoints, units=units)
    return truth, Predictions(keypoints + 3, np.ones(6)), Predictions(keypoints + 5, np.ones(6))


@pytest.mark.parametrize(
    ("keypoint_set", "units", "words"),
    [
        (LSP14, None, ["threshold, in torso", "PCK@0.2, %", "left ankle", "a title"]),
        (MPII16, [50.0] * 6, ["PCKh@0.5, %", "threshold, in 0.6 x head box diagonal", "pooled 14", "mean of 14"]),
        (FACE98, [50.0] * 6, ["faces within the threshold, %", "keypoint, by number"]),
    ],
)
@pytest.mark.parametrize("compare", [False, True])
def test_a_plot_says_what_it_shows(tmp_path, labels, keypoint_set, units, words, compare):
    import matplotlib

    truth, one, two = predictions_for(labels, keypoint_set, units)
    with matplotlib.rc_context({"svg.fonttype": "none"}), plot_file(tmp_path / "plot.svg") as draw:
        draw(report(one, truth, with_curves=True), two if compare else None, truth, "a title")
    text = (tmp_path / "plot.svg").read_text()
    assert all(word in text for word in words)
    assert ("compared with" in text) == compare
    assert [path.name for path in tmp_path.iterdir()] == ["plot.svg"]


def test_a_png_is_a_picture(tmp_path, labels):
    cv2 = pytest.importorskip("cv2")
    truth, one, _ = predictions_for(labels, LSP14)
    with plot_file(tmp_path / "plot.PNG") as draw:
        draw(report(one, truth, with_curves=True), None, truth, "")
    picture = cv2.imread(str(tmp_path / "plot.PNG"))
    assert picture.shape[1] == 1320 and picture.min() < 60 and picture.mean() > 180  # ink on white


def test_a_failure_leaves_no_file(tmp_path, labels):
    truth, one, _ = predictions_for(labels, LSP14)
    with pytest.raises(KeyError), plot_file(tmp_path / "plot.png") as draw:
        draw(report(one, truth), None, truth, "")  # without curves
    with pytest.raises(RuntimeError), predictions_file(tmp_path / "a.npz"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_predictions_are_kept_whole(tmp_path, labels):
    truth, one, _ = predictions_for(labels, LSP14)
    with predictions_file(tmp_path / "a.npz") as save:
        save(one, truth)
    np.testing.assert_allclose(read_predictions(tmp_path / "a.npz", truth).keypoints, one.keypoints, rtol=1e-6)


def test_names_and_places_are_refused_at_once(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"plot.jpg must end in \.png or \.svg or \.pdf"),
        plot_file(tmp_path / "plot.jpg"),
    ):
        pass
    with pytest.raises(ConfigError, match="there is no folder"), predictions_file(tmp_path / "none" / "a.npz"):
        pass
