from __future__ import annotations

import numpy as np
import pytest

from hgedge.quantization.histogram import BINS, SMALLEST, Histograms


def counted(*pieces: np.ndarray) -> Histograms:
    histograms = Histograms(1)
    for piece in pieces:
        histograms.add(0, piece, float(np.abs(piece).max()))
    return histograms


@pytest.mark.parametrize("magnitude", [1e-30, 0.7, 1.0, 4096.0, 3e38])
def test_counts_are_numpys_with_the_last_width(magnitude):
    rng = np.random.default_rng(0)
    values = (rng.laplace(size=200_000) / 20 * magnitude).clip(-magnitude, magnitude).astype(np.float32)
    histograms = counted(values.reshape(2, -1, 5))
    width = histograms.width(0)
    expected = np.histogram(np.abs(values).astype(np.float64), BINS, (0, BINS * width))[0]
    np.testing.assert_array_equal(histograms.counts[0], expected)
    assert BINS // 2 <= np.abs(values).max() / width < BINS


def test_they_grow_as_if_they_had_known():
    rng = np.random.default_rng(1)
    pieces = [(rng.normal(size=1000) * 10.0**power).astype(np.float32) for power in (-6, -2, -2, 3, 0, 1)]
    at_once = counted(np.concatenate(pieces))
    for order in (pieces, pieces[::-1], sorted(pieces, key=lambda piece: piece[0])):
        one_by_one = counted(*order)
        np.testing.assert_array_equal(one_by_one.counts, at_once.counts)
        np.testing.assert_array_equal(one_by_one.exponents, at_once.exponents)
    assert at_once.counts.sum() == 6000


def test_a_tensor_of_zeros_has_them_all_in_the_first_bin():
    zeros = np.zeros(7, np.float32)
    histograms = counted(zeros)
    assert histograms.counts[0, 0] == 7 and histograms.exponents[0] == SMALLEST
    histograms.add(0, np.array([1.5], np.float32), 1.5)
    assert histograms.counts[0, 0] == 7 and histograms.counts.sum() == 8
