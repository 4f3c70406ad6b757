"""What finds people, and the simplest that does: all of the frame is one person."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hgedge.geometry import whole_frame_box
from hgedge.pose import Frame


class Detector(Protocol):
    """Finds people in a frame.

    Attributes:
        followed: Between detections people are followed by their keypoints; else the detector is asked in every frame,
            and its boxes are all the people there are.
        cropped: Its boxes are crops already; else they are around people, and padded before they are cropped.
    """

    followed: bool
    cropped: bool

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """Find people.

        Args:
            frame: For its number and name.
            image_bgr: (H, W, 3) uint8, the frame as BGR.

        Returns:
            (N, 5) float32: left, top, right, bottom in frame pixels, and a score that is higher for surer people.
        """
        ...


class WholeFrame:
    """The paper's single person in the middle: the crop is the frame, and follows nobody."""

    followed = False
    cropped = True

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        """The frame's own box, with score 1."""
        height, width = image_bgr.shape[:2]
        return np.append(whole_frame_box((height, width)), 1.0)[None].astype(np.float32)
