"""How far metrics may be from those of other people like these: percentile bootstrap over people.

People are drawn again, with replacement, as many as there are; what lies between the 2.5th and the 97.5th percentile
of the metrics of many such draws is the interval. Two predictions are compared on the same draws, so that people who
are hard for both cancel out.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgedge.evaluation.measure import Measure

DRAWS = 2000
COVERAGE = 0.95


def draw_weights(num_people: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each person is drawn: (draws, P) float64, rows of sum P."""
    chances = np.full(num_people, 1 / num_people)
    return np.random.default_rng(seed).multinomial(num_people, chances, size=draws).astype(np.float64)


def intervals(measures: Sequence[Measure], weights: np.ndarray) -> dict[str, dict[str, float]]:
    """Metric -> `low` and `high` in percent, for all that are averages over people."""
    return _intervals(_metrics(measures, weights))


def difference_intervals(
    measures: Sequence[Measure], against: Sequence[Measure], weights: np.ndarray
) -> dict[str, dict[str, float]]:
    """Metric -> `points` (this less the other), and `low` and `high` of it, on the same draws for both."""
    ours, theirs = _metrics(measures, weights), _metrics(against, weights)
    found = _intervals({name: ours[name] - theirs[name] for name in ours})
    once = np.ones((1, weights.shape[1]))
    one, other = _metrics(measures, once), _metrics(against, once)
    return {name: {"points": round(float(one[name][0] - other[name][0]), 3), **found[name]} for name in found}


def _metrics(measures: Sequence[Measure], weights: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values for measure in measures for name, values in measure.metrics(weights).items()}


def _intervals(metrics: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of metrics that are numbers in every draw."""
    outside = (1 - COVERAGE) / 2
    found = {}
    for name, values in metrics.items():
        if np.isfinite(values).all():
            low, high = np.quantile(values, (outside, 1 - outside))
            found[name] = {"low": round(float(low), 3), "high": round(float(high), 3)}
    return found
