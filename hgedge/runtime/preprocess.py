"""Cut crops out of a frame: bilinear, black outside the frame.

Every crop pixel u shows frame point A u, with A from `geometry.frame_from_input`. `crop` is OpenCV's, which places
sample points on a grid of 1/32 pixel; `reference_crop` is the exact definition that kernels are held to.
"""

from __future__ import annotations

import numpy as np

from hgedge.errors import BackendUnavailable
from hgedge.spec import InputSpec


def crop(frame: np.ndarray, affine: np.ndarray, out: np.ndarray) -> None:
    """Write a crop into a buffer.

    Args:
        frame: (H, W, 3) uint8, BGR.
        affine: (2, 3) map from crop pixels to frame pixels.
        out: (h, w, 3) uint8 for BGR, or (h, w, 1) for grey.

    Raises:
        BackendUnavailable: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise BackendUnavailable("cropping needs OpenCV; install it with: pip install 'hgedge[video]'") from error
    picture = frame if out.shape[2] == 3 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    target = out if out.shape[2] == 3 else out[..., 0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cropped = cv2.warpAffine(picture, affine, target.shape[1::-1], dst=target, flags=flags)
    if cropped is not target:
        target[...] = cropped


def normalise(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Crops as the network takes them: (pixel / 255 - mean) / std, in the network's colour order.

    Args:
        crops: (N, H, W, C) uint8, BGR or grey.
        spec: The network's input.

    Returns:
        (N, C, H, W) float32.
    """
    ordered = crops[..., ::-1] if spec.color == "rgb" else crops
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(((ordered / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


def reference_crop(frame: np.ndarray, affine: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """The exact bilinear crop.

    Args:
        frame: (H, W, C) uint8.
        affine: (2, 3) map from crop pixels to frame pixels.
        input_hw: Height and width of the crop.

    Returns:
        (h, w, C) float64 in [0, 255].
    """
    height, width = input_hw
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    x, y = np.moveaxis(np.stack([u, v], axis=-1) @ affine[:, :2].T + affine[:, 2], -1, 0)
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((height, width, frame.shape[2]))
    for column, row, weight in (
        (left, top, (left + 1 - x) * (top + 1 - y)),
        (left + 1, top, (x - left) * (top + 1 - y)),
        (left, top + 1, (left + 1 - x) * (y - top)),
        (left + 1, top + 1, (x - left) * (y - top)),
    ):
        inside = (column >= 0) & (column < frame.shape[1]) & (row >= 0) & (row < frame.shape[0])
        pixels = frame[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
        total += (weight * inside)[..., None] * pixels
    return total
