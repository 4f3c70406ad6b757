"""How a frame's pixels lie in memory, and BGR from each."""

from __future__ import annotations

import numpy as np

from hgedge.errors import BackendUnavailable, ShapeError

PIXELS = ("bgr", "bgrx", "nv12", "gray")  # in the order of the numbers that preprocess.cu has for them
_FRAMES = {
    "bgr": "(H, W, 3) uint8, BGR",
    "bgrx": "(H, W, 4) uint8, BGR and an unused byte",
    "nv12": "(H * 3/2, W) uint8, NV12: H rows of Y, then H/2 rows of U and V in turn, H and W even",
    "gray": "(H, W) uint8, grey",
}
_CHANNELS: dict[str, tuple[int, ...]] = {"bgr": (3,), "bgrx": (4,), "nv12": (), "gray": ()}


def check_frame(frame: np.ndarray, pixels: str = "bgr") -> None:
    """Raise ShapeError unless a frame is uint8, has the shape of its pixels, and at least one of them."""
    if pixels not in PIXELS:
        raise ShapeError(f"pixels must be one of {', '.join(PIXELS)}, but got {pixels!r}")
    fits = frame.ndim >= 2 and frame.shape[2:] == _CHANNELS[pixels] and frame.dtype == np.uint8 and frame.size > 0
    if not fits or (pixels == "nv12" and (frame.shape[0] % 3 or frame.shape[1] % 2)):
        raise ShapeError(f"a frame must be {_FRAMES[pixels]}, but got shape {frame.shape} {frame.dtype}")


def frame_hw(frame: np.ndarray, pixels: str = "bgr") -> tuple[int, int]:
    """Height and width of the picture that a frame holds."""
    height, width = frame.shape[:2]
    return (height * 2 // 3 if pixels == "nv12" else height), width


def bgr_from(frame: np.ndarray, pixels: str) -> np.ndarray:
    """The picture that a frame holds, as OpenCV converts it: BT.601, NV12 in video range.

    Args:
        frame: uint8, of the shape that its pixels have.
        pixels: One of PIXELS.

    Returns:
        (H, W, 3) uint8, BGR; the frame itself where it is that.

    Raises:
        ShapeError: The frame has another shape or dtype.
        BackendUnavailable: OpenCV is not installed.
    """
    check_frame(frame, pixels)
    if pixels == "bgr":
        return frame
    try:
        import cv2
    except ImportError as error:
        raise BackendUnavailable(
            f"frames of {pixels} need OpenCV; install it with: pip install 'hgedge[video]'"
        ) from error
    codes = {"bgrx": cv2.COLOR_BGRA2BGR, "nv12": cv2.COLOR_YUV2BGR_NV12, "gray": cv2.COLOR_GRAY2BGR}
    return cv2.cvtColor(frame, codes[pixels])
