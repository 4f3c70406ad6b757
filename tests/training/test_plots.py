"""The pictures of a run show what they are told."""

import cv2
import numpy as np
import pytest

import hgedge.datasets
from hgedge.spec import InputSpec
from hgedge.training.data import Pictures
from hgedge.training.plots import COLUMNS, GAP_PX, TILE_PX, curve_png, predictions_png
from hgedge.training.score import Found, Validation

SPEC = InputSpec((64, 64), "rgb", (0.5,) * 3, (0.5,) * 3)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def validation(figures):
    return Validation(hgedge.datasets.open(figures, "val"), Pictures(False, 1e9), 1)


def found(validation, shift, peak):
    """Everybody's labels, moved."""
    keypoints = np.stack([person.keypoints for person in validation.dataset.people]) + shift
    return Found(keypoints, np.full(keypoints.shape[:2], peak))


def test_a_grid_of_the_people(validation):
    grid = decoded(predictions_png(validation, found(validation, 0.0, 1.0), SPEC))
    assert grid.shape == (2 * TILE_PX + GAP_PX, COLUMNS * (TILE_PX + GAP_PX) - GAP_PX, 3)  # 8 people
    assert not grid[TILE_PX : TILE_PX + GAP_PX].any() and not grid[-TILE_PX:, 3 * (TILE_PX + GAP_PX) :].any()


def test_labels_are_white_rings(validation):
    """With no prediction worth drawing, there is white at three pixels from every label; right ones have no line."""
    grid = decoded(predictions_png(validation, found(validation, 0.0, 0.0), SPEC))
    person = validation.dataset.people[0]
    box = person.box_xyxy
    points = (person.keypoints - box[:2]) / (box[2] - box[0]) * TILE_PX - 0.5
    for x, y in points:
        ring = [grid[round(y + 3 * np.sin(a)), round(x + 3 * np.cos(a))] for a in np.linspace(0, 2 * np.pi, 16)]
        assert np.median(np.min(ring, axis=1)) > 150


def test_predictions_show(validation):
    nothing, right = (decoded(predictions_png(validation, found(validation, 0.0, peak), SPEC)) for peak in (0.0, 1.0))
    wrong = decoded(predictions_png(validation, found(validation, 8.0, 1.0), SPEC))
    assert (nothing != right).any(axis=2).mean() > 0.01 and (right != wrong).any(axis=2).mean() > 0.01


def line(epoch, **changes):
    return {"epoch": epoch, "phase": 0, "loss": 1.0 / epoch, "learning_rate": 1e-3, "NME": 5.0 / epoch, **changes}


def test_the_curve_is_a_picture_at_every_length():
    for history in ([line(1)], [line(1), line(2, phase=1), line(3, NME=float("inf"), phase=1)]):
        picture = decoded(curve_png(history, "NME", 0))
        assert picture.shape == (770, 770, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
