"""Target heatmaps: one Gaussian a joint."""

from __future__ import annotations

import numpy as np

from hgedge.geometry import cells_from_input


def gaussian_heatmaps(
    keypoints: np.ndarray, labelled: np.ndarray, heatmap_hw: tuple[int, int], stride: int = 4, sigma: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    """Draw exp(-d^2 / (2 sigma^2)) around each joint, d in heatmap cells, centred between cells where the joint is.

    Args:
        keypoints: (..., K, 2) network-input pixels.
        labelled: (..., K) bool.
        heatmap_hw: Height and width in cells.
        stride: Input pixels a cell.
        sigma: Standard deviation in cells.

    Returns:
        heatmaps: (..., K, h, w) float32, 0 where the joint does not count.
        counts: (..., K) bool: labelled, and its nearest cell lies on the map.
    """
    height, width = heatmap_hw
    cells = cells_from_input(np.asarray(keypoints, dtype=np.float64), stride)
    nearest = np.round(np.where(labelled[..., None], cells, -1))
    counts = labelled & (nearest >= 0).all(axis=-1) & (nearest[..., 0] < width) & (nearest[..., 1] < height)
    cells = np.where(counts[..., None], cells, np.inf)
    column = np.exp(-((np.arange(width) - cells[..., :1]) ** 2) / (2 * sigma**2))
    row = np.exp(-((np.arange(height) - cells[..., 1:]) ** 2) / (2 * sigma**2))
    return (row[..., :, None] * column[..., None, :]).astype(np.float32), counts
