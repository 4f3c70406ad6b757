"""MPII's way to say where a person is: a centre, and a scale in units of 200 pixels of height.

Source: Andriluka et al., CVPR 2014 (`objpos`, `scale`); the enlarged crop of Newell, Yang and Deng, ECCV 2016, as
their code and those after it take it (princeton-vl/pose-hg-train, bearpaw/pytorch-pose, anibali's).
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import SourceError

UNIT_PX = 200.0
SHIFT_DOWN = 15.0
ENLARGED = 1.25


def adjusted(center: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """Move a centre down by 15 x scale and multiply the scale by 1.25, so that no limb is cut off."""
    return center + np.array([0.0, SHIFT_DOWN * scale]), ENLARGED * scale


def box_of_center_scale(center: np.ndarray, scale: float, where: str) -> np.ndarray:
    """The square of side 200 x scale around a centre.

    Args:
        center: (2,) x, y in picture pixels, already adjusted where that is wanted.
        scale: The same.
        where: What the error calls the person.

    Returns:
        (4,) float64, left, top, right, bottom.

    Raises:
        SourceError: The scale is not positive, or something is not finite.
    """
    if not (np.isfinite(center).all() and 0 < scale < np.inf):
        raise SourceError(f"{where} needs a centre and a scale above 0, but has {np.asarray(center).tolist()}, {scale}")
    half = UNIT_PX * scale / 2
    return np.array([center[0] - half, center[1] - half, center[0] + half, center[1] + half])
