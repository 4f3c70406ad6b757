"""Target heatmaps against a plain loop."""

import numpy as np

from hgedge.datasets.targets import gaussian_heatmaps


def test_equals_a_plain_loop():
    keypoints = np.random.default_rng(0).uniform(-10, 74, (5, 3, 2))
    labelled = np.random.default_rng(1).random((5, 3)) < 0.8
    heatmaps, counts = gaussian_heatmaps(keypoints, labelled, (16, 12), stride=4, sigma=1.5)
    assert heatmaps.dtype == np.float32 and heatmaps.shape == (5, 3, 16, 12)
    for n, k in np.ndindex(5, 3):
        x, y = (keypoints[n, k] + 0.5) / 4 - 0.5
        on_map = -0.5 <= x <= 11.5 and -0.5 <= y <= 15.5
        assert counts[n, k] == (labelled[n, k] and on_map)
        expected = np.zeros((16, 12))
        if counts[n, k]:
            for row, column in np.ndindex(16, 12):
                expected[row, column] = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.5**2))
        np.testing.assert_allclose(heatmaps[n, k], expected, atol=1e-6)


def test_unlabelled_nan_is_harmless():
    heatmaps, counts = gaussian_heatmaps(np.full((1, 1, 2), np.nan), np.zeros((1, 1), bool), (4, 4))
    assert not counts.any() and not heatmaps.any()
