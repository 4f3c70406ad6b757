"""The share of joints whose error is within a threshold: at some thresholds, as a curve, and as the area under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hgedge.evaluation.measure import Average, Measure

STEPS = 100


@dataclass(frozen=True)
class Curve:
    """Errors, in each person's own unit.

    Attributes:
        name: Such as "PCK"; the measure at 0.2 is called "PCK@0.2".
        unit: What errors are divided by, in words.
        errors: (P, J); infinite where the prediction is no number.
        counted: (P, J) bool.
        averages: The metrics to make of it.
        strict: Whether an error must be smaller than the threshold, or may equal it.
        limit: Where curve and area end.
        per_joint: Whether the J are the joints of the keypoint set.
    """

    name: str
    unit: str
    errors: np.ndarray
    counted: np.ndarray
    averages: tuple[Average, ...]
    strict: bool = False
    limit: float = 0.5
    per_joint: bool = True

    def at(self, threshold: float) -> Measure:
        """The share of joints within a threshold."""
        right = self.errors < threshold if self.strict else self.errors <= threshold
        return self._measure(f"{self.name}@{threshold}", 100.0 * right, right_or_wrong=True)

    def area(self, name: str) -> Measure:
        """The mean height of the curve from 0 to its limit.

        A joint of error e is right from e on, so its own curve has the area max(0, 1 - e / limit): no steps needed.
        """
        return self._measure(f"{name}@{self.limit}", 100.0 * np.clip(1 - self.errors / self.limit, 0, 1))

    def points(self) -> dict[str, Any]:
        """The curve: `threshold`, in fine steps, and `percent`: average -> value at each of them."""
        thresholds = np.linspace(0, self.limit, STEPS + 1).round(6).tolist()
        each = [[float(value[0]) for value in self.at(threshold).metrics().values()] for threshold in thresholds]
        names = [average.name or self.name for average in self.averages]
        return {"threshold": thresholds, "percent": dict(zip(names, np.transpose(each).round(3).tolist()))}

    def _measure(self, name: str, values: np.ndarray, right_or_wrong: bool = False) -> Measure:
        return Measure(name, values, self.counted, self.averages, self.per_joint, right_or_wrong)


def relative_errors(predicted: np.ndarray, keypoints: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Distances from the labels over each person's unit.

    Args:
        predicted: (P, K, 2) pixels.
        keypoints: (P, K, 2) pixels.
        units: (P,) pixels; people whose unit is not positive must not be counted.

    Returns:
        (P, K) float64; infinite where the prediction is no number, so that it is wrong at every threshold.
    """
    errors = (
        np.hypot(*np.moveaxis(predicted.astype(np.float64) - keypoints, -1, 0))
        / np.where(units > 0, units, 1.0)[:, None]
    )
    return np.where(np.isfinite(predicted).all(axis=-1), errors, np.inf)
