"""Crops, cells and the one convention of where a pixel lies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgedge import geometry
from hgedge.errors import ShapeError

EXACT = 1e-9  # float64 arithmetic on numbers below 1e4

coordinates = st.floats(-2000, 2000)
sizes = st.floats(1, 2000)
boxes = st.builds(lambda x, y, w, h: np.array([x, y, x + w, y + h]), coordinates, coordinates, sizes, sizes)
inputs = st.tuples(st.integers(1, 512), st.integers(1, 512))


def test_the_whole_frame_is_its_pixels() -> None:
    assert geometry.whole_frame_box((480, 640)).tolist() == [-0.5, -0.5, 639.5, 479.5]


@pytest.mark.parametrize("size", [1, 2, 63, 256])
def test_the_crop_of_a_whole_frame_of_the_input_size_is_the_frame(size: int) -> None:
    affine = geometry.frame_from_input(geometry.whole_frame_box((size, size)), (size, size))
    np.testing.assert_allclose(affine, [[1, 0, 0], [0, 1, 0]], atol=EXACT)


def test_halving_puts_a_pixel_between_four() -> None:
    affine = geometry.frame_from_input(geometry.whole_frame_box((8, 8)), (4, 4))
    np.testing.assert_allclose(geometry.transform(affine, np.array([0.0, 3.0])), [0.5, 6.5], atol=EXACT)


@given(boxes, inputs)
def test_the_crop_holds_the_box_and_touches_it(box: np.ndarray, input_hw: tuple[int, int]) -> None:
    height, width = input_hw
    affine = geometry.frame_from_input(box, input_hw)
    corners = geometry.transform(affine, np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]))
    slack = EXACT * 1e3
    assert (corners[0] <= box[:2] + slack).all() and (corners[1] >= box[2:] - slack).all()
    np.testing.assert_allclose(corners.mean(axis=0), (box[:2] + box[2:]) / 2, atol=slack)
    margins = (corners[1] - corners[0]) - (box[2:] - box[:2])
    assert margins.min() == pytest.approx(0, abs=slack)  # one direction is filled


@given(boxes, inputs, st.floats(-180, 180))
def test_invert_undoes(box: np.ndarray, input_hw: tuple[int, int], degrees: float) -> None:
    affine = geometry.frame_from_input(box, input_hw, degrees)
    points = np.array([[0.0, 0.0], [3.0, 7.0], [511.0, 2.0]])
    back = geometry.transform(geometry.invert(affine), geometry.transform(affine, points))
    np.testing.assert_allclose(back, points, atol=1e-5)  # boxes of 1 px in crops of 512 lose digits


def test_rotation_is_clockwise_on_the_screen() -> None:
    affine = geometry.frame_from_input(np.array([-0.5, -0.5, 10.5, 10.5]), (11, 11), 90)
    center_and_right = geometry.transform(affine, np.array([[5.0, 5.0], [10.0, 5.0]]))
    np.testing.assert_allclose(center_and_right, [[5, 5], [5, 10]], atol=EXACT)  # right turns down: y grows downwards


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_no_stretching(rotation: float) -> None:
    linear = geometry.frame_from_input(np.array([0, 0, 100, 300]), (64, 128), rotation)[:, :2]
    np.testing.assert_allclose(linear.T @ linear, np.eye(2) * (300 / 64) ** 2, atol=EXACT)
    assert math.isclose(np.linalg.det(linear), (300 / 64) ** 2)


def test_square_box() -> None:
    assert geometry.square_box(np.array([10, 20, 30, 60])).tolist() == [-5, 15, 45, 65]
    assert geometry.square_box(np.array([5, 5, 5, 5])).tolist() == [4.375, 4.375, 5.625, 5.625]  # a point: one pixel


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_cells_by_enumeration(stride: int) -> None:
    """Cell i is the mean of the pixels that it covers."""
    for cell in range(5):
        covered = np.arange(cell * stride, (cell + 1) * stride)
        assert geometry.input_from_cells(np.array(cell), stride) == covered.mean()
        assert geometry.cells_from_input(np.array(covered.mean()), stride) == cell


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 5], [0, 5, 5, 5], [5, 0, 0, 5], [0, 0, math.nan, 5], [0, 0, math.inf, 5], [0, 0, 5]]
)
def test_a_box_that_is_none(box: list[float]) -> None:
    with pytest.raises(ShapeError, match="a box must"):
        geometry.frame_from_input(np.array(box), (64, 64))
