"""What pictures showed of a network's tensors; its size does not depend on how many there were."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hgedge.errors import QuantizationError
from hgedge.quantization.clip import kept_bins
from hgedge.quantization.histogram import Histograms
from hgedge.quantization.methods import needs_histograms
from hgedge.quantization.ranges import Range


class Statistics:
    """Extremes, and where a method asks for them histograms, of T tensors.

    Attributes:
        names: Of the tensors.
        count: Pictures seen.
        total: (2, T) float64, sums over pictures of each one's smallest and of its largest value.
        widest: (2, T) float64, the smallest and the largest value of all.
        histograms: Of magnitudes; or None.
    """

    def __init__(self, names: tuple[str, ...], method: str) -> None:
        self.names = names
        self.count = 0
        self.total = np.zeros((2, len(names)))
        self.widest = np.array([[np.inf], [-np.inf]]).repeat(len(names), axis=1)
        self.histograms = Histograms(len(names)) if needs_histograms(method) else None

    def add(self, extremes: np.ndarray) -> None:
        """Take note of a picture's (2, T) smallest and largest values."""
        self.total += extremes
        self.widest = np.stack([np.minimum(self.widest[0], extremes[0]), np.maximum(self.widest[1], extremes[1])])
        self.count += 1

    def ranges(self, method: str) -> dict[str, Range]:
        """The tensors' ranges by a method's full name, rounded to float32.

        Raises:
            QuantizationError: No picture was seen.
        """
        if self.count == 0:
            raise QuantizationError("calibration needs pictures, but got none; give a folder with pictures in it")
        low, high = self.total / self.count if method == "mean-minmax" else self.widest
        if self.histograms is not None and needs_histograms(method):
            limit = [
                kept_bins(method, counts) * self.histograms.width(tensor)
                for tensor, counts in enumerate(self.histograms.counts)
            ]
            low, high = np.maximum(low, np.negative(limit)), np.minimum(high, limit)
        pairs = zip(low.astype(np.float32).tolist(), high.astype(np.float32).tolist())
        return dict(zip(self.names, pairs))

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it but the names, to be kept."""
        kept = {"count": np.array(self.count), "total": self.total, "widest": self.widest}
        if self.histograms is not None:
            kept |= {"counts": self.histograms.counts, "exponents": self.histograms.exponents}
        return kept

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `arrays` gave.

        Raises:
            ValueError: It is of other tensors, or damaged.
        """
        for name, now in self.arrays().items():
            if arrays[name].shape != now.shape or arrays[name].dtype != now.dtype:
                raise ValueError(f"{name} is {arrays[name].shape} {arrays[name].dtype}")
        self.count, self.total, self.widest = int(arrays["count"]), arrays["total"], arrays["widest"]
        if self.histograms is not None:
            self.histograms.counts, self.histograms.exponents = arrays["counts"], arrays["exponents"]
