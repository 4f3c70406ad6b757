"""PCK: the share of joints whose error is within a fraction of the person's torso.

Source: Yang and Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts", PAMI 2013 (PCK); the torso as
the mean of its labelled diagonals, right shoulder to left hip and left shoulder to right hip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgedge.errors import ConfigError, ShapeError
from hgedge.pose import KeypointSet

THRESHOLDS = (0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class PCK:
    """PCK of one set of predictions.

    Attributes:
        thresholds: (T,) fractions of the torso.
        per_keypoint: (T, K) percent, NaN where a keypoint is labelled nowhere.
        pooled: (T,) percent of all labelled joints.
        mean: (T,) percent, mean of `per_keypoint`.
        num_people: People who count.
        num_left_out: People without a labelled torso.
        num_keypoints: Labelled joints of the people who count.
    """

    thresholds: tuple[float, ...]
    per_keypoint: np.ndarray
    pooled: np.ndarray
    mean: np.ndarray
    num_people: int
    num_left_out: int
    num_keypoints: int


def torso_lengths(keypoints: np.ndarray, labelled: np.ndarray, keypoint_set: KeypointSet) -> np.ndarray:
    """Mean length of each person's labelled torso diagonals.

    Args:
        keypoints: (P, K, 2) picture pixels.
        labelled: (P, K) bool.
        keypoint_set: Must name both shoulders and both hips.

    Returns:
        (P,) float64 pixels, NaN where neither diagonal is labelled.

    Raises:
        ConfigError: The keypoint set has no torso.
    """
    lengths = np.full((2, len(keypoints)), np.nan)
    for row, (shoulder, hip) in enumerate((("right_shoulder", "left_hip"), ("left_shoulder", "right_hip"))):
        try:
            a, b = keypoint_set.names.index(shoulder), keypoint_set.names.index(hip)
        except ValueError:
            raise ConfigError(f"PCK needs {shoulder} and {hip}, which {keypoint_set.name!r} lacks") from None
        both = labelled[:, a] & labelled[:, b]
        lengths[row, both] = np.linalg.norm(keypoints[both, a] - keypoints[both, b], axis=-1)
    known = ~np.isnan(lengths)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, lengths, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def pck(
    predicted: np.ndarray,
    keypoints: np.ndarray,
    labelled: np.ndarray,
    keypoint_set: KeypointSet,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> PCK:
    """Score predictions: a joint is right if its distance to the label is <= threshold x torso.

    Args:
        predicted: (P, K, 2) picture pixels.
        keypoints: (P, K, 2) labels in picture pixels.
        labelled: (P, K) bool.
        keypoint_set: Names of the K keypoints.
        thresholds: Fractions of the torso.

    Raises:
        ShapeError: The arrays do not fit together.
        ConfigError: Nobody has a labelled torso.
    """
    if predicted.shape != keypoints.shape or labelled.shape != keypoints.shape[:2]:
        raise ShapeError(
            f"predicted and keypoints must be (P, K, 2) and labelled (P, K), but got {predicted.shape}, "
            f"{keypoints.shape} and {labelled.shape}"
        )
    torso = torso_lengths(keypoints, labelled, keypoint_set)
    kept = torso > 0
    if not kept.any():
        raise ConfigError(f"none of the {len(torso)} people has a labelled torso, so PCK is not defined")
    counted = labelled[kept]
    error = np.linalg.norm(predicted[kept] - keypoints[kept], axis=-1) / torso[kept, None]
    right = np.stack([(error <= threshold) & counted for threshold in thresholds])  # (T, P, K)
    labels = counted.sum(axis=0)
    per_keypoint = np.where(labels > 0, 100.0 * right.sum(axis=1) / np.maximum(labels, 1), np.nan)
    return PCK(
        thresholds=tuple(thresholds),
        per_keypoint=per_keypoint,
        pooled=100.0 * right.sum(axis=(1, 2)) / labels.sum(),
        mean=np.nanmean(per_keypoint, axis=1),
        num_people=int(kept.sum()),
        num_left_out=int((~kept).sum()),
        num_keypoints=int(labels.sum()),
    )
