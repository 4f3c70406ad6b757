"""Frames of every kind of pixels to BGR, against the formulas in floating point, and frames that are refused."""

import sys

import cv2
import numpy as np
import pytest

from hgedge.errors import BackendUnavailable, ShapeError
from hgedge.runtime.pixels import bgr_from, check_frame, frame_hw

ROUNDING = 1  # grey level: OpenCV computes with integers


@pytest.fixture
def astronaut(root):
    return cv2.imread(str(root / "hgedge" / "pictures" / "astronaut.jpg"))


def test_bgr_is_handed_on(astronaut):
    assert bgr_from(astronaut, "bgr") is astronaut


def test_bgrx_loses_its_fourth_byte(astronaut):
    with_noise = np.dstack([astronaut, np.random.default_rng(0).integers(0, 256, astronaut.shape[:2], np.uint8)])
    np.testing.assert_array_equal(bgr_from(with_noise, "bgrx"), astronaut)


def test_gray_is_replicated(astronaut):
    gray = astronaut[..., 1]
    np.testing.assert_array_equal(bgr_from(gray, "gray"), np.dstack([gray] * 3))


def test_nv12_is_bt601_in_video_range():
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (12, 10), dtype=np.uint8)
    y = (np.maximum(frame[:8].astype(float), 16) - 16) * 255 / 219
    u, v = (np.kron(frame[8:, start::2].astype(float) - 128, np.ones((2, 2))) * 255 / 224 for start in (0, 1))
    red, blue = y + 2 * (1 - 0.299) * v, y + 2 * (1 - 0.114) * u
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    expected = np.dstack([blue, green, red]).clip(0, 255)
    assert np.abs(bgr_from(frame, "nv12") - expected).max() <= ROUNDING


@pytest.mark.parametrize(
    "shape, pixels, hw",
    [((4, 6, 3), "bgr", (4, 6)), ((1, 1, 4), "bgrx", (1, 1)), ((3, 2), "nv12", (2, 2)), ((5, 3), "gray", (5, 3))],
)
def test_height_and_width(shape, pixels, hw):
    frame = np.zeros(shape, np.uint8)
    check_frame(frame, pixels)
    assert frame_hw(frame, pixels) == hw == bgr_from(frame, pixels).shape[:2]


@pytest.mark.parametrize(
    "shape, pixels, told",
    [
        ((4, 4), "bgr", r"a frame must be \(H, W, 3\) uint8, BGR, but got shape \(4, 4\) uint8"),
        ((0, 4, 3), "bgr", r"\(H, W, 3\) uint8, BGR, but got shape \(0, 4, 3\)"),
        ((4, 4, 3), "bgrx", r"\(H, W, 4\) uint8, BGR and an unused byte, but got shape \(4, 4, 3\)"),
        ((4, 4), "nv12", r"\(H \* 3/2, W\) uint8, NV12: .* H and W even, but got shape \(4, 4\)"),
        ((6, 3), "nv12", r"H and W even, but got shape \(6, 3\)"),
        ((6, 4, 3), "nv12", r"H and W even, but got shape \(6, 4, 3\)"),
        ((4, 4, 1), "gray", r"\(H, W\) uint8, grey, but got shape \(4, 4, 1\)"),
        ((4,), "gray", r"\(H, W\) uint8, grey, but got shape \(4,\)"),
        ((4, 4, 3), "rgb", r"pixels must be one of bgr, bgrx, nv12, gray, but got 'rgb'"),
    ],
)
def test_other_shapes_are_refused(shape, pixels, told):
    with pytest.raises(ShapeError, match=told):
        bgr_from(np.zeros(shape, np.uint8), pixels)


@pytest.mark.parametrize("pixels, shape", {"bgr": (4, 4, 3), "bgrx": (4, 4, 4), "nv12": (6, 4), "gray": (4, 4)}.items())
def test_other_dtypes_are_refused(pixels, shape):
    with pytest.raises(ShapeError, match=r"a frame must be .* uint8, .*, but got shape .* float32"):
        check_frame(np.zeros(shape, np.float32), pixels)


def test_without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendUnavailable, match=r"frames of nv12 need OpenCV; install it with: pip install"):
        bgr_from(np.zeros((3, 2), np.uint8), "nv12")
