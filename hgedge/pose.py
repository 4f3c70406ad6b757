"""What travels on the right-hand side: frames in, poses out, and the names of their keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgedge.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class KeypointSet:
    """The keypoints that a network predicts.

    Attributes:
        name: Short name of the set, as in manifests.
        names: One name a keypoint, in output order.
        skeleton: Limbs to draw, as pairs of keypoint indices.
        flip_indices: `flip_indices[i]` is the keypoint that i becomes in a mirrored picture.
    """

    name: str
    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    flip_indices: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.names)
        if sorted(self.flip_indices) != list(range(count)):
            raise ConfigError(
                f"flip_indices of {self.name!r} must be a permutation of {count} keypoints, got {self.flip_indices}"
            )
        if any(not 0 <= end < count for limb in self.skeleton for end in limb):
            raise ConfigError(f"skeleton of {self.name!r} names a keypoint outside 0..{count - 1}: {self.skeleton}")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8, as `pixels` says: "bgr" (H, W, 3), "bgrx" (H, W, 4), "nv12" (H * 3 / 2, W), "gray" (H, W).
        index: Position in its source, from 0.
        timestamp_s: Seconds since the source's start, from the source itself where it tells.
        captured_s: `time.monotonic()` at the moment that the frame was at hand.
        capture_ms: Time that reading and decoding took.
        name: File name for pictures, else empty.
        pixels: "bgr", but for cameras that give another layout, see `hgedge.runtime.pixels`.
    """

    image: np.ndarray
    index: int
    timestamp_s: float
    captured_s: float
    capture_ms: float
    name: str = ""
    pixels: str = "bgr"


@dataclass(frozen=True)
class Pose:
    """One person's keypoints in a frame.

    Attributes:
        keypoints: (K, 2) float32, x then y, in frame pixels, pixel centres at integers.
        scores: (K,) float32, heatmap peak values; not probabilities.
        box_xyxy: (4,) float32, the box that was cropped around, in frame pixels.
        score: Mean of `scores`.
        id: Track id, or the person's position in the frame.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    box_xyxy: np.ndarray
    score: float
    id: int = 0

    def __post_init__(self) -> None:
        if self.keypoints.ndim != 2 or self.keypoints.shape[1] != 2:
            raise ShapeError(f"keypoints must be (K, 2), but got shape {self.keypoints.shape}")
        if self.scores.shape != self.keypoints.shape[:1]:
            raise ShapeError(
                f"scores must be ({len(self.keypoints)},), one a keypoint, but got shape {self.scores.shape}"
            )
