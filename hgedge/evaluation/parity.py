"""How far two runs of one network are apart.

An INT8 graph is not continuous. Two engines add floats in another order; where a value lies between two steps, that
decides which one it takes, and every such choice moves what comes after it. An engine does the same to itself for an
input that is moved by 0.06 grey levels. So what is between two INT8 engines is judged by what is between one
of them and itself on `nudged` input, and by their averages over many such inputs.
"""

from __future__ import annotations

import numpy as np

from hgedge.runtime.decode import decode

CLEAR = 0.05
NEAR_CELLS = 3
NUDGE = 1e-3


def relative_rmse(one: np.ndarray, two: np.ndarray) -> float:
    """Root mean square of the difference of two arrays of one shape, over that of the second."""
    return float(np.sqrt(np.mean((one - two) ** 2) / np.mean(two**2)))


def clear_joints(heatmaps: np.ndarray) -> np.ndarray:
    """Whether a map's highest peak stands clear of the next one.

    Args:
        heatmaps: (N, K, h, w) float32.

    Returns:
        (N, K) bool: all values more than three cells away are more than 5 % lower than the peak.
    """
    count, keypoints, height, width = heatmaps.shape
    y, x = np.mgrid[:height, :width]
    clear = np.zeros((count, keypoints), bool)
    for n, k in np.ndindex(count, keypoints):
        top_y, top_x = np.unravel_index(heatmaps[n, k].argmax(), (height, width))
        away = np.maximum(np.abs(y - top_y), np.abs(x - top_x)) > NEAR_CELLS
        clear[n, k] = heatmaps[n, k][away].max() < (1 - CLEAR) * heatmaps[n, k].max()
    return clear


def share_within(one: np.ndarray, two: np.ndarray, distance_px: float, joints: np.ndarray) -> float:
    """Share of joints that two runs place within a distance of each other.

    Args:
        one: (N, K, h, w) float32 heatmaps.
        two: The same of another run.
        distance_px: In input pixels, at the usual stride of 4.
        joints: (N, K) bool, which of them count.
    """
    return float((np.linalg.norm(decode(one)[0] - decode(two)[0], axis=-1)[joints] <= distance_px).mean())


def nudged(images: np.ndarray, seed: int) -> np.ndarray:
    """Normalised input with noise that nobody sees: of standard deviation 0.001, or 0.06 grey levels (default model).

    Args:
        images: (N, C, H, W) float32.
        seed: Of the noise.
    """
    noise = np.random.default_rng(seed).standard_normal(images.shape)
    return (images + NUDGE * noise).astype(np.float32)
