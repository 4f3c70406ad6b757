"""Decoding against a plain loop, on real shapes and on the cases that break argmax."""

import numpy as np
import pytest

from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.errors import ShapeError
from hgedge.runtime.decode import decode


def plain_decode(heatmaps, stride=4, shift=0.25):
    """One map at a time, as the paper's text says it."""
    num, count, height, width = heatmaps.shape
    keypoints, scores = np.zeros((num, count, 2)), np.zeros((num, count))
    for n in range(num):
        for k in range(count):
            best, at = -np.inf, (0, 0)
            for y in range(height):
                for x in range(width):
                    if heatmaps[n, k, y, x] > best:
                        best, at = heatmaps[n, k, y, x], (y, x)
            y, x = at
            cell = np.array([x, y], float)
            if 0 < x < width - 1:
                cell[0] += shift * np.sign(heatmaps[n, k, y, x + 1] - heatmaps[n, k, y, x - 1])
            if 0 < y < height - 1:
                cell[1] += shift * np.sign(heatmaps[n, k, y + 1, x] - heatmaps[n, k, y - 1, x])
            keypoints[n, k] = (cell + 0.5) * stride - 0.5
            scores[n, k] = heatmaps[n, k, y, x]
    return keypoints, scores


@pytest.mark.parametrize("levels", [None, 3], ids=["smooth", "many ties"])
@pytest.mark.parametrize("shape", [(2, 14, 12, 9), (1, 1, 1, 1), (1, 3, 2, 5), (3, 2, 1, 7)])
def test_equals_a_plain_loop(shape, levels):
    heatmaps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if levels:
        heatmaps = np.round(heatmaps * levels / 3)
    keypoints, scores = decode(heatmaps)
    expected_keypoints, expected_scores = plain_decode(heatmaps)
    np.testing.assert_array_equal(keypoints, expected_keypoints.astype(np.float32))
    np.testing.assert_array_equal(scores, expected_scores.astype(np.float32))


def test_nan_is_never_a_peak():
    heatmaps = np.zeros((1, 2, 4, 4), np.float32)
    heatmaps[0, 0, 0, 0] = np.nan
    heatmaps[0, 0, 2, 1] = 1.0
    heatmaps[0, 1] = np.nan
    keypoints, scores = decode(heatmaps)
    np.testing.assert_array_equal(keypoints[0], [[1.5 * 4 - 0.5, 2.5 * 4 - 0.5], [1.5, 1.5]])
    assert scores[0, 0] == 1.0 and np.isnan(scores[0, 1])


def test_nan_beside_the_peak_moves_nothing():
    heatmaps = np.zeros((1, 1, 3, 3), np.float32)
    heatmaps[0, 0, 1, 1], heatmaps[0, 0, 1, 2] = 1.0, np.nan
    np.testing.assert_array_equal(decode(heatmaps)[0][0, 0], [5.5, 5.5])


def test_finds_drawn_gaussians_within_a_quarter_cell():
    random = np.random.default_rng(1)
    keypoints = random.uniform(12, 180, (50, 14, 2))
    heatmaps, counts = gaussian_heatmaps(keypoints, np.ones((50, 14), bool), (48, 48))
    assert counts.all()
    located, _ = decode(heatmaps)
    # a peak is within half a cell of its cell's centre; moved a quarter cell it is within a quarter cell of the truth
    assert np.abs(located - keypoints).max() <= 4 * 0.25 + 1e-5


def test_three_dimensions_are_refused_with_what_to_do():
    with pytest.raises(ShapeError, match=r"\(N, K, h, w\), but got shape \(16, 64, 64\); add a batch axis"):
        decode(np.zeros((16, 64, 64), np.float32))
