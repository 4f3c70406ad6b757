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
_PADDING = BLUR_TAPS // 2
_OFFSETS = np.arange(BLUR_TAPS) - _PADDING
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
    maps = heatmaps.reshape(num * keypoints, height, width)
    peaks = _peaks(maps.reshape(len(maps), height * width))
    y, x = np.divmod(peaks, width)
    steps = _dark_steps(maps, x, y) if refinement == "dark" else shift * _towards(maps, x, y)
    located = input_from_cells(np.stack([x, y], axis=1).astype(np.float32) + steps, stride)
    scores = maps[np.arange(len(maps)), y, x]
    return (
        located.astype(np.float32).reshape(num, keypoints, 2),
        scores.astype(np.float32).reshape(num, keypoints),
    )


def _peaks(flat: np.ndarray) -> np.ndarray:
    """Index of each row's first highest value, (M,) int64; 0 where all is NaN."""
    peaks = flat.argmax(axis=1)
    broken = np.isnan(flat[np.arange(len(flat)), peaks])  # argmax stops at NaN
    numbers = ~np.isnan(flat[broken])
    highest = np.where(numbers, flat[broken], -np.inf).max(axis=1, keepdims=True)
    peaks[broken] = (numbers & (flat[broken] == highest)).argmax(axis=1)
    return peaks


def _towards(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Direction of each peak's higher neighbours, (M, 2) float32 of -1, 0, 1, x then y."""
    rows, (height, width) = np.arange(len(maps)), maps.shape[1:]
    towards = np.zeros((len(maps), 2), np.float32)
    for axis, (index, size) in enumerate(((x, width), (y, height))):
        inside = (index > 0) & (index < size - 1)
        step = inside * (1 - axis), inside * axis
        before, after = maps[rows, y - step[1], x - step[0]], maps[rows, y + step[1], x + step[0]]
        towards[:, axis] = (after > before).astype(int) - (after < before)
    return towards


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
    around = np.arange(2 * (_REACH + _PADDING) + 1) - _REACH  # in the padded map, less the peak's place in the map
    padded = np.pad(maps.astype(np.float64), ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    rows = np.arange(len(maps))[:, None, None]
    windows = padded[rows, (y[:, None] + around)[:, :, None], (x[:, None] + around)[:, None, :]]
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
