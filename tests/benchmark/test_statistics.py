"""Intervals of medians cover what they promise, of samples whose neighbours are alike too."""

from __future__ import annotations

import numpy as np
import pytest

from hgedge.benchmark import statistics
from hgedge.benchmark.statistics import Interval, median_interval, ratio_interval
from hgedge.errors import ConfigError, ShapeError

TRIALS, DRAWS = 300, 400
LEAST_COVERAGE = 0.92  # 95 % less two and a half standard errors of 300 trials
LEAST_OF_ALIKE = 0.87  # blocks of a finite length still miss a little
END = 0.2  # of an interval's width: how far the ends of two bootstraps of different draws may lie apart


def lively(generator: np.random.Generator, count: int, alike: float = 0.0, spread: float = 0.05) -> np.ndarray:
    """Milliseconds of median 5, skewed as timings are; `alike` is the correlation of neighbours."""
    steps = generator.normal(size=count) * np.sqrt(1 - alike**2)
    steps[0] = generator.normal()
    for index in range(1, count):
        steps[index] += alike * steps[index - 1]
    return 5 * np.exp(spread * steps)


def covered(count: int, alike: float) -> float:
    generator = np.random.default_rng(1)
    found = [median_interval(lively(generator, count, alike)) for _ in range(TRIALS)]
    return float(np.mean([each.low <= 5 <= each.high for each in found]))


@pytest.mark.parametrize("count", [30, 100])
def test_intervals_cover_the_median(count: int, monkeypatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", DRAWS)
    assert LEAST_COVERAGE <= covered(count, 0.0) <= 0.985


def test_intervals_cover_the_median_where_slow_moments_last(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", DRAWS)
    assert covered(60, 0.5) >= LEAST_OF_ALIKE
    generator, hit = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        samples = lively(generator, 60, 0.5)
        draws = samples[generator.integers(60, size=(DRAWS, 60))]
        low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
        hit += low <= 5 <= high
    assert hit < LEAST_OF_ALIKE * TRIALS  # single draws promise too much


def test_as_scipy_where_neighbours_have_nothing_in_common() -> None:
    stats = pytest.importorskip("scipy.stats")
    samples = lively(np.random.default_rng(5), 400)
    ours = median_interval(samples)
    level = 1 - 2 * statistics._outside(400 / 7)
    drawn = stats.bootstrap((samples,), np.median, method="percentile", confidence_level=level, rng=1)
    low, high = drawn.confidence_interval
    assert ours.value == pytest.approx(np.median(samples), rel=1e-5)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=END * (high - low))


def test_as_a_plain_block_bootstrap() -> None:
    samples = lively(np.random.default_rng(6), 64, 0.6)
    generator, block, medians = np.random.default_rng(7), 4, []
    for _ in range(2000):
        draw: list[float] = []
        while len(draw) < 64:
            start = int(generator.integers(64))
            draw += [samples[(start + step) % 64] for step in range(block)]
        medians.append(np.median(draw[:64]))
    outside = statistics._outside(16)
    low, high = np.quantile(medians, (outside, 1 - outside))
    ours = median_interval(samples)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=END * (high - low))


@pytest.mark.parametrize("blocks", [10, 16, 100])
def test_percentiles_are_as_far_out_as_students_distribution(blocks: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.norm.cdf(-np.sqrt(blocks / (blocks - 1)) * stats.t.ppf(0.975, blocks - 1))
    assert statistics._outside(blocks) == pytest.approx(expected, rel=0.02)  # its expansion ends at the second order
    assert expected < 0.025


def test_the_same_samples_give_the_same_interval_however_many_are_drawn_at_once(monkeypatch) -> None:
    samples = lively(np.random.default_rng(8), 50)
    once = median_interval(samples)
    assert median_interval(samples) == once
    monkeypatch.setattr(statistics, "AT_ONCE", 64)
    assert median_interval(samples) == once


def test_ratios_of_rounds_do_not_see_what_hits_both() -> None:
    generator = np.random.default_rng(9)
    faster = lively(generator, 60, 0.9, 0.3)  # 30 %, for many rounds at a time
    found = ratio_interval(2 * faster * np.exp(0.01 * generator.normal(size=60)), faster)
    assert found.low < 2 < found.high and found.high - found.low < 0.03


def test_numbers_are_for_readers() -> None:
    found = median_interval(np.linspace(1, 2, 31) / 3)
    assert found.value == 0.5 and all(len(f"{each}") <= 8 for each in (found.low, found.high))
    assert str(Interval(5.212649, 5.1, 1234.56)) == "5.213 (5.100 to 1235)"
    assert str(Interval(0.0481234, 12345.6, 0.0)) == "0.04812 (12346 to 0)"


def test_too_few_or_wrong_samples() -> None:
    with pytest.raises(ConfigError, match=r"needs 30 samples or more, but got 29; run more rounds"):
        median_interval(np.ones(29))
    with pytest.raises(ConfigError, match="must be finite"):
        median_interval(np.append(np.ones(30), np.nan))
    with pytest.raises(ShapeError, match=r"must be \(N,\), but got shape \(2, 30\)"):
        median_interval(np.ones((2, 30)))
    with pytest.raises(ShapeError, match=r"as many of each, but got \(30,\) and \(31,\)"):
        ratio_interval(np.ones(30), np.ones(31))
    with pytest.raises(ConfigError, match="must be above 0 for a ratio"):
        ratio_interval(np.ones(30), np.append(np.ones(29), 0))
