"""Heatmaps to keypoints: the cell of each map's peak, and from there a step of less than a cell.

Among equal peaks the first in row-major order wins. NaN is never a peak; a map of NaN alone gives cell (0, 0) and
score NaN. The step is one of two:

"quarter": a quarter cell towards the higher neighbour, in x and in y; none on the border, or where both are equal:

    x += sign(h[y, x + 1] - h[y, x - 1]) / 4

Source: Newell, Yang and Deng, ECCV 2016.

"dark": to the top of the Gaussian that the map has around its peak, by one Newton step on g = log(max(blur(h), 1e-10)),
with blur the Gaussian of the training targets, 11 x 11 cells, zeros outside the map:

    (x, y) -= hessian(g)^-1 gradient(g), by central differences of one cell, no farther than a cell in x and in y

No step within two cells of the border, where g is NaN, or where it has no top: a curvature (an eigenvalue of the
Hessian) that is not below -0.001, as of a Gaussian 30 cells wide, is rounding more than shape. The authors scale the
blurred map to its old maximum, which only adds to g, and bound neither step nor curvature. Source: Zhang, Zhu, Dai, Ye
and Zhu, Distribution-aware coordinate representation for human pose estimation, CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hgedge.errors import ConfigError, ShapeError
from hgedge.geometry import input_from_cells
from hgedge.spec import REFINEMENTS

BLUR_SIGMA = 1.5  # cells, as of `hgedge.datasets.targets`
BLUR_TAPS = 11
LONGEST_CELLS = 1.0  # of a step
FLATTEST = 1e-3  # curvature of a top
_REACH = 2  # cells around the peak that the differences need
_SEEN = _REACH + BLUR_TAPS // 2  # cells around the peak that the blur of those reads
_OFFSETS = np.arange(BLUR_TAPS) - BLUR_TAPS // 2
BLUR = np.exp(-(_OFFSETS**2) / (2 * BLUR_SIGMA**2))
BLUR /= BLUR.sum()


def decode(
    heatmaps: np.ndarray, stride: float = 4, shift: float = 0.25, refinement: str = "quarter"
) -> tuple[np.ndarray, np.ndarray]:
    """Locate each keypoint at its heatmap's peak.

    Args:
        heatmaps: (N, K, h, w) float32 or float16.
        stride: Input pixels a cell.
        shift: Of "quarter": cells that a peak moves towards the higher neighbour; 0 leaves it at the cell's centre.
        refinement: "quarter" or "dark".

    Returns:
        keypoints: (N, K, 2) float32, x then y, in network-input pixels: cell i lies at (i + 0.5) * stride - 0.5.
        scores: (N, K) float32, the peak's value.

    Raises:
        ShapeError: heatmaps is not four-dimensional.
        ConfigError: There is no such refinement.
    """
    if heatmaps.ndim != 4:
        hint = "; add a batch axis with heatmaps[None]" if heatmaps.ndim == 3 else ""
        raise ShapeError(f"heatmaps must be (N, K, h, w), but got shape {heatmaps.shape}{hint}")
    if refinement not in REFINEMENTS:
        raise ConfigError(f"refinement must be one of {', '.join(REFINEMENTS)}, but got {refinement!r}")
    num, keypoints, height, width = heatmaps.shape
    maps = heatmaps.reshape(num * keypoints, height * width)
    found = [_peak(row, first) for row, first in zip(maps, maps.argmax(axis=1).tolist())]
    cells = np.array([(place % width, place // width) for _, place, _ in found], np.float32).reshape(-1, 2)
    if refinement == "dark":
        steps = _dark_steps(maps.reshape(len(maps), height, width), *cells.T.astype(int))
    else:
        towards = [_towards(value, place, width, height) for value, place, _ in found]
        steps = shift * np.array(towards, np.float32).reshape(-1, 2)
    located = input_from_cells(cells + steps, stride)
    scores = np.array([score for _, _, score in found], np.float32)
    return located.astype(np.float32).reshape(num, keypoints, 2), scores.reshape(num, keypoints)


def _peak(row: np.ndarray, first: int) -> tuple[Callable[[int], float], int, float]:
    """How to read a map, where its first highest value lies, 0 where all is NaN, and this value."""
    value = row.item
    score = value(first)
    if score != score:  # argmax stops at NaN
        numbers = ~np.isnan(row)
        first = int((numbers & (row == np.where(numbers, row, -np.inf).max())).argmax())
        score = value(first)
    return value, first, score


def _towards(value: Callable[[int], float], place: int, width: int, height: int) -> tuple[int, int]:
    """Direction of a peak's higher neighbours: -1, 0 or 1, in x and in y."""
    y, x = divmod(place, width)
    dx = _sign(value(place + 1), value(place - 1)) if 0 < x < width - 1 else 0
    dy = _sign(value(place + width), value(place - width)) if 0 < y < height - 1 else 0
    return dx, dy


def _sign(after: float, before: float) -> int:
    return (after > before) - (after < before)


def _dark_steps(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Taylor step from each peak, (M, 2) float64 in cells, x then y; 0 where there is none."""
    height, width = maps.shape[1:]
    roomy = (x >= _REACH) & (x < width - _REACH) & (y >= _REACH) & (y < height - _REACH)
    steps = np.zeros((len(maps), 2))
    if roomy.any():
        steps[roomy] = _newton(_log_of_blurred(maps[roomy], x[roomy], y[roomy]))
    return steps


def _log_of_blurred(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The function g in the cells around each peak, (M, 5, 5) float64."""
    height, width = maps.shape[1:]
    around = np.arange(2 * _SEEN + 1) - _SEEN
    (rows, row_inside), (columns, column_inside) = (
        (cells.clip(0, size - 1), (cells >= 0) & (cells < size))
        for cells, size in ((y[:, None] + around, height), (x[:, None] + around, width))
    )
    seen = maps[np.arange(len(maps))[:, None, None], rows[:, :, None], columns[:, None, :]]
    windows = np.where(row_inside[:, :, None] & column_inside[:, None, :], seen, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        for axis in (2, 1):
            windows = sliding_window_view(windows, BLUR_TAPS, axis=axis) @ BLUR
    return np.log(np.maximum(windows, 1e-10))


def _newton(g: np.ndarray) -> np.ndarray:
    """The step from the middle of (M, 5, 5) to the top of the quadratic there, (M, 2); 0 where there is none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        dx, dy = (g[:, 2, 3] - g[:, 2, 1]) / 2, (g[:, 3, 2] - g[:, 1, 2]) / 2
        dxx, dyy = ((a - 2 * g[:, 2, 2] + b) / 4 for a, b in ((g[:, 2, 4], g[:, 2, 0]), (g[:, 4, 2], g[:, 0, 2])))
        dxy = (g[:, 3, 3] - g[:, 3, 1] - g[:, 1, 3] + g[:, 1, 1]) / 4
        determinant = dxx * dyy - dxy**2
        steps = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1) / determinant[:, None]
        has_top = (dxx < -FLATTEST) & ((dxx + FLATTEST) * (dyy + FLATTEST) > dxy**2)
    return np.where(has_top[:, None], steps.clip(-LONGEST_CELLS, LONGEST_CELLS), 0)
