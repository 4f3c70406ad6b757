"""Numbers for every person, whose averages are metrics; resampling people is a weighting of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Average:
    """A way to make one number of joints: of all of them pooled, or as the mean of each joint's own average."""

    name: str
    joints: tuple[int, ...]
    pooled: bool


@dataclass(frozen=True)
class Measure:
    """A number for every labelled joint of every person, or (J = 1) for every person.

    Attributes:
        name: Such as "PCK@0.2"; metrics are called that and the average's name.
        values: (P, J) percent.
        counted: (P, J) bool, what goes into averages.
        averages: The metrics to make of it.
        per_joint: Whether the J are the joints of the keypoint set.
        right_or_wrong: Whether values are 100 for right and 0 for wrong.
    """

    name: str
    values: np.ndarray
    counted: np.ndarray
    averages: tuple[Average, ...]
    per_joint: bool = True
    right_or_wrong: bool = False

    def metrics(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """All averages, for each of several weightings of the people.

        Args:
            weights: (B, P) how often each person counts; by default once each, B = 1.

        Returns:
            Metric -> (B,) percent; NaN where nothing is counted.
        """
        sums, counts = self._totals(weights)
        found = {}
        for average in self.averages:
            joints = list(average.joints)
            if average.pooled:
                value = _ratio(sums[:, joints].sum(axis=1), counts[:, joints].sum(axis=1))
            else:
                each = _ratio(sums[:, joints], counts[:, joints])
                known = ~np.isnan(each)
                value = _ratio(np.where(known, each, 0).sum(axis=1), known.sum(axis=1))
            found[self._metric(average)] = value
        return found

    def per_keypoint(self) -> np.ndarray:
        """(J,) percent, each joint's own average; NaN where it is labelled nowhere."""
        return _ratio(*self._totals(None))[0]

    def right(self) -> dict[str, dict[str, int]]:
        """Pooled metric -> how many joints are right, and of how many."""
        found = {}
        for average in self.averages if self.right_or_wrong else ():
            if average.pooled:
                counted = self.counted[:, list(average.joints)]
                right = counted & (self.values[:, list(average.joints)] > 0)
                found[self._metric(average)] = {"right": int(right.sum()), "labelled": int(counted.sum())}
        return found

    def _metric(self, average: Average) -> str:
        return f"{self.name} {average.name}".strip()

    def _totals(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(B, J) sums of values and numbers of labels."""
        weights = np.ones((1, len(self.values))) if weights is None else weights
        with np.errstate(invalid="ignore"):  # an infinite error times nobody is NaN, of which no interval is made
            return weights @ np.where(self.counted, self.values, 0.0), weights @ self.counted.astype(np.float64)


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
