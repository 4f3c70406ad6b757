"""Where to clip a tensor, from the histogram of its magnitudes.

A tensor clipped at t has the steps k t / 127, k = 0..127: that is what `insert_qdq` makes of the range (-t, t). Where a
ReLU's result is stored unsigned the step is half as wide; one table serves both, so t is chosen for the coarser one, to
which it matters more. Bins are numbered from 0, and t is counted in bins; candidates lie 16 bins apart, less than a
hundredth of the range.

    mse       smallest sum over bins j of n_j (c_j - q(c_j))^2, with the bin's centre c_j and q its step's value, or t
              beyond t; of bin 0, where a ReLU's zeros lie, the centre is 0
    entropy   smallest sum over bins of P log(P / Q), where P are the counts up to t, with all that lies beyond t in the
              last bin, and Q spreads the counts of each step evenly over those of its bins in which P is not 0

Entropy leaves bin 0 out. A ReLU makes half of all values 0, which every step represents exactly: counted, they
outweigh the rest so far that the narrowest clip looks best, and the network is destroyed.

Source: Migacz, "8-bit Inference with TensorRT", GTC 2017 (entropy).
"""

from __future__ import annotations

import numpy as np

from hgedge.quantization.methods import percentile_in

STEPS = 127
STRIDE = 16  # bins


def kept_bins(method: str, counts: np.ndarray) -> int:
    """How many bins a method keeps; what lies beyond them is clipped.

    Args:
        method: Full name of a method of histograms.
        counts: (BINS,) of the bins of one width.

    Returns:
        At least 1, at most the bins that are in use.
    """
    filled = np.flatnonzero(counts)
    counts = counts[: filled[-1] + 1 if len(filled) else 1].astype(np.float64)
    if method.startswith("percentile"):
        return _percentile(counts, percentile_in(method))
    cost = _squared_error if method == "mse" else _divergence
    candidates = [len(counts), *range(len(counts) - STRIDE, STEPS, -STRIDE)]  # the widest first: it wins a tie
    return candidates[int(np.argmin([cost(counts, kept) for kept in candidates]))]


def _percentile(counts: np.ndarray, percentile: float) -> int:
    below = np.cumsum(counts)
    return int(np.searchsorted(below, below[-1] * (percentile / 100))) + 1


def _squared_error(counts: np.ndarray, kept: int) -> float:
    centres = np.arange(len(counts)) + 0.5
    centres[0] = 0
    step = kept / STEPS
    rounded = np.minimum(np.rint(centres / step), STEPS) * step
    return float(counts @ (centres - rounded) ** 2)


def _divergence(counts: np.ndarray, kept: int) -> float:
    inside = counts[:kept].copy()
    inside[0] = 0
    clipped = inside.copy()
    clipped[-1] += counts[kept:].sum()
    there = clipped > 0
    step = ((np.arange(kept) + 0.5) * STEPS / kept + 0.5).astype(np.intp)  # that the centre of a bin is rounded to
    share = np.bincount(step, inside) / np.maximum(np.bincount(step, there), 1)
    spread = share[step]
    if not inside.any() or (there & (spread == 0)).any():  # nothing there represents what was clipped
        return 0.0 if kept == len(counts) else np.inf
    p, q = clipped[there] / clipped.sum(), spread[there] / inside.sum()
    return float(p @ np.log(p / q))
