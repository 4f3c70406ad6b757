"""Cropping against its definition: here on a made picture, and in the golden inputs.

The made picture is smooth, each colour another wave, and the crop reaches out of it on every side. Of the golden inputs
the first shows the photograph that hgedge carries; one that does not is somebody's own, and is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hgedge import geometry
from hgedge.runtime.preprocess import reference_crop
from hgedge.verify.mistakes import mistake
from hgedge.verify.report import Mistake, Stage

CROP_LIMIT = 1.5  # grey levels, RMS: rounding is 0.3, OpenCV's grid of 1/32 pixel less than 1 even at a black border
SAME_PICTURE = 0.9  # correlation; what another border, half a pixel or exchanged colours leave is above it
FRAME_HW = (90, 120)
BOX = np.array([-20.3, -12.6, 131.1, 99.2])  # reaches beyond all four sides
GREY = np.array([0.114, 0.587, 0.299])  # of blue, green and red (ITU-R BT.601)
Cropper = Callable[[np.ndarray, list[np.ndarray]], np.ndarray]
Found = tuple[list[Stage], list[Mistake]]


def here(crops: Cropper, input_hw: tuple[int, int]) -> Found:
    """This machine's cropping on the made picture.

    Args:
        crops: (frame, affines) -> (N, H, W, C) uint8, as `hgedge.runtime.pipeline.Pipeline.crops`.
        input_hw: Height and width of the crop.
    """
    frame, affine = waves(), geometry.frame_from_input(BOX, input_hw)
    return _judge(crops(frame, [affine])[0], frame, affine, "this machine's, of a made picture", "this machine")


def golden(found: np.ndarray, photograph: np.ndarray, box: np.ndarray) -> Found:
    """The first golden input, (H, W, C) uint8, against the box that it shows of the photograph, (h, w, 3) uint8 BGR."""
    affine = geometry.frame_from_input(box, found.shape[:2])
    inside = _inside(photograph.shape[:2], affine, found.shape[:2])
    variants = (picture for _, picture in _variants(photograph, affine, found.shape))
    likeness = max(_correlation(found[inside], picture[inside]) for picture in variants)
    of, against = "golden input 0", "exact crop"
    if likeness < SAME_PICTURE:
        return [Stage("crop", of, against, note="it does not show hgedge's own photograph")], []
    return _judge(found, photograph, affine, of, "golden.npz")


def waves() -> np.ndarray:
    """A smooth (90, 120, 3) uint8 picture; no colour is like another, no corner like another."""
    y, x = np.mgrid[: FRAME_HW[0], : FRAME_HW[1]]
    phases = (x / 11 + y / 23, x / 17 - y / 13 + 2, (x + y) / 19 + 4)
    return np.stack([np.rint(140 + 100 * np.sin(phase)) for phase in phases], axis=-1).astype(np.uint8)


def _judge(found: np.ndarray, frame: np.ndarray, affine: np.ndarray, of: str, where: str) -> Found:
    expected = _exact(frame, affine, found.shape)
    gap, value = np.abs(found - expected), _rms(found, expected)
    figures = (float(gap.max()), float(gap.mean()), "grey levels", value, CROP_LIMIT, "RMS")
    stage = Stage("crop", of, "exact crop", *figures, ok=value <= CROP_LIMIT)
    if stage.ok:
        return [stage], []
    inside = _inside(frame.shape[:2], affine, found.shape[:2])
    within = _rms(found[inside], expected[inside])
    if within <= CROP_LIMIT:
        return [stage], [mistake("padding", where, value, within)]
    after, name = min(
        (min(_rms(found, picture), _rms(found[inside], picture[inside])), name)
        for name, picture in _variants(frame, affine, found.shape)
        if name
    )
    if after > CROP_LIMIT:
        return [stage], [mistake("unknown", where, value)]
    return [stage], [mistake(name, where, value, after)]


def _variants(frame: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The exact crop, and what mistakes make of it."""
    yield "", _exact(frame, affine, shape)
    yield "color-swapped", _exact(frame[..., ::-1], affine, shape)
    for in_crop, in_frame in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5), (0.5, -0.5), (-0.5, 0.5)):
        moved = affine.copy()
        moved[:, 2] += affine[:, :2] @ np.full(2, in_crop) + in_frame
        yield "half-pixel", _exact(frame, moved, shape)


def _exact(frame: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The exact crop, (H, W, C) float64; grey where the crop has one channel."""
    picture = frame if shape[2] == 3 else np.rint(frame @ GREY)[..., None]
    return reference_crop(picture, affine, (shape[0], shape[1]))


def _inside(frame_hw: tuple[int, int], affine: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: whether a crop's pixel is made of the frame's pixels alone."""
    u, v = np.meshgrid(np.arange(input_hw[1]), np.arange(input_hw[0]))
    points = geometry.transform(affine, np.stack([u, v], axis=-1))
    return np.all((points >= 0) & (points <= np.array(frame_hw[::-1]) - 1), axis=-1)


def _rms(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2)))


def _correlation(found: np.ndarray, expected: np.ndarray) -> float:
    one, two = (values.astype(np.float64).ravel() - values.mean() for values in (found, expected))
    return float(one @ two / max(np.linalg.norm(one) * np.linalg.norm(two), 1e-9))
