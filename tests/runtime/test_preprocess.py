"""Crops against SciPy's interpolation on real photographs, and normalisation against its formula."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from hgedge import geometry
from hgedge.runtime.preprocess import crop, normalise, reference_crop
from hgedge.spec import InputSpec

# OpenCV places sample points on a grid of 1/32 pixel and rounds to whole grey levels.
GRID = 1 / 32


def affines(shape):
    height, width = shape[:2]
    yield geometry.frame_from_input(geometry.whole_frame_box((height, width)), (64, 64))
    yield geometry.frame_from_input(np.array([10.3, 20.7, 90.1, 140.2]), (96, 48))
    yield geometry.frame_from_input(np.array([-40.0, -30.0, 50.0, 60.0]), (64, 64), rotation_deg=33)


@pytest.fixture(params=["lspet/images/im00001.jpg", "lspet/images/im00003.jpg"])
def photograph(request, shared_data):
    return cv2.imread(str(shared_data / request.param))


def scipy_crop(frame, affine, input_hw):
    v, u = np.mgrid[: input_hw[0], : input_hw[1]]
    points = geometry.transform(affine, np.stack([u, v], axis=-1).astype(float))
    padded = np.pad(frame.astype(float), ((1, 1), (1, 1), (0, 0)))  # black outside, blended in over one pixel
    rows, columns = points[..., 1] + 1, points[..., 0] + 1
    channels = [map_coordinates(padded[..., c], [rows, columns], order=1) for c in range(frame.shape[2])]
    return np.stack(channels, axis=-1)


def test_reference_equals_scipy(photograph):
    for affine, hw in zip(affines(photograph.shape), ((64, 64), (96, 48), (64, 64))):
        np.testing.assert_allclose(
            reference_crop(photograph, affine, hw), scipy_crop(photograph, affine, hw), atol=1e-9
        )


def test_crop_is_the_reference_on_opencvs_grid(photograph):
    steepest = max(np.abs(np.diff(photograph.astype(int), axis=axis)).max() for axis in (0, 1))
    for affine, hw in zip(affines(photograph.shape), ((64, 64), (96, 48), (64, 64))):
        out = np.empty((*hw, 3), np.uint8)
        crop(photograph, affine, out)
        difference = np.abs(out - reference_crop(photograph, affine, hw))
        assert difference.max() <= 2 * GRID * max(steepest, photograph.max()) + 1
        assert difference.mean() < 0.5


def test_crop_fills_the_buffer_it_is_given(photograph):
    buffer = np.zeros((2, 64, 64, 3), np.uint8)
    affine = next(affines(photograph.shape))
    crop(photograph, affine, buffer[1])
    assert buffer[1].any() and not buffer[0].any()


def test_grey_crop(photograph):
    affine = next(affines(photograph.shape))
    out = np.empty((64, 64, 1), np.uint8)
    crop(photograph, affine, out)
    grey = cv2.cvtColor(photograph, cv2.COLOR_BGR2GRAY)[..., None]
    assert np.abs(out - reference_crop(grey, affine, (64, 64))).mean() < 0.5


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_normalise_follows_its_formula(color):
    spec = InputSpec((2, 3), color, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    crops = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3), dtype=np.uint8)
    for channel in range(3):
        source = 2 - channel if color == "rgb" else channel
        expected = (crops[..., source] / 255 - spec.mean[channel]) / spec.std[channel]
        np.testing.assert_allclose(normalise(crops, spec)[:, channel], expected, atol=1e-6)
