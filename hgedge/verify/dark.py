"""DARK's step from a heatmap's peak, plainly, in float64 after the definition in `hgedge.runtime.decode`."""

from __future__ import annotations

import numpy as np

SIGMA = 1.5
TAPS = 11
LEAST = 1e-10
LONGEST = 1.0
FLATTEST = 1e-3
UNSETTLED = 1e-4  # of curvature; float32 tells logarithms of 1e-10 apart to 2e-6, and sums before them no better
REACH = 2  # cells that the differences need


def dark_step(heatmap: np.ndarray, x: int, y: int) -> tuple[np.ndarray, bool]:
    """The step from the peak.

    Args:
        heatmap: (h, w), finite.
        x: Column of the peak.
        y: Its row.

    Returns:
        step: (2,) float64 in cells, x then y; 0 where there is none.
        settled: False where the curvature is so near its limit that rounding to float32 decides whether there is one.
    """
    height, width = heatmap.shape
    if not (REACH <= x < width - REACH and REACH <= y < height - REACH):
        return np.zeros(2), True
    g = _log_of_blurred(heatmap.astype(np.float64), x, y)
    gradient = np.array([g[2, 3] - g[2, 1], g[3, 2] - g[1, 2]]) / 2
    dxx, dyy = (g[2, 4] - 2 * g[2, 2] + g[2, 0]) / 4, (g[4, 2] - 2 * g[2, 2] + g[0, 2]) / 4
    dxy = (g[3, 3] - g[3, 1] - g[1, 3] + g[1, 1]) / 4
    hessian = np.array([[dxx, dxy], [dxy, dyy]])
    above = np.linalg.eigvalsh(hessian).max() + FLATTEST
    step = np.zeros(2) if above >= 0 else -np.linalg.solve(hessian, gradient)
    return step.clip(-LONGEST, LONGEST), bool(abs(above) > UNSETTLED)


def _log_of_blurred(heatmap: np.ndarray, x: int, y: int) -> np.ndarray:
    """The function g in the (5, 5) cells around the peak."""
    offsets = np.arange(TAPS) - TAPS // 2
    blur = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * SIGMA**2))
    blur /= blur.sum()
    padded = np.pad(heatmap, TAPS // 2)
    g = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    for row, column in np.ndindex(g.shape):
        top, left = y + row - REACH, x + column - REACH
        g[row, column] = np.log(max((blur * padded[top : top + TAPS, left : left + TAPS]).sum(), LEAST))
    return g
