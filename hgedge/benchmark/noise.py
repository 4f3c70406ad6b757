"""What may be said of two timings: nothing, where the same thing timed twice in the same run differs as much."""

from __future__ import annotations

import numpy as np

from hgedge.benchmark.statistics import Interval, ratio_interval


def noise_floor(samples: np.ndarray, again: np.ndarray) -> float:
    """How far from 1 the ratio of a candidate to itself may be in this run: 0.02 is 2 %, either way.

    Args:
        samples: (N,) of a candidate.
        again: (N,) of the same candidate, which stood in the rounds a second time, under another name.

    Raises:
        ConfigError: There are fewer than 30.
        ShapeError: There are not as many of each.
    """
    found = ratio_interval(samples, again)
    return round(max(found.high, 1 / found.low) - 1, 4)


def verdict(ratio: Interval, floor: float) -> str:
    """Whether a candidate is "faster" or "slower" than what it is compared with, or "level": nobody can tell.

    Args:
        ratio: `ratio_interval(reference, candidate)`: above 1 where the candidate is faster.
        floor: `noise_floor` of the same run. All of the interval must lie beyond it.
    """
    if ratio.low > 1 + floor:
        return "faster"
    if ratio.high < 1 / (1 + floor):
        return "slower"
    return "level"
