"""Histograms of magnitudes that grow with what they meet, so that one pass over the pictures is enough.

Bin j of a tensor counts the values with j w <= |x| < (j + 1) w. The width w is a power of two. Before a value comes
that lies beyond the last bin, w is doubled, and neighbouring bins merged, until the value fits. Edges of wide bins are
edges of narrow ones too, and scaling by a power of two is exact: the counts are those of a histogram that had its last
width from the beginning, in whatever order the pictures came and wherever the work was interrupted. (The other way to
fixed memory, a pass for the ranges before one for the counts, runs the network twice.) Half of the bins at least are in
use.

Magnitudes are enough: the scale of a tensor is symmetric, or the tensor is never negative (`insert_qdq`).
"""

from __future__ import annotations

import math

import numpy as np

LOG_BINS = 12
BINS = 1 << LOG_BINS
SMALLEST = -126  # exponent of a width that is never too wide: its inverse is still a float32
BLOCK = 1 << 15  # values binned at once: what is computed on the way stays in the cache


class Histograms:
    """One histogram for each of a network's tensors.

    Attributes:
        counts: (T, BINS) int64.
        exponents: (T,) int64, base 2 logarithms of the widths.
    """

    def __init__(self, tensors: int) -> None:
        self.counts = np.zeros((tensors, BINS), np.int64)
        self.exponents = np.full(tensors, SMALLEST, np.int64)

    def add(self, tensor: int, values: np.ndarray, largest: float) -> None:
        """Count values.

        Args:
            tensor: Index of the histogram.
            values: Float32 of any shape, finite.
            largest: Their largest magnitude.
        """
        self._reach(tensor, largest)
        counts, factor = self.counts[tensor], np.float32(2.0 ** -self.exponents[tensor])
        flat = values.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            scaled = np.abs(flat[start : start + BLOCK])
            scaled *= factor
            counts += np.bincount(scaled.astype(np.intp), minlength=BINS)

    def width(self, tensor: int) -> float:
        """The width of a tensor's bins."""
        return math.ldexp(1.0, int(self.exponents[tensor]))

    def _reach(self, tensor: int, largest: float) -> None:
        """Widen bins until a magnitude lies within them."""
        exponent = math.frexp(largest)[1] - LOG_BINS if largest > 0 else SMALLEST  # largest < 2 ** frexp's
        doublings = exponent - int(self.exponents[tensor])
        if doublings > 0:
            merged = 1 << min(doublings, LOG_BINS)
            counts = self.counts[tensor].reshape(-1, merged).sum(axis=1)
            self.counts[tensor] = 0
            self.counts[tensor, : len(counts)] = counts
            self.exponents[tensor] = exponent
