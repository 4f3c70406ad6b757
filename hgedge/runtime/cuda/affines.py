"""Affine maps as the kernels take them."""

from __future__ import annotations

import numpy as np

from hgedge.errors import ShapeError
from hgedge.spec import MAX_SIDE

UNITS = 2.0**32  # of fixed point in a pixel
REACH = 2.0**31 - 1  # frame pixels; a coordinate and its right neighbour are 32-bit whole numbers


def fixed_point(affines: np.ndarray) -> np.ndarray:
    """Maps for `preprocess`, which adds whole multiples of their numbers without rounding.

    On crops of up to `MAX_SIDE` pixels points lie within 2^-33 * (2 * MAX_SIDE + 1) < 1e-6 pixels of where float64 has
    them.

    Args:
        affines: (N, 2, 3) float64, frame pixels from input pixels.

    Returns:
        (N, 6) int64, row-major, in units of 2^-32 frame pixels.

    Raises:
        ShapeError: They are no such maps, or a crop of `MAX_SIDE` pixels would reach beyond 2^31 frame pixels.
    """
    maps = _checked(affines)
    reach = np.abs(maps) @ np.array([MAX_SIDE, MAX_SIDE, 1.0])
    if not (reach < REACH).all():  # NaN is not less
        raise ShapeError(
            f"a crop must lie within {REACH:.0f} pixels of the frame's corner, but one reaches to {reach.max():.4g}; "
            f"leave out boxes that are so far off or so large"
        )
    return np.rint(maps * UNITS).astype(np.int64).reshape(-1, 6)


def frame_from_cells(affines: np.ndarray, stride: float) -> np.ndarray:
    """Maps for `decode`: cell i lies at input pixel (i + 0.5) * stride - 0.5.

    Args:
        affines: (N, 2, 3) float64, frame pixels from input pixels.
        stride: Input pixels a heatmap cell.

    Returns:
        (N, 6) float32, row-major, frame pixels from heatmap cells.

    Raises:
        ShapeError: They are no such maps.
    """
    maps = _checked(affines)
    turn = maps[..., :2]
    corner = maps[..., 2] + turn.sum(axis=-1) * (stride - 1) / 2
    return np.concatenate([turn * stride, corner[..., None]], axis=-1).astype(np.float32).reshape(-1, 6)


def _checked(affines: np.ndarray) -> np.ndarray:
    if affines.ndim != 3 or affines.shape[1:] != (2, 3) or affines.dtype != np.float64:
        raise ShapeError(f"affines must be (N, 2, 3) float64, but got shape {affines.shape} {affines.dtype}")
    return affines
