"""How much boxes overlap, and which of many around one person to keep."""

from __future__ import annotations

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each of A boxes with each of B others.

    Args:
        boxes: (A, 4 or more) left, top, right, bottom.
        others: (B, 4 or more).

    Returns:
        (A, B) float64, 0 to 1.
    """
    a, b = boxes[:, None, :4].astype(np.float64), others[None, :, :4].astype(np.float64)
    shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(axis=-1)
    together = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared
    return shared / np.maximum(together, np.finfo(np.float64).tiny)


def suppressed(detections: np.ndarray, most: float) -> np.ndarray:
    """Non-maximum suppression: a box stays unless one with a higher score overlaps it by more than `most`.

    Args:
        detections: (N, 5) left, top, right, bottom, score.
        most: Intersection over union, 0 to 1.

    Returns:
        (M, 5), by falling score; of equal scores the first comes first.
    """
    waiting = detections[np.argsort(-detections[:, 4], kind="stable")]
    kept = []
    while len(waiting):
        kept.append(waiting[0])
        waiting = waiting[1:][overlaps(waiting[:1], waiting[1:])[0] <= most]
    return np.array(kept, detections.dtype).reshape(-1, 5)
