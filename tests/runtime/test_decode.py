"""Decoding against plain loops, on real shapes and on the cases that break argmax."""

import inspect

import cv2
import numpy as np
import pytest

from hgedge.datasets.targets import gaussian_heatmaps
from hgedge.errors import ConfigError, ShapeError
from hgedge.runtime.decode import BLUR_SIGMA, decode
from hgedge.spec import DecodeSpec

# OpenCV blurs in float32; a step is a ratio of small differences.
BLURRED = 1e-3
# What is left of a drawn peak's place: central differences are no derivatives, and the map ends three sigma away.
DRAWN_CELLS = 0.02


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


def test_nan_is_never_a_peak_beside_minus_infinity_alone():
    heatmaps = np.full((1, 1, 2, 3), -np.inf, np.float32)
    heatmaps[0, 0, 0, :2] = np.nan
    keypoints, scores = decode(heatmaps, 1)
    np.testing.assert_array_equal(keypoints[0, 0], [2, 0])
    assert scores[0, 0] == -np.inf


def test_infinities_and_huge_numbers_about_the_peak():
    heatmaps = np.full((1, 1, 3, 3), np.finfo(np.float32).min, np.float32)
    heatmaps[0, 0, 1] = -np.inf, np.inf, np.finfo(np.float32).max
    np.testing.assert_array_equal(decode(heatmaps, 1)[0][0, 0], [1.25, 1])


def test_half_maps_give_what_floats_of_the_same_values_give():
    heatmaps = np.random.default_rng(2).random((2, 5, 9, 7)).astype(np.float16)
    for refinement in ("quarter", "dark"):
        for found, expected in zip(
            decode(heatmaps, refinement=refinement), decode(heatmaps.astype(np.float32), refinement=refinement)
        ):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)


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


def plain_dark(heatmap):
    """One map's (x, y) in cells, with OpenCV's blur and a solver, as the paper's text says it; no bound on the step."""
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    height, width = heatmap.shape
    if not (2 <= x < width - 2 and 2 <= y < height - 2):
        return np.array([x, y], float)
    blurred = cv2.GaussianBlur(heatmap, (11, 11), BLUR_SIGMA, borderType=cv2.BORDER_CONSTANT).astype(float)
    g = np.log(np.maximum(blurred, 1e-10))

    def derivative(function, axis):
        step = np.eye(2, dtype=int)[axis]
        return lambda place: (function(place + step) - function(place - step)) / 2

    def value(place):
        return g[place[1], place[0]]

    place = np.array([x, y])
    gradient = np.array([derivative(value, axis)(place) for axis in (0, 1)])
    hessian = np.array([[derivative(derivative(value, a), b)(place) for a in (0, 1)] for b in (0, 1)])
    if np.linalg.eigvalsh(hessian).max() >= 0:
        return place.astype(float)
    return place - np.linalg.solve(hessian, gradient)


@pytest.mark.parametrize("noise", [0, 0.02, 0.2])
def test_dark_equals_a_plain_loop(noise):
    random = np.random.default_rng(3)
    keypoints = random.uniform(-0.5, 19.5, (4, 30, 2))
    heatmaps, _ = gaussian_heatmaps(keypoints, np.ones((4, 30), bool), (20, 20), 1)
    heatmaps += random.normal(0, noise, heatmaps.shape).astype(np.float32)
    peaks, scores = decode(heatmaps, 1, 0)
    expected = np.array([plain_dark(one) for one in heatmaps.reshape(-1, 20, 20)]).reshape(peaks.shape)
    found, same_scores = decode(heatmaps, 1, refinement="dark")
    np.testing.assert_allclose(found, peaks + (expected - peaks).clip(-1, 1), atol=BLURRED)
    np.testing.assert_array_equal(same_scores, scores)


def test_dark_finds_drawn_gaussians():
    keypoints = np.random.default_rng(1).uniform(40, 152, (50, 14, 2))
    heatmaps, _ = gaussian_heatmaps(keypoints, np.ones((50, 14), bool), (48, 48))
    assert np.abs(decode(heatmaps, refinement="dark")[0] - keypoints).max() <= 4 * DRAWN_CELLS


def test_dark_blurs_with_the_gaussian_of_the_targets():
    assert inspect.signature(gaussian_heatmaps).parameters["sigma"].default == BLUR_SIGMA


@pytest.mark.parametrize(
    "spot", [(0, 0), (1, 5), (5, 1), (8, 5), (5, 9)], ids=["corner", "left", "top", "right", "bottom"]
)
def test_dark_stays_near_the_border(spot):
    heatmaps = np.random.default_rng(4).random((1, 1, 11, 10)).astype(np.float32)
    heatmaps[0, 0, spot[1], spot[0]] = 2
    np.testing.assert_array_equal(decode(heatmaps, 1, refinement="dark")[0][0, 0], spot)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 0], ids=str)
def test_dark_stays_where_there_is_no_top(value):
    """A map of one value, and one with NaN in a far corner of what the blur reads."""
    heatmaps = np.full((1, 2, 15, 15), value, np.float32)
    heatmaps[0, 1] = np.random.default_rng(5).random((15, 15))
    heatmaps[0, 1, 7, 7], heatmaps[0, 1, 13, 13] = 2, np.nan
    np.testing.assert_array_equal(decode(heatmaps, 1, refinement="dark")[0][0], [[0, 0], [7, 7]])


def test_dark_ignores_what_its_blur_does_not_read():
    heatmaps = np.random.default_rng(5).random((2, 1, 15, 15)).astype(np.float32)
    heatmaps[1] = heatmaps[0]
    heatmaps[:, 0, 7, 7] = 2
    heatmaps[1, 0, 14, 14] = np.nan  # seven cells away in x and in y; differences that far are along one axis alone
    one, other = decode(heatmaps, 1, refinement="dark")[0]
    np.testing.assert_array_equal(one, other)
    assert (one != 7).all()


def test_dark_goes_no_farther_than_a_cell():
    x, y = np.meshgrid(np.arange(21), np.arange(21))
    heatmaps = np.exp(-((x - 13) ** 2 + (y - 10) ** 2) / 40)[None, None].astype(np.float32)
    heatmaps[0, 0, 10, 10] = 1.5  # beside a broad hill
    np.testing.assert_allclose(decode(heatmaps, 1, refinement="dark")[0][0, 0], [11, 10], atol=1e-6)


def test_other_refinements_are_refused():
    with pytest.raises(ConfigError, match="refinement must be one of quarter, dark, but got 'darker'"):
        decode(np.zeros((1, 1, 2, 2), np.float32), refinement="darker")
    with pytest.raises(ConfigError, match="refinement must be one of quarter, dark, but got 'darker'"):
        DecodeSpec(refinement="darker")


def test_nobody_gives_nothing():
    for refinement in ("quarter", "dark"):
        keypoints, scores = decode(np.zeros((0, 14, 8, 8), np.float32), refinement=refinement)
        assert keypoints.shape == (0, 14, 2) and scores.shape == (0, 14)
