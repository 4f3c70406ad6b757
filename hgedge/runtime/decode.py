"""Heatmaps to keypoints.

A keypoint is the cell of its map's peak, moved a quarter cell towards the higher neighbour in x and in y:

    x = argmax_x + sign(h[y, x + 1] - h[y, x - 1]) / 4        (no move on the border, or where both are equal)

Among equal peaks the first in row-major order wins. NaN is never a peak; a map of NaN alone gives cell (0, 0) and
score NaN. Source of the quarter: Newell, Yang and Deng, ECCV 2016.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import ShapeError
from hgedge.geometry import input_from_cells


def decode(heatmaps: np.ndarray, stride: float = 4, shift: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Locate each keypoint at its heatmap's peak.

    Args:
        heatmaps: (N, K, h, w) float32.
        stride: Input pixels a cell.
        shift: Cells that a peak moves towards the higher neighbour; 0 leaves it at the cell's centre.

    Returns:
        keypoints: (N, K, 2) float32, x then y, in network-input pixels: cell i lies at (i + 0.5) * stride - 0.5.
        scores: (N, K) float32, the peak's value.

    Raises:
        ShapeError: heatmaps is not four-dimensional.
    """
    if heatmaps.ndim != 4:
        hint = "; add a batch axis with heatmaps[None]" if heatmaps.ndim == 3 else ""
        raise ShapeError(f"heatmaps must be (N, K, h, w), but got shape {heatmaps.shape}{hint}")
    num, keypoints, height, width = heatmaps.shape
    flat = heatmaps.reshape(num * keypoints, height * width)
    rows = np.arange(len(flat))
    peak = flat.argmax(axis=1)
    scores = flat[rows, peak]
    if np.isnan(scores).any():  # argmax stops at NaN
        peak = np.where(np.isnan(flat), -np.inf, flat).argmax(axis=1)
        scores = flat[rows, peak]
    y, x = np.divmod(peak, width)
    cells = np.stack([x, y], axis=1).astype(np.float32)
    for axis, (index, step, size) in enumerate(((x, 1, width), (y, width, height))):
        inside = (index > 0) & (index < size - 1)
        before, after = flat[rows, np.where(inside, peak - step, 0)], flat[rows, np.where(inside, peak + step, 0)]
        cells[:, axis] += shift * np.nan_to_num(np.sign(after - before))
    located = input_from_cells(cells, stride).astype(np.float32)
    return located.reshape(num, keypoints, 2), scores.astype(np.float32).reshape(num, keypoints)
