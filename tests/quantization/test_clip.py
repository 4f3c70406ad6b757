"""Where methods clip, against plain NumPy that looks at the values themselves."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from hgedge.errors import ConfigError
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.clip import STRIDE, kept_bins
from hgedge.quantization.histogram import BINS, Histograms
from hgedge.quantization.insert_qdq import activation_scale, quantize
from hgedge.quantization.methods import METHODS, method_named

SIZE = 100_000
NEAR_BEST = 1.01  # of the error: candidates lie 16 bins apart, and a bin's values count as its centre
SOUND = 0.05  # relative RMSE of the heatmaps: all give 0.02 here, and entropy that counts zeros 0.93


def tensors() -> dict[str, np.ndarray]:
    """Shapes that activations have; those of a ReLU are half zeros."""
    rng = np.random.default_rng(0)
    normal, laplace = rng.normal(size=SIZE), rng.laplace(size=SIZE)
    outlier = np.append(np.maximum(normal, 0), 30.0)
    shapes = {"normal": normal, "relu": np.maximum(normal, 0), "relu of laplace": np.maximum(laplace, 0)}
    shapes |= {"laplace": laplace, "outlier": outlier, "uniform": rng.uniform(-3, 3, SIZE)}
    return {name: values.astype(np.float32) for name, values in shapes.items()}


TENSORS = tensors()


def histogram(values: np.ndarray) -> tuple[np.ndarray, float]:
    histograms = Histograms(1)
    histograms.add(0, values, float(np.abs(values).max()))
    return histograms.counts[0], histograms.width(0)


def used(values: np.ndarray, width: float) -> int:
    return int(np.abs(values).max() / width) + 1


def rounding_error(values: np.ndarray, limit: float) -> float:
    """Of INT8 as `insert_qdq` writes it for the range of a clip."""
    scale = activation_scale(max(-limit, values.min()), min(limit, values.max())).astype(np.float64)
    return float(((np.clip(np.rint(values / scale), -128, 127) * scale - values) ** 2).mean())


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99, 100.0])
def test_percentile(name, percentile):
    values = np.abs(TENSORS[name])
    counts, width = histogram(values)
    exact = np.percentile(values, percentile, method="inverted_cdf")
    limit = kept_bins(f"percentile-{percentile:g}", counts) * width
    assert exact <= limit <= exact + width


@pytest.mark.parametrize("name", TENSORS)
def test_mse_is_where_the_error_of_the_values_is_least(name):
    values = TENSORS[name]
    counts, width = histogram(values)
    limit = kept_bins("mse", counts) * width
    best = min(rounding_error(values, kept * width) for kept in range(used(values, width), 127, -STRIDE))
    assert rounding_error(values, limit) <= NEAR_BEST * best


def slow_divergence(bins: dict[int, int], kept: int) -> float:
    """Kullback-Leibler by its definition, bin by bin, over the values that are not in the first bin."""
    inside = {index: number for index, number in bins.items() if 0 < index < kept}
    beyond = sum(number for index, number in bins.items() if index >= kept)
    clipped = dict(inside)
    if beyond:
        clipped[kept - 1] = clipped.get(kept - 1, 0) + beyond
    members: dict[int, list[int]] = {}
    for index in clipped:
        members.setdefault(round((index + 0.5) / kept * 127), []).append(index)
    divergence, in_p, in_q = 0.0, sum(clipped.values()), sum(inside.values())
    for together in members.values():
        q = sum(inside.get(index, 0) for index in together) / len(together) / in_q
        for index in together:
            p = clipped[index] / in_p
            divergence += p * math.log(p / q) if q else math.inf
    return divergence


@pytest.mark.parametrize("name", ["normal", "relu", "laplace", "outlier"])
def test_entropy_is_where_plain_numpy_finds_it(name):
    values = TENSORS[name][-2000:]
    counts, width = histogram(values)
    candidates = range(used(values, width), 127, -STRIDE)
    bins = Counter(int(value / width) for value in np.abs(values))
    slow = [slow_divergence(bins, kept) for kept in candidates]
    assert kept_bins("entropy", counts) == candidates[int(np.argmin(slow))]


def test_zeros_do_not_decide_for_entropy():
    """Where half of all values are 0, a divergence that counts them is least for the narrowest clip of all."""
    values = TENSORS["relu"]
    counts, width = histogram(values)
    none_are_zero = np.append(np.zeros(1, np.int64), counts[1:])
    assert kept_bins("entropy", counts) == kept_bins("entropy", none_are_zero)
    assert kept_bins("entropy", counts) * width > np.percentile(values, 99.5)


def test_an_outlier_is_clipped_and_a_uniform_tensor_is_not():
    counts, width = histogram(TENSORS["outlier"])
    for method in ("percentile-99.99", "mse", "entropy"):
        assert 3 < kept_bins(method, counts) * width < 29
    counts, width = histogram(TENSORS["uniform"])
    for method in ("percentile-100", "mse", "entropy"):
        assert kept_bins(method, counts) * width > 2.9


@pytest.mark.parametrize("method", ["percentile-99.99", "mse", "entropy"])
def test_little_is_enough(method):
    counts = np.zeros(BINS, np.int64)
    assert kept_bins(method, counts) == 1
    counts[0] = 9
    assert kept_bins(method, counts) == 1
    counts[5] = 1
    assert kept_bins(method, counts) == 6
    counts[BINS - 1] = 1
    assert 1 <= kept_bins(method, counts) <= BINS


@pytest.mark.parametrize("method", METHODS)
def test_no_method_destroys_a_network(hourglass, photographs, run, method):
    ranges = collect_ranges(hourglass, photographs[:16], method=method)
    widest = collect_ranges(hourglass, photographs[:16], method="minmax")
    assert all(low >= widest[name][0] and high <= widest[name][1] for name, (low, high) in ranges.items())
    batch = np.stack(photographs[16:20])
    (exact,) = run(hourglass, batch)
    (rounded,) = run(quantize(hourglass, ranges, "conv"), batch)
    assert np.sqrt(((rounded - exact) ** 2).mean() / (exact**2).mean()) < SOUND


def test_names():
    assert method_named("percentile") == "percentile-99.99" and method_named("percentile-99.90") == "percentile-99.9"
    assert [method_named(name) for name in ("mse", "entropy", "minmax")] == ["mse", "entropy", "minmax"]
    for name in ("percentile-", "percentile-x", "percentile-101", "percentile-0", "percentile-nan"):
        with pytest.raises(ConfigError, match=r"takes a P of 50 to 100, such as percentile-99.99, but got 'percentile"):
            method_named(name)
    for name in ("mse-3", "", "percentiles", "Mse"):
        with pytest.raises(
            ConfigError, match=r"no calibration method is called .*; choose one of: mean-minmax, minmax"
        ):
            method_named(name)
