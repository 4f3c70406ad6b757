"""What the CPU makes of frames, and how near to it the device must come."""

from __future__ import annotations

import ctypes

import cv2
import numpy as np
import pytest

from hgedge.pose import Pose
from hgedge.runtime.cuda.libcuda import call
from hgedge.spec import DecodeSpec, InputSpec
from tests.runtime.cuda.gpu.pipeline.numpy_engine import POINTS, SPEC, ExactPipeline, HostSession

KEYPOINTS_PX = 0.05  # what is promised: float32 on the device, float64 here
SCORES = 1e-4  # of heatmaps about 1 high, for the same reason


def reference(
    frame: np.ndarray,
    boxes: list[np.ndarray] | None = None,
    pixels: str = "bgr",
    spec: InputSpec = SPEC,
    decode: DecodeSpec | None = None,
) -> list[Pose]:
    """What the CPU finds, with exact crops."""
    return ExactPipeline(HostSession(spec), spec, POINTS, decode or DecodeSpec())(frame, boxes, pixels)


def check(poses: list[Pose], expected: list[Pose], scores: float = SCORES) -> None:
    assert len(poses) == len(expected)
    for ours, theirs in zip(poses, expected):
        np.testing.assert_allclose(ours.keypoints, theirs.keypoints, atol=KEYPOINTS_PX, rtol=0)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=scores, rtol=0)
        np.testing.assert_array_equal(ours.box_xyxy, theirs.box_xyxy)
        assert ours.score == pytest.approx(theirs.score, abs=scores) and ours.id == theirs.id
        assert ours.keypoints.dtype == ours.scores.dtype == np.float32


def check_same(poses: list[Pose], others: list[Pose]) -> None:
    """Bit for bit."""
    assert len(poses) == len(others)
    for one, two in zip(poses, others):
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
        np.testing.assert_array_equal(one.scores, two.scores)


def boxes_in(frame: np.ndarray, count: int, seed: int = 0) -> list[np.ndarray]:
    """Boxes about a frame, some of which reach out of it."""
    height, width = frame.shape[:2]
    random = np.random.default_rng(seed)
    corner = random.uniform([-0.2 * width, -0.2 * height], [0.7 * width, 0.7 * height], (count, 2))
    return list(np.concatenate([corner, corner + random.uniform(20, 0.6 * height, (count, 2))], axis=1))


def laid_out(picture: np.ndarray, pixels: str) -> np.ndarray:
    """A BGR picture of even size, in another layout."""
    if pixels == "bgrx":
        return np.dstack([picture, np.full(picture.shape[:2], 77, np.uint8)])
    if pixels == "nv12":
        height, width = picture.shape[:2]
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        chroma = planes[height:].reshape(2, -1).T.reshape(height // 2, width)  # U and V in turn
        return np.concatenate([planes[:height], chroma])
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if pixels == "gray" else picture


def current_context() -> int | None:
    """Handle of the context that is current in this thread."""
    handle = ctypes.c_void_p()
    call("cuCtxGetCurrent", ctypes.byref(handle))
    return handle.value
