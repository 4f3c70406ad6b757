from __future__ import annotations

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ShapeError
from hgedge.visualization.figures import figure_picture

SIZES = [(256, 256), (64, 64), (480, 640), (300, 100), (16, 16)]


@pytest.mark.parametrize("size_hw", SIZES)
def test_joints_lie_inside_the_picture(size_hw: tuple[int, int]) -> None:
    for seed in range(20):
        image, keypoints = figure_picture(size_hw, seed)
        assert image.shape == (*size_hw, 3) and image.dtype == np.uint8
        assert keypoints.shape == (14, 2) and keypoints.dtype == np.float32
        assert (keypoints >= 0).all() and (keypoints <= np.array(size_hw[::-1]) - 1).all()


def test_seed_decides_everything() -> None:
    first, again, other = (figure_picture((96, 96), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[1] - other[1]).max() > 1 and (first[0] != other[0]).mean() > 0.5


def test_order_is_that_of_lsp() -> None:
    """Seen from the front and upright: the person's right is on our left, the head above the neck above the hips."""
    joint = {name: index for index, name in enumerate(LSP14.names)}
    for seed in range(20):
        _, keypoints = figure_picture((256, 256), seed)
        for part in ("shoulder", "hip"):
            assert keypoints[joint[f"right_{part}"], 0] < keypoints[joint[f"left_{part}"], 0]
        heights = keypoints[[joint[name] for name in ("head_top", "neck", "right_hip", "right_knee", "right_ankle")], 1]
        assert (np.diff(heights) > 0).all()


def test_bones_keep_their_length() -> None:
    thighs, trunks = [], []
    for seed in range(20):
        _, keypoints = figure_picture((256, 256), seed)
        thighs += [np.linalg.norm(keypoints[1] - keypoints[2]), np.linalg.norm(keypoints[4] - keypoints[3])]
        trunks += [np.linalg.norm(keypoints[12] - keypoints[[2, 3]].mean(axis=0))] * 2
    np.testing.assert_allclose(np.divide(thighs, trunks), 0.24 / 0.3, rtol=1e-4)  # as in _pose; float32


def test_person_stands_out_at_its_wrists_and_ankles() -> None:
    """The colour at a limb's middle is the limb's, as at its end, and not the grain-free background's around it."""
    different = 0
    for seed in range(20):
        image, keypoints = figure_picture((256, 256), seed)
        for knee, ankle in ((1, 0), (4, 5)):
            along = keypoints[ankle] - keypoints[knee]
            middle = keypoints[knee] + along / 2
            side = np.array([-along[1], along[0]]) / np.linalg.norm(along) * 25
            colors = []
            for x, y in (middle, middle + side):
                column, row = round(float(x)), round(float(y))
                colors.append(image[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).mean(axis=0))
            different += bool(np.abs(colors[0] - colors[1]).max() > 15)
    assert different >= 36  # of 40 shins; trousers now and then have the background's colour


def test_too_small_a_picture() -> None:
    with pytest.raises(ShapeError, match=r"a figure needs at least 16 x 16 pixels, but got \(15, 100\)"):
        figure_picture((15, 100), 0)
