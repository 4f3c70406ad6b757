"""How far medians of timings may be off: 95 % intervals by the circular block bootstrap.

A slow moment of a machine lasts for several samples, so neighbours are alike, and drawing single samples would promise
too much. Blocks of neighbours are drawn instead, with replacement, in the order taken, the last followed by the first;
they are as long as the cube root of the number of samples. The interval lies between two percentiles of the medians of
many such draws. They are not the 2.5th and the 97.5th, which promise too much where blocks are few, but as far out as
Student's distribution is for so many blocks.

Source: Politis and Romano, "A Circular Block-Resampling Procedure for Stationary Data", 1992; the length grows as in
Hall, Horowitz and Jing, "On Blocking Rules for the Bootstrap with Dependent Data", 1995; the percentiles are those of
the expanded interval in Hesterberg, "What Teachers Should Know about the Bootstrap", 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hgedge.errors import ConfigError, ShapeError

LEAST_SAMPLES = 30
COVERAGE = 0.95
DRAWS = 2000
SEED = 0  # the same samples give the same interval
DIGITS = 4  # significant ones that readers see; two more are kept
AT_ONCE = 1 << 20  # numbers drawn at a time


@dataclass(frozen=True)
class Interval:
    """A value, and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{plain(self.value)} ({plain(self.low)} to {plain(self.high)})"


def median_interval(samples: np.ndarray) -> Interval:
    """The median of (N,) samples in the order taken.

    Raises:
        ConfigError: There are fewer than 30, or one is not finite.
        ShapeError: They are not one row.
    """
    taken = np.asarray(samples, np.float64)
    if taken.ndim != 1:
        raise ShapeError(f"samples must be (N,), but got shape {taken.shape}; give those of one candidate")
    if len(taken) < LEAST_SAMPLES:
        raise ConfigError(
            f"a median with its interval needs {LEAST_SAMPLES} samples or more, but got {len(taken)}; run more rounds"
        )
    if not np.isfinite(taken).all():
        raise ConfigError("samples must be finite, but some are not; time what runs to its end")
    block = round(len(taken) ** (1 / 3))
    outside = _outside(len(taken) / block)
    low, high = np.quantile(_medians_of_draws(taken, block), (outside, 1 - outside))
    return Interval(*(_rounded(float(each)) for each in (np.median(taken), low, high)))


def ratio_interval(slower: np.ndarray, faster: np.ndarray) -> Interval:
    """How many times faster the second is: the median of the rounds' own ratios.

    Args:
        slower: (N,) samples.
        faster: (N,), taken in turn with them.

    Raises:
        ConfigError: There are fewer than 30, or a sample is not finite and above 0.
        ShapeError: There are not as many of each.
    """
    one, other = np.asarray(slower, np.float64), np.asarray(faster, np.float64)
    if one.shape != other.shape:
        raise ShapeError(f"samples taken in turn must be as many of each, but got {one.shape} and {other.shape}")
    if not (one > 0).all() or not (other > 0).all():
        raise ConfigError("samples must be above 0 for a ratio, but some are not; time more work at once")
    return median_interval(one / other)


def plain(value: float) -> str:
    """A number for readers, with as many digits as are known: 5.213, 1235, 0.04812."""
    decimals = DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, decimals)}f}"


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS + 2}g}")


def _outside(blocks: float) -> float:
    """What to leave out at either end of the draws' medians; Student's quantile by its Cornish-Fisher expansion."""
    normal = NormalDist()
    z, freedom = normal.inv_cdf((1 + COVERAGE) / 2), blocks - 1
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-student * (blocks / freedom) ** 0.5)


def _medians_of_draws(samples: np.ndarray, block: int) -> np.ndarray:
    """(DRAWS,) medians."""
    count = len(samples)
    generator = np.random.default_rng(SEED)
    found = []
    for draws in _shares(DRAWS, max(1, AT_ONCE // count)):
        starts = generator.integers(count, size=(draws, -(-count // block), 1))
        indices = (starts + np.arange(block)) % count
        found.append(np.median(samples[indices.reshape(draws, -1)[:, :count]], axis=1))
    return np.concatenate(found)


def _shares(total: int, most: int) -> list[int]:
    """A total in parts of so many at most."""
    return [min(most, total - start) for start in range(0, total, most)]
