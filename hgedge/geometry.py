"""Where things lie: crops of a frame, network inputs, heatmap cells.

One convention everywhere: pixel centres are integers, the centre of the top left pixel is (0, 0), so
pixel i covers [i - 0.5, i + 0.5]. An affine map is a (2, 3) float64 matrix A; a point p goes to A[:, :2] p + A[:, 2].
"""

from __future__ import annotations

import math

import numpy as np

from hgedge.errors import ShapeError

Array = np.ndarray


def square_box(box_xyxy: Array, padding: float = 1.25) -> Array:
    """The square around a box's centre whose side is `padding` times the box's longer side.

    Args:
        box_xyxy: (4,) left, top, right, bottom in frame pixels.
        padding: Side of the square over the longer side of the box.

    Returns:
        (4,) float64, left, top, right, bottom.
    """
    x0, y0, x1, y1 = np.asarray(box_xyxy, dtype=np.float64)
    side = padding * max(x1 - x0, y1 - y0, 1.0)
    center_x, center_y = (x0 + x1) / 2, (y0 + y1) / 2
    return np.array([center_x - side / 2, center_y - side / 2, center_x + side / 2, center_y + side / 2])


def whole_frame_box(frame_hw: tuple[int, int]) -> Array:
    """The box of all pixels of a frame: (4,) float64, from -0.5 to size - 0.5."""
    height, width = frame_hw
    return np.array([-0.5, -0.5, width - 0.5, height - 0.5])


def frame_from_input(box_xyxy: Array, input_hw: tuple[int, int], rotation_deg: float = 0.0) -> Array:
    """The affine map from network input pixels to frame pixels for the crop around a box.

    The crop has the box's centre and the input's aspect; it is the smallest such rectangle that holds the box.
    Input pixel u lies at fraction (u + 0.5) / width of the crop.

    Args:
        box_xyxy: (4,) left, top, right, bottom in frame pixels.
        input_hw: Height and width of the network input in pixels.
        rotation_deg: The crop is turned by this angle about its centre, clockwise as seen on the screen.

    Returns:
        (2, 3) float64.

    Raises:
        ShapeError: The box does not hold four finite numbers, or is empty.
    """
    box = np.asarray(box_xyxy, dtype=np.float64)
    sides = box.tolist()
    if box.shape != (4,) or not all(map(math.isfinite, sides)):
        raise ShapeError(f"a box must be four finite numbers (left, top, right, bottom), but got {box_xyxy!r}")
    left, top, right, bottom = sides
    if right <= left or bottom <= top:
        raise ShapeError(f"a box must have right > left and bottom > top, but got {sides}")
    height, width = input_hw
    pixels = max((right - left) / width, (bottom - top) / height)  # frame pixels an input pixel
    angle = math.radians(rotation_deg)
    across, down = pixels * math.cos(angle), pixels * math.sin(angle)
    u, v = (width - 1) / 2, (height - 1) / 2  # the centres, of the input
    x, y = (left + right) / 2, (top + bottom) / 2  # and in the frame
    return np.array([[across, -down, x - (across * u - down * v)], [down, across, y - (down * u + across * v)]])


def invert(affine: Array) -> Array:
    """The inverse of an affine map, (2, 3) float64."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.column_stack([inverse, -inverse @ affine[:, 2]])


def transform(affine: Array, points: Array) -> Array:
    """Apply an affine map to (..., 2) points."""
    return points @ affine[:, :2].T + affine[:, 2]


def cells_from_input(points: Array, stride: float) -> Array:
    """Heatmap coordinates of input pixels: x lies in cell (x + 0.5) / stride - 0.5."""
    return (points + 0.5) / stride - 0.5


def input_from_cells(cells: Array, stride: float) -> Array:
    """Input pixels of heatmap coordinates: cell i lies at (i + 0.5) * stride - 0.5."""
    return (cells + 0.5) * stride - 0.5
