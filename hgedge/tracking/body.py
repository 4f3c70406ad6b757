"""A pose as tracking sees it: which joints are to be believed, and how large the person is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hgedge.pose import Pose

GUESSED = 0.1  # peak value: of the default model's joints below, most are wrong
SURE = 0.4  # above, most are right
PRESENT = 0.2  # mean peak value: half of what the default model makes of background lies below, but 1 person in 300
FAR_PX = 1e6  # a joint beyond is no joint
_SIZED_BY = 3  # sure joints that a size needs


@dataclass(frozen=True)
class Body:
    """Somebody's joints.

    Attributes:
        keypoints: (K, 2) float64, frame pixels; NaN where missing.
        believed: (K,) float64, from 0 at a peak value of 0.1 to 1 at 0.4; 0 where the joint is missing.
        size_px: Diagonal of the box around the sure joints, which are believed by half or more.
        unseen_s: Seconds since they were seen, if they were moved on.
    """

    keypoints: np.ndarray
    believed: np.ndarray
    size_px: float
    unseen_s: float = 0.0


def body_of(pose: Pose) -> Body:
    """The body of a pose; with fewer than three sure joints its size is its box's diagonal."""
    there = (np.abs(pose.keypoints) < FAR_PX).all(axis=1)
    keypoints = np.where(there[:, None], pose.keypoints.astype(np.float64), np.nan)
    believed = there * _within_one((pose.scores.astype(np.float64) - GUESSED) / (SURE - GUESSED))
    sure = keypoints[believed >= 0.5]
    if len(sure) < _SIZED_BY:
        sure = np.nan_to_num(pose.box_xyxy.astype(np.float64)).clip(-FAR_PX, FAR_PX).reshape(2, 2)
    return Body(keypoints, believed, min(max(math.hypot(*(sure.max(axis=0) - sure.min(axis=0))), 1.0), FAR_PX))


def shows_somebody(pose: Pose) -> bool:
    """Whether a pose is more than a guess on background."""
    return bool(_within_one(pose.scores).mean() >= PRESENT)


def _within_one(values: np.ndarray) -> np.ndarray:
    """Values clipped to 0 and 1; NaN is 0."""
    return np.fmin(np.fmax(values, 0), 1)
